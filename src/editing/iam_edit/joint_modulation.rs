//! Modulation where prompt, latents and pictures share one sequence: what the cells outside the mask attend to.
//!
//! Source of the arithmetic: with the log-sum-exp of a query's logits the probability of any key is known, so that keys
//! are taken out of an output that a fused kernel has made: `(o - Σ p·v) / (1 - Σ p)` is the attention without them.
//! Source of [`Modulation::Isolate`] and [`Modulation::Reference`]: KV-Edit (arXiv 2502.17363). Differs: the clean keys
//! and values come from the picture in the same sequence, so that nothing is inverted and cached.
//!
//! Heads and queries are handled a few at a time: no matrix of all queries by all keys is made, and what is held at
//! once depends neither on the number of layers nor, but for a head's own keys and values, on the picture's size.

use tch::{Device, IndexOp, Kind, Tensor};

use crate::attention::{
    qkv::{Attended, Qkv},
    role::Role,
    site::Span,
};
use crate::edit::settings::Modulation;

/// Most logits in fp32 at once on a CPU: 1 MiB.
const LOGITS: i64 = 1 << 18;
/// On another device, where many small calls take longer: 64 MiB.
const LOGITS_ELSEWHERE: i64 = 1 << 24;
/// Most numbers of keys at once, of as many heads as that allows but at least one.
const KEYS: i64 = 1 << 19;
const KEYS_ELSEWHERE: i64 = 1 << 25;

/// Share of a query's attention below which what is left of it is computed anew: the output's rounding grows by the
/// share's inverse.
const LEAST_KEPT: f64 = 1.0 / 16.0;

/// The parts of a site's sequence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sequence {
    /// The prompt's tokens.
    pub(super) text: Span,
    /// How many of them, from the first, are the same for every prompt.
    pub(super) shared: i64,
    /// The cells of the latents.
    pub(super) latents: Span,
    /// The cells of the pictures that are edited, of the first one before those of others.
    pub(super) references: Span,
}

/// One layer of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layer<'a> {
    pub(super) qkv: &'a Qkv<'a>,
    pub(super) attended: &'a Attended,
    pub(super) sequence: Sequence,
    /// Whether each cell of the latents is edited, (n, 1).
    pub(super) inside: &'a Tensor,
}

/// Keys that the cells outside the mask do not attend to.
#[derive(Debug, Clone, Copy)]
struct Hidden<'a> {
    keys: Span,
    /// Which of them, (K,) of 0 and 1 in fp32; `None` is all.
    which: Option<&'a Tensor>,
    /// Whether what they had goes to the other keys; else it is gone.
    is_shared_out: bool,
}

/// Some heads of one row.
#[derive(Debug, Clone, Copy)]
struct Heads {
    row: i64,
    heads: Span,
}

impl Layer<'_> {
    /// Changes the layer's output.
    ///
    /// What is about the instruction changes the row that has it alone; what is about the picture changes every row, or
    /// guidance would take the change for a part of the instruction.
    pub(super) fn modulate(&self, modulation: Modulation) {
        let Sequence { text, shared, latents, .. } = self.sequence;
        let told = self.qkv.row_of(Role::Text);
        let rest = Span { start: text.start + shared, length: text.length - shared };
        let instruction = Hidden { keys: rest, which: None, is_shared_out: false };
        match modulation {
            Modulation::Gate => self.hide(told, instruction),
            Modulation::Mask => self.hide(told, Hidden { is_shared_out: true, ..instruction }),
            Modulation::Null => self.attend_to_null_text(told),
            Modulation::Isolate => {
                let which = self.inside.view(-1).to_kind(Kind::Float);
                let hidden = Hidden { keys: latents, which: Some(&which), is_shared_out: true };
                (0..self.rows()).for_each(|row| self.hide(row, hidden));
            }
            Modulation::Reference => (0..self.rows()).for_each(|row| self.attend_to_reference(row)),
        }
    }

    fn rows(&self) -> i64 {
        self.qkv.query.size()[0]
    }

    fn is_on_cpu(&self) -> bool {
        self.qkv.query.device() == Device::Cpu
    }

    /// The heads of a row, as many at once as `keys` keys of each allow.
    fn heads(&self, row: i64, keys: i64) -> impl Iterator<Item = Heads> {
        let [heads, width] = [1, 3].map(|it| self.qkv.query.size()[it]);
        let most = if self.is_on_cpu() { KEYS } else { KEYS_ELSEWHERE };
        let at_once = most / (keys * width).max(1);
        parts(Span::first(heads), at_once).map(move |heads| Heads { row, heads })
    }

    /// Takes keys from the attention of a row's cells outside the mask.
    fn hide(&self, row: i64, hidden: Hidden<'_>) {
        let Layer { qkv, attended, sequence: Sequence { latents, .. }, inside } = *self;
        let most = if self.is_on_cpu() { LOGITS } else { LOGITS_ELSEWHERE };
        for heads in self.heads(row, hidden.keys.length) {
            let [key, value] = [&qkv.key, &qkv.value].map(|it| in_fp32(&heads.of(it, hidden.keys)));
            let at_once = most / (hidden.keys.length * heads.heads.length).max(1);
            for queries in parts(latents, at_once) {
                let query = in_fp32(&heads.of(&qkv.query, queries)) * qkv.scale; // (H, q, D)
                let mut output = heads.of(&attended.output, queries);
                let normalizers = qkv.log_sum_exp(attended, row, [heads.heads, queries]);
                let mut probs = query.matmul(&key.transpose(-1, -2)); // (H, q, K)
                probs -= normalizers.unsqueeze(-1);
                let mut probs = probs.exp_();
                if let Some(which) = hidden.which {
                    probs *= which;
                }
                let outside = in_fp32(&output) - probs.matmul(&value); // (H, q, D)
                let inside = inside.narrow(0, queries.start - latents.start, queries.length);
                let outside = if hidden.is_shared_out {
                    let taken = probs.sum_dim_intlist([-1i64].as_slice(), true, Kind::Float);
                    drop(probs);
                    let kept: Tensor = 1.0 - taken; // (H, q, 1)
                    if self.is_on_cpu() && is_little(&kept, &inside) {
                        self.attend_to_others(heads, &query, hidden)
                    } else {
                        outside / kept.clamp_min(f64::from(f32::EPSILON))
                    }
                } else {
                    outside
                };
                let changed = output.where_self(&inside, &outside.to_kind(output.kind()));
                output.copy_(&changed);
            }
        }
    }

    /// Attention of scaled queries (H, q, D) to all keys that are not hidden, a block of keys at a time.
    fn attend_to_others(&self, heads: Heads, query: &Tensor, hidden: Hidden<'_>) -> Tensor {
        let options = (Kind::Float, query.device());
        let [count, rows, width] = [0, 1, 2].map(|it| query.size()[it]);
        let keys = self.qkv.key.size()[2];
        let is_hidden = Tensor::zeros([keys], (Kind::Bool, query.device()));
        let mut part = is_hidden.narrow(0, hidden.keys.start, hidden.keys.length);
        match hidden.which {
            Some(which) => part.copy_(&which.gt(0.0)),
            None => drop(part.fill_(1.0)),
        }
        let mut most = Tensor::full([count, rows, 1], f64::from(f32::MIN), options);
        let mut weight = Tensor::zeros([count, rows, 1], options);
        let mut sum = Tensor::zeros([count, rows, width], options);
        for block in parts(Span::first(keys), hidden.keys.length) {
            let [key, value] =
                [&self.qkv.key, &self.qkv.value].map(|it| in_fp32(&heads.of(it, block)));
            let mask = is_hidden.narrow(0, block.start, block.length);
            let mut logits = query.matmul(&key.transpose(-1, -2)); // (H, q, K)
            let mut logits = logits.masked_fill_(&mask, f64::NEG_INFINITY);
            let larger = most.maximum(&logits.amax([-1i64].as_slice(), true));
            let earlier = (&most - &larger).exp();
            logits -= &larger;
            let probs = logits.exp_();
            let added = probs.sum_dim_intlist([-1i64].as_slice(), true, Kind::Float);
            weight = weight * &earlier + added;
            sum = sum * &earlier + probs.matmul(&value);
            most = larger;
        }
        sum / weight
    }

    /// The cells of a row attend outside the mask to the null prompt in the place of their own, and else as they do.
    fn attend_to_null_text(&self, row: i64) {
        let Layer { qkv, attended, sequence: Sequence { text, latents, .. }, inside } = *self;
        let null = qkv.null_row();
        for heads in self.heads(row, qkv.key.size()[2]) {
            let replaced = |all: &Tensor| {
                let own = heads.whole(all).copy();
                let of_null = Heads { row: null, ..heads }.of(all, text);
                own.narrow(1, text.start, text.length).copy_(&of_null);
                own
            };
            let outside =
                self.attend_anew(heads, latents, replaced(&qkv.key), replaced(&qkv.value));
            let mut output = heads.of(&attended.output, latents);
            let changed = output.where_self(inside, &outside);
            output.copy_(&changed);
        }
    }

    /// The whole row attends outside the mask to the picture that is edited in the place of the latents: to its keys,
    /// turned to where the latents are, and its values.
    fn attend_to_reference(&self, row: i64) {
        let Layer { qkv, attended, sequence: Sequence { latents, references, .. }, inside } = *self;
        // The picture that is edited; what other pictures show stands elsewhere.
        let clean = Span { length: latents.length, ..references };
        for heads in self.heads(row, qkv.key.size()[2]) {
            let replaced = |all: &Tensor, clean: &Tensor| {
                let own = heads.whole(all).copy();
                let mut part = own.narrow(1, latents.start, latents.length);
                let changed = part.where_self(inside, clean);
                part.copy_(&changed);
                own
            };
            let clean_key = match &qkv.unrotated {
                Some(unrotated) => {
                    let key = heads.of(&unrotated.key, clean).transpose(0, 1).unsqueeze(0);
                    let turned = unrotated.rotary.of(latents).turn(&key); // (1, n, H, D)
                    turned.squeeze_dim(0).transpose(0, 1)
                }
                // Keys that have no place in them.
                None => heads.of(&qkv.key, clean),
            };
            let key = replaced(&qkv.key, &clean_key);
            drop(clean_key);
            let value = replaced(&qkv.value, &heads.of(&qkv.value, clean));
            let all = Span::first(qkv.query.size()[2]);
            let output = self.attend_anew(heads, all, key, value);
            heads.whole(&attended.output).copy_(&output);
        }
    }

    /// Attention of some queries of some heads to other keys and values (H, K, D): (H, q, D).
    fn attend_anew(&self, heads: Heads, queries: Span, key: Tensor, value: Tensor) -> Tensor {
        let query = heads.of(&self.qkv.query, queries);
        let [query, key, value] = [query, key, value].map(|it| it.unsqueeze(0));
        let scale = self.qkv.scale;
        let anew = Qkv { query, key, value, scale, roles: &[], unrotated: None };
        anew.attend().output.squeeze_dim(0)
    }
}

impl Heads {
    /// A part of the sequence, (H, L, D), as a view.
    fn of(self, all: &Tensor, part: Span) -> Tensor {
        self.whole(all).narrow(1, part.start, part.length)
    }

    /// The whole sequence, (H, L, D), as a view.
    fn whole(self, all: &Tensor) -> Tensor {
        all.i(self.row).narrow(0, self.heads.start, self.heads.length)
    }
}

/// Whether so little is left for the other keys of a query outside the mask that the rounding of its output shows.
fn is_little(kept: &Tensor, inside: &Tensor) -> bool {
    kept.lt(LEAST_KEPT).logical_and(&inside.logical_not()).any().int64_value(&[]) != 0
}

fn in_fp32(it: &Tensor) -> Tensor {
    it.to_kind(Kind::Float)
}

/// A span in parts of a length, at least 1.
fn parts(span: Span, length: i64) -> impl Iterator<Item = Span> {
    let length = length.max(1);
    let starts = (0..span.length).step_by(length as usize);
    starts.map(move |start| Span {
        start: span.start + start,
        length: length.min(span.length - start),
    })
}

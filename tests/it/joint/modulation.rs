//! Each modulation of joint attention against the matrix of all queries by all keys, by the textbook: softmax with
//! minus infinity, and keys and values that are others.

use retouch::{
    attention::{
        processor::{AttnProcessor, RowGuests},
        qkv::{Attended, Qkv, Unrotated},
        role::Role,
        rotary::Rotary,
        site::{AttnSite, Keys, Span, Stage},
    },
    edit::settings::Modulation,
    editing::iam_edit::attn_modulator::AttnModulator,
};
use tch::{Device, Kind, Tensor};

use crate::support::relative_error;

/// fp32, by sums in another order.
const TOLERANCE: f64 = 2e-5;
/// Tokens of the prompt, of which three are the same for every prompt.
const TOKENS: i64 = 37;
const SHARED: i64 = 3;

/// A layer of random queries, keys and values.
struct Layer {
    site: AttnSite,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    /// Angles of the rotary embedding, (L, D/2), if there is one.
    angles: Option<Tensor>,
    roles: Vec<Role>,
}

/// The parts of a sequence, each by its first and its number.
fn spans(keys: Keys) -> [Span; 4] {
    let Keys::Joint { text, shared, latents, references } = keys else { panic!("a joint site") };
    let rest = Span { start: text.start + shared, length: text.length - shared };
    [text, rest, latents, Span { length: latents.length, ..references }]
}

impl Layer {
    /// Of this grid, with so many pictures, heads and channels.
    fn new([height, width, pictures, heads, dim]: [i64; 5], roles: &[Role]) -> Self {
        tch::manual_seed(height * 100 + dim);
        let cells = height * width;
        let keys = Keys::Joint {
            text: Span::first(TOKENS),
            shared: SHARED,
            latents: Span { start: TOKENS, length: cells },
            references: Span { start: TOKENS + cells, length: pictures * cells },
        };
        let length = TOKENS + (1 + pictures) * cells;
        let shape = [roles.len() as i64, heads, length, dim];
        let [query, key, value] =
            [1.5, 1.5, 1.0].map(|size| Tensor::randn(shape, (Kind::Float, Device::Cpu)) * size);
        let angles = Tensor::rand([length, dim / 2], (Kind::Float, Device::Cpu)) * 6.0;
        let (stage, level) = (Stage::Double, None);
        let (block, attention, transformer) = (0, 0, 0);
        Self {
            site: AttnSite { stage, block, attention, transformer, keys, level, height, width },
            query,
            key,
            value,
            angles: Some(angles),
            roles: roles.to_vec(),
        }
    }

    fn scale(&self) -> f64 {
        (self.query.size()[3] as f64).powf(-0.5)
    }

    /// What the network gives the processor, and what that makes of it.
    fn visited(&self, guest: &mut dyn AttnProcessor) -> Tensor {
        let by_head = |it: &Tensor| it.transpose(1, 2);
        let rotary = self.angles.as_ref().map(Rotary::new);
        let turned = |it: &Tensor| match &rotary {
            Some(rotary) => by_head(&rotary.turn(&by_head(it))),
            None => it.shallow_clone(),
        };
        let read = guest.reads_unrotated(&self.site);
        let unrotated = rotary.as_ref().filter(|_| read).map(|rotary| Unrotated {
            query: self.query.shallow_clone(),
            key: self.key.shallow_clone(),
            rotary,
        });
        let qkv = Qkv {
            query: turned(&self.query),
            key: turned(&self.key),
            value: self.value.shallow_clone(),
            scale: self.scale(),
            roles: &self.roles,
            unrotated,
        };
        let attended: Attended = qkv.attend();
        if guest.watches(&self.site) {
            guest.visit(&self.site, &qkv, &attended);
        }
        attended.output
    }

    /// The whole matrix's output of a row, (H, L, D) in fp64, where `inside` says which cells are edited.
    fn expected(&self, modulation: Option<Modulation>, row: i64, inside: &Tensor) -> Tensor {
        let of = |it: &Tensor, row: i64| it.select(0, row).to_kind(Kind::Double);
        let angles = self.angles.as_ref().map(|it| it.to_kind(Kind::Double));
        let turned = |it: &Tensor, by: Span| match &angles {
            Some(angles) => turned(it, &angles.narrow(0, by.start, by.length)),
            None => it.shallow_clone(),
        };
        let [text, rest, latents, clean] = spans(self.site.keys);
        let length = self.query.size()[2];
        let all = Span::first(length);
        let query = turned(&of(&self.query, row), all);
        let (mut key, mut value) = (turned(&of(&self.key, row), all), of(&self.value, row));
        let part = |it: &Tensor, span: Span| it.narrow(-2, span.start, span.length);
        let outside = inside.logical_not(); // (n, 1)

        let plain = attended(&query, &key, &value, self.scale(), None);
        let Some(modulation) = modulation else { return plain };
        let is_text = self.roles[row as usize] == Role::Text;
        let about_picture = modulation.needs_joint_attention();
        if !is_text && !about_picture {
            return plain;
        }
        let bias = Tensor::zeros([length, length], (Kind::Double, Device::Cpu));
        let hide = |keys: &Tensor| {
            // (L,) of keys, from the cells outside.
            let mut rows = part(&bias, latents);
            let hidden = outside.logical_and(&keys.unsqueeze(0));
            let _ = rows.masked_fill_(&hidden, f64::NEG_INFINITY);
        };
        let keys_of = |span: Span| {
            let keys = Tensor::zeros([length], (Kind::Bool, Device::Cpu));
            let _ = keys.narrow(0, span.start, span.length).fill_(1.0);
            keys
        };
        match modulation {
            Modulation::Gate => {
                let probs = logits(&query, &key, self.scale()).softmax(-1, Kind::Double);
                let held = probs.narrow(-1, rest.start, rest.length).matmul(&part(&value, rest));
                let output = plain.copy();
                let held = part(&held, latents) * outside.to_kind(Kind::Double);
                let _ = part(&output, latents).g_sub_(&held);
                return output;
            }
            Modulation::Mask => hide(&keys_of(rest)),
            Modulation::Isolate => {
                let keys = keys_of(latents);
                keys.narrow(0, latents.start, latents.length).copy_(&inside.view(-1));
                hide(&keys);
            }
            Modulation::Null => {
                let null = self.roles.iter().position(|it| *it != Role::Text).unwrap() as i64;
                let (null_key, null_value) = (of(&self.key, null), of(&self.value, null));
                part(&key, text).copy_(&turned(&part(&null_key, text), text));
                part(&value, text).copy_(&part(&null_value, text));
                let other = attended(&query, &key, &value, self.scale(), None);
                let mut output = plain.copy();
                let changed = part(&plain, latents).where_self(inside, &part(&other, latents));
                output = output.slice_scatter(
                    &changed,
                    -2,
                    latents.start,
                    latents.start + latents.length,
                    1,
                );
                return output;
            }
            Modulation::Reference => {
                // The clean cells as if they stood where the latents are.
                let clean_key = turned(&part(&of(&self.key, row), clean), latents);
                let clean_value = part(&value, clean);
                for (own, clean) in [(&mut key, clean_key), (&mut value, clean_value)] {
                    let changed = part(own, latents).where_self(inside, &clean);
                    part(own, latents).copy_(&changed);
                }
            }
        }
        attended(&query, &key, &value, self.scale(), Some(&bias))
    }
}

/// Rotary embedding of (H, L, D) by angles (L, D/2): of each two neighbours, as in a plane.
fn turned(xs: &Tensor, angles: &Tensor) -> Tensor {
    let pairs = xs.unflatten(-1, [-1, 2]);
    let (a, b) = (pairs.select(-1, 0), pairs.select(-1, 1));
    let (cos, sin) = (angles.cos(), angles.sin());
    Tensor::stack(&[&a * &cos - &b * &sin, &a * &sin + &b * &cos], -1).flatten(-2, -1)
}

fn logits(query: &Tensor, key: &Tensor, scale: f64) -> Tensor {
    query.matmul(&key.transpose(-1, -2)) * scale
}

fn attended(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    scale: f64,
    bias: Option<&Tensor>,
) -> Tensor {
    let logits = logits(query, key, scale);
    let logits = match bias {
        Some(bias) => logits + bias,
        None => logits,
    };
    logits.softmax(-1, Kind::Double).matmul(value)
}

/// Which cells are edited, (n, 1).
fn inside(layer: &Layer, is_edited: impl Fn(i64) -> bool) -> Tensor {
    let cells = layer.site.height * layer.site.width;
    let flags: Vec<bool> = (0..cells).map(is_edited).collect();
    Tensor::from_slice(&flags).unsqueeze(-1)
}

fn modulator(modulation: Modulation, layer: &Layer, inside: &Tensor) -> AttnModulator {
    let AttnSite { height, width, .. } = layer.site;
    let mask = inside.to_kind(Kind::Float).view([1, 1, height, width]);
    AttnModulator::new(modulation, mask)
}

fn check(layer: &Layer, modulation: Modulation, inside: &Tensor, what: &str) {
    check_within(TOLERANCE, layer, modulation, inside, what);
}

fn check_within(
    tolerance: f64,
    layer: &Layer,
    modulation: Modulation,
    inside: &Tensor,
    what: &str,
) {
    let found = layer.visited(&mut modulator(modulation, layer, inside));
    for row in 0..layer.roles.len() as i64 {
        let expected = layer.expected(Some(modulation), row, inside);
        let error = relative_error(&found.select(0, row), &expected);
        assert!(error < tolerance, "{modulation:?}, {what}, row {row}: {error:e}");
    }
}

#[test]
fn each_modulation_is_that_of_the_whole_matrix_for_every_mask_and_row() {
    let layer = Layer::new([5, 7, 2, 3, 16], &[Role::Text, Role::Image]);
    for modulation in Modulation::ALL {
        check(&layer, modulation, &inside(&layer, |it| it % 3 == 0), "a part");
        check(&layer, modulation, &inside(&layer, |it| it == 12), "one cell");
        check(&layer, modulation, &inside(&layer, |_| true), "all");
        check(&layer, modulation, &inside(&layer, |_| false), "nothing");
        // It matters, and where all is edited nothing is changed.
        let plain = layer.expected(None, 0, &inside(&layer, |_| true));
        for (of, least) in
            [(inside(&layer, |it| it % 3 == 0), true), (inside(&layer, |_| true), false)]
        {
            let changed = relative_error(&layer.expected(Some(modulation), 0, &of), &plain);
            assert_eq!(changed > 1e-2, least, "{modulation:?}: {changed:e}");
        }
    }
}

#[test]
fn a_layer_without_rotary_embedding_takes_the_pictures_keys_as_they_are() {
    let mut layer = Layer::new([4, 6, 1, 2, 8], &[Role::Text]);
    layer.angles = None;
    check(&layer, Modulation::Reference, &inside(&layer, |it| it < 9), "a part");
}

#[test]
fn layers_that_are_handled_in_parts_are_whole() {
    // Five heads, of which four at once; a thousand cells, of which 64 at once.
    let layer = Layer::new([32, 32, 1, 5, 128], &[Role::Text]);
    let inside = inside(&layer, |it| it % 32 > 20);
    for modulation in
        [Modulation::Gate, Modulation::Mask, Modulation::Isolate, Modulation::Reference]
    {
        check(&layer, modulation, &inside, "in parts");
    }
}

#[test]
fn jobs_that_share_a_call_have_masks_and_modulations_of_their_own() {
    let roles = [Role::Text, Role::Image, Role::Text, Role::Text, Role::Image];
    let layer = Layer::new([4, 5, 1, 2, 16], &roles);
    let jobs = [
        (Modulation::Reference, inside(&layer, |it| it < 7), 2),
        (Modulation::Isolate, inside(&layer, |it| it % 2 == 0), 1),
        (Modulation::Null, inside(&layer, |it| it > 13), 2),
    ];
    let mut guests: Vec<AttnModulator> =
        jobs.iter().map(|(modulation, inside, _)| modulator(*modulation, &layer, inside)).collect();
    let rows = guests.iter_mut().zip(&jobs);
    let guests = rows.map(|(guest, (.., rows))| (guest as &mut dyn AttnProcessor, *rows)).collect();
    let found = layer.visited(&mut RowGuests { guests });
    let mut start = 0;
    for (modulation, inside, rows) in &jobs {
        let own = Layer {
            query: layer.query.narrow(0, start, *rows as i64),
            key: layer.key.narrow(0, start, *rows as i64),
            value: layer.value.narrow(0, start, *rows as i64),
            angles: layer.angles.as_ref().map(Tensor::shallow_clone),
            roles: roles[start as usize..][..*rows].to_vec(),
            ..layer
        };
        for row in 0..*rows as i64 {
            let expected = own.expected(Some(*modulation), row, inside);
            let error = relative_error(&found.select(0, start + row), &expected);
            assert!(error < TOLERANCE, "{modulation:?}, row {row}: {error:e}");
        }
        start += *rows as i64;
    }
}

#[test]
fn a_query_that_attends_to_almost_nothing_else_than_what_is_masked_is_right_too() {
    // The instruction's tokens take all but e^-15 of the attention, more than fp32 can subtract.
    let layer = Layer::new([6, 6, 1, 2, 16], &[Role::Text]);
    let [_, rest, latents, _] = spans(layer.site.keys);
    let (mut layer, distance) = (layer, 15.0);
    layer.angles = None;
    for (modulation, masked) in [(Modulation::Mask, rest), (Modulation::Isolate, latents)] {
        let _ = layer.query.select(3, 0).fill_(4.0);
        let _ = layer.key.select(3, 0).fill_(0.0);
        let _ = layer.key.select(3, 0).narrow(2, masked.start, masked.length).fill_(distance);
        let inside = inside(&layer, |it| it != 20);
        // Where more than a sixteenth is left it is divided by that.
        check_within(16.0 * TOLERANCE, &layer, modulation, &inside, "little is left");
        // In 16 bits the output has few digits of its own, of which as many are right.
        let [query, key, value] =
            [&layer.query, &layer.key, &layer.value].map(|it| it.to_kind(Kind::BFloat16));
        let rounded =
            Layer { query, key, value, roles: layer.roles.clone(), angles: None, ..layer };
        let found = rounded.visited(&mut modulator(modulation, &layer, &inside));
        let expected = rounded.expected(Some(modulation), 0, &inside);
        let error = relative_error(&found.select(0, 0), &expected);
        assert!(error < 8e-3, "{modulation:?}: {error:e}");
    }
}

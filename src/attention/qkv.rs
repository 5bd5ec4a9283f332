//! Attention processors: the hook through which a method reads and changes the U-Net's attention, and the types that it
//! shares with the U-Net (attention sites, guidance branches, Q, K, V).
//!
//! The hook's shape is diffusers' `AttnProcessor`. Differs: it does not compute the layer but is given its Q, K, V and
//! output, and may change the output in place. So a processor is a few lines, every layer stays one fused call, and
//! rows of several jobs can share a batch. Sites and branches are types instead of names and indices.

use tch::{Kind, Tensor};

use crate::attention::{role::Role, rotary::Rotary, site::Span};
use crate::kernels::{cpu::flash_attention, gpu::library::fused};

/// Keys whose logits are held at once where no kernel gives their log-sum-exp.
const KEY_BLOCK: i64 = 512;

/// Queries, keys and values of one layer, for every row of the batch.
#[derive(Debug)]
pub struct Qkv<'a> {
    /// Queries, (N, H, Q, D).
    pub query: Tensor,
    /// Keys, (N, H, K, D).
    pub key: Tensor,
    /// Values, (N, H, K, D).
    pub value: Tensor,
    /// Scale of the logits, D^-1/2.
    pub scale: f64,
    /// What each of the N rows is; a batch of samples repeats a guidance's roles.
    pub roles: &'a [Role],
    /// What queries and keys are before their rotary embedding, where the layer has one and the processor
    /// [reads](crate::attention::processor::AttnProcessor::reads_unrotated) it.
    pub unrotated: Option<Unrotated<'a>>,
}

/// Queries and keys before their rotary embedding: what tokens are, without where they stand.
#[derive(Debug)]
pub struct Unrotated<'a> {
    /// Queries, (N, H, L, D).
    pub query: Tensor,
    /// Keys, (N, H, L, D).
    pub key: Tensor,
    /// The rotations of the sequence.
    pub rotary: &'a Rotary,
}

/// A layer's output, and what is needed to compute single attention probabilities.
#[derive(Debug)]
pub struct Attended {
    /// (N, H, Q, D).
    pub output: Tensor,
    /// Log-sum-exp of each query's logits, (N, H, Q) in fp32, if the kernel returns it.
    log_sum_exp: Option<Tensor>,
}

impl<'a> Qkv<'a> {
    /// Computes the layer's output with the fastest fused kernel: this crate's own for bf16 on CPUs with AVX512-BF16,
    /// else libtorch's.
    pub fn attend(&self) -> Attended {
        let Self { query, key, value, scale, .. } = self;
        match flash_attention::attend(query, key, value, *scale) {
            Some(native) => {
                Attended { output: native.output, log_sum_exp: Some(native.log_sum_exp) }
            }
            None => Attended {
                output: Tensor::scaled_dot_product_attention(
                    query,
                    key,
                    value,
                    None::<Tensor>,
                    0.0,
                    false,
                    *scale,
                    false,
                ),
                log_sum_exp: None,
            },
        }
    }

    /// The rows `start..start + length` of the batch, as views.
    #[must_use]
    pub fn rows(&self, start: usize, length: usize) -> Qkv<'a> {
        let of = |it: &Tensor| it.narrow(0, start as i64, length as i64);
        Qkv {
            query: of(&self.query),
            key: of(&self.key),
            value: of(&self.value),
            scale: self.scale,
            roles: &self.roles[start..start + length],
            unrotated: self.unrotated.as_ref().map(|it| Unrotated {
                query: of(&it.query),
                key: of(&it.key),
                rotary: it.rotary,
            }),
        }
    }

    /// The first batch row of a role, which the batch must have.
    pub fn row_of(&self, role: Role) -> i64 {
        let row = self.roles.iter().position(|&it| it == role);
        row.expect("an edit's batch has the roles that its guest looks at") as i64
    }

    /// Index of the first batch row without the instruction, whose prompt is the null prompt.
    pub fn null_row(&self) -> i64 {
        let row = self.roles.iter().position(|&it| it != Role::Text);
        row.expect("guidance keeps a role without the instruction") as i64
    }

    /// Attention of one row's queries over another row's keys and values: (H, Q, D).
    pub fn attend_across(&self, queries: i64, keys: i64) -> Tensor {
        let query = self.query.narrow(0, queries, 1);
        let [key, value] = [&self.key, &self.value].map(|it| it.narrow(0, keys, 1));
        let row = Qkv { query, key, value, scale: self.scale, roles: &[], unrotated: None };
        row.attend().output.squeeze_dim(0)
    }

    /// Probabilities of the first key for one batch row, (H, Q, 1) in fp32.
    pub fn first_probs(&self, attended: &Attended, row: i64) -> Tensor {
        let queries = Span::first(self.query.size()[2]);
        let fused = match &attended.log_sum_exp {
            Some(_) => None,
            None => self.half_logits(row, queries).and_then(|it| fused::first_softmax(&it)),
        };
        fused.unwrap_or_else(|| self.probs_of(attended, row, queries, Span::first(1)))
    }

    /// Probabilities (H, queries, keys) in fp32 of one batch row, as shares of all keys.
    pub fn probs_of(&self, attended: &Attended, row: i64, queries: Span, keys: Span) -> Tensor {
        match &attended.log_sum_exp {
            Some(log_sum_exp) => {
                let log_sum_exp = of(&log_sum_exp.select(0, row), queries).unsqueeze(-1);
                (self.logits(row, queries, keys) - log_sum_exp).exp()
            }
            None => self.probs(row, queries).narrow(2, keys.start, keys.length),
        }
    }

    /// Log-sum-exp of the logits of some heads and queries of one batch row, (heads, queries) in fp32.
    pub fn log_sum_exp(
        &self,
        attended: &Attended,
        row: i64,
        [heads, queries]: [Span; 2],
    ) -> Tensor {
        let of_heads = |it: &Tensor| it.select(0, row).narrow(0, heads.start, heads.length);
        if let Some(log_sum_exp) = &attended.log_sum_exp {
            return of(&of_heads(log_sum_exp), queries);
        }
        let query = of(&of_heads(&self.query), queries).to_kind(Kind::Float) * self.scale;
        let keys = of_heads(&self.key);
        let total = Tensor::full([1], f64::NEG_INFINITY, (Kind::Float, query.device()));
        let blocks = (0..keys.size()[1]).step_by(KEY_BLOCK as usize);
        blocks.fold(total, |total, start| {
            let length = KEY_BLOCK.min(keys.size()[1] - start);
            let key = keys.narrow(1, start, length).to_kind(Kind::Float);
            let logits = query.matmul(&key.transpose(-1, -2));
            total.logaddexp(&logits.logsumexp([-1i64].as_slice(), false))
        })
    }

    /// Adds the head mean of [`Self::probs_of`] to `sum`, (queries, keys) in fp32.
    pub fn add_mean_probs(
        &self,
        attended: &Attended,
        row: i64,
        [queries, keys]: [Span; 2],
        sum: &mut Tensor,
    ) {
        if let Some(log_sum_exp) = &attended.log_sum_exp {
            let query = of(&self.query.select(0, row), queries);
            let key = of(&self.key.select(0, row), keys);
            let log_sum_exp = of(&log_sum_exp.select(0, row), queries);
            flash_attention::add_mean_probs(&query, &key, &log_sum_exp, self.scale, sum);
        } else if self.add_mean_softmax(row, [queries, keys], sum).is_none() {
            let probs = self.probs_of(attended, row, queries, keys); // (H, q, k)
            let mean = probs.mean_dim([0i64].as_slice(), false, Kind::Float);
            let _ = sum.g_add_(&mean.to_device(sum.device()));
        }
    }

    /// [`Self::add_mean_probs`] of all keys in one pass over logits in fp16, where the device has it.
    fn add_mean_softmax(
        &self,
        row: i64,
        [queries, keys]: [Span; 2],
        sum: &mut Tensor,
    ) -> Option<()> {
        let is_whole = keys == Span::first(self.key.size()[2]);
        let logits = is_whole.then(|| self.half_logits(row, queries)).flatten()?;
        fused::add_mean_softmax(&logits, sum)
    }

    /// Whether [`Self::add_mean_probs`] handles all queries at once, without fp32 copies of their logits.
    pub fn adds_at_once(&self) -> bool {
        self.query.kind() == Kind::Half && fused::is_open(self.query.device())
    }

    /// Logits (H, length, K) in fp16 (diffusers: `get_attention_scores`), where the networks are so and fused layers
    /// take them.
    fn half_logits(&self, row: i64, queries: Span) -> Option<Tensor> {
        self.adds_at_once().then(|| {
            let query = of(&self.query.select(0, row), queries); // (H, q, D)
            let key = self.key.select(0, row).transpose(-1, -2); // (H, D, K)
            // Nothing of it is read, as its factor is 0.
            let none = Tensor::empty([1, 1, 1], (Kind::Half, query.device()));
            none.baddbmm(&query, &key, 0.0, self.scale) // (H, q, K)
        })
    }

    /// Probabilities (H, queries, K) in fp32 of one batch row.
    pub fn probs(&self, row: i64, queries: Span) -> Tensor {
        self.logits(row, queries, Span::first(self.key.size()[2])).softmax(-1, Kind::Float)
    }

    /// Logits (H, queries, keys) in fp32 of one batch row.
    fn logits(&self, row: i64, queries: Span, keys: Span) -> Tensor {
        let query = of(&self.query.select(0, row), queries).to_kind(Kind::Float); // (H, q, D)
        let key = of(&self.key.select(0, row), keys).to_kind(Kind::Float); // (H, k, D)
        query.matmul(&key.transpose(-1, -2)) * self.scale // (H, q, k)
    }
}

/// A part of a batch row's sequence, (H, L, …), as a view.
fn of(row: &Tensor, span: Span) -> Tensor {
    row.narrow(1, span.start, span.length)
}

impl Attended {
    /// The rows `start..start + length` of the batch, as views.
    #[must_use]
    pub fn rows(&self, start: usize, length: usize) -> Self {
        let of = |it: &Tensor| it.narrow(0, start as i64, length as i64);
        Self { output: of(&self.output), log_sum_exp: self.log_sum_exp.as_ref().map(of) }
    }
}

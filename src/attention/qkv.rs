//! Attention processors: the hook through which a method reads and changes the U-Net's attention, and the types that it
//! shares with the U-Net (attention sites, guidance branches, Q, K, V).
//!
//! The hook's shape is diffusers' `AttnProcessor`. Differs: it does not compute the layer but is given its Q, K, V and
//! output, and may change the output in place. So a processor is a few lines, every layer stays one fused call, and
//! rows of several jobs can share a batch. Sites and branches are types instead of names and indices.

use tch::{Kind, Tensor};

use crate::attention::role::Role;
use crate::kernels::{cpu::flash_attention, gpu::library::fused};

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
        let row = Qkv { query, key, value, scale: self.scale, roles: &[] };
        row.attend().output.squeeze_dim(0)
    }

    /// Probabilities of the first key for one batch row, (H, Q, 1) in fp32.
    pub fn first_probs(&self, attended: &Attended, row: i64) -> Tensor {
        let queries = self.query.size()[2];
        if let Some(log_sum_exp) = &attended.log_sum_exp {
            let logits = self.logits(row, 0, queries, 1); // (H, Q, 1)
            return (logits - log_sum_exp.select(0, row).unsqueeze(-1)).exp();
        }
        let fused = self.half_logits(row, 0, queries).and_then(|it| fused::first_softmax(&it));
        fused.unwrap_or_else(|| self.probs(row, 0, queries).narrow(2, 0, 1))
    }

    /// Adds one batch row's head-averaged probabilities for the queries from `start` on to `sum`, (queries, K) in fp32.
    pub fn add_mean_probs(&self, attended: &Attended, row: i64, start: i64, sum: &mut Tensor) {
        let length = sum.size()[0];
        if let Some(log_sum_exp) = &attended.log_sum_exp {
            let query = self.query.select(0, row).narrow(1, start, length);
            let log_sum_exp = log_sum_exp.select(0, row).narrow(1, start, length);
            let key = self.key.select(0, row);
            flash_attention::add_mean_probs(&query, &key, &log_sum_exp, self.scale, sum);
        } else if self.add_mean_softmax(row, start, sum).is_none() {
            let probs = self.probs(row, start, length); // (H, q, K)
            let mean = probs.mean_dim([0i64].as_slice(), false, Kind::Float);
            let _ = sum.g_add_(&mean.to_device(sum.device()));
        }
    }

    /// [`Self::add_mean_probs`] in one pass over fp16 logits; `None` if the device has no such kernel.
    fn add_mean_softmax(&self, row: i64, start: i64, sum: &mut Tensor) -> Option<()> {
        fused::add_mean_softmax(&self.half_logits(row, start, sum.size()[0])?, sum)
    }

    /// Whether [`Self::add_mean_probs`] handles all queries at once, without fp32 copies of their logits.
    pub fn adds_at_once(&self) -> bool {
        self.query.kind() == Kind::Half && fused::is_open(self.query.device())
    }

    /// Logits (H, length, K) in fp16 (diffusers: `get_attention_scores`); `None` unless the networks run in fp16 and
    /// fused kernels are loaded.
    fn half_logits(&self, row: i64, start: i64, length: i64) -> Option<Tensor> {
        self.adds_at_once().then(|| {
            let query = self.query.select(0, row).narrow(1, start, length); // (H, q, D)
            let key = self.key.select(0, row).transpose(-1, -2); // (H, D, K)
            // Nothing of it is read, as its factor is 0.
            let none = Tensor::empty([1, 1, 1], (Kind::Half, query.device()));
            none.baddbmm(&query, &key, 0.0, self.scale) // (H, q, K)
        })
    }

    /// Probabilities (H, length, K) in fp32 of one batch row, for the queries `start..start + length`.
    pub fn probs(&self, row: i64, start: i64, length: i64) -> Tensor {
        self.logits(row, start, length, self.key.size()[2]).softmax(-1, Kind::Float)
    }

    /// Logits (H, length, keys) in fp32 of one batch row, for the queries `start..start + length` and the first `keys`
    /// keys.
    fn logits(&self, row: i64, start: i64, length: i64, keys: i64) -> Tensor {
        let query = self.query.select(0, row).narrow(1, start, length).to_kind(Kind::Float); // (H, q, D)
        let key = self.key.select(0, row).narrow(1, 0, keys).to_kind(Kind::Float); // (H, K, D)
        query.matmul(&key.transpose(-1, -2)) * self.scale // (H, q, K)
    }
}

impl Attended {
    /// The rows `start..start + length` of the batch, as views.
    #[must_use]
    pub fn rows(&self, start: usize, length: usize) -> Self {
        let of = |it: &Tensor| it.narrow(0, start as i64, length as i64);
        Self { output: of(&self.output), log_sum_exp: self.log_sum_exp.as_ref().map(of) }
    }
}

//! Attention processors: the hook through which a method reads and changes the U-Net's attention, and the types that it
//! shares with the U-Net (attention sites, guidance branches, Q, K, V).
//!
//! The hook's shape is diffusers' `AttnProcessor`. Differs: it does not compute the layer but is given its Q, K, V and
//! output, and may change the output in place. So a processor is a few lines, every layer stays one fused call, and
//! rows of several jobs can share a batch. Sites and branches are types instead of names and indices.

use std::fmt;

use tch::{Device, Kind, Tensor};

use crate::kernels::{cuda_library::fused, flash_attention};

/// The part of the U-Net that a block belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// `down_blocks`.
    Down,
    /// `mid_block`.
    Mid,
    /// `up_blocks`.
    Up,
}

/// Self- or cross-attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AttnKind {
    /// The image itself (`attn1`).
    SelfAttn,
    /// The prompt (`attn2`).
    CrossAttn,
}

/// One attention layer of a U-Net, with the resolution of its hidden states in one call.
///
/// `Display` gives diffusers' key, such as `up_blocks.1.attentions.0.transformer_blocks.0.attn2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttnSite {
    /// Which part of the U-Net.
    pub stage: Stage,
    /// Index in `down_blocks` or `up_blocks`; 0 in the middle.
    pub block: usize,
    /// Index in the block's `attentions`.
    pub attention: usize,
    /// Index in the transformer's `transformer_blocks`.
    pub transformer: usize,
    /// Self- or cross-attention.
    pub kind: AttnKind,
    /// Number of times that the latent was downsampled by 2 before this layer: 0 is the latent's own resolution.
    pub level: usize,
    /// Height of the hidden states in this call, in latent cells of this level.
    pub height: i64,
    /// Width of the hidden states in this call, in latent cells of this level.
    pub width: i64,
}

/// One row of InstructPix2Pix's classifier-free guidance triple.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Branch {
    /// Conditioned on instruction and image.
    Text,
    /// Conditioned on the image alone.
    Image,
    /// Unconditional: neither instruction nor image.
    Uncond,
}

impl Branch {
    /// The order of diffusers' pipeline: text, image, unconditional.
    pub const TRIPLE: [Self; 3] = [Self::Text, Self::Image, Self::Uncond];
}

/// Whether a U-Net call runs for the first time or is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// First attempt.
    First,
    /// Retry from the start, after a failed attempt.
    Again,
}

/// An attention processor (hook) for one U-Net call (diffusers: `AttnProcessor`).
pub trait AttnProcessor: Send {
    /// Called before a U-Net call. On a retry, whatever was accumulated during the failed attempt must be discarded.
    fn begin(&mut self, _attempt: Attempt) {}

    /// Whether [`visit`](Self::visit) is to be called at this site.
    fn watches(&self, site: &AttnSite) -> bool;

    /// Called after a layer with its inputs and its output, which may be changed in place.
    fn visit(&mut self, site: &AttnSite, qkv: &Qkv, attended: &Attended);

    /// This processor in its recordable form for the call that has begun; `None` if it must be called at each site.
    fn replayable(&mut self, _call: &CallShape) -> Option<&mut dyn Replayable> {
        None
    }
}

/// Shape of a U-Net call before it runs.
#[derive(Debug, Clone, Copy)]
pub struct CallShape<'a> {
    /// All its attention layers, in execution order.
    pub sites: &'a [AttnSite],
    /// Number of prompt tokens.
    pub tokens: i64,
    /// Device that it runs on.
    pub device: Device,
}

/// A processor that launches the same device work at every call, so that a call can be recorded once (a CUDA graph) and
/// replayed for any processor of its kind.
///
/// Its [`visit`](AttnProcessor::visit) must work on the device alone: it may neither synchronize nor copy to the CPU.
pub trait Replayable {
    /// Names the work done at a site. Processors of one name may differ only in the sites that they watch and in the
    /// values of their tensors.
    fn work(&self) -> &'static str;

    /// Its tensors, on the call's device.
    fn tensors(&self) -> GuestTensors;

    /// A processor that does the same work on other tensors of the same shapes.
    fn over(&self, tensors: GuestTensors) -> Box<dyn AttnProcessor>;

    /// Called after a replay: its tensors now hold what visiting these sites would have left.
    fn replayed(&mut self, visited: &[AttnSite]);
}

/// Tensors that a replayable processor works on.
#[derive(Debug, Default)]
pub struct GuestTensors {
    /// Read only.
    pub read: Vec<Tensor>,
    /// Read and changed in place.
    pub changed: Vec<Tensor>,
}

/// Several processors in one call, each of which sees its own rows of the batch.
pub struct RowGuests<'a> {
    /// In row order, each with its number of rows.
    pub guests: Vec<(&'a mut dyn AttnProcessor, usize)>,
}

impl AttnProcessor for RowGuests<'_> {
    fn watches(&self, site: &AttnSite) -> bool {
        self.guests.iter().any(|(guest, _)| guest.watches(site))
    }

    fn visit(&mut self, site: &AttnSite, qkv: &Qkv, attended: &Attended) {
        let mut start = 0;
        for (guest, rows) in &mut self.guests {
            if guest.watches(site) {
                guest.visit(site, &qkv.rows(start, *rows), &attended.rows(start, *rows));
            }
            start += *rows;
        }
    }
}

/// The processor that watches no site: the plain U-Net.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl AttnProcessor for Unwatched {
    fn watches(&self, _site: &AttnSite) -> bool {
        false
    }

    fn visit(&mut self, _site: &AttnSite, _qkv: &Qkv, _attended: &Attended) {}
}

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
    /// Guidance branch of each of the N rows; a batch of samples repeats the triple.
    pub branches: &'a [Branch],
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
            branches: &self.branches[start..start + length],
        }
    }

    /// Index of the first batch row of a branch.
    ///
    /// # Panics
    /// If the batch has no such row.
    pub fn row_of(&self, branch: Branch) -> i64 {
        let row = self.branches.iter().position(|&it| it == branch);
        row.expect("an edit's batch has the branches that its guest looks at") as i64
    }

    /// Index of the first batch row without the instruction, whose prompt is the null prompt.
    pub fn null_row(&self) -> i64 {
        let row = self.branches.iter().position(|&it| it != Branch::Text);
        row.expect("guidance keeps a branch without the instruction") as i64
    }

    /// Attention of one row's queries over another row's keys and values: (H, Q, D).
    pub fn attend_across(&self, queries: i64, keys: i64) -> Tensor {
        let query = self.query.narrow(0, queries, 1);
        let [key, value] = [&self.key, &self.value].map(|it| it.narrow(0, keys, 1));
        let row = Qkv { query, key, value, scale: self.scale, branches: &[] };
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

// === impl RowGuests ===

impl fmt::Debug for RowGuests<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowGuests").field("guests", &self.guests.len()).finish()
    }
}

// === impl AttnSite ===

impl fmt::Display for AttnSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stage {
            Stage::Down => write!(f, "down_blocks.{}", self.block)?,
            Stage::Mid => write!(f, "mid_block")?,
            Stage::Up => write!(f, "up_blocks.{}", self.block)?,
        }
        let attn = match self.kind {
            AttnKind::SelfAttn => "attn1",
            AttnKind::CrossAttn => "attn2",
        };
        write!(f, ".attentions.{}.transformer_blocks.{}.{attn}", self.attention, self.transformer)
    }
}

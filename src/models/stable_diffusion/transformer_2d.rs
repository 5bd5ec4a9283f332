//! Transformer over a grid of hidden states: self-attention, cross-attention, gated feed-forward network.
//!
//! Source: diffusers 0.42.1, `models/transformers/transformer_2d.py` (`Transformer2DModel` with continuous input) and
//! `models/attention.py` (`BasicTransformerBlock`, `FeedForward`, `GEGLU`).

use tch::Tensor;

use crate::attention::site::{AttnSite, Keys};
use crate::models::{
    layers::{GroupNorm, LayerNorm, Linear, Sum, geglu, rows_of},
    stable_diffusion::attention::{Attention, AttnContext},
    weights::VarPath,
};

/// Epsilon of the group norm before `proj_in` (`Transformer2DModel._init_continuous_input`).
const NORM_EPS: f64 = 1e-6;
/// Epsilon of the layer norms (`BasicTransformerBlock`, `norm_eps`).
const LAYER_NORM_EPS: f64 = 1e-5;
/// Ratio of the feed-forward network's hidden width to its input (`FeedForward`, `mult`).
const FEED_FORWARD_MULT: i64 = 4;

/// Configuration of a [`Transformer2DModel`].
#[derive(Debug, Clone, Copy)]
pub struct Transformer2DConfig {
    /// Channels in and out; a multiple of `heads`.
    pub channels: i64,
    /// Attention heads.
    pub heads: i64,
    /// Transformer blocks.
    pub layers: i64,
    /// Width of the prompt's hidden states.
    pub cross_attention_dim: i64,
    /// Groups of the group norm.
    pub norm_num_groups: i64,
    /// Whether the projections are stored as linear layers instead of 1×1 convolutions.
    pub use_linear_projection: bool,
}

/// Transformer blocks over the cells of a grid, with a residual connection.
///
/// Differs: a projection stored as a 1×1 convolution runs as the equivalent linear layer on the permuted hidden states,
/// so that both kinds of checkpoint use the same code.
#[derive(Debug)]
pub struct Transformer2DModel {
    norm: GroupNorm,
    proj_in: Linear,
    transformer_blocks: Vec<BasicTransformerBlock>,
    proj_out: Linear,
}

/// Self-attention, cross-attention and feed-forward network, each after a layer norm and with a residual connection.
#[derive(Debug)]
struct BasicTransformerBlock {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff: FeedForward,
}

/// A gated feed-forward network (diffusers: `FeedForward` with `GEGLU`).
#[derive(Debug)]
struct FeedForward {
    proj: Linear,
    out: Linear,
}

// === impl Transformer2DModel ===

impl Transformer2DModel {
    /// Loads the transformer at `site`, whose `transformer` and `kind` are set for each layer.
    pub fn new(vs: &VarPath<'_>, site: AttnSite, config: &Transformer2DConfig) -> Self {
        let channels = config.channels;
        let projection =
            if config.use_linear_projection { Linear::new } else { Linear::from_conv_1x1 };
        let blocks = vs / "transformer_blocks";
        Self {
            norm: GroupNorm::new(&(vs / "norm"), config.norm_num_groups, channels, NORM_EPS),
            proj_in: projection(&(vs / "proj_in"), channels, channels),
            transformer_blocks: (0..config.layers as usize)
                .map(|index| {
                    BasicTransformerBlock::new(
                        &(&blocks / index),
                        AttnSite { transformer: index, ..site },
                        config,
                    )
                })
                .collect(),
            proj_out: projection(&(vs / "proj_out"), channels, channels),
        }
    }

    /// (N, C, h, w) to (N, C, h, w); takes ownership of the hidden states, which it may overwrite.
    pub fn forward(&self, hidden_states: Tensor, context: &mut AttnContext<'_>) -> Tensor {
        let residual = hidden_states;
        let grid = [residual.size()[2], residual.size()[3]];

        // 1. Input
        let hidden_states = rows_of(&self.norm.forward(&residual)); // (N, Q, C)
        let mut hidden_states = self.proj_in.forward(&hidden_states);

        // 2. Blocks
        for block in &self.transformer_blocks {
            hidden_states = block.forward(hidden_states, grid, context);
        }

        // 3. Output
        let sum = self.proj_out.forward_onto(&hidden_states, rows_of(&residual));
        sum.into_tensor().transpose(1, 2).unflatten(2, grid) // (N, C, h, w)
    }
}

// === impl BasicTransformerBlock ===

impl BasicTransformerBlock {
    fn new(vs: &VarPath<'_>, site: AttnSite, config: &Transformer2DConfig) -> Self {
        let Transformer2DConfig { channels, heads, cross_attention_dim, .. } = *config;
        let self_attn = AttnSite { keys: Keys::Image, ..site };
        let cross_attn = AttnSite { keys: Keys::Text, ..site };
        Self {
            norm1: LayerNorm::new(&(vs / "norm1"), channels, LAYER_NORM_EPS),
            attn1: Attention::new(&(vs / "attn1"), self_attn, heads, channels, channels),
            norm2: LayerNorm::new(&(vs / "norm2"), channels, LAYER_NORM_EPS),
            attn2: Attention::new(
                &(vs / "attn2"),
                cross_attn,
                heads,
                channels,
                cross_attention_dim,
            ),
            norm3: LayerNorm::new(&(vs / "norm3"), channels, LAYER_NORM_EPS),
            ff: FeedForward::new(&(vs / "ff" / "net"), channels),
        }
    }

    /// (N, Q, C), a grid of height × width = Q cells, to (N, Q, C); takes ownership of the hidden states, which it may
    /// overwrite.
    fn forward(
        &self,
        hidden_states: Tensor,
        grid: [i64; 2],
        context: &mut AttnContext<'_>,
    ) -> Tensor {
        // 1. Self-attention
        let normed = self.norm1.forward(&hidden_states);
        let sum = self.attn1.forward_onto(&normed, hidden_states, grid, context);

        // 2. Cross-attention
        let (hidden_states, normed) = self.norm2.forward_of_sum(sum);
        let sum = self.attn2.forward_onto(&normed, hidden_states, grid, context);

        // 3. Feed-forward
        let (hidden_states, normed) = self.norm3.forward_of_sum(sum);
        self.ff.forward_onto(&normed, hidden_states).into_tensor()
    }
}

// === impl FeedForward ===

impl FeedForward {
    fn new(vs: &VarPath<'_>, channels: i64) -> Self {
        let inner = channels * FEED_FORWARD_MULT;
        Self {
            proj: Linear::new(&(vs / 0 / "proj"), channels, 2 * inner),
            out: Linear::new(&(vs / 2), inner, channels),
        }
    }

    /// (N, Q, C) to (N, Q, C), plus `residual`, (N, Q, C).
    fn forward_onto(&self, hidden_states: &Tensor, residual: Tensor) -> Sum {
        self.out.forward_onto(&geglu(&self.proj.forward(hidden_states)), residual)
    }
}

//! The two kinds of blocks.
//!
//! Source: diffusers 0.42.1, `models/transformers/transformer_flux2.py`: `Flux2TransformerBlock`,
//! `Flux2SingleTransformerBlock`, `Flux2FeedForward`.

use tch::{Kind, Tensor};

use crate::models::{
    flux2::{
        attention::{JointAttention, JointContext, ParallelSelfAttention, swiglu},
        embeddings::Modulated,
        transformer_flux2_config::Flux2Transformer2DConfig,
    },
    layers::Linear,
    weights::VarPath,
};

/// Largest finite number of fp16, to which hidden states in fp16 are bounded.
const LARGEST_HALF: f64 = 65504.0;

/// A block with weights of their own for prompt and image: attention over both, then a feed-forward network each.
#[derive(Debug)]
pub(super) struct TransformerBlock {
    attn: JointAttention,
    ff: FeedForward,
    ff_context: FeedForward,
    eps: f64,
}

/// A block with the same weights for prompt and image: attention beside a feed-forward network.
#[derive(Debug)]
pub(super) struct SingleTransformerBlock {
    attn: ParallelSelfAttention,
    eps: f64,
}

/// A gated feed-forward network.
#[derive(Debug)]
struct FeedForward {
    linear_in: Linear,
    linear_out: Linear,
}

/// The timestep's two sets of a double block, of attention and of feed-forward network.
#[derive(Debug)]
pub(super) struct DoubleModulation {
    pub(super) text: Vec<Modulated>,
    pub(super) image: Vec<Modulated>,
}

// === impl TransformerBlock ===

impl TransformerBlock {
    pub(super) fn new(vs: &VarPath<'_>, block: usize, config: &Flux2Transformer2DConfig) -> Self {
        Self {
            attn: JointAttention::new(&(vs / "attn"), block, config),
            ff: FeedForward::new(&(vs / "ff"), config),
            ff_context: FeedForward::new(&(vs / "ff_context"), config),
            eps: config.eps,
        }
    }

    /// The prompt's tokens (N, T, C) and the cells (N, I, C) to the same; may overwrite them.
    pub(super) fn forward(
        &self,
        [text, image]: [Tensor; 2],
        modulation: &DoubleModulation,
        context: &mut JointContext<'_>,
    ) -> [Tensor; 2] {
        let DoubleModulation { text: of_text, image: of_image } = modulation;
        // 1. Attention over both
        let normed = [of_text[0].normed(&text, self.eps), of_image[0].normed(&image, self.eps)];
        let [text_output, image_output] = self.attn.forward([&normed[0], &normed[1]], context);
        let image = of_image[0].added(image, &image_output);
        let text = of_text[0].added(text, &text_output);

        // 2. Feed-forward
        let image = self.ff.forward(image, &of_image[1], self.eps);
        let text = self.ff_context.forward(text, &of_text[1], self.eps);
        [bounded(text), image]
    }
}

// === impl SingleTransformerBlock ===

impl SingleTransformerBlock {
    pub(super) fn new(vs: &VarPath<'_>, block: usize, config: &Flux2Transformer2DConfig) -> Self {
        Self { attn: ParallelSelfAttention::new(&(vs / "attn"), block, config), eps: config.eps }
    }

    /// The whole sequence (N, L, C) to the same; may overwrite it.
    pub(super) fn forward(
        &self,
        hidden_states: Tensor,
        modulated: &Modulated,
        context: &mut JointContext<'_>,
    ) -> Tensor {
        let normed = modulated.normed(&hidden_states, self.eps);
        let output = self.attn.forward(&normed, context);
        bounded(modulated.added(hidden_states, &output))
    }
}

// === impl FeedForward ===

impl FeedForward {
    fn new(vs: &VarPath<'_>, config: &Flux2Transformer2DConfig) -> Self {
        let (inner, mlp) = (config.inner_dim(), config.mlp_hidden_dim());
        Self {
            linear_in: Linear::without_bias(&(vs / "linear_in"), inner, 2 * mlp),
            linear_out: Linear::without_bias(&(vs / "linear_out"), mlp, inner),
        }
    }

    /// Hidden states (N, L, C) plus what the network gives of them; may overwrite them.
    fn forward(&self, hidden_states: Tensor, modulated: &Modulated, eps: f64) -> Tensor {
        let normed = modulated.normed(&hidden_states, eps);
        let output = self.linear_out.forward(&swiglu(&self.linear_in.forward(&normed)));
        modulated.added(hidden_states, &output)
    }
}

/// Hidden states that fp16 can hold.
fn bounded(mut hidden_states: Tensor) -> Tensor {
    match hidden_states.kind() {
        Kind::Half => hidden_states.clamp_(-LARGEST_HALF, LARGEST_HALF),
        _ => hidden_states,
    }
}

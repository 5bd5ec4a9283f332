//! An attention layer of the U-Net: projections around a processor.
//!
//! Source: diffusers 0.42.1, `models/attention_processor.py`, `Attention` and `AttnProcessor2_0`.

use std::fmt;

use tch::Tensor;

use crate::attn_processor::{AttnKind, AttnProcessor, AttnSite, Branch, Qkv};
use crate::models::{layers::Linear, weights::VarPath};

/// What the attention layers of one U-Net call share.
pub struct AttnContext<'a> {
    /// The prompts, (N, K, E).
    pub encoder_hidden_states: &'a Tensor,
    /// What each of the N rows is.
    pub branches: &'a [Branch],
    /// The guest in the layers.
    pub processor: &'a mut dyn AttnProcessor,
}

/// Multi-head attention to the image itself or to the prompt.
///
/// Differs: `upcast_attention` changes nothing, as it changes nothing in diffusers' fused processor; the kernel keeps
/// its logits and softmax statistics in fp32 for half-precision inputs.
#[derive(Debug)]
pub struct Attention {
    site: AttnSite,
    heads: i64,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
}

// === impl Attention ===

impl Attention {
    /// Reads a layer of `channels` in and out, whose keys and values come from `key_channels`.
    pub fn new(
        vs: &VarPath<'_>,
        site: AttnSite,
        heads: i64,
        channels: i64,
        key_channels: i64,
    ) -> Self {
        Self {
            site,
            heads,
            to_q: Linear::without_bias(&(vs / "to_q"), channels, channels),
            to_k: Linear::without_bias(&(vs / "to_k"), key_channels, channels),
            to_v: Linear::without_bias(&(vs / "to_v"), key_channels, channels),
            to_out: Linear::new(&(vs / "to_out" / 0), channels, channels),
        }
    }

    /// (N, Q, C) of a grid of `height` × `width` = Q cells, to (N, Q, C).
    pub fn forward(
        &self,
        hidden_states: &Tensor,
        height: i64,
        width: i64,
        context: &mut AttnContext<'_>,
    ) -> Tensor {
        let encoder_hidden_states = match self.site.kind {
            AttnKind::SelfAttn => hidden_states,
            AttnKind::CrossAttn => context.encoder_hidden_states,
        };
        let query = self.split_heads(&self.to_q.forward(hidden_states)); // (N, H, Q, D)
        let key = self.split_heads(&self.to_k.forward(encoder_hidden_states)); // (N, H, K, D)
        let value = self.split_heads(&self.to_v.forward(encoder_hidden_states)); // (N, H, K, D)

        let scale = (query.size()[3] as f64).powf(-0.5);
        let qkv = Qkv { query, key, value, scale, branches: context.branches };
        let attended = qkv.attend();
        let site = AttnSite { height, width, ..self.site };
        if context.processor.watches(&site) {
            context.processor.visit(&site, &qkv, &attended);
        }

        self.to_out.forward(&attended.output.transpose(1, 2).flatten(2, 3)) // (N, Q, C)
    }

    /// (N, L, H·D) to (N, H, L, D), a view.
    fn split_heads(&self, xs: &Tensor) -> Tensor {
        xs.unflatten(2, [self.heads, -1]).transpose(1, 2)
    }
}

// === impl AttnContext ===

impl fmt::Debug for AttnContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttnContext").field("branches", &self.branches).finish_non_exhaustive()
    }
}

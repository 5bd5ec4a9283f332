//! Multi-head attention layer of the U-Net, with an attention processor as hook.
//!
//! Source: diffusers 0.42.1, `models/attention_processor.py`, `Attention` and `AttnProcessor2_0`.

use std::{cell::RefCell, fmt};

use tch::Tensor;

use crate::attention::{
    processor::AttnProcessor,
    qkv::Qkv,
    role::Role,
    site::{AttnSite, Keys},
};
use crate::models::{
    layers::{Linear, Sum},
    weights::VarPath,
};

/// Arguments that all attention layers of one U-Net call share.
pub struct AttnContext<'a> {
    /// Hidden states of the prompts, (N, K, E).
    pub encoder_hidden_states: &'a Tensor,
    /// What each of the N rows is.
    pub roles: &'a [Role],
    /// The attention processor of the layers.
    pub processor: &'a mut dyn AttnProcessor,
}

/// Multi-head self- or cross-attention.
///
/// Differs: `upcast_attention` has no effect, as in diffusers' fused processor; the kernel keeps its logits and softmax
/// statistics in fp32 for half-precision inputs.
#[derive(Debug)]
pub struct Attention {
    site: AttnSite,
    heads: i64,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    /// Cached keys and values of a cross-attention layer's last prompts, since every step of an edit has the same.
    of_prompts: RefCell<Option<PromptKeys>>,
}

/// Keys and values of prompts.
#[derive(Debug)]
struct PromptKeys {
    /// Kept alive, so that its memory can't be reused by another tensor; a change in place increments its version.
    encoder_hidden_states: Tensor,
    version: i64,
    key: Tensor,
    value: Tensor,
}

// === impl Attention ===

impl Attention {
    /// Loads a layer of `channels` in and out, whose keys and values are computed from `key_channels`.
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
            of_prompts: RefCell::new(None),
        }
    }

    /// Attention of (N, Q, C), a grid of `height` × `width` = Q cells, to (N, Q, C), plus `residual`, (N, Q, C).
    pub fn forward_onto(
        &self,
        hidden_states: &Tensor,
        residual: Tensor,
        [height, width]: [i64; 2],
        context: &mut AttnContext<'_>,
    ) -> Sum {
        let query = self.split_heads(&self.to_q.forward(hidden_states)); // (N, H, Q, D)
        let (key, value) = if self.site.keys == Keys::Text {
            self.keys_and_values_of_prompts(context.encoder_hidden_states)
        } else {
            self.keys_and_values(hidden_states)
        };

        let scale = (query.size()[3] as f64).powf(-0.5);
        let qkv = Qkv { query, key, value, scale, roles: context.roles, unrotated: None };
        let attended = qkv.attend();
        let site = AttnSite { height, width, ..self.site };
        if context.processor.watches(&site) {
            context.processor.visit(&site, &qkv, &attended);
        }

        let hidden_states = attended.output.transpose(1, 2).flatten(2, 3); // (N, Q, H·D)
        self.to_out.forward_onto(&hidden_states, residual) // (N, Q, C)
    }

    /// (N, K, E) to keys and values, each (N, H, K, D).
    fn keys_and_values(&self, encoder_hidden_states: &Tensor) -> (Tensor, Tensor) {
        let key = self.split_heads(&self.to_k.forward(encoder_hidden_states));
        let value = self.split_heads(&self.to_v.forward(encoder_hidden_states));
        (key, value)
    }

    /// [`Self::keys_and_values`], cached while the prompts are the same, unmodified tensor.
    fn keys_and_values_of_prompts(&self, encoder_hidden_states: &Tensor) -> (Tensor, Tensor) {
        let version = encoder_hidden_states.internal_version();
        let mut of_prompts = self.of_prompts.borrow_mut();
        let last = of_prompts.take().filter(|it| {
            it.version == version && is_same(&it.encoder_hidden_states, encoder_hidden_states)
        });
        let found = last.unwrap_or_else(|| {
            let (key, value) = self.keys_and_values(encoder_hidden_states);
            let encoder_hidden_states = encoder_hidden_states.shallow_clone();
            PromptKeys { encoder_hidden_states, version, key, value }
        });
        let found = of_prompts.insert(found);
        (found.key.shallow_clone(), found.value.shallow_clone())
    }

    /// (N, L, H·D) to (N, H, L, D), a view.
    fn split_heads(&self, xs: &Tensor) -> Tensor {
        xs.unflatten(2, [self.heads, -1]).transpose(1, 2)
    }
}

/// Whether two tensors share the same memory.
fn is_same(one: &Tensor, other: &Tensor) -> bool {
    one.data_ptr() == other.data_ptr()
        && one.size() == other.size()
        && one.stride() == other.stride()
        && one.kind() == other.kind()
}

// === impl AttnContext ===

impl fmt::Debug for AttnContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttnContext").field("roles", &self.roles).finish_non_exhaustive()
    }
}

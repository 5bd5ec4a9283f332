//! Attention sites: which attention layer of a U-Net, and at which size.

use std::fmt;

/// Where in the U-Net a block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// `down_blocks`.
    Down,
    /// `mid_block`.
    Mid,
    /// `up_blocks`.
    Up,
}

/// What a layer attends to.
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

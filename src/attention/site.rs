//! Attention sites: which attention layer of a network, at which size, and what its keys are.

use std::fmt;

/// Where in a network a block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// A U-Net's `down_blocks`.
    Down,
    /// Its `mid_block`.
    Mid,
    /// Its `up_blocks`.
    Up,
    /// A diffusion transformer's `transformer_blocks`, with weights of their own for prompt and image.
    Double,
    /// Its `single_transformer_blocks`, with the same weights for both.
    Single,
}

/// A part of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// Index of the first.
    pub start: i64,
    /// How many.
    pub length: i64,
}

/// What a layer attends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keys {
    /// The image itself (`attn1`).
    Image,
    /// The prompt (`attn2`).
    Text,
    /// One sequence, whose queries they are too.
    Joint {
        /// The prompt's tokens.
        text: Span,
        /// How many of them, from the first, are the same for every prompt: a causal text encoder has them from what
        /// stands before any text, and attention goes there that has no other place.
        shared: i64,
        /// The cells of the latents.
        latents: Span,
        /// The cells of the pictures that are edited.
        references: Span,
    },
}

/// One attention layer of a network, at the size of one call.
///
/// `Display` gives diffusers' key, such as `up_blocks.1.attentions.0.transformer_blocks.0.attn2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttnSite {
    /// Which part of the network.
    pub stage: Stage,
    /// Index of the block in that part; 0 in the middle of a U-Net.
    pub block: usize,
    /// Index in the block's `attentions`.
    pub attention: usize,
    /// Index in the transformer's `transformer_blocks`.
    pub transformer: usize,
    /// What it attends to.
    pub keys: Keys,
    /// How often the latent was halved before this layer: 0 is the latent's own size. A diffusion transformer has no
    /// levels.
    pub level: Option<usize>,
    /// True height of the hidden states in this call, in cells.
    pub height: i64,
    /// Width of the hidden states in this call, in latent cells of this level.
    pub width: i64,
}

// === impl Keys ===

impl Keys {
    /// Whether cells of the image are among them.
    pub fn has_image(self) -> bool {
        self != Self::Text
    }

    /// Whether tokens of the prompt are among them.
    pub fn has_text(self) -> bool {
        self != Self::Image
    }

    /// Those of the image's cells, where the layer has `all` keys.
    pub fn image(self, all: i64) -> Span {
        match self {
            Self::Joint { latents, .. } => latents,
            Self::Image | Self::Text => Span::first(all),
        }
    }

    /// Those of the picture that is edited, the first of the pictures, if the latents attend to it in this layer.
    pub fn picture(self) -> Option<Span> {
        match self {
            Self::Joint { latents, references, .. } if references.length >= latents.length => {
                Some(Span { start: references.start, length: latents.length })
            }
            Self::Joint { .. } | Self::Image | Self::Text => None,
        }
    }

    /// Those of the prompt's tokens, where the layer has `all` keys.
    pub fn text(self, all: i64) -> Span {
        match self {
            Self::Joint { text, .. } => text,
            Self::Image | Self::Text => Span::first(all),
        }
    }
}

impl Span {
    /// The first of a sequence, so many.
    pub fn first(length: i64) -> Self {
        Self { start: 0, length }
    }
}

// === impl AttnSite ===

impl AttnSite {
    /// The queries of the image's cells.
    pub fn cells(&self) -> Span {
        self.keys.image(self.height * self.width)
    }
}

impl fmt::Display for AttnSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stage {
            Stage::Down => write!(f, "down_blocks.{}", self.block)?,
            Stage::Mid => write!(f, "mid_block")?,
            Stage::Up => write!(f, "up_blocks.{}", self.block)?,
            Stage::Double => return write!(f, "transformer_blocks.{}.attn", self.block),
            Stage::Single => return write!(f, "single_transformer_blocks.{}.attn", self.block),
        }
        let attn = if self.keys == Keys::Image { "attn1" } else { "attn2" };
        write!(f, ".attentions.{}.transformer_blocks.{}.{attn}", self.attention, self.transformer)
    }
}

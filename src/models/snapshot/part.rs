//! The networks that a model is made of.

use std::fmt::{self, Display, Formatter};

/// A network with weights of its own; it prints as the name of its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// CLIP's text encoder.
    TextEncoder,
    /// The denoising U-Net.
    UNet,
    /// The autoencoder.
    Vae,
}

impl Part {
    /// All parts, in the order in which a prompt meets them.
    pub const ALL: [Self; 3] = [Self::TextEncoder, Self::UNet, Self::Vae];

    /// The name of the part's folder in a snapshot.
    pub fn folder(self) -> &'static str {
        match self {
            Self::TextEncoder => "text_encoder",
            Self::UNet => "unet",
            Self::Vae => "vae",
        }
    }
}

impl Display for Part {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.folder())
    }
}

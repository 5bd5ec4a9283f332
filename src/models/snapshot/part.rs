//! The networks of a model.

use std::fmt::{self, Display, Formatter};

/// A network with its own weights; `Display` gives its folder's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The text encoder.
    TextEncoder,
    /// The denoising U-Net.
    UNet,
    /// The denoising transformer.
    Transformer,
    /// The autoencoder.
    Vae,
}

impl Part {
    /// Folder name of the network in a snapshot.
    pub fn folder(self) -> &'static str {
        match self {
            Self::TextEncoder => "text_encoder",
            Self::UNet => "unet",
            Self::Transformer => "transformer",
            Self::Vae => "vae",
        }
    }
}

impl Display for Part {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.folder())
    }
}

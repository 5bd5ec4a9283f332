//! Command-line arguments of the output file's format and metadata.

use clap::{Args, ValueEnum};

use crate::picture::{format::FileFormat, metadata::Policy};

#[derive(Debug, Clone, Args)]
pub(crate) struct EncodingArgs {
    /// Type of the output [default: by the name's ending, png on standard output].
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Quality of a JPEG, 1 to 100 [default: 95].
    #[arg(long, allow_hyphen_values = true, value_name = "N")]
    pub(crate) quality: Option<u32>,
    /// What of the input's metadata the output has. Each output says that a trained model had a part in it.
    #[arg(long, value_enum, default_value_t = Metadata::Keep)]
    pub(crate) metadata: Metadata,
}

/// [`crate::picture::metadata::Policy`] as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Metadata {
    /// All that the edit does not make untrue, and how the picture was made; no position (GPS), thumbnail or foreign prompt.
    Keep,
    /// What the colors mean, and how the picture was made.
    Color,
    /// Nothing of either.
    Strip,
}

/// Types of picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP, lossless.
    Webp,
}

impl From<Metadata> for Policy {
    fn from(policy: Metadata) -> Self {
        match policy {
            Metadata::Keep => Self::Keep,
            Metadata::Color => Self::Color,
            Metadata::Strip => Self::Strip,
        }
    }
}

impl From<Format> for FileFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Png => Self::Png,
            Format::Jpeg => Self::Jpeg,
            Format::Webp => Self::WebP,
        }
    }
}

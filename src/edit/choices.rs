//! The choices of a request that are one of a few: method, what keeps the rest of the picture, sizes, previews.

use crate::picture::size::Size;
use crate::sampling::geometry::Geometry;

/// The editing methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MethodKind {
    /// Localize, then edit inside the mask.
    IamEdit,
    /// The plain backbone.
    InstructPix2Pix,
}

/// What keeps the rest of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Preserve {
    /// Attention alone, as in the paper.
    None,
    /// The source's latents are put back outside the mask at each step.
    Latent,
    /// The input's own pixels outside the mask, bit for bit, at its full size.
    Pixel,
}

/// The size that the model works at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resize {
    /// The longer side becomes this many pixels; `None` is the model's own size. The result has the input's size.
    Fit(Option<u32>),
    /// The input's own size. Where the VAE needs more columns or rows, the last ones are repeated on the right and below, and cut
    /// off again, so that the result has the input's size.
    ///
    /// Differs: diffusers resamples such a picture to a smaller size, which is the result's.
    Native,
}

/// How a preview is made from the latents of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PreviewDecode {
    /// A linear map to colors, fitted to the picture and its own latents; nearly free.
    Linear,
    /// The autoencoder; a decode each time.
    Vae,
}

/// What an instruction that can't be parsed, or an object that is hardly found, leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unparsed {
    /// A plain edit of the whole picture, or one inside the doubtful mask, with a warning.
    PlainEdit,
    /// An error.
    Refuse,
}

// === impl Resize ===

impl Resize {
    /// The size that the model works at.
    pub fn work_size(self, input: Size, geometry: Geometry) -> Size {
        match self {
            Self::Fit(longer) => input.fit(longer.unwrap_or(geometry.sample_size), geometry.stride),
            Self::Native => input.native(geometry.vae_scale_factor),
        }
    }
}

// === impl MethodKind ===

impl MethodKind {
    /// The name that people type.
    pub fn name(self) -> &'static str {
        match self {
            Self::IamEdit => "iam-edit",
            Self::InstructPix2Pix => "instruct-pix2pix",
        }
    }

    /// The name in a title.
    pub fn title(self) -> &'static str {
        match self {
            Self::IamEdit => "IAM-Edit",
            Self::InstructPix2Pix => "InstructPix2Pix",
        }
    }

    /// What keeps the rest of the picture unless the caller says otherwise, or gives a mask: that is kept to by pixels.
    pub fn default_preserve(self) -> Preserve {
        match self {
            Self::IamEdit => Preserve::Pixel,
            Self::InstructPix2Pix => Preserve::None,
        }
    }
}

// === impl Preserve ===

impl Preserve {
    /// The name that people type.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Latent => "latent",
            Self::Pixel => "pixel",
        }
    }
}

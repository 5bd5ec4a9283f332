//! Choices of an edit request that are one of a few: method, preservation of the rest, working size, previews.

use crate::picture::size::Size;
use crate::sampling::geometry::Geometry;

/// Editing methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MethodKind {
    /// IAM-Edit: localize, then edit inside the mask.
    IamEdit,
    /// Plain InstructPix2Pix.
    InstructPix2Pix,
}

/// How the picture outside the mask is preserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Preserve {
    /// By attention modulation only, as in the paper.
    None,
    /// By restoring the source's latents outside the mask after each step.
    Latent,
    /// By copying the input's pixels outside the mask, bit for bit, at its full size.
    Pixel,
}

/// How the working size is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resize {
    /// Scale the longer side to this many pixels; `None` is the model's native size. The result has the input's size.
    Fit(Option<u32>),
    /// Use the input's size. If the VAE needs more columns or rows, the last ones are repeated on the right and below
    /// and cropped from the result, which has the input's size.
    ///
    /// Differs: diffusers resizes such a picture to a smaller size, which the result then has.
    /// Differs: diffusers resamples such a picture to a smaller size, which is the result's.
    Native,
}

/// How a step's preview is computed from its latents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PreviewDecode {
    /// By a linear map to RGB, fitted to the picture and its latents; nearly free.
    Linear,
    /// By the VAE; one decode per preview.
    Vae,
}

/// What to do if the instruction can't be parsed, or the object is found with low confidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unparsed {
    /// A plain edit of the whole picture, or an edit inside the uncertain mask, with a warning.
    PlainEdit,
    /// Fail with an error.
    Refuse,
}

/// The model would work at more pixels than are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the model would work at {work} pixels, more than {most}")]
pub struct TooLarge {
    /// The size that the model would work at.
    pub work: Size,
    /// Most pixels that are allowed.
    pub most: u64,
}

// === impl Resize ===

impl Resize {
    /// The size that the model works at, in pixels.
    pub fn work_size(self, input: Size, geometry: Geometry) -> Size {
        match self {
            Self::Fit(longer) => input.fit(longer.unwrap_or(geometry.sample_size), geometry.stride),
            Self::Native => input.native(geometry.vae_scale_factor),
        }
    }

    /// Refuses a size to work at of more than `most` pixels.
    ///
    /// # Errors
    /// [`TooLarge`] with both sizes; callers add what helps.
    pub fn check_work_size(
        self,
        input: Size,
        geometry: Geometry,
        most: u64,
    ) -> Result<(), TooLarge> {
        let work = self.work_size(input, geometry);
        if work.pixels() > most { Err(TooLarge { work, most }) } else { Ok(()) }
    }
}

// === impl MethodKind ===

impl MethodKind {
    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::IamEdit => "iam-edit",
            Self::InstructPix2Pix => "instruct-pix2pix",
        }
    }

    /// Name in titles.
    pub fn title(self) -> &'static str {
        match self {
            Self::IamEdit => "IAM-Edit",
            Self::InstructPix2Pix => "InstructPix2Pix",
        }
    }

    /// The default of [`Preserve`] for a method, without or with a given mask.
    pub fn default_preserve(self, has_mask: bool) -> Preserve {
        match self {
            Self::InstructPix2Pix if !has_mask => Preserve::None,
            Self::IamEdit | Self::InstructPix2Pix => Preserve::Pixel,
        }
    }
}

// === impl Preserve ===

impl Preserve {
    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Latent => "latent",
            Self::Pixel => "pixel",
        }
    }
}

//! What is asked of an edit, checked and with every default filled in.

use std::sync::Arc;

use image::RgbImage;

use crate::editing::{edit_mask::MaskChoice, instruction::Action, settings::EditSettings};
use crate::picture::size::Size;
use crate::pipelines::Geometry;
use crate::sampling::GuidanceScales;

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

/// One edit.
#[derive(Debug, Clone)]
pub struct EditRequest {
    /// The picture as shown: orientation applied, RGB, at its full size.
    pub image: Arc<RgbImage>,
    /// What to do, as it was written; a [session](crate::editing::session::EditSession) holds what the model reads of it.
    pub instruction: String,
    /// What to avoid; empty is the plain null prompt.
    pub negative_prompt: String,
    /// How.
    pub method: MethodKind,
    /// The object, where the caller names it instead of the parser.
    pub object: Option<String>,
    /// The kind of edit, where the caller names it instead of the parser.
    pub action: Option<Action>,
    /// What happens when neither names an object.
    pub unparsed: Unparsed,
    /// Of the noise, in pass 1 too where that has none of its own.
    pub seed: u64,
    /// Everything with a default.
    pub settings: EditSettings,
    /// The mask, as far as the caller decides it.
    pub mask: MaskChoice,
    /// A preview every so many steps; 0 is none.
    pub preview_every: usize,
    /// How previews are made.
    pub preview_decode: PreviewDecode,
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

// === impl EditRequest ===

impl EditRequest {
    /// The guidance of both passes.
    pub fn guidance(&self) -> GuidanceScales {
        self.settings.guidance
    }

    /// The seed of pass 1's noise.
    pub fn localize_seed(&self) -> u64 {
        self.settings.localization.seed.unwrap_or(self.seed)
    }

    /// Whether pass 1 is needed: the method has one, and the caller's own mask does not already say everything.
    pub fn needs_localization(&self) -> bool {
        self.method == MethodKind::IamEdit && self.mask.needs_localization()
    }
}

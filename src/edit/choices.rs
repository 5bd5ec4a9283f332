//! Choices of an edit request that are one of a few: method, preservation of the rest, working size, previews.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use crate::choice::choices;
use crate::picture::{frame::Frame, size::Size};
use crate::sampling::geometry::{Geometry, NativeSize};

choices! {
    /// Editing methods.
    pub enum MethodKind {
        /// Localize, then edit inside the mask.
        ///
        /// IAM-Edit.
        IamEdit = "iam-edit",
        /// The plain backbone.
        ///
        /// InstructPix2Pix.
        InstructPix2Pix = "instruct-pix2pix",
    }
}

choices! {
    /// How the picture outside the mask is preserved.
    pub enum Preserve {
        /// Attention alone, as in the paper.
        ///
        /// By attention modulation only.
        None = "none",
        /// The source's latents are put back outside the mask at each step.
        Latent = "latent",
        /// The input's own pixels outside the mask, bit for bit.
        ///
        /// By copying them at the input's full size.
        Pixel = "pixel",
    }
}

choices! {
    /// Whether a motion of the whole picture is undone before the rest of it is put back.
    pub enum Align {
        /// Undo a shift or zoom that most cells agree on, and match colors at the mask's border (only reasoned).
        Auto = "auto",
        /// Leave the result as it is.
        Off = "off",
    }
}

choices! {
    /// Named settings to start from, in place of the model's.
    pub enum Preset {
        /// The paper's: 100 steps, guidance 7.5 and 1.5, K = 5, tau = 0.3, gate.
        Paper = "paper",
    }
}

/// How the working size is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resize {
    /// Scale the longer side to this many pixels; `None` is the model's native size, for a model of small pictures by
    /// area. The result has the input's size.
    Fit(Option<u32>),
    /// Use the input's size. If the VAE of a U-Net needs more columns or rows, the last ones are repeated on the right
    /// and below and cropped from the result, which has the input's size. FLUX.2 sees the middle of the picture, and
    /// one of more than 1024 × 1024 pixels shrunk to that many, as in diffusers; around it the result is the input.
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
    /// By a tiny decoder, for a small part of the VAE's time; none if the model has no such decoder.
    Tiny,
    /// By the VAE; one decode per preview.
    Vae {
        /// Maximum number of previews of a pass: the first step, and others evenly up to the last. `usize::MAX` for no
        /// limit.
        at_most: usize,
    },
}

impl PreviewDecode {
    /// Whether a step, from 1, is one that has a preview by this way of making it.
    pub fn shows(self, step: usize, of: usize) -> bool {
        let Self::Vae { at_most } = self else { return true };
        let further = at_most.saturating_sub(1).min(of);
        step == 1 && at_most > 1 || step * further.max(1) / of != (step - 1) * further.max(1) / of
    }
}

/// What to do if the instruction can't be parsed, or the object is found with low confidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unparsed {
    /// A plain edit of the whole picture, or an edit inside the uncertain mask, with a warning.
    PlainEdit,
    /// Fail with an error.
    Refuse,
}

/// Native side below which a model sees little of a picture, in pixels.
const SMALL: u32 = 256;

/// The longer side at the model's own size: that size; for a model of small pictures the side of a picture that has as
/// many pixels as a square of that size.
///
/// Differs: InstructPix2Pix's own command brings the longer side of every picture to 512 pixels. Of a wide picture a
/// small model then sees too little.
fn own_longer(input: Size, own: u32) -> u32 {
    if own >= SMALL {
        return own;
    }
    let (longer, shorter) = (input.width.max(input.height), input.width.min(input.height));
    let longer = f64::from(own) * (f64::from(longer) / f64::from(shorter)).sqrt();
    (longer.round() as u32).min(*Resize::LONGER.end())
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
    /// Accepted lengths of the longer side, in pixels.
    pub const LONGER: RangeInclusive<u32> = 16..=8192;

    /// The size that the model works at, in pixels.
    pub fn work_size(self, input: Size, geometry: Geometry) -> Size {
        match self {
            Self::Fit(longer) => {
                let longer = longer.unwrap_or_else(|| own_longer(input, geometry.sample_size));
                input.fit(longer, geometry.stride)
            }
            Self::Native => match geometry.native {
                NativeSize::Padded => input.native(geometry.vae_scale_factor),
                NativeSize::Cropped { most_pixels } => {
                    input.within(most_pixels).cropped(geometry.vae_scale_factor)
                }
            },
        }
    }

    /// The size that the picture is resized to before the model's part is taken of it, in pixels.
    pub fn resized(self, input: Size, geometry: Geometry) -> Size {
        match (self, geometry.native) {
            (Self::Fit(_), _) => self.work_size(input, geometry),
            (Self::Native, NativeSize::Padded) => input,
            (Self::Native, NativeSize::Cropped { most_pixels }) => input.within(most_pixels),
        }
    }

    /// The part of the resized picture that the model sees.
    pub fn frame(self, input: Size, geometry: Geometry) -> Frame {
        let (resized, work) = (self.resized(input, geometry), self.work_size(input, geometry));
        match geometry.native {
            NativeSize::Padded => Frame::first(work),
            NativeSize::Cropped { .. } => Frame::middle(resized, work),
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

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fit(None) => f.write_str("fit"),
            Self::Fit(Some(longer)) => write!(f, "fit:{longer}"),
            Self::Native => f.write_str("native"),
        }
    }
}

impl FromStr for Resize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "native" => return Ok(Self::Native),
            "fit" => return Ok(Self::Fit(None)),
            _ => {}
        }
        match text.strip_prefix("fit:").and_then(|it| it.parse().ok()) {
            Some(longer) if Self::LONGER.contains(&longer) => Ok(Self::Fit(Some(longer))),
            _ => Err("expected fit:N with N from 16 to 8192, or native".to_owned()),
        }
    }
}

// === impl MethodKind ===

impl MethodKind {
    /// Name in titles.
    pub fn title(self) -> &'static str {
        match self {
            Self::IamEdit => "IAM-Edit",
            Self::InstructPix2Pix => "InstructPix2Pix",
        }
    }

    /// Whether pass 1 finds the mask, unless one is given.
    pub fn finds_mask(self) -> bool {
        match self {
            Self::IamEdit => true,
            Self::InstructPix2Pix => false,
        }
    }

    /// The default of [`Preserve`] for a method, without or with a given mask.
    pub fn default_preserve(self, has_mask: bool) -> Preserve {
        if has_mask || self.finds_mask() { Preserve::Pixel } else { Preserve::None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_model_sees_as_many_pixels_of_a_wide_picture_as_of_a_square_one() {
        let work = |own: u32, width: u32, height: u32| {
            let native = NativeSize::Padded;
            let geometry = Geometry { vae_scale_factor: 2, stride: 8, sample_size: own, native };
            Resize::Fit(None).work_size(Size::new(width, height), geometry)
        };
        assert_eq!(work(64, 96, 64), Size::new(80, 56));
        assert_eq!(work(64, 64, 64), Size::new(64, 64));
        assert_eq!(work(64, 640, 640), Size::new(64, 64));
        assert_eq!(work(512, 960, 640), Size::new(512, 344));
    }
}

//! The mask of an edit: what the caller decides of it, and what comes of that and of the localization.

use image::RgbImage;

use crate::picture::mask::{self, Mask, Radius};

/// The mask, as far as the caller decides it; by default all of it is left to the localization.
#[derive(Debug, Clone, Default)]
pub struct MaskChoice {
    /// Pictures and boxes, together, at the input's size.
    pub shapes: Option<Mask>,
    /// Clusters by id, from 1.
    pub clusters: Vec<u8>,
    /// Edit what the mask leaves out.
    pub invert: bool,
    /// Growth in pixels of the input, after everything else.
    pub dilate: Radius,
    /// Softness of the final composite, inward, in pixels of the input; never touches the attention.
    pub feather: Radius,
}

/// Where a mask came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MaskSource {
    /// The clusters that the localization proposes.
    Proposed,
    /// Clusters, boxes or pictures that the caller chose.
    Chosen,
    /// The whole picture.
    Whole,
}

/// The mask of an edit, at both sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct EditMask {
    pub(crate) full: Mask,
    pub(crate) gate: Mask,
    /// Where attention may act, at the size that the model works at.
    pub(crate) attended: Mask,
    /// The mask before it was grown for the edit.
    pub(crate) found: Mask,
    pub(crate) feather: Radius,
    pub(crate) source: MaskSource,
}

impl MaskChoice {
    /// Whether the localization is needed: nothing is given, or clusters are.
    pub fn needs_localization(&self) -> bool {
        self.shapes.is_none() || !self.clusters.is_empty()
    }

    /// Whether it is another place than what a localization finds, but in its terms.
    pub fn picks_from_found(&self) -> bool {
        !self.clusters.is_empty() || (self.shapes.is_none() && self.invert)
    }

    /// Whether it says something of a mask that only a localization finds.
    pub fn is_of_found(&self) -> bool {
        let touched =
            self.invert || self.dilate != Radius::default() || self.feather != Radius::default();
        !self.clusters.is_empty() || (self.shapes.is_none() && touched)
    }

    /// Whether the localization decides alone.
    pub(crate) fn is_left_open(&self) -> bool {
        self.shapes.is_none() && self.clusters.is_empty()
    }
}

impl EditMask {
    /// The mask at the input's size.
    pub fn full(&self) -> &Mask {
        &self.full
    }

    /// The mask at the input's size, before it was grown for the edit: what the localization says.
    pub fn found(&self) -> &Mask {
        &self.found
    }

    /// Share of the picture, 0 to 1.
    pub fn area(&self) -> f64 {
        self.full.area_share()
    }

    /// Where it came from.
    pub fn source(&self) -> MaskSource {
        self.source
    }

    /// The edited picture inside the mask, the original outside, pixel for pixel; softened inward by the feather.
    pub fn composite(&self, edited: &RgbImage, original: &RgbImage) -> RgbImage {
        mask::composite(edited, original, &self.full.feathered(self.feather))
    }
}

impl MaskSource {
    /// The schema's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proposed => "MASK_SOURCE_PROPOSED",
            Self::Chosen => "MASK_SOURCE_REQUEST",
            Self::Whole => "MASK_SOURCE_GLOBAL",
        }
    }
}

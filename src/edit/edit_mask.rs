//! The mask of an edit: the caller's choices, combined with the localization.

use std::sync::Arc;

use image::RgbImage;

use crate::picture::{
    blend::{self, RoundTrip},
    mask::{Mask, Radius},
};

/// The caller's choices about the mask; the default leaves everything to the localization.
#[derive(Debug, Clone, Default)]
pub struct MaskChoice {
    /// Union of painted masks and boxes, at the input's size.
    pub shapes: Option<Mask>,
    /// Clusters by id, from 1.
    pub clusters: Vec<u8>,
    /// Edit what the mask leaves out.
    pub invert: bool,
    /// Radius of dilation in input pixels, applied last.
    pub dilate: Radius,
    /// Radius of the feathering of the final composite, inward, in input pixels; does not affect the attention.
    pub feather: Radius,
}

/// Where a mask came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MaskSource {
    /// The clusters that the localization proposed.
    Proposed,
    /// Clusters, boxes or painted masks that the caller chose.
    Chosen,
    /// The whole picture.
    Whole,
}

/// The mask of an edit, at both sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct EditMask {
    pub(crate) full: Mask,
    pub(crate) gate: Mask,
    /// Region where attention to the instruction is allowed, at the working size.
    pub(crate) attended: Mask,
    /// The mask before it was grown for the edit.
    pub(crate) found: Mask,
    pub(crate) feather: Radius,
    pub(crate) source: MaskSource,
}

impl MaskChoice {
    /// Whether the choice needs a localization: it has no shapes, or it names clusters.
    pub fn needs_localization(&self) -> bool {
        self.shapes.is_none() || !self.clusters.is_empty()
    }

    /// Whether the choice departs from the proposed mask by terms that refer to a localization.
    pub fn picks_from_found(&self) -> bool {
        !self.clusters.is_empty() || (self.shapes.is_none() && self.invert)
    }

    /// Whether the choice refers to a mask that only a localization provides.
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
    /// A mask at the input's size and at that of the model's picture, neither grown nor softened.
    pub fn new(full: Mask, gate: Mask, source: MaskSource) -> Self {
        let (found, attended) = (full.clone(), gate.clone());
        Self { full, gate, attended, found, feather: Radius::default(), source }
    }

    /// The mask of edits that were made one after the other: theirs, united; `None` if one is of the whole picture.
    pub fn of_parts(masks: Vec<Option<Arc<Self>>>) -> Option<Arc<Self>> {
        let all = masks.into_iter().collect::<Option<Vec<_>>>()?;
        all.into_iter().reduce(|one, other| Arc::new(Self::clone(&one).united(&other)))
    }

    fn united(self, other: &Self) -> Self {
        Self {
            full: self.full.union(&other.full),
            gate: self.gate.union(&other.gate),
            attended: self.attended.union(&other.attended),
            found: self.found.union(&other.found),
            ..self
        }
    }

    /// The mask at the input's size.
    pub fn full(&self) -> &Mask {
        &self.full
    }

    /// The mask at the input's size before it was grown for the edit.
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

    /// What an edit changed inside the mask and the original elsewhere, blended over the feather; pixels outside are
    /// copied bit for bit.
    pub fn composite(&self, trip: RoundTrip<'_>, original: &RgbImage) -> RgbImage {
        blend::blended(trip, original, &self.full.feathered(self.feather))
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

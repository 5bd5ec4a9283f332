//! Pictures for people: cluster maps, heat maps, overlays, contact sheets.
//!
//! Pure functions: plain data in, [`image::RgbImage`] out; no tensors, no files. Sizes are (width, height) as in
//! `image`, rows come top to bottom. Slices of a wrong length are the caller's fault and panic with the lengths.

pub mod clusters;
pub mod contact_sheet;
pub mod difference;
pub mod heat;
pub mod mask_overlay;
pub mod palette;
pub mod scale;

mod canvas;
mod legend;
mod page;
mod text;

/// A labelled value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What it is.
    pub label: String,
    /// What it says.
    pub value: String,
}

impl Fact {
    /// A labelled value.
    pub fn new(label: impl Into<String>, value: impl Into<String>) -> Self {
        Self { label: label.into(), value: value.into() }
    }
}

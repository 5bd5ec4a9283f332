//! Visualizations: cluster maps, heat maps, mask overlays, differences, contact sheets.
//!
//! Pure functions from plain data to [`image::RgbImage`]; no tensors, no files. Sizes are (width, height) as in
//! `image`, data is row-major from the top. Slices of a wrong length are a caller's bug and panic.

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
mod tile;

/// A labelled value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The label.
    pub label: String,
    /// The value.
    pub value: String,
}

impl Fact {
    /// A labelled value.
    pub fn new(label: impl Into<String>, value: impl Into<String>) -> Self {
        Self { label: label.into(), value: value.into() }
    }
}

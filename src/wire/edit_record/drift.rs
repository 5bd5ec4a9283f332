//! The motion of the whole picture in an edit record.

use serde::{Deserialize, Serialize};

use crate::edit::drift::Drift;

/// How the result lay beside the picture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DriftRecord {
    /// To the right, in pixels of the input.
    pub right: f64,
    /// Down, in pixels of the input.
    pub down: f64,
    /// From the middle; larger than 1 for what grew.
    pub zoom: f64,
    /// Share of the cells that agree, 0 to 1.
    pub agreement: f64,
    /// Whether it was undone.
    pub undone: bool,
}

impl DriftRecord {
    pub(super) fn of(drift: Drift) -> Self {
        let Drift { displacement, agreement, is_undone: undone } = drift;
        let [right, down, zoom, agreement] =
            [displacement.right, displacement.down, displacement.zoom, agreement].map(rounded);
        Self { right, down, zoom, agreement, undone }
    }
}

/// To four digits after the point, which JSON gives back as they are.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

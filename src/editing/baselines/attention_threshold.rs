//! The object's cross-attention from a threshold, without clusters: what IAM-Edit's self-attention is measured against.

use crate::edit::grid::Field;

/// The attention, of its range, above which a cell is edited.
///
/// No paper gives it; measured in `docs/ablations.md`.
pub const THRESHOLD: f64 = 0.05;

/// The highest of the objects' fields at each cell; `None` without objects.
pub fn highest(objects: Vec<Field>) -> Option<Field> {
    objects.into_iter().reduce(|mut best, object| {
        best.values.iter_mut().zip(object.values).for_each(|(best, it)| *best = best.max(it));
        best
    })
}

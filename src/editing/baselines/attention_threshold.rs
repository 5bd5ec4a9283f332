//! Baseline: a threshold on the object's cross-attention, without clusters, to measure what IAM-Edit's self-attention
//! adds.

use crate::edit::grid::Field;

/// Threshold as a fraction of the attention's range; cells above it are edited.
///
/// No paper gives a value; this one is measured in `docs/ablations.md`.
pub const THRESHOLD: f64 = 0.05;

/// The cell-wise maximum over the objects' attention maps; `None` without objects.
pub fn highest(objects: Vec<Field>) -> Option<Field> {
    objects.into_iter().reduce(|mut best, object| {
        best.values.iter_mut().zip(object.values).for_each(|(best, it)| *best = best.max(it));
        best
    })
}

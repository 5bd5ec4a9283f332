//! Vectors of texts, by which words are told to be alike.

use tch::{Device, Kind, Tensor};

use crate::pipelines::PipelineError;

/// A vector (C,) in fp64 as numbers of length 1.
///
/// # Errors
/// [`PipelineError::NotFinite`], also for one that is 0.
pub(super) fn unit_vector(vector: &Tensor) -> Result<Vec<f32>, PipelineError> {
    let norm = vector.norm().double_value(&[]);
    if !norm.is_finite() || norm == 0.0 {
        return Err(PipelineError::NotFinite);
    }
    let unit = (vector / norm).to_kind(Kind::Float).to_device(Device::Cpu);
    Ok(Vec::<f32>::try_from(unit).expect("an embedding is a vector of numbers"))
}

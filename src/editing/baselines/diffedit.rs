//! `DiffEdit` (arXiv 2210.11427): the mask from the mean difference that the instruction makes to predicted noise.
//!
//! Source: diffusers' `StableDiffusionDiffEditPipeline.generate_mask`. Differs: it compares two captions; here the branches
//! with and without the instruction of one model are compared, without guidance, which is a factor that the scaling takes out.

use crate::edit::grid::Field;
use crate::editing::{EditError, noise_difference::noise_differences, session::EditSession};

/// The level of noise, of 1000: strength 0.5 (diffusers: `mask_encode_strength`).
const TIMESTEP: u32 = 500;

/// How many noises are averaged over (diffusers: `num_maps_per_mask`).
const NOISES: u64 = 10;

/// How many times the mean values are cut off at (diffusers: `mask_thresholding_ratio`).
const CLAMP_RATIO: f32 = 3.0;

/// The value above which a cell is edited.
pub const THRESHOLD: f64 = 0.5;

/// The mean difference at each cell of the latent, over three times the picture's mean, at most 1.
///
/// # Errors
/// [`EditError`] if the model fails.
pub fn difference(session: &EditSession<'_>) -> Result<Field, EditError> {
    let fields = noise_differences(session, &session.instruction, TIMESTEP, NOISES)?;
    let grid = fields[0].grid;
    let mut values = vec![0.0; fields[0].values.len()];
    for field in &fields {
        values.iter_mut().zip(&field.values).for_each(|(sum, value)| *sum += value);
    }
    Ok(Field { grid, values: clamped(values) })
}

/// Values over three times their mean, at most 1.
fn clamped(mut values: Vec<f32>) -> Vec<f32> {
    let limit = values.iter().sum::<f32>() / values.len() as f32 * CLAMP_RATIO;
    let scale = if limit > 0.0 { limit.recip() } else { 0.0 };
    for value in &mut values {
        *value = (*value * scale).min(1.0);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_off_at_three_times_their_mean() {
        // The mean is 2, so the limit is 6.
        assert_eq!(
            clamped(vec![11.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            [1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]
        );
        assert_eq!(clamped(vec![0.0, 0.0]), [0.0, 0.0]);
    }
}

//! Baseline: `DiffEdit` (arXiv 2210.11427), a mask from the mean difference that the instruction makes to the predicted
//! noise.
//!
//! Source: diffusers' `StableDiffusionDiffEditPipeline.generate_mask`. Differs: it compares two captions; here the
//! branches with and without the instruction of one model are compared, without guidance, whose scale the normalization
//! would cancel.

use crate::edit::{
    event::EventSink, grid::Field, localization::Localization,
    localization_instruction::LocalizationInstruction, localizer::Localizer,
};
use crate::editing::{
    EditError,
    method::MaskSource,
    noise_difference::{self, noise_differences},
    session::EditSession,
};

/// Training timestep of the noise level, of 1000: strength 0.5 (diffusers: `mask_encode_strength`).
const TIMESTEP: u32 = 500;

/// Number of noise samples to average over (diffusers: `num_maps_per_mask`).
const NOISES: u64 = 10;

/// Values are clamped at this multiple of their mean (diffusers: `mask_thresholding_ratio`).
const CLAMP_RATIO: f32 = 3.0;

/// Threshold above which a cell is edited.
pub const THRESHOLD: f64 = 0.5;

/// Thresholds the mean difference; no denoising pass.
#[derive(Debug)]
pub struct DiffEdit;

impl MaskSource for DiffEdit {
    fn localizer(&self) -> Localizer {
        Localizer::DiffEdit
    }

    fn localize(
        &self,
        session: &EditSession<'_>,
        _instruction: &LocalizationInstruction,
        _sink: &mut dyn EventSink,
    ) -> Result<Localization, EditError> {
        Ok(noise_difference::thresholded(session, &difference(session)?, THRESHOLD))
    }
}

/// Mean noise difference of each latent cell, divided by three times the picture's mean and clamped to 1.
///
/// # Errors
/// [`EditError`] if the model fails.
pub fn difference(session: &EditSession<'_>) -> Result<Field, EditError> {
    let fields = noise_differences(session, session.told(), TIMESTEP, NOISES)?;
    let grid = fields[0].grid;
    let mut values = vec![0.0; fields[0].values.len()];
    for field in &fields {
        values.iter_mut().zip(&field.values).for_each(|(sum, value)| *sum += value);
    }
    Ok(Field { grid, values: clamped(values) })
}

/// Values divided by three times their mean, clamped to 1.
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

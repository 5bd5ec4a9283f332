//! Baseline: Watch Your Steps (arXiv 2308.08947), a relevance map from the difference that the instruction makes to one
//! noise prediction.
//!
//! Source: `images-2d/wys_2d.py` at commit 393fc2b, reimplemented from a description. Differs: the latents are the mode
//! of the VAE's distribution, not a sample; only the mask comes from here, the edit itself is that of the chosen
//! method.

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

/// Training timestep of the noise level, of 1000.
const TIMESTEP: u32 = 800;

/// Values are clamped at this many interquartile ranges above the third quartile.
const WHISKER: f32 = 1.5;

/// Relevance from which a cell is edited.
pub const THRESHOLD: f64 = 0.5;

/// Thresholds the relevance map; no denoising pass.
#[derive(Debug)]
pub struct WatchYourSteps;

impl MaskSource for WatchYourSteps {
    fn localizer(&self) -> Localizer {
        Localizer::NoiseDifference
    }

    fn localize(
        &self,
        session: &EditSession<'_>,
        _instruction: &LocalizationInstruction,
        _sink: &mut dyn EventSink,
    ) -> Result<Localization, EditError> {
        Ok(noise_difference::thresholded(session, &relevance(session)?, THRESHOLD))
    }
}

/// The relevance of each cell of the latent to the request's instruction, 0 to 1.
///
/// # Errors
/// [`EditError`] if the model fails.
pub fn relevance(session: &EditSession<'_>) -> Result<Field, EditError> {
    let mut fields = noise_differences(session, session.told(), TIMESTEP, 1)?;
    let field = fields.pop().expect("one noise gives one field");
    Ok(Field { values: without_outliers(field.values), ..field }.normalized())
}

/// Values clamped at `Q3 + 1.5 · IQR`; quartiles are midpoints of their neighbors (numpy: `method="midpoint"`).
fn without_outliers(mut values: Vec<f32>) -> Vec<f32> {
    let mut sorted = values.clone();
    sorted.sort_by(f32::total_cmp);
    let quantile = |quarters: usize| {
        let place = (sorted.len() - 1) * quarters;
        let (low, high) = (place / 4, place.div_ceil(4));
        f32::midpoint(sorted[low], sorted[high])
    };
    let (first, third) = (quantile(1), quantile(3));
    let limit = third + WHISKER * (third - first);
    for value in &mut values {
        *value = value.min(limit);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_are_cut_off_above_the_third_quartile() {
        // Quartiles of 0..=5 and 100 are at positions 1.5 and 4.5, so 1.5 and 4.5; the limit is 4.5 + 1.5 · 3.
        let values = without_outliers(vec![100.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(values, [9.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }

    #[test]
    fn values_without_outliers_stay() {
        assert_eq!(without_outliers(vec![2.0, 1.0, 3.0]), [2.0, 1.0, 3.0]);
    }
}

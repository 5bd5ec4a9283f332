//! Confidence of pass 1 that the object is in the picture, where its mask is.
//!
//! Differs: the paper's localization always finds a mask. Words for something that is not in the picture get some
//! attention as well, and its best cluster becomes the mask. The values that pass 1 computes anyway distinguish the two
//! cases, without further U-Net calls.

use serde::Deserialize;

use crate::edit::selection::MIN_CONTRAST;

/// Features of an object's localization; of several objects, those of the least confident one are used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Mean attention of the best cluster over that of the picture, from 1; see
    /// [`Localization::contrast`](crate::edit::localization::Localization::contrast).
    pub contrast: f64,
    /// Fraction of the object's attention inside the mask, 0 to 1.
    pub inside: f64,
    /// Entropy of the object's attention over the picture, relative to a flat map, 0 to 1.
    pub spread: f64,
    /// Natural logarithm of the object's maximum attention probability.
    pub peak: f64,
    /// Natural logarithm of the maximum attention probability of the object's least attended word.
    pub weakest: f64,
    /// Natural logarithm of the object's mean attention probability over the picture.
    pub mean: f64,
    /// Pearson correlation of the object's attention with the change predicted by pass 1, -1 to 1.
    pub agreement: f64,
    /// How little what is in the mask bears the colors that the object's words name, as a power of ten: 0 where it
    /// bears them or none is named, -2 for each that it bears least.
    pub color: f64,
}

/// A model's logistic regression on the evidence: bias and weights.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Added to the weighted evidence.
    pub bias: f64,
    /// Weight of ln [`Evidence::contrast`].
    pub contrast: f64,
    /// Of [`Evidence::inside`].
    pub inside: f64,
    /// Of [`Evidence::spread`].
    pub spread: f64,
    /// Of [`Evidence::peak`].
    pub peak: f64,
    /// Of [`Evidence::weakest`].
    pub weakest: f64,
    /// Of [`Evidence::mean`].
    pub mean: f64,
    /// Of [`Evidence::agreement`].
    pub agreement: f64,
    /// Of [`Evidence::color`].
    #[serde(default)]
    pub color: f64,
}

/// Below this a probability is none.
pub(crate) const TINY: f64 = 1e-9;

impl Evidence {
    /// The evidence for an object of one word, without a color.
    pub(crate) fn of(contrast: f64, attention: &[f32], mask: &[bool], change: &[f32]) -> Self {
        let attention: Vec<f64> = attention.iter().map(|&it| f64::from(it)).collect();
        let change: Vec<f64> = change.iter().map(|&it| f64::from(it)).collect();
        let total: f64 = attention.iter().sum();
        let inside: f64 =
            attention.iter().zip(mask).filter(|(_, is_in)| **is_in).map(|(it, _)| it).sum();
        let shares = attention.iter().map(|it| it / (total + TINY)).filter(|&it| it > 0.0);
        let entropy: f64 = shares.map(|it| -it * it.ln()).sum();
        let cells = attention.len() as f64;
        let peak = (attention.iter().copied().fold(0.0, f64::max) + TINY).ln();
        Self {
            contrast,
            inside: inside / (total + TINY),
            spread: if cells > 1.0 { entropy / cells.ln() } else { 1.0 },
            peak,
            weakest: peak,
            mean: (total / cells + TINY).ln(),
            agreement: correlation(&attention, &change),
            color: 0.0,
        }
    }

    /// The confidence, 0 to 1.
    ///
    /// Without a calibration it depends on the contrast alone: 0 for a flat map, 0.5 at [`MIN_CONTRAST`], towards 1
    /// above it. That ranks localizations but is not a probability of being right.
    pub fn confidence(&self, calibration: Option<&Calibration>) -> f64 {
        let Some(weights) = calibration else {
            let above = (self.contrast - 1.0).max(0.0);
            return above / (above + MIN_CONTRAST - 1.0);
        };
        let sum = weights.bias
            + weights.contrast * self.contrast.max(TINY).ln()
            + weights.inside * self.inside
            + weights.spread * self.spread
            + weights.peak * self.peak
            + weights.weakest * self.weakest
            + weights.mean * self.mean
            + weights.agreement * self.agreement
            + weights.color * self.color;
        1.0 / (1.0 + (-sum).exp())
    }
}

/// Pearson correlation; 0 if either side is constant.
fn correlation(one: &[f64], other: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_one, mean_other) = (mean(one), mean(other));
    let (mut both, mut of_one, mut of_other) = (0.0, 0.0, 0.0);
    for (a, b) in one.iter().zip(other) {
        let (a, b) = (a - mean_one, b - mean_other);
        both += a * b;
        of_one += a * a;
        of_other += b * b;
    }
    let norm = (of_one * of_other).sqrt();
    if norm > 0.0 { both / norm } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(contrast: f64) -> Evidence {
        Evidence::of(
            contrast,
            &[0.4, 0.4, 0.1, 0.1],
            &[true, true, false, false],
            &[1.0, 1.0, 0.0, 0.0],
        )
    }

    #[test]
    fn evidence_is_of_the_attention_in_the_mask_and_of_the_change() {
        let found = evidence(2.0);
        assert!((found.inside - 0.8).abs() < 1e-6, "{found:?}");
        assert!((found.agreement - 1.0).abs() < 1e-6, "{found:?}");
        assert!(
            (found.peak - 0.4f64.ln()).abs() < 1e-6 && (found.mean - 0.25f64.ln()).abs() < 1e-6
        );
        // -2 (0.4 ln 0.4 + 0.1 ln 0.1) / ln 4
        assert!((found.spread - 0.8610).abs() < 1e-3, "{found:?}");
        let flat = Evidence::of(1.0, &[0.1; 4], &[true, false, false, false], &[0.0; 4]);
        assert!((flat.spread - 1.0).abs() < 1e-6 && flat.agreement.abs() < 1e-9, "{flat:?}");
    }

    #[test]
    fn without_a_calibration_the_contrast_decides() {
        let of = |contrast| evidence(contrast).confidence(None);
        assert!(of(1.0).abs() < 1e-9 && (of(MIN_CONTRAST) - 0.5).abs() < 1e-9 && of(20.0) > 0.95);
    }

    #[test]
    fn a_calibration_weighs_the_evidence() {
        let weights = r#"{"bias": 1.0, "contrast": 0.5, "inside": 0, "spread": 0, "peak": 0, "weakest": 0, "mean": 0, "agreement": 2.0}"#;
        let calibration: Calibration = serde_json::from_str(weights).unwrap();
        let sum = 1.0 + 0.5 * 2.0f64.ln() + 2.0;
        let expected = 1.0 / (1.0 + (-sum).exp());
        assert!((evidence(2.0).confidence(Some(&calibration)) - expected).abs() < 1e-6);
    }
}

//! Another source of masks: where the picture that the first calls head for leaves the source (`RegionE`, arXiv
//! 2510.25590).
//!
//! After each call a sampler knows the clean latents that it heads for, x − σ·v for a model of velocity. Where their
//! channels point elsewhere than the source's the picture is edited. Pass 1 makes the first calls of a run with the
//! edit's own instruction, and ends there.
//!
//! Differs: `RegionE` compares after 6 of 28 steps; here it is after those that the settings average, two of four for a
//! distilled model. Its thresholds are a cosine of 0.93 for FLUX.1-Kontext, 0.80 for Qwen-Image-Edit and 0.88 for
//! Step1X-Edit. None was measured here on trained weights of FLUX.2.

use std::cell::RefCell;

use tch::{Device, Kind, Tensor};

use crate::attention::processor::Unwatched;
use crate::edit::{
    event::{EventSink, Pass},
    grid::{Field, Grid, dilated, eroded},
    localization::{Localization, WordMap},
    localization_instruction::LocalizationInstruction,
    localizer::{Localizer, ScoreSource},
};
use crate::editing::{
    EditError,
    method::MaskSource,
    session::{Course, EditSession},
};
use crate::pipelines::conditioning::LatentSize;

/// Change above which a cell is edited: a cosine below 0.8, the most tolerant of `RegionE`'s, since fewer calls are made.
pub const THRESHOLD: f64 = 0.2;

/// Rows and columns by which what is left is grown (`RegionE`: a square of 5).
const GROWN: i64 = 2;

/// Thresholds one less the cosine of predicted and source latents.
#[derive(Debug)]
pub struct PredictedChange;

impl MaskSource for PredictedChange {
    fn localizer(&self) -> Localizer {
        Localizer::PredictedChange
    }

    fn localize(
        &self,
        session: &EditSession<'_>,
        _instruction: &LocalizationInstruction,
        sink: &mut dyn EventSink,
    ) -> Result<Localization, EditError> {
        let run = session.run(Pass::Localize, session.told())?;
        let steps = run.scheduler.steps().len();
        let made = session.request.settings.localization.averaged.of(steps).end;
        let course = Course { guided: 0..made, made, ..session.course(Pass::Localize, &run) };
        let predicted = RefCell::new(None);
        let _ = session.denoise(&course, &run, Box::new(Unwatched), sink, &|done, latents| {
            predicted.replace(Some(done.pred_original_sample.shallow_clone()));
            latents
        })?;
        let predicted = predicted.take().expect("a run has a step");
        let field = turned(session.image_latents()?, &predicted);
        let threshold = session.threshold(THRESHOLD);
        let cells = cleaned(&field, threshold);
        let map = WordMap::of_localizer(self.localizer(), &field);
        let told = session.told();
        let found = Localization::from_cells(told, &field, (&cells, threshold), vec![map]);
        Ok(Localization { scored_by: ScoreSource::PredictedChange, ..found })
    }
}

/// How far the channels of `predicted` point elsewhere than those of `source`, both (1, C, h, w): one less their cosine,
/// 0 to 1.
pub fn turned(source: &Tensor, predicted: &Tensor) -> Field {
    let [source, predicted] = [source, predicted].map(|it| it.to_kind(Kind::Float));
    let cosine = Tensor::cosine_similarity(&source, &predicted, 1, 1e-8); // (1, h, w)
    let turned: Tensor = 1.0 - cosine;
    let turned = turned.clamp(0.0, 1.0).to_device(Device::Cpu).view(-1);
    let LatentSize { height, width } = LatentSize::of(&source);
    let values = Vec::<f32>::try_from(turned).expect("a field is a vector of numbers");
    Field { grid: Grid { height, width }, values }
}

/// The cells above a threshold without single ones and thin lines, then grown; if nothing is left, all of them, grown.
fn cleaned(field: &Field, threshold: f64) -> Vec<bool> {
    let above = field.above(threshold);
    let core = eroded(field.grid, &above);
    let is_left = core.iter().any(|it| *it);
    dilated(field.grid, if is_left { &core } else { &above }, GROWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_drawn_is_found_and_what_only_became_fainter_is_not() {
        let options = (Kind::Float, Device::Cpu);
        let source = (Tensor::arange(8 * 12 * 12, options) * 0.7).sin().view([1, 8, 12, 12]);
        // Everywhere half as strong, and in a square turned around.
        let predicted = &source * 0.5;
        let _ = predicted.narrow(2, 3, 4).narrow(3, 2, 4).neg_();
        let field = turned(&source, &predicted);
        let cells = cleaned(&field, THRESHOLD);
        for (index, (value, is_in)) in field.values.iter().zip(&cells).enumerate() {
            let (y, x) = (index / 12, index % 12);
            let drawn = (3..7).contains(&y) && (2..6).contains(&x);
            assert!((value - f32::from(drawn)).abs() < 1e-5, "{y} {x}: {value}");
            // Without the border that erosion takes, and grown by two.
            let grown = (2..8).contains(&y) && (1..7).contains(&x);
            assert_eq!(*is_in, grown, "{y} {x}");
        }
    }

    #[test]
    fn a_single_cell_is_noise_beside_a_thing_and_is_the_thing_alone() {
        let grid = Grid { height: 9, width: 9 };
        let mut values = vec![0.0; 81];
        values[4 * 9 + 4] = 0.9;
        let alone = cleaned(&Field { grid, values: values.clone() }, THRESHOLD);
        assert_eq!(alone.iter().filter(|it| **it).count(), 25);
        for cell in [0, 1, 2, 9, 10, 11, 18, 19, 20] {
            values[cell] = 0.9;
        }
        let beside = cleaned(&Field { grid, values }, THRESHOLD);
        assert!(!beside[5 * 9 + 5] && beside[0]);
    }
}

//! Measures how many denoising steps a localization needs, by comparing masks with those of 100 steps.
//!
//! The paper localizes in 100 steps. A mask needs fewer steps than a picture, and how many depends on the model, so it
//! is measured.

use std::{ops::ControlFlow, sync::Arc, time::Instant};

use image::RgbImage;

use crate::edit::{
    choices::{MethodKind, PreviewDecode, Unparsed},
    edit_mask::MaskChoice,
    event::EditEvent,
    knobs::StepShare,
    request::EditRequest,
    settings::{EditSettings, LocalizationSettings},
};
use crate::editing::editor::Editor;
use crate::evaluation::{EvaluationError, runner::item_seed, score::region};
use crate::measures::{overlap::Overlap, region::Region};
use crate::picture::mask::Mask;
use crate::sampling::{Interrupted, SchedulerKind, Steps};

/// The paper's number of steps, used as the reference.
const REFERENCE_STEPS: u32 = 100;

/// Loss of `IoU` that is accepted for fewer steps.
pub const TOLERANCE: f64 = 0.01;

/// A localization setting to compare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// The scheduler; `None` is the model's own.
    pub sampler: Option<SchedulerKind>,
    /// Denoising steps.
    pub steps: Steps,
    /// The steps that are averaged; the localization ends with the last of them.
    pub averaged: StepShare,
}

/// What to measure.
#[derive(Debug, Clone)]
pub struct StepsPlan {
    /// Settings of every localization, overridden by each trial's; their scheduler is the reference's, which averages
    /// every step.
    pub settings: EditSettings,
    /// Negative prompt.
    pub negative_prompt: String,
    /// Base seed; each case's seed is derived from it and the case's id.
    pub seed: u64,
    /// The settings to compare.
    pub trials: Vec<Setting>,
}

/// A picture with an instruction.
#[derive(Debug, Clone)]
pub struct Case {
    /// Unique id.
    pub id: String,
    /// The input picture.
    pub image: Arc<RgbImage>,
    /// The instruction.
    pub instruction: String,
    /// True mask of the object, if it is known and the object is in the picture.
    pub object: Option<Mask>,
}

/// Mean results of one setting over the cases.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SettingMeans {
    /// The setting.
    pub setting: Setting,
    /// `IoU` with the reference's mask.
    pub reference_iou: f64,
    /// `IoU` with the true object, over the cases that have it.
    pub object_iou: Option<f64>,
    /// Seconds per localization.
    pub seconds: f64,
}

/// Result of the measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct StepsMeasurement {
    /// The reference: 100 steps. Its `reference_iou` compares two seeds, an upper bound on the agreement that other
    /// settings can reach.
    pub reference: SettingMeans,
    /// The trials, in the plan's order.
    pub trials: Vec<SettingMeans>,
    /// Number of cases with a localization.
    pub cases: usize,
    /// Number of cases whose instruction is about the whole picture.
    pub passed_over: usize,
}

/// Running sums of one setting.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    reference: f64,
    object: f64,
    objects: u32,
    seconds: f64,
}

/// Mask and duration of one localization.
struct TimedMask {
    mask: Region,
    seconds: f64,
}

/// Localizes every case with every setting; `told` is called after each step and each case.
///
/// # Errors
/// [`EvaluationError`] of the first case that can't be read or localized, or if `told` stops the run.
pub fn measure(
    editor: &Editor,
    plan: &StepsPlan,
    cases: impl Iterator<Item = Result<Case, EvaluationError>>,
    told: &mut dyn FnMut(Option<&Case>) -> ControlFlow<Interrupted>,
) -> Result<StepsMeasurement, EvaluationError> {
    let steps = Steps::try_from(REFERENCE_STEPS).expect("the paper's steps are in range");
    let own = Setting { sampler: plan.settings.scheduler, steps, averaged: StepShare::ALL };
    let mut reference = Sums::default();
    let mut sums = vec![Sums::default(); plan.trials.len()];
    let (mut count, mut passed_over) = (0, 0);
    for case in cases {
        let case = case?;
        let seed = item_seed(plan.seed, &case.id);
        let mut find = |setting, seed| {
            let request = request(plan, &case, setting, seed);
            found(editor, &request, &mut || told(None))
        };
        let Some(expected) = find(own, seed)? else {
            passed_over += 1;
            continue;
        };
        count += 1;
        let object = case.object.as_ref().map(region);
        if let Some(again) = find(own, seed.wrapping_add(1))? {
            let agreement = Overlap::of(&again.mask, &expected.mask).iou;
            reference.add(&expected, agreement, object.as_ref());
        }
        for (setting, sums) in plan.trials.iter().zip(&mut sums) {
            if *setting == own {
                sums.add(&expected, 1.0, object.as_ref());
            } else if let Some(found) = find(*setting, seed)? {
                let agreement = Overlap::of(&found.mask, &expected.mask).iou;
                sums.add(&found, agreement, object.as_ref());
            }
        }
        if let ControlFlow::Break(interrupted) = told(Some(&case)) {
            return Err(EvaluationError::Edit(interrupted.into()));
        }
    }
    let lines = plan.trials.iter().zip(sums).map(|(setting, sums)| sums.line(*setting, count));
    Ok(StepsMeasurement {
        reference: reference.line(own, count),
        trials: lines.collect(),
        cases: count,
        passed_over,
    })
}

impl StepsMeasurement {
    /// The trial with the fewest steps that loses at most [`TOLERANCE`]: of the `IoU` with the true objects if they are
    /// known, else of the agreement with the reference. Ties go to the better `IoU`.
    pub fn shortest(&self) -> Option<&SettingMeans> {
        let quality = |line: &SettingMeans| line.object_iou.unwrap_or(line.reference_iou);
        let least = quality(&self.reference) - TOLERANCE;
        let good = self.trials.iter().filter(|line| quality(line) >= least);
        good.min_by(|one, other| {
            let by_steps = one.setting.made().cmp(&other.setting.made());
            by_steps.then(quality(other).total_cmp(&quality(one)))
        })
    }
}

impl Setting {
    /// Number of steps that are run: none after the last averaged one.
    pub fn made(&self) -> usize {
        self.averaged.of(self.steps.get() as usize).end
    }
}

impl Sums {
    fn add(&mut self, found: &TimedMask, agreement: f64, object: Option<&Region>) {
        self.reference += agreement;
        self.seconds += found.seconds;
        if let Some(object) = object {
            self.object += Overlap::of(&found.mask, object).iou;
            self.objects += 1;
        }
    }

    fn line(self, setting: Setting, cases: usize) -> SettingMeans {
        let cases = cases.max(1) as f64;
        SettingMeans {
            setting,
            reference_iou: self.reference / cases,
            object_iou: (self.objects > 0).then(|| self.object / f64::from(self.objects)),
            seconds: self.seconds / cases,
        }
    }
}

fn request(plan: &StepsPlan, case: &Case, setting: Setting, seed: u64) -> EditRequest {
    EditRequest {
        image: Arc::clone(&case.image),
        instruction: case.instruction.clone(),
        negative_prompt: plan.negative_prompt.clone(),
        method: MethodKind::IamEdit,
        object: None,
        action: None,
        verbatim: false,
        unparsed: Unparsed::PlainEdit,
        seed,
        settings: EditSettings {
            scheduler: setting.sampler,
            localize_steps: setting.steps,
            localization: LocalizationSettings {
                averaged: setting.averaged,
                scheduler: None,
                ..plan.settings.localization.clone()
            },
            ..plan.settings.clone()
        },
        mask: MaskChoice::default(),
        preview_every: 0,
        preview_decode: PreviewDecode::Linear,
    }
}

/// The mask before growing; `None` if the instruction is about the whole picture.
fn found(
    editor: &Editor,
    request: &EditRequest,
    on_step: &mut dyn FnMut() -> ControlFlow<Interrupted>,
) -> Result<Option<TimedMask>, EvaluationError> {
    let mut sink = |event: EditEvent| match event {
        EditEvent::StepDone(_) => on_step(),
        _ => ControlFlow::Continue(()),
    };
    let started = Instant::now();
    let mut edit = editor.open(request.clone());
    if edit.localize(&mut sink)?.is_none() {
        return Ok(None);
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(Some(TimedMask { mask: region(edit.mask()?.found()), seconds }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(steps: u32, reference_iou: f64, object_iou: Option<f64>) -> SettingMeans {
        let steps = steps.try_into().unwrap();
        let setting = Setting { sampler: None, steps, averaged: StepShare::ALL };
        SettingMeans { setting, reference_iou, object_iou, seconds: 1.0 }
    }

    fn shortest(reference: SettingMeans, trials: &[SettingMeans]) -> Option<u32> {
        let trials = trials.to_vec();
        let outcome = StepsMeasurement { reference, trials, cases: 1, passed_over: 0 };
        outcome.shortest().map(|it| it.setting.steps.get())
    }

    #[test]
    fn the_shortest_setting_is_chosen_by_the_true_objects_where_they_are_known() {
        let trials =
            [line(8, 0.95, Some(0.80)), line(4, 0.70, Some(0.795)), line(2, 0.9, Some(0.7))];
        assert_eq!(shortest(line(100, 0.9, Some(0.80)), &trials), Some(4));
    }

    #[test]
    fn a_run_that_ends_early_is_as_short_as_what_it_makes() {
        let mut early = line(12, 0.9, None);
        early.setting.averaged = StepShare::new("averaged", [0.25, 0.5]).unwrap();
        assert_eq!(early.setting.made(), 6);
        assert_eq!(shortest(line(100, 0.9, None), &[line(8, 0.9, None), early]), Some(12));
    }

    #[test]
    fn without_truth_a_setting_must_agree_as_well_as_another_seed_does() {
        let trials = [line(8, 0.9, None), line(4, 0.895, None), line(2, 0.88, None)];
        assert_eq!(shortest(line(100, 0.9, None), &trials), Some(4));
        assert_eq!(shortest(line(100, 0.95, None), &trials), None);
    }
}

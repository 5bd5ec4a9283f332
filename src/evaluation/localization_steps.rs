//! How many steps a localization needs: masks of fewer steps against the model's own of a hundred.
//!
//! The paper localizes in 100 steps. A mask asks less of a run than a picture does, and what it asks depends on the model,
//! so that this is measured instead of assumed.

use std::{ops::ControlFlow, sync::Arc, time::Instant};

use image::RgbImage;

use crate::edit::{
    choices::{MethodKind, PreviewDecode, Unparsed},
    edit_mask::{EditMask, MaskChoice},
    event::EditEvent,
    knobs::StepShare,
    request::EditRequest,
    settings::{EditSettings, LocalizationSettings},
};
use crate::editing::{editor::Editor, session::EditSession};
use crate::evaluation::{EvaluationError, runner::item_seed, score::region};
use crate::measures::{overlap::Overlap, region::Region};
use crate::picture::mask::Mask;
use crate::sampling::{Interrupted, SchedulerKind, Steps};

/// The paper's steps, which the others are held against.
const REFERENCE_STEPS: u32 = 100;

/// How much of the overlap may be lost for fewer steps.
pub const TOLERANCE: f64 = 0.01;

/// A way to localize.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// The sampler; `None` is the model's own.
    pub sampler: Option<SchedulerKind>,
    /// Denoising steps.
    pub steps: Steps,
    /// Which of them are averaged; it ends with the last of these.
    pub averaged: StepShare,
}

/// What is to be measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Settings of every localization but for those of the trials; its sampler is the reference's, which averages every step.
    pub settings: EditSettings,
    /// What to avoid.
    pub negative_prompt: String,
    /// Every case's seed comes from this and its id.
    pub seed: u64,
    /// The ways to compare.
    pub trials: Vec<Setting>,
}

/// A picture with an instruction.
#[derive(Debug, Clone)]
pub struct Case {
    /// Names it.
    pub id: String,
    /// The picture.
    pub image: Arc<RgbImage>,
    /// What to do.
    pub instruction: String,
    /// The object's true pixels, where they are known and stand in the picture.
    pub object: Option<Mask>,
}

/// Means over the cases.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// The way.
    pub setting: Setting,
    /// Overlap with the reference's mask, intersection over union.
    pub reference_iou: f64,
    /// The same with the true object, over the cases that know it.
    pub object_iou: Option<f64>,
    /// Seconds of a localization.
    pub seconds: f64,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// A hundred steps from the case's seed. Its `reference_iou` is how well a hundred steps from another seed agree with
    /// it, which no other setting can be asked to surpass.
    pub reference: Line,
    /// The trials, in the plan's order.
    pub trials: Vec<Line>,
    /// Cases with a localization.
    pub cases: usize,
    /// Cases whose instruction means the whole picture.
    pub passed_over: usize,
}

/// Sums of one way.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    reference: f64,
    object: f64,
    objects: u32,
    seconds: f64,
}

/// One localization: the mask, as found, and what it took.
struct Found {
    mask: Region,
    seconds: f64,
}

/// Localizes every case in every way; `told` hears of each step and of each case that is done.
///
/// # Errors
/// [`EvaluationError`] of the first case that can't be read or localized, or if `told` breaks.
pub fn measure(
    editor: &Editor,
    plan: &Plan,
    cases: impl Iterator<Item = Result<Case, EvaluationError>>,
    told: &mut dyn FnMut(Option<&Case>) -> ControlFlow<Interrupted>,
) -> Result<Outcome, EvaluationError> {
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
    Ok(Outcome {
        reference: reference.line(own, count),
        trials: lines.collect(),
        cases: count,
        passed_over,
    })
}

impl Outcome {
    /// The trial that makes the fewest steps and loses at most [`TOLERANCE`]: of the overlap with the true objects where they
    /// are known, else of the agreement with the reference. Of equal ones the better.
    pub fn shortest(&self) -> Option<&Line> {
        let quality = |line: &Line| line.object_iou.unwrap_or(line.reference_iou);
        let least = quality(&self.reference) - TOLERANCE;
        let good = self.trials.iter().filter(|line| quality(line) >= least);
        good.min_by(|one, other| {
            let by_steps = one.setting.made().cmp(&other.setting.made());
            by_steps.then(quality(other).total_cmp(&quality(one)))
        })
    }
}

impl Setting {
    /// Steps that are made: none after the last that is averaged.
    pub fn made(&self) -> usize {
        self.averaged.of(self.steps.get() as usize).end
    }
}

impl Sums {
    fn add(&mut self, found: &Found, agreement: f64, object: Option<&Region>) {
        self.reference += agreement;
        self.seconds += found.seconds;
        if let Some(object) = object {
            self.object += Overlap::of(&found.mask, object).iou;
            self.objects += 1;
        }
    }

    fn line(self, setting: Setting, cases: usize) -> Line {
        let cases = cases.max(1) as f64;
        Line {
            setting,
            reference_iou: self.reference / cases,
            object_iou: (self.objects > 0).then(|| self.object / f64::from(self.objects)),
            seconds: self.seconds / cases,
        }
    }
}

fn request(plan: &Plan, case: &Case, setting: Setting, seed: u64) -> EditRequest {
    EditRequest {
        image: Arc::clone(&case.image),
        instruction: case.instruction.clone(),
        negative_prompt: plan.negative_prompt.clone(),
        method: MethodKind::IamEdit,
        object: None,
        action: None,
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

/// The mask before it is grown; `None` where the instruction means the whole picture.
fn found(
    editor: &Editor,
    request: &EditRequest,
    on_step: &mut dyn FnMut() -> ControlFlow<Interrupted>,
) -> Result<Option<Found>, EvaluationError> {
    let mut sink = |event: EditEvent| match event {
        EditEvent::StepDone(_) => on_step(),
        _ => ControlFlow::Continue(()),
    };
    let started = Instant::now();
    let Some(localization) = editor.localize(request, &mut sink)? else { return Ok(None) };
    let seconds = started.elapsed().as_secs_f64();
    let session = EditSession::new(editor.pipeline(), request);
    let mask = EditMask::settle(&session, Some(&localization))?;
    Ok(mask.map(|it| Found { mask: region(it.found()), seconds }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(steps: u32, reference_iou: f64, object_iou: Option<f64>) -> Line {
        let steps = steps.try_into().unwrap();
        let setting = Setting { sampler: None, steps, averaged: StepShare::ALL };
        Line { setting, reference_iou, object_iou, seconds: 1.0 }
    }

    fn shortest(reference: Line, trials: &[Line]) -> Option<u32> {
        let trials = trials.to_vec();
        let outcome = Outcome { reference, trials, cases: 1, passed_over: 0 };
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

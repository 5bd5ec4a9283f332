//! Conversion between an `EditSpec` and the overrides of settings.

use crate::edit::{
    choices::Resize,
    knobs::{ClusterCount, Confidence, Growth, Tau},
    overrides::EditOverrides,
};
use crate::sampling::{ImageGuidance, OutOfRange, Steps, TextGuidance};
use crate::wire::{
    enums::{choice, number},
    v1::{self, EditSpec, resize::Size},
    violation::Violation,
};

/// The overrides that a spec contains.
///
/// # Errors
/// [`Violation`] names the field.
pub fn of_spec(spec: &EditSpec) -> Result<EditOverrides, Violation> {
    Ok(EditOverrides {
        steps: within("steps", spec.steps)?,
        localize_steps: within("localize_steps", spec.localize_steps)?,
        text_guidance: within("text_guidance", spec.text_guidance)?,
        image_guidance: within("image_guidance", spec.image_guidance)?,
        scheduler: choice("scheduler", spec.scheduler)?,
        clusters: within("cluster_count", spec.cluster_count)?,
        tau: within("tau", spec.tau)?,
        localizer: choice("localizer", spec.localizer)?,
        score: choice("score", spec.score)?,
        threshold: within("threshold", spec.threshold)?,
        min_confidence: within("min_confidence", spec.min_confidence)?,
        refine: spec.refine,
        grow: within("grow", spec.grow)?,
        modulation: choice("modulation", spec.modulation)?,
        preserve: choice("preserve", spec.preserve)?,
        align: choice("align", spec.align)?,
        resize: resize(spec)?,
        localize_seed: spec.localize_seed,
        ..EditOverrides::default()
    })
}

/// Replaces a spec's settings by overrides; settings that only a model may set have no field.
pub fn put(overrides: &EditOverrides, spec: &mut EditSpec) {
    spec.steps = overrides.steps.map(Steps::get);
    spec.localize_steps = overrides.localize_steps.map(Steps::get);
    spec.text_guidance = overrides.text_guidance.map(TextGuidance::get);
    spec.image_guidance = overrides.image_guidance.map(ImageGuidance::get);
    spec.scheduler = number(overrides.scheduler);
    spec.cluster_count = overrides.clusters.map(ClusterCount::get);
    spec.tau = overrides.tau.map(Tau::get);
    spec.localizer = number(overrides.localizer);
    spec.score = number(overrides.score);
    spec.threshold = overrides.threshold.map(Tau::get);
    spec.min_confidence = overrides.min_confidence.map(Confidence::get);
    spec.refine = overrides.refine;
    spec.grow = overrides.grow.map(Growth::get);
    spec.modulation = number(overrides.modulation);
    spec.preserve = number(overrides.preserve);
    spec.align = number(overrides.align);
    let size = match overrides.resize {
        Some(Resize::Fit(Some(longer))) => Some(Size::Fit(longer)),
        Some(Resize::Native) => Some(Size::Native(true)),
        Some(Resize::Fit(None)) | None => None,
    };
    spec.resize = size.map(|size| v1::Resize { size: Some(size) });
    spec.localize_seed = overrides.localize_seed;
}

/// Validates an optional number.
fn within<N, T: TryFrom<N, Error = OutOfRange>>(
    field: &str,
    number: Option<N>,
) -> Result<Option<T>, Violation> {
    number.map(T::try_from).transpose().map_err(|error| Violation::out_of_range(field, &error))
}

fn resize(spec: &EditSpec) -> Result<Option<Resize>, Violation> {
    let Some(size) = spec.resize.as_ref().and_then(|it| it.size) else { return Ok(None) };
    match size {
        Size::Fit(longer) if !Resize::LONGER.contains(&longer) => {
            let (from, until) = Resize::LONGER.into_inner();
            Err(Violation::new("resize.fit", format!("is {longer}, expected {from} to {until}")))
        }
        Size::Fit(longer) => Ok(Some(Resize::Fit(Some(longer)))),
        Size::Native(true) => Ok(Some(Resize::Native)),
        Size::Native(false) => {
            Err(Violation::new("resize.native", "is false; leave it out, or give fit"))
        }
    }
}

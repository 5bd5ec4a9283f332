//! Conversion of a normalized `EditSpec` to the editor's request, settings and output format.

use std::sync::Arc;

use image::RgbImage;

use crate::edit::{
    choices::{MethodKind, PreviewDecode, Resize, Unparsed},
    edit_mask::MaskChoice,
    knobs::Tau,
    request::EditRequest,
    settings::EditSettings,
};
use crate::picture::{
    encode::{OutputFormat, Quality},
    error::PictureError,
    format::FileFormat,
    metadata::Policy,
};
use crate::sampling::OutOfRange;
use crate::wire::{
    enums::{self, known},
    spec::Violation,
    v1::{self, EditSpec, resize},
};

/// Working sizes that may be asked for: pixels of the longer side.
const FIT: std::ops::RangeInclusive<u32> = 16..=8192;
/// Settings of a spec: those of the preset or the model, overridden by the spec's own.
///
/// # Errors
/// [`Violation`] names the field.
pub fn settings(spec: &EditSpec, recommended: &EditSettings) -> Result<EditSettings, Violation> {
    let mut settings = match known("preset", spec.preset)? {
        v1::Preset::Paper => EditSettings::paper().with_words_and_levels(&recommended.localization),
        v1::Preset::Unspecified => recommended.clone(),
    };
    let taken =
        |field: &'static str| move |error: OutOfRange| Violation::out_of_range(field, &error);
    if let Some(steps) = spec.steps {
        settings.set_steps(steps.try_into().map_err(taken("steps"))?);
    }
    if let Some(steps) = spec.localize_steps {
        settings.localize_steps = steps.try_into().map_err(taken("localize_steps"))?;
    }
    settings.localization.seed = spec.localize_seed;
    if let Some(scale) = spec.text_guidance {
        settings.guidance.text = scale.try_into().map_err(taken("text_guidance"))?;
    }
    if let Some(scale) = spec.image_guidance {
        settings.guidance.image = scale.try_into().map_err(taken("image_guidance"))?;
    }
    if let Some(tau) = spec.tau {
        settings.tau = tau.try_into().map_err(taken("tau"))?;
    }
    if let Some(count) = spec.cluster_count {
        settings.clusters = count.try_into().map_err(taken("cluster_count"))?;
    }
    if let Some(threshold) = spec.threshold {
        settings.threshold = Some(Tau::try_from(threshold).map_err(taken("threshold"))?);
    }
    if let Some(least) = spec.min_confidence {
        settings.min_confidence = least.try_into().map_err(taken("min_confidence"))?;
    }
    settings.refine = spec.refine.unwrap_or(settings.refine);
    if let Some(grow) = spec.grow {
        settings.grow = grow.try_into().map_err(taken("grow"))?;
    }
    settings.scheduler =
        enums::scheduler(known("scheduler", spec.scheduler)?).or(settings.scheduler);
    settings.modulation =
        enums::modulation(known("modulation", spec.modulation)?).unwrap_or(settings.modulation);
    settings.localizer =
        enums::localizer(known("localizer", spec.localizer)?).unwrap_or(settings.localizer);
    settings.score = enums::score(known("score", spec.score)?).unwrap_or(settings.score);
    let method = enums::method(known("method", spec.method)?).unwrap_or(MethodKind::IamEdit);
    let has_mask = spec.mask.is_some() || !spec.reuse_localization_of.is_empty();
    settings.preserve = enums::preserve(known("preserve", spec.preserve)?)
        .unwrap_or(method.default_preserve(has_mask));
    if let Some(size) = spec.resize.as_ref().and_then(|it| it.size) {
        settings.resize = match size {
            resize::Size::Fit(longer) if !FIT.contains(&longer) => {
                let range = format!("is {longer}, expected {} to {}", FIT.start(), FIT.end());
                return Err(Violation::new("resize.fit", range));
            }
            resize::Size::Fit(longer) => Resize::Fit(Some(longer)),
            resize::Size::Native(true) => Resize::Native,
            resize::Size::Native(false) => {
                return Err(Violation::new("resize.native", "is false; leave it out, or give fit"));
            }
        };
    }
    Ok(settings)
}

/// The editor's request of a normalized spec.
///
/// # Errors
/// [`Violation`], which can't happen for a normalized spec.
pub fn request(
    spec: &EditSpec,
    recommended: &EditSettings,
    image: Arc<RgbImage>,
    mask: MaskChoice,
) -> Result<EditRequest, Violation> {
    Ok(EditRequest {
        image,
        instruction: spec.instruction.clone(),
        negative_prompt: spec.negative_prompt.clone(),
        method: enums::method(known("method", spec.method)?).unwrap_or(MethodKind::IamEdit),
        object: (!spec.object.is_empty()).then(|| spec.object.clone()),
        action: enums::action(known("action", spec.action)?),
        unparsed: if spec.strict { Unparsed::Refuse } else { Unparsed::PlainEdit },
        seed: spec.seed.unwrap_or_default(),
        settings: settings(spec, recommended)?,
        mask,
        preview_every: spec.events.and_then(|it| it.preview_every).unwrap_or(1) as usize,
        preview_decode: match spec.events.map(|it| it.preview_decode()) {
            Some(v1::PreviewDecode::Vae) => PreviewDecode::Vae,
            _ => PreviewDecode::Linear,
        },
    })
}

/// Which of the input's metadata the result carries.
///
/// # Errors
/// [`Violation`] names an unknown enum value.
pub fn metadata_policy(spec: &EditSpec) -> Result<Policy, Violation> {
    Ok(enums::metadata_policy(known("metadata", spec.metadata)?).unwrap_or_default())
}

/// Format of the result's file.
///
/// # Errors
/// [`Violation`] names the unknown type or the quality out of range.
pub fn output(spec: &EditSpec) -> Result<OutputFormat, Violation> {
    let options = spec.output.clone().unwrap_or_default();
    let format = match options.mime_type.as_str() {
        "" | "image/png" => FileFormat::Png,
        "image/jpeg" => FileFormat::Jpeg,
        "image/webp" => FileFormat::WebP,
        other => {
            let description = format!("is `{other}`, expected image/png, image/jpeg or image/webp");
            return Err(Violation::new("output.mime_type", description));
        }
    };
    let wrong = |error: PictureError| Violation::new("output.quality", error.to_string());
    let quality = options.quality.map(Quality::try_from).transpose().map_err(wrong)?;
    OutputFormat::new(format, quality).map_err(wrong)
}

//! Conversion of a normalized `EditSpec` to the editor's request, settings and output format.

use std::sync::Arc;

use image::RgbImage;

use crate::edit::{
    choices::{MethodKind, PreviewDecode, Unparsed},
    edit_mask::MaskChoice,
    request::EditRequest,
    settings::EditSettings,
};
use crate::picture::{
    encode::{OutputFormat, Quality},
    error::PictureError,
    format::FileFormat,
    metadata::Policy,
};
use crate::wire::{
    enums::choice,
    overrides,
    v1::{self, EditSpec},
    violation::Violation,
};

/// Settings of a spec: those of the preset or the model, overridden by the spec's own.
///
/// # Errors
/// [`Violation`] names the field.
pub fn settings(spec: &EditSpec, recommended: &EditSettings) -> Result<EditSettings, Violation> {
    let mut overrides = overrides::of_spec(spec)?;
    let has_mask = spec.mask.is_some() || !spec.reuse_localization_of.is_empty();
    overrides.preserve.get_or_insert(method(spec)?.default_preserve(has_mask));
    Ok(overrides.over(recommended, choice("preset", spec.preset)?))
}

/// The editing method.
///
/// # Errors
/// [`Violation`] names the number.
pub fn method(spec: &EditSpec) -> Result<MethodKind, Violation> {
    Ok(choice("method", spec.method)?.unwrap_or(MethodKind::IamEdit))
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
        method: method(spec)?,
        object: (!spec.object.is_empty()).then(|| spec.object.clone()),
        action: choice("action", spec.action)?,
        verbatim: spec.verbatim,
        unparsed: if spec.strict { Unparsed::Refuse } else { Unparsed::PlainEdit },
        seed: spec.seed.unwrap_or_default(),
        settings: settings(spec, recommended)?,
        mask,
        preview_every: spec.events.and_then(|it| it.preview_every).unwrap_or(1) as usize,
        preview_decode: match spec.events.map(|it| (it.preview_decode(), it.vae_previews)) {
            Some((v1::PreviewDecode::Tiny, _)) => PreviewDecode::Tiny,
            Some((v1::PreviewDecode::Vae, most)) => {
                PreviewDecode::Vae { at_most: most.map_or(usize::MAX, |it| it as usize) }
            }
            _ => PreviewDecode::Linear,
        },
    })
}

/// Which of the input's metadata the result carries.
///
/// # Errors
/// [`Violation`] names an unknown enum value.
pub fn metadata_policy(spec: &EditSpec) -> Result<Policy, Violation> {
    Ok(choice("metadata", spec.metadata)?.unwrap_or(Policy::Keep))
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

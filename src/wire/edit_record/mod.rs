//! Edit record: JSON in an image file with everything that determined its pixels, so that the edit can be repeated.
//!
//! A record contains no path, and nothing in it is opened or executed: a reader treats its values like command-line
//! flags, checked against their ranges. What is too large to embed (a large mask, a localization, the model) is
//! referred to by digest and must be supplied again.

pub mod digests;
pub mod drift;
pub mod earlier;
pub mod exact;
pub mod pass_one;
pub mod read;
pub mod shapes;

use serde::{Deserialize, Serialize};

use crate::edit::{
    choices::{Align, Preserve, Preset},
    drift::Drift,
    edit_mask::MaskChoice,
    request::EditRequest,
    settings::EditSettings,
    understood::Understood,
};
use crate::picture::{Picture, encode::OutputFormat};
use crate::wire::edit_record::{
    digests::digest_with_alpha,
    drift::DriftRecord,
    exact::Exact,
    pass_one::{PassOne, scheduler_name, shares},
    shapes::MaskRecord,
};

/// Version of the record's layout. Version 1 had no key `record`; see [`earlier`].
const LAYOUT: u32 = 2;

/// [`EditRecord::compositing`] of this version: of what is inside the mask, what changed.
const OF_CHANGE: &str = "change";

/// The same of versions that did not record it: all that is inside the mask.
const OF_MASK: &str = "mask";

/// Largest record in bytes; it has to fit into a JPEG segment of 64 KiB.
pub const MAX_BYTES: usize = 60 << 10;

/// The model, the device and the library version.
#[derive(Debug, Clone, Copy)]
pub struct RunEnvironment<'a> {
    /// Name of the model: that of its folder or file, without a path.
    pub model: &'a str,
    /// Digest of its configuration, its recommended settings and its weights.
    pub model_digest: &'a str,
    /// Device, such as `cpu` or `cuda:0`.
    pub device: &'a str,
    /// Number format, such as `fp32`.
    pub dtype: &'a str,
    /// Version of libtorch, such as `2.11.0`.
    pub libtorch: &'a str,
    /// LoRAs in the model's weights.
    pub loras: &'a [Lora],
}

/// What determined a picture beside the request.
#[derive(Debug, Clone)]
pub struct MadePicture<'a> {
    /// The model, the device and the library version.
    pub origin: RunEnvironment<'a>,
    /// The settings preset, if not the model's recommendation.
    pub preset: Option<Preset>,
    /// The input picture.
    pub picture: &'a Picture,
    /// Format of the output file.
    pub format: OutputFormat,
    /// Source of the mask's localization.
    pub localization: Localized,
    /// Confidence of the localization, 0 to 1, if known.
    pub confidence: Option<f64>,
    /// The motion of the whole picture that pass 2 made, if that was told.
    pub drift: Option<Drift>,
    /// The caller's choice of the mask of each part after the first, if they were decided one by one.
    pub later_masks: Vec<MaskChoice>,
}

/// Source of an edit's localization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Localized {
    /// None was needed, or the instruction is about the whole picture.
    No,
    /// Pass 1 with the request's own settings.
    Here,
    /// An earlier pass 1 with other settings, by digest; see [`digests::localization_digest`].
    Before(String),
}

/// Everything that determined an edited picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EditRecord {
    /// Version of the layout.
    pub record: u32,
    /// Version of retouch.
    pub retouch: String,
    /// Version of libtorch.
    pub libtorch: String,
    /// Name of the model.
    pub model: String,
    /// Digest of its configuration, its recommended settings and its weights, in hexadecimal.
    pub model_digest: String,
    /// LoRAs merged into the model, in order.
    pub loras: Vec<Lora>,
    /// `cpu` or `cuda`.
    pub device: String,
    /// `fp32`, `bf16` or `fp16`.
    pub dtype: String,
    /// [`digests::digest_with_alpha`] of the input.
    pub picture_sha256: String,
    /// Format of the output file.
    pub output: Output,
    /// The instruction.
    pub instruction: String,
    /// The negative prompt.
    pub negative_prompt: String,
    /// The edit method.
    pub method: String,
    /// The object, if the caller named it.
    pub object: Option<String>,
    /// The kind of edit, if the caller named it.
    pub action: Option<String>,
    /// What the model was told, if that was not the instruction itself (cleaned); of several parts one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<String>,
    /// Name of the settings preset, if not the model's recommendation.
    pub preset: Option<String>,
    /// Seed of the noise of pass 2.
    pub seed: u64,
    /// Denoising steps of pass 2.
    pub steps: u32,
    /// Text guidance scale of both passes.
    pub text_guidance: Exact,
    /// Image guidance scale of both passes.
    pub image_guidance: Exact,
    /// Interval of pass 2's steps with guidance, as fractions from 0 to 1.
    pub guided: [Exact; 2],
    /// The scheduler; `None` is the model's own.
    pub scheduler: Option<String>,
    /// Whether the found mask is refined to the picture's edges.
    pub refine: bool,
    /// Growth of a found mask, and the margin of attention around a given one.
    pub grow: Exact,
    /// Whether the source's latents are restored outside the mask at each step.
    pub blend: bool,
    /// How attention is restricted to the mask.
    pub modulation: String,
    /// How the rest of the picture is preserved.
    pub preserve: String,
    /// How the edit is put into the picture where `preserve` is `pixel`: `change`, of what is inside the mask only what
    /// changed, or `mask`, all of it, which is what versions did that did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compositing: Option<String>,
    /// Whether a motion of the whole picture is undone: `auto` or `off`, which is what versions did that did not record it.
    #[serde(default = "off")]
    pub align: String,
    /// The motion of the whole picture that pass 2 made, if that was told; informative only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftRecord>,
    /// Working size of the model: `fit`, `fit:N` or `native`.
    pub size: String,
    /// The caller's choice of the mask; of several parts that of each, unless `later_masks` says otherwise.
    pub mask: MaskRecord,
    /// The caller's choice of the mask of each part after the first, if they were decided one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later_masks: Vec<MaskRecord>,
    /// Confidence of the localization, 0 to 1, if known; informative only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Confidence below which a warning is given, 0 to 1.
    pub min_confidence: Exact,
    /// Digest of a localization made earlier; see [`digests::localization_digest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub localization_sha256: Option<String>,
    /// Settings of pass 1, if it ran for this edit.
    #[serde(flatten)]
    pub pass_one: Option<PassOne>,
}

/// A LoRA, low-rank changes to a model's weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lora {
    /// Name of its file, without a path.
    pub name: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Weight that it was applied with.
    pub scale: Exact,
}

/// Format of the output file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// `png`, `jpeg` or `webp`.
    pub format: String,
    /// Quality of a JPEG.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<u8>,
}

/// The value of [`EditRecord::align`] of versions that did not record it.
fn off() -> String {
    Align::Off.name().to_owned()
}

/// What the model was told where that is not the instruction itself; of several parts joined.
fn told(request: &EditRequest) -> Option<String> {
    let parts = request.parts();
    if parts.len() < 2 {
        return Understood::of(request).reworded(request).map(str::to_owned);
    }
    let told = parts.into_iter().map(|part| {
        let request = EditRequest { instruction: part.instruction, ..request.clone() };
        Understood::of(&request).told.text
    });
    Some(told.collect::<Vec<_>>().join("; "))
}

impl EditRecord {
    /// The record of an edit.
    pub fn of(request: &EditRequest, made: &MadePicture<'_>) -> Self {
        // Destructured in full, so that a new field or setting can't be forgotten.
        let EditRequest {
            image: _,
            instruction,
            negative_prompt,
            method,
            object,
            action,
            // What the model was told says it.
            verbatim: _,
            // Decides only between a picture and an error.
            unparsed: _,
            seed,
            settings,
            mask,
            // Affects only what is shown during the edit.
            preview_every: _,
            preview_decode: _,
        } = request;
        let EditSettings {
            steps,
            guidance,
            guided,
            scheduler,
            refine,
            grow,
            modulation,
            preserve,
            blend,
            align,
            resize,
            // Recorded under pass 1, below.
            localize_steps: _,
            clusters: _,
            tau: _,
            rows: _,
            localizer: _,
            score: _,
            threshold: _,
            localization: _,
            // What the model was told says it.
            templates: _,
            min_confidence,
        } = settings;
        let MadePicture { origin, preset, picture, format, localization, .. } = made;
        let MadePicture { confidence, drift, later_masks, .. } = made;
        let (mask, later_masks) = MaskRecord::of_parts(mask, later_masks);
        let quality = match format {
            OutputFormat::Jpeg(quality) => Some(quality.get()),
            OutputFormat::Png | OutputFormat::WebP => None,
        };
        let format = format.file_format().name().to_owned();
        Self {
            record: LAYOUT,
            retouch: env!("CARGO_PKG_VERSION").to_owned(),
            libtorch: origin.libtorch.to_owned(),
            model: origin.model.to_owned(),
            model_digest: origin.model_digest.to_owned(),
            loras: origin.loras.to_vec(),
            device: origin.device.split(':').next().unwrap_or_default().to_owned(),
            dtype: origin.dtype.to_owned(),
            picture_sha256: digest_with_alpha(picture),
            output: Output { format, quality },
            instruction: instruction.clone(),
            negative_prompt: negative_prompt.clone(),
            method: method.name().to_owned(),
            object: object.clone(),
            action: action.map(|it| it.name().to_owned()),
            told: told(request),
            preset: preset.map(|it| it.name().to_owned()),
            seed: *seed,
            steps: steps.get(),
            text_guidance: Exact(guidance.text.get()),
            image_guidance: Exact(guidance.image.get()),
            guided: shares(*guided),
            scheduler: scheduler_name(*scheduler),
            refine: *refine,
            grow: Exact(grow.get()),
            blend: *blend,
            modulation: modulation.name().to_owned(),
            preserve: preserve.name().to_owned(),
            compositing: (*preserve == Preserve::Pixel).then(|| OF_CHANGE.to_owned()),
            align: align.name().to_owned(),
            drift: drift.map(DriftRecord::of),
            size: resize.to_string(),
            mask,
            later_masks,
            confidence: *confidence,
            min_confidence: Exact(min_confidence.get()),
            localization_sha256: match localization {
                Localized::Before(digest) => Some(digest.clone()),
                Localized::No | Localized::Here => None,
            },
            pass_one: (*localization == Localized::Here).then(|| PassOne::of(request)),
        }
    }

    /// The record's text, at most [`MAX_BYTES`] for texts and boxes within the schema's limits.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts become JSON")
    }
}

#[cfg(test)]
mod tests;

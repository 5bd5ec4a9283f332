//! How a picture was made, as JSON in its file: all that decided its pixels, so that it can be made again.
//!
//! A record names no path, and nothing in it is opened or run: a reader takes its values as flags are taken, within their
//! ranges. What is too large for it (a large mask, a localization, the model) stands in it by digest and is given anew.

pub mod digests;
pub mod exact;
pub mod read;
pub mod shapes;

use serde::{Deserialize, Serialize};

use crate::edit::{
    choices::Resize,
    knobs::{StepShare, Tau},
    request::EditRequest,
    settings::{EditSettings, LocalizationSettings},
};
use crate::picture::{Picture, encode::OutputFormat};
use crate::sampling::SchedulerKind;
use crate::wire::edit_record::{digests::digest_with_alpha, exact::Exact, shapes::MaskRecord};

/// Of the record's layout. Version 1 had no key `record`, and said nothing of masks and localizations.
const LAYOUT: u32 = 2;

/// Most bytes of a record. What is written stays below, so that it fits into a JPEG's segment of 64 KiB.
pub const MAX_BYTES: usize = 60 << 10;

/// The model, where it ran, and what computed.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Name of the model: that of its folder or file, without a path.
    pub model: &'a str,
    /// Digest of its configuration, its recommended settings and its weights.
    pub model_digest: &'a str,
    /// Such as `cpu` or `cuda:0`.
    pub device: &'a str,
    /// Such as `fp32`.
    pub dtype: &'a str,
    /// Of libtorch, such as `2.11.0`.
    pub libtorch: &'a str,
}

/// What made a picture, beside the request.
#[derive(Debug, Clone)]
pub struct Made<'a> {
    /// The model, where it ran, and what computed.
    pub origin: Origin<'a>,
    /// The settings that were started from, if not the model's: `paper`.
    pub preset: Option<&'a str>,
    /// The input.
    pub picture: &'a Picture,
    /// The output's type.
    pub format: OutputFormat,
    /// The localization that the mask comes from.
    pub localization: Localized,
    /// How sure it was, where that is known.
    pub confidence: Option<f64>,
}

/// Where the localization of an edit came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Localized {
    /// None was needed, or the instruction means the whole picture.
    No,
    /// A pass 1 with the request's own settings.
    Here,
    /// An earlier one, with settings of its own; see [`digests::localization_digest`].
    Before(String),
}

/// How a picture was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EditRecord {
    /// Of the layout.
    pub record: u32,
    /// Version of retouch.
    pub retouch: String,
    /// Version of libtorch.
    pub libtorch: String,
    /// Name of the model.
    pub model: String,
    /// Digest of its configuration, its recommended settings and its weights, in hexadecimal.
    pub model_digest: String,
    /// What changes the model's weights; empty, since this retouch loads none.
    pub loras: Vec<Lora>,
    /// `cpu` or `cuda`.
    pub device: String,
    /// `fp32`, `bf16` or `fp16`.
    pub dtype: String,
    /// [`digests::digest_with_alpha`] of the input.
    pub picture_sha256: String,
    /// The output's type.
    pub output: Output,
    /// What was asked.
    pub instruction: String,
    /// What was to be avoided.
    pub negative_prompt: String,
    /// The method.
    pub method: String,
    /// The object, where the caller named it.
    pub object: Option<String>,
    /// The kind of edit, where the caller named it.
    pub action: Option<String>,
    /// The settings that were started from, if not the model's.
    pub preset: Option<String>,
    /// Of the noise of pass 2.
    pub seed: u64,
    /// Steps of pass 2.
    pub steps: u32,
    /// Of both passes.
    pub text_guidance: Exact,
    /// Of both passes.
    pub image_guidance: Exact,
    /// The steps of pass 2 that are guided, as shares.
    pub guided: [Exact; 2],
    /// The sampler; none is the model's own.
    pub scheduler: Option<String>,
    /// Whether the found mask is brought to the picture's edges.
    pub refine: bool,
    /// Growth of a found mask, and attention's room around a given one.
    pub grow: Exact,
    /// Whether the source's latents are put back at each step.
    pub blend: bool,
    /// How attention is held inside the mask.
    pub modulation: String,
    /// What keeps the rest of the picture.
    pub preserve: String,
    /// The size that the model works at: `fit`, `fit:N` or `native`.
    pub size: String,
    /// What the caller decided of the mask.
    pub mask: MaskRecord,
    /// How sure the localization was, 0 to 1, where that is known; decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// How sure it had to be, so as not to be warned of.
    pub min_confidence: Exact,
    /// Digest of the localization, where it was made before; see [`digests::localization_digest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub localization_sha256: Option<String>,
    /// Pass 1, where it was made for this edit.
    #[serde(flatten)]
    pub pass_one: Option<PassOne>,
}

/// The settings of pass 1 alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PassOne {
    /// Of the noise of pass 1; variants of one edit share it.
    pub localize_seed: u64,
    /// Steps of pass 1.
    pub localize_steps: u32,
    /// Its sampler where pass 2 has the model's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub localize_scheduler: Option<String>,
    /// The steps whose attention is averaged, as shares.
    pub averaged: [Exact; 2],
    /// What tells where an addition goes.
    pub added_by: String,
    /// Number of clusters.
    pub k: u32,
    /// Score above which a cluster is edited.
    pub tau: Exact,
    /// The vectors that are clustered.
    pub rows: String,
    /// How the place is found.
    pub localizer: String,
    /// What scores are means of.
    pub score: String,
    /// Value above which a place is edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Exact>,
}

/// What changes a model's weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lora {
    /// Name of its file, without a path.
    pub name: String,
    /// Of its file, in hexadecimal.
    pub sha256: String,
    /// How strongly it was applied.
    pub scale: Exact,
}

/// The output's type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// `png`, `jpeg` or `webp`.
    pub format: String,
    /// Of a JPEG.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<u8>,
}

impl EditRecord {
    /// The record of a picture that this retouch made.
    pub fn of(request: &EditRequest, made: &Made<'_>) -> Self {
        // Every field and setting stands here, so that a new one is thought of.
        let EditRequest {
            image: _,
            instruction,
            negative_prompt,
            method,
            object,
            action,
            // Decides between a picture and an error.
            unparsed: _,
            seed,
            settings,
            mask,
            // What is shown on the way.
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
            resize,
            // Of pass 1, below.
            localize_steps: _,
            clusters: _,
            tau: _,
            rows: _,
            localizer: _,
            score: _,
            threshold: _,
            localization: _,
            min_confidence,
        } = settings;
        let Made { origin, preset, picture, format, localization, confidence } = made;
        let quality = match format {
            OutputFormat::Jpeg(quality) => Some(quality.get()),
            OutputFormat::Png | OutputFormat::WebP => None,
        };
        let format = format.file_format().to_string().to_lowercase();
        Self {
            record: LAYOUT,
            retouch: env!("CARGO_PKG_VERSION").to_owned(),
            libtorch: origin.libtorch.to_owned(),
            model: origin.model.to_owned(),
            model_digest: origin.model_digest.to_owned(),
            loras: vec![],
            device: origin.device.split(':').next().unwrap_or_default().to_owned(),
            dtype: origin.dtype.to_owned(),
            picture_sha256: digest_with_alpha(picture),
            output: Output { format, quality },
            instruction: instruction.clone(),
            negative_prompt: negative_prompt.clone(),
            method: method.name().to_owned(),
            object: object.clone(),
            action: action.map(|it| it.to_string()),
            preset: preset.map(str::to_owned),
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
            size: size(*resize),
            mask: MaskRecord::of(mask),
            confidence: *confidence,
            min_confidence: Exact(min_confidence.get()),
            localization_sha256: match localization {
                Localized::Before(digest) => Some(digest.clone()),
                Localized::No | Localized::Here => None,
            },
            pass_one: (*localization == Localized::Here).then(|| PassOne::of(request)),
        }
    }

    /// The record's text, shorter than [`MAX_BYTES`] for texts and boxes within the schema's limits.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts become JSON")
    }
}

impl PassOne {
    fn of(request: &EditRequest) -> Self {
        let settings = &request.settings;
        let LocalizationSettings {
            averaged,
            added_by,
            scheduler,
            seed: _,
            // The model's own, so that its digest says them.
            isam_level: _,
            icam_level: _,
            nouns: _,
            noun_prompt: _,
            template: _,
            confidence: _,
        } = &settings.localization;
        Self {
            localize_seed: request.localize_seed(),
            localize_steps: settings.localize_steps.get(),
            localize_scheduler: scheduler_name(*scheduler),
            averaged: shares(*averaged),
            added_by: added_by.name().to_owned(),
            k: settings.clusters.get(),
            tau: Exact(settings.tau.get()),
            rows: settings.rows.name().to_owned(),
            localizer: settings.localizer.name().to_owned(),
            score: settings.score.name().to_owned(),
            threshold: settings.threshold.map(Tau::get).map(Exact),
        }
    }
}

fn shares(share: StepShare) -> [Exact; 2] {
    share.shares().map(Exact)
}

fn scheduler_name(kind: Option<SchedulerKind>) -> Option<String> {
    kind.map(|it| it.name().to_owned())
}

fn size(resize: Resize) -> String {
    match resize {
        Resize::Fit(None) => "fit".to_owned(),
        Resize::Fit(Some(longer)) => format!("fit:{longer}"),
        Resize::Native => "native".to_owned(),
    }
}

#[cfg(test)]
mod tests;

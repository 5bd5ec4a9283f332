//! `EditSpec`: validation and normalization, which fills in every default.
//!
//! A normalized spec is complete: it gives the same request even if the server's defaults change, and normalizing it
//! again changes nothing.

use std::time::Duration;

use crate::edit::{
    choices::{MethodKind, Preserve},
    overrides::EditOverrides,
    parts,
    settings::EditSettings,
};
use crate::instruction::wording;
use crate::picture::{encode::OutputFormat, metadata::Policy};
use crate::wire::{
    edit_request::{metadata_policy, method, output, settings},
    enums::{known, number},
    masks, overrides,
    v1::{self, EditSpec, MaskPolicy},
    violation::Violation,
};

/// Longest instruction or negative prompt, in characters.
pub const MAX_TEXT: usize = 2_000;
/// Time to decide on a mask in review: default and maximum.
const REVIEW: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(24 * 3600));
/// Limits on labels: their number, characters of a key, characters of a value.
const LABELS: (usize, usize, usize) = (16, 63, 255);
/// Largest artifact that is sent inside events, in bytes: default and maximum.
pub const INLINE_BYTES: (u32, u32) = (256 << 10, 3 << 20);

/// Defaults and limits of the server for specs.
#[derive(Debug, Clone)]
pub struct SpecTerms<'a> {
    /// Name of the loaded model.
    pub model: &'a str,
    /// Settings that the model recommends.
    pub recommended: &'a EditSettings,
    /// Whether it has a tiny decoder for previews.
    pub preview_decoder: bool,
    /// Default time to live of a finished job.
    pub default_ttl: Duration,
    /// Longest time to live that a caller may set.
    pub max_ttl: Duration,
}

/// Validates a spec and fills in every default; a seed is drawn if none is given.
///
/// Images are not decoded here: [`masks`] and [`crate::picture`] check them once their bytes are at hand.
///
/// # Errors
/// Every [`Violation`] that can be found independently of the others.
pub fn normalize(mut spec: EditSpec, terms: &SpecTerms<'_>) -> Result<EditSpec, Vec<Violation>> {
    let mut faults = Vec::new();
    check_texts(&spec, terms, &mut faults);
    check_parts(&spec, &mut faults);
    settle_policy(&mut spec, &mut faults);
    settle_times(&mut spec, terms, &mut faults);
    settle_events(&mut spec, terms, &mut faults);
    match output(&spec) {
        Ok(format) => check_preserve(&spec, format, &mut faults),
        Err(fault) => faults.push(fault),
    }
    if let Err(fault) = metadata_policy(&spec) {
        faults.push(fault);
    }
    if let Err(fault) = known::<v1::Priority>("priority", spec.priority) {
        faults.push(fault);
    }
    if spec.priority == v1::Priority::Unspecified as i32 {
        spec.priority = v1::Priority::Interactive as i32;
    }
    if spec.model.is_empty() {
        terms.model.clone_into(&mut spec.model);
    }
    match settings(&spec, terms.recommended) {
        Ok(settings) => write_back(&mut spec, settings),
        Err(fault) => faults.push(fault),
    }
    if faults.is_empty() { Ok(spec) } else { Err(faults) }
}

fn check_texts(spec: &EditSpec, terms: &SpecTerms<'_>, faults: &mut Vec<Violation>) {
    let mut fault = |field: &str, text: String| faults.push(Violation::new(field, text));
    if spec.image.as_ref().is_none_or(|it| it.source.is_none()) {
        fault(
            "image",
            "is missing; give the bytes of a PNG, JPEG or WebP, or an artifact".to_owned(),
        );
    }
    if let Some(text) = wording::fault(&spec.instruction) {
        fault("instruction", text.to_owned());
    }
    for (field, text) in [
        ("instruction", &spec.instruction),
        ("negative_prompt", &spec.negative_prompt),
        ("object", &spec.object),
    ] {
        let count = text.chars().count();
        if count > MAX_TEXT {
            fault(field, format!("has {count} characters, at most {MAX_TEXT} are read"));
        }
    }
    if !spec.model.is_empty() && spec.model != terms.model {
        let (asked, loaded) = (&spec.model, terms.model);
        fault("model", format!("`{asked}` is not loaded; this server has `{loaded}`"));
    }
    let (most, key_length, value_length) = LABELS;
    if spec.labels.len() > most {
        fault("labels", format!("are {}, at most {most}", spec.labels.len()));
    }
    for (key, value) in &spec.labels {
        if key.is_empty()
            || key.chars().count() > key_length
            || value.chars().count() > value_length
        {
            let limits =
                format!("keys have 1 to {key_length} and values at most {value_length} characters");
            fault("labels", limits);
        }
    }
}

/// Refuses an instruction that asks for too many edits, or for several beside what belongs to one of them.
fn check_parts(spec: &EditSpec, faults: &mut Vec<Violation>) {
    if spec.instruction.chars().count() > MAX_TEXT {
        return;
    }
    let is_one =
        !spec.object.is_empty() || spec.action != v1::Action::Unspecified as i32 || spec.verbatim;
    let clusters = spec.mask.as_ref().is_some_and(|it| it.clusters.is_some());
    let what = if clusters {
        Some("mask.clusters")
    } else if !spec.reuse_localization_of.is_empty() {
        Some("reuse_localization_of")
    } else if spec.mask_policy == MaskPolicy::LocalizeOnly as i32 {
        Some("LOCALIZE_ONLY")
    } else {
        None
    };
    if let Err(error) = parts::check(&parts::parts(&spec.instruction, is_one), what) {
        faults.push(Violation::new("instruction", error.to_string()));
    }
}

/// Warnings about parts of the texts that the model will not read.
pub fn text_notes(spec: &EditSpec) -> Vec<String> {
    let object = Some(spec.object.as_str());
    wording::notes(&spec.instruction, object, &spec.negative_prompt)
}

/// Determines the method and the mask policy.
fn settle_policy(spec: &mut EditSpec, faults: &mut Vec<Violation>) {
    let mut fault = |it: Violation| faults.push(it);
    let method = method(spec).unwrap_or_else(|it| {
        fault(it);
        MethodKind::IamEdit
    });
    spec.method = number(Some(method));
    if let Err(it) = known::<v1::Action>("action", spec.action) {
        fault(it);
    }
    if let Err(it) = known::<v1::ReviewTimeoutAction>("on_review_timeout", spec.on_review_timeout) {
        fault(it);
    }
    let policy = known("mask_policy", spec.mask_policy).unwrap_or_else(|it| {
        fault(it);
        MaskPolicy::Unspecified
    });
    let policy = match (policy, &spec.mask) {
        (MaskPolicy::Unspecified, Some(_)) => MaskPolicy::Provided,
        (MaskPolicy::Unspecified, None) => MaskPolicy::Auto,
        (policy, _) => policy,
    };
    spec.mask_policy = policy as i32;
    match (policy, &spec.mask) {
        (MaskPolicy::Provided, None) => {
            fault(Violation::new("mask", "is missing, and mask_policy is PROVIDED"));
        }
        (MaskPolicy::Provided, Some(mask)) => {
            masks::check(mask).into_iter().for_each(&mut fault);
            if mask.clusters.is_some() && spec.reuse_localization_of.is_empty() {
                let text = "clusters exist only after a localization; give reuse_localization_of, or review the mask";
                fault(Violation::new("mask.clusters", text));
            }
        }
        (_, Some(_)) => fault(Violation::new("mask", "is given, and mask_policy is not PROVIDED")),
        (_, None) => {}
    }
    if !method.finds_mask() && matches!(policy, MaskPolicy::Review | MaskPolicy::LocalizeOnly) {
        let text = "the plain backbone finds no mask; give one, or choose IAM_EDIT";
        fault(Violation::new("mask_policy", text));
    }
}

fn settle_times(spec: &mut EditSpec, terms: &SpecTerms<'_>, faults: &mut Vec<Violation>) {
    let (default, most) = REVIEW;
    let mut settle = |field: &str,
                      value: &mut Option<prost_types::Duration>,
                      default: Duration,
                      most: Duration| {
        let Some(given) = *value else {
            *value = Some(duration(default));
            return;
        };
        match Duration::try_from(given) {
            Ok(it) if !it.is_zero() && it <= most => {}
            _ => faults.push(Violation::new(
                field,
                format!("must be above 0 and at most {} s", most.as_secs()),
            )),
        }
    };
    settle("review_timeout", &mut spec.review_timeout, default, most);
    settle("ttl", &mut spec.ttl, terms.default_ttl.min(terms.max_ttl), terms.max_ttl);
}

fn settle_events(spec: &mut EditSpec, terms: &SpecTerms<'_>, faults: &mut Vec<Violation>) {
    let events = spec.events.get_or_insert_default();
    events.preview_every.get_or_insert(1);
    events.cluster_map.get_or_insert(true);
    events.heatmaps.get_or_insert(true);
    events.max_inline_bytes.get_or_insert(INLINE_BYTES.0);
    if let Err(fault) = known::<v1::PreviewDecode>("events.preview_decode", events.preview_decode) {
        faults.push(fault);
    }
    if events.preview_decode == v1::PreviewDecode::Unspecified as i32 {
        let default =
            if terms.preview_decoder { v1::PreviewDecode::Tiny } else { v1::PreviewDecode::Linear };
        events.preview_decode = default as i32;
    }
    if events.preview_decode == v1::PreviewDecode::Tiny as i32 && !terms.preview_decoder {
        let said = "TINY needs a tiny decoder, and the server has none; ask for LINEAR or VAE";
        faults.push(Violation::new("events.preview_decode", said));
    }
    if events.vae_previews == Some(0) {
        faults.push(Violation::new("events.vae_previews", "must be at least 1"));
    }
    if events.preview_max_px.is_some_and(|it| !(8..=1024).contains(&it)) {
        faults.push(Violation::new("events.preview_max_px", "must be 8 to 1024"));
    }
}

fn check_preserve(spec: &EditSpec, format: OutputFormat, faults: &mut Vec<Violation>) {
    if spec.preserve == v1::Preserve::Pixel as i32 && format.is_lossy() {
        let text = "PIXEL keeps pixels exactly, and a JPEG does not; ask for image/png or image/webp, or leave it out";
        faults.push(Violation::new("preserve", text));
    }
}

/// Writes the effective settings into the spec.
fn write_back(spec: &mut EditSpec, settings: EditSettings) {
    let lossy = output(spec).is_ok_and(OutputFormat::is_lossy);
    let metadata = metadata_policy(spec).unwrap_or(Policy::Keep);
    let output = spec.output.get_or_insert_default();
    if output.mime_type.is_empty() {
        "image/png".clone_into(&mut output.mime_type);
    }
    spec.metadata = number(Some(metadata));
    spec.seed.get_or_insert_with(|| u64::from(rand::random::<u32>()));
    let mut overrides = EditOverrides::of(settings);
    // A default that a lossy format can't keep stays unset, so that normalizing the spec again doesn't refuse it.
    overrides.preserve = overrides.preserve.filter(|it| !(lossy && *it == Preserve::Pixel));
    overrides::put(&overrides, spec);
}

/// Converts to protobuf's duration.
pub fn duration(value: Duration) -> prost_types::Duration {
    value.try_into().expect("durations here are far below the schema's limit")
}

/// All defaults of a spec, without the fields that every request gives: image, instruction, seed.
pub fn defaults(terms: &SpecTerms<'_>) -> EditSpec {
    let artifact = v1::image::Source::Artifact(String::new());
    let asked = EditSpec {
        image: Some(v1::Image { source: Some(artifact) }),
        instruction: "defaults".to_owned(),
        ..EditSpec::default()
    };
    let mut spec = normalize(asked, terms).expect("defaults are sound");
    spec.image = None;
    spec.instruction.clear();
    spec.seed = None;
    spec
}

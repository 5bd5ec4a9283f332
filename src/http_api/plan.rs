//! From what is asked to the create requests of the jobs, one a variant.

use sha2::{Digest, Sha256};

use crate::http_api::{
    asked::{Asked, Extras},
    models::no_model,
    said::{self, wrong},
};
use crate::jobs::{fault::Fault, store::Store};
use crate::picture::{
    decode::{self, InputLimits},
    error::PictureError,
    format::FileFormat,
    mask::Mask,
    painted::Reading,
};
use crate::server::refusal::Refusal;
use crate::wire::{
    enums::number,
    pictures,
    reason::Reason,
    v1::{self, CreateEditJobRequest, EditSpec, EventOptions, Image, OutputOptions},
};

/// Longer side of a partial image, in pixels: enough to be looked at, though the latents behind it are smaller.
const PARTIAL_PX: u32 = 512;
/// Name in errors of a mask.
const MASK: &str = "the mask";

/// The create requests of the variants that are asked for. `key` is the caller's idempotency key, empty without one.
///
/// # Errors
/// A model that is not loaded, and a mask that can't be used.
pub(super) fn requests(
    store: &Store,
    tenant: &str,
    asked: &mut Asked,
    key: &str,
) -> Result<Vec<CreateEditJobRequest>, Refusal> {
    let loaded = store.need_model().map_err(|fault| said::refusal(&fault))?;
    if let Some(model) = asked.model.as_deref().filter(|it| *it != loaded.name) {
        return Err(no_model(model));
    }
    let mask = mask(store, tenant, asked)?;
    let spec = spec(asked, mask);
    if asked.count == 1 {
        return Ok(vec![request(spec, key.to_owned())]);
    }
    // One seed finds the mask of all variants, and each of them is drawn by one of its own.
    let seed = asked.extras.seed.unwrap_or_else(|| drawn(tenant, key));
    let variant = |index: u64| {
        let mut spec = EditSpec {
            seed: Some(seed.wrapping_add(index)),
            localize_seed: Some(seed),
            ..spec.clone()
        };
        spec.labels.insert("variant".to_owned(), format!("{} of {}", index + 1, asked.count));
        let key = match (key, index) {
            ("", _) => String::new(),
            (key, 0) => key.to_owned(),
            (key, index) => format!("{key}#{}", index + 1),
        };
        request(spec, key)
    };
    Ok((0..asked.count).map(variant).collect())
}

fn request(spec: EditSpec, request_id: String) -> CreateEditJobRequest {
    CreateEditJobRequest { request_id, spec: Some(spec), ..CreateEditJobRequest::default() }
}

/// A seed that a repeated request gets again if it has a key.
fn drawn(tenant: &str, key: &str) -> u64 {
    if key.is_empty() {
        return u64::from(rand::random::<u32>());
    }
    let digest = Sha256::digest(format!("{tenant}\n{key}"));
    let [first, second, third, fourth, ..] = digest.as_slice() else { return 0 };
    u64::from(u32::from_be_bytes([*first, *second, *third, *fourth]))
}

fn spec(asked: &mut Asked, mask: Option<Image>) -> EditSpec {
    let Extras { seed, steps, preserve, modulation, mask_policy, reuse_localization_of, .. } =
        &asked.extras;
    let mime_type = pictures::mime_type(asked.format).to_owned();
    let labels = asked.user.iter().map(|user| ("user".to_owned(), user.clone()));
    EditSpec {
        image: asked.pictures.image.take(),
        instruction: asked.prompt.clone(),
        seed: *seed,
        steps: *steps,
        preserve: number(*preserve),
        modulation: number(*modulation),
        mask_policy: *mask_policy as i32,
        mask: mask.map(|image| v1::Mask { image: Some(image), ..v1::Mask::default() }),
        // The same for streams and other calls, so that either may repeat the other under its key.
        events: Some(EventOptions {
            preview_max_px: Some(PARTIAL_PX),
            cluster_map: Some(false),
            heatmaps: Some(false),
            ..EventOptions::default()
        }),
        output: Some(OutputOptions { mime_type, quality: asked.quality }),
        labels: labels.collect(),
        reuse_localization_of: reuse_localization_of.clone().unwrap_or_default(),
        ..EditSpec::default()
    }
}

/// The mask as the schema has it: white may change.
fn mask(store: &Store, tenant: &str, asked: &mut Asked) -> Result<Option<Image>, Refusal> {
    let Some(mask) = asked.pictures.mask.take() else {
        return Ok(asked.pictures.retouch_mask.take());
    };
    let bytes = store.input(tenant, Some(&mask));
    let bytes = bytes.map_err(|fault| said::refusal(&fault.about("spec.mask")))?;
    let limits =
        InputLimits { bytes: store.limits.max_artifact_bytes, pixels: store.limits.max_pixels };
    let unusable = |error: PictureError| {
        let reason = Reason::of_picture(&error, Reason::BadMask);
        let refusal = said::refusal(&Fault::new(reason, error.to_string()));
        refusal.field("mask", error.to_string())
    };
    let decoded = decode::decode(MASK, &bytes.unwrap_or_default(), limits).map_err(unusable)?;
    if decoded.format != FileFormat::Png {
        return Err(wrong(
            "mask",
            "is no PNG; a mask in other formats, white = may change, is retouch_mask",
        ));
    }
    let size = decoded.picture.size();
    let (mask, _) =
        Mask::from_picture(MASK, &decoded.picture, Reading::Transparent, size).map_err(unusable)?;
    Ok(Some(pictures::sent(pictures::mask(mask.as_image()).bytes)))
}

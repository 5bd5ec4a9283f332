//! What a call answers once its jobs have ended.

use std::{sync::Arc, time::SystemTime};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::header;
use serde::Serialize;

use crate::http_api::{asked::Asked, parts::Parts, unix};
use crate::jobs::{fault::Fault, job::Job, store::Store};
use crate::picture::format::FileFormat;
use crate::server::work::Work;
use crate::wire::{
    reason::Reason,
    v1::{self, Artifact, MaskPolicy},
};

/// Tokens, of which this server counts none; clients of OpenAI's API expect them.
#[derive(Debug, Default, Serialize)]
pub(super) struct Usage {
    total_tokens: u64,
    input_tokens: u64,
    output_tokens: u64,
    input_tokens_details: TokenDetails,
}

#[derive(Debug, Default, Serialize)]
struct TokenDetails {
    text_tokens: u64,
    image_tokens: u64,
}

/// The answer without its images.
#[derive(Debug, Serialize)]
struct Head {
    created: u64,
    output_format: &'static str,
    usage: Usage,
}

/// What is told of an image beside OpenAI's fields.
#[derive(Debug, Serialize)]
struct Made {
    job: String,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mask_artifact: Option<String>,
    warnings: Vec<Told>,
}

/// A warning.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    reason: String,
    message: String,
}

/// An image of an answer.
#[derive(Debug)]
pub(super) struct Item {
    /// The edited picture; none if only the mask was asked for.
    pub(super) image: Option<Artifact>,
    /// The object `retouch`.
    pub(super) retouch: Parts,
}

/// What a job has made. Blocking: reads files.
///
/// # Errors
/// Those of the store.
pub(super) fn item(
    store: &Store,
    job: &Arc<Job>,
    warnings: Vec<v1::Warning>,
    asked: &Asked,
) -> Result<Item, Fault> {
    let view = store.view(job)?;
    let result =
        view.result.ok_or_else(|| Fault::new(Reason::Internal, "the job has no result"))?;
    let v1::EditResult { image, mask, provenance, .. } = result;
    let mut warnings: Vec<Told> = warnings
        .into_iter()
        .map(|v1::Warning { reason, message }| Told { reason, message })
        .collect();
    let size = image.as_ref().map(|it| (it.width, it.height));
    if let (Some((width, height)), Some(asked)) = (size, asked.size)
        && (width, height) != asked
    {
        let message = format!("the result has the picture's own size, {width}x{height}");
        warnings.push(Told { reason: "SIZE_KEPT".to_owned(), message });
    }
    let name = |it: &Option<Artifact>| it.as_ref().map(|it| it.name.clone());
    let made = Made {
        job: view.name,
        seed: provenance.map_or(0, |it| it.seed),
        size: size.map(|(width, height)| format!("{width}x{height}")),
        artifact: name(&image),
        mask_artifact: name(&mask),
        warnings,
    };
    let returns_mask =
        asked.extras.return_mask || asked.extras.mask_policy == MaskPolicy::LocalizeOnly;
    let mask = mask.filter(|_| returns_mask);
    for file in image.iter().chain(&mask) {
        store.artifacts.check(&file.name)?;
    }
    let mask = mask.map(|it| ("mask_b64_json", it));
    Ok(Item { image, retouch: Parts::object(&made, mask, None) })
}

/// The name of a file format in this API.
pub(super) fn format_name(format: FileFormat) -> &'static str {
    match format {
        FileFormat::Png => "png",
        FileFormat::Jpeg => "jpeg",
        FileFormat::WebP => "webp",
    }
}

/// The answer of a call with these images.
pub(super) fn answer(items: Vec<Item>, asked: &Asked, work: Work) -> Response {
    let item = |Item { image, retouch }: Item| {
        let image = image.map(|it| ("b64_json", it));
        // An object needs a first field for the others to follow.
        Parts::object(&Nothing { revised_prompt: None }, image, [("retouch", retouch)])
    };
    let head = Head {
        created: unix(SystemTime::now()),
        output_format: format_name(asked.format),
        usage: Usage::default(),
    };
    let data = Parts::list(items.into_iter().map(item));
    let all = Parts::object(&head, None, [("data", data)]);
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_LENGTH, all.length().to_string()),
    ];
    (headers, Body::from_stream(all.bytes(work))).into_response()
}

/// The fields of OpenAI's image that are never set.
#[derive(Debug, Serialize)]
struct Nothing {
    revised_prompt: Option<()>,
}

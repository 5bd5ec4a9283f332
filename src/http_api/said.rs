//! Refusals as this API says them: its own names of fields, and errors in OpenAI's shape.

use axum::{body::Body, response::Response};
use http::{HeaderValue, Method, header};
use tonic::Code;

use crate::jobs::fault::Fault;
use crate::server::{http_error, refusal::Refusal, status};

/// This API's names of a spec's fields, where they differ.
const NAMES: [(&str, &str); 11] = [
    ("spec.instruction", "prompt"),
    ("spec.labels", "user"),
    ("spec.mask_policy", "retouch.mask_policy"),
    ("spec.model", "model"),
    ("spec.output.mime_type", "output_format"),
    ("spec.output.quality", "output_compression"),
    ("spec.preserve", "retouch.preserve"),
    ("spec.reuse_localization_of", "retouch.reuse_localization_of"),
    ("spec.seed", "retouch.seed"),
    ("spec.steps", "retouch.steps"),
    ("request_id", "Idempotency-Key"),
];

/// A field that is wrong, and why.
pub(super) fn wrong(field: &str, why: impl std::fmt::Display) -> Refusal {
    let said = format!("{field}: {why}");
    Refusal::new(Code::InvalidArgument, "INVALID_ARGUMENT", said).field(field, why.to_string())
}

/// A job's fault, with this API's names of the fields.
pub(super) fn refusal(fault: &Fault) -> Refusal {
    refusal_of(fault, "image", "mask")
}

/// As [`refusal`], of a request whose picture and mask have these names.
pub(super) fn refusal_of(fault: &Fault, image: &str, mask: &str) -> Refusal {
    let mut refusal = status::refusal(fault);
    for (field, _) in &mut refusal.fields {
        let name = match field.as_str() {
            "spec.image" => image,
            "spec.mask" | "spec.mask.image" => mask,
            other => NAMES.iter().find(|(name, _)| *name == other).map_or("", |(_, name)| name),
        };
        *field = name.to_owned();
    }
    if !refusal.fields.is_empty() {
        let fields = refusal.fields.iter().map(|(field, why)| format!("{field}: {why}"));
        refusal.message = fields.collect::<Vec<_>>().join("; ");
    }
    refusal
}

/// A refusal as a response.
pub(super) fn answer(refusal: &Refusal) -> Response {
    http_error::answer(refusal).map(Body::new)
}

/// A path that is none of the API's.
pub(super) fn no_such_path(path: &str) -> Response {
    let said = format!("there is no `{path}`; /v1/openapi.json describes the API");
    answer(&Refusal::new(Code::NotFound, "NO_SUCH_PATH", said))
}

/// A method that a path doesn't have.
pub(super) fn not_allowed(method: &Method, path: &str) -> Response {
    let allowed = if path == "/v1/images/edits" { "POST" } else { "GET,HEAD" };
    let said = format!("`{path}` takes {allowed}, not {method}");
    let mut answer = answer(&Refusal::new(Code::Unimplemented, "METHOD_NOT_ALLOWED", said));
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    answer
}

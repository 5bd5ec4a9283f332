//! A refusal over plain HTTP: status, headers, and the error object that clients of OpenAI's API read.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use tonic::{Code, body::Body};

use crate::server::refusal::Refusal;

/// Header that tells OpenAI's clients whether to repeat a request; by themselves they repeat 408, 409, 429 and 5xx.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Delay of a retry where a refusal of an unavailable server says none.
const USUAL_DELAY: Duration = Duration::from_secs(5);

/// The body of an error.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorBody<'a> {
    error: ErrorObject<'a>,
}

/// What is wrong.
#[derive(Debug, Serialize)]
struct ErrorObject<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'a str>,
    code: &'static str,
}

/// The body that says a refusal.
pub(crate) fn body(refusal: &Refusal) -> ErrorBody<'_> {
    ErrorBody {
        error: ErrorObject {
            message: &refusal.message,
            r#type: kind(status(refusal)),
            param: refusal.fields.first().map(|(field, _)| field.as_str()),
            code: refusal.reason,
        },
    }
}

/// A refusal as a response.
pub(crate) fn answer(refusal: &Refusal) -> Response<Body> {
    let said = serde_json::to_string(&body(refusal)).expect("texts become JSON");
    let mut answer = Response::new(Body::new(said));
    let status = status(refusal);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    let usual = (refusal.code == Code::Unavailable).then_some(USUAL_DELAY);
    match refusal.retry_after.or(usual) {
        Some(delay) => {
            // Rounded up: a client that returns slightly early would be refused again.
            let seconds = (delay.as_nanos().div_ceil(1_000_000_000) as u64).max(1);
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        // An internal error may have been one of a moment.
        None if refusal.code == Code::Internal => {}
        None => {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
    }
    answer
}

/// The HTTP status of a refusal.
fn status(refusal: &Refusal) -> StatusCode {
    match (refusal.code, refusal.reason) {
        (_, "METHOD_NOT_ALLOWED") => StatusCode::METHOD_NOT_ALLOWED,
        (_, "UNSUPPORTED_MEDIA_TYPE") => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        (_, "UNKNOWN_HOST") => StatusCode::MISDIRECTED_REQUEST,
        (_, "METADATA_TOO_LARGE") => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        (_, "BODY_STALLED") => StatusCode::REQUEST_TIMEOUT,
        (Code::InvalidArgument, _) => StatusCode::BAD_REQUEST,
        (Code::OutOfRange, _) => StatusCode::PAYLOAD_TOO_LARGE,
        (Code::Unauthenticated, _) => StatusCode::UNAUTHORIZED,
        (Code::PermissionDenied, _) => StatusCode::FORBIDDEN,
        (Code::NotFound | Code::Unimplemented, _) => StatusCode::NOT_FOUND,
        (Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted | Code::Cancelled, _) => {
            StatusCode::CONFLICT
        }
        // Beyond the caller's own doing.
        (Code::ResourceExhausted, "OUT_OF_MEMORY" | "DISK_FULL") | (Code::Unavailable, _) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        (Code::ResourceExhausted, _) => StatusCode::TOO_MANY_REQUESTS,
        (Code::DeadlineExceeded, _) => StatusCode::GATEWAY_TIMEOUT,
        (Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss, _) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

/// The type of an error, as OpenAI's clients know them.
fn kind(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        it if it.is_server_error() => "server_error",
        _ => "invalid_request_error",
    }
}

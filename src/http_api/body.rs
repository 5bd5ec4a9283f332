//! The body of a request: a form or JSON, taken in as it arrives.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{HeaderMap, header};

use crate::http_api::{asked::Asked, form::Form, json};
use crate::server::refusal::Refusal;

/// Room in a body of JSON beside its pictures, in bytes.
const BESIDE_PICTURES: u64 = 1 << 20;

/// What a body is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Form { boundary: String },
    Json,
}

/// A body that was taken in.
#[derive(Debug)]
pub(super) enum Received {
    Form(Form),
    Json(Bytes),
}

impl Kind {
    /// What the headers say that it is.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        if let Ok(boundary) = multer::parse_boundary(kind) {
            return Some(Self::Form { boundary });
        }
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json").then_some(Self::Json)
    }

    /// Largest body in bytes; base64 makes three bytes four.
    pub(super) fn most(&self, max_request_bytes: u64) -> u64 {
        match self {
            Self::Form { .. } => max_request_bytes,
            Self::Json => max_request_bytes.div_ceil(3) * 4 + BESIDE_PICTURES,
        }
    }

    /// Takes a body in; `length` is what its headers announce.
    ///
    /// # Errors
    /// Those of the budget and of a body that stalls or breaks, and what is wrong with a form.
    pub(super) async fn receive(self, body: Body, length: usize) -> Result<Received, Refusal> {
        match self {
            Self::Form { boundary } => {
                Form::receive(body, boundary, length).await.map(Received::Form)
            }
            Self::Json => whole(body, length).await.map(Received::Json),
        }
    }
}

impl Received {
    /// The name of the picture's field.
    pub(super) fn image_field(&self) -> &'static str {
        match self {
            Self::Form(_) => "image",
            Self::Json(_) => "images",
        }
    }

    /// What is asked for.
    ///
    /// # Errors
    /// As [`Asked::read`].
    pub(super) fn asked(self) -> Result<Asked, Refusal> {
        match self {
            Self::Form(form) => form.asked(),
            Self::Json(body) => json::asked(body),
        }
    }
}

/// All bytes of a body.
async fn whole(body: Body, length: usize) -> Result<Bytes, Refusal> {
    let mut pieces = body.into_data_stream();
    let mut bytes = BytesMut::with_capacity(length);
    while let Some(piece) = pieces.next().await {
        let broken = |error| Refusal::invalid_message(format!("the body broke off: {error}"));
        bytes.extend_from_slice(&piece.map_err(broken)?);
    }
    Ok(bytes.freeze())
}

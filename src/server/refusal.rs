//! A refused call: one code, one reason, and what a client needs to act on it, as google.rpc details.
//!
//! <https://google.aip.dev/193>; the pushback is gRFC A6.

use std::time::Duration;

use tonic::{Code, Status, metadata::MetadataMap};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

/// The domain of every reason of this service.
pub const DOMAIN: &str = "retouch";

/// The metadata key by which a server tells a client's retry policy to wait, in milliseconds.
pub const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The gRPC code.
    pub code: Code,
    /// For programs, such as `QUEUE_FULL`; stable.
    pub reason: &'static str,
    /// For people, without a full stop.
    pub message: String,
    /// Values that the message names, by key.
    pub metadata: Vec<(String, String)>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// Fields of the request that are wrong, each with what is wrong about it.
    pub fields: Vec<(String, String)>,
}

impl Refusal {
    /// A refusal without details but its reason.
    pub fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, reason, message, metadata: Vec::new(), retry_after: None, fields: Vec::new() }
    }

    /// A request that is no gRPC message, or not one of its method's.
    pub fn invalid_message(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, "INVALID_MESSAGE", message)
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(self, delay: Duration) -> Self {
        Self { retry_after: Some(delay), ..self }
    }

    /// Adds a value that the message names.
    #[must_use]
    pub fn with(mut self, key: &str, value: &dyn ToString) -> Self {
        self.metadata.push((key.to_owned(), value.to_string()));
        self
    }

    /// Adds a field of the request that is wrong.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.fields.push((field.into(), description.into()));
        self
    }
}

/// Most bytes of a message: clients take headers of 8 to 16 KiB, in which it stands twice, once percent-encoded.
const MAX_MESSAGE: usize = 1024;
/// Most bytes of a value or a field in the details.
const MAX_DETAIL: usize = 256;

/// A text that is cut where it is too long.
fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let last = most - '…'.len_utf8();
        text.truncate((0..=last).rfind(|&at| text.is_char_boundary(at)).unwrap_or_default());
        text.push('…');
    }
    text
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, reason, message, metadata, retry_after, fields } = refusal;
        let message = cut(message, MAX_MESSAGE);
        let metadata = metadata.into_iter().map(|(key, value)| (key, cut(value, MAX_DETAIL)));
        let mut details = ErrorDetails::new();
        details.set_error_info(
            reason,
            DOMAIN,
            metadata.collect::<std::collections::HashMap<_, _>>(),
        );
        let mut headers = MetadataMap::new();
        if let Some(delay) = retry_after {
            details.set_retry_info(Some(delay));
            // Rounded up: a client that comes back a moment early is refused again.
            let millis = delay.as_nanos().div_ceil(1_000_000).min(u128::from(u32::MAX)) as u64;
            headers.insert(PUSHBACK, millis.into());
        }
        if !fields.is_empty() {
            let violation =
                |(field, why)| FieldViolation::new(cut(field, MAX_DETAIL), cut(why, MAX_DETAIL));
            let fields: Vec<_> = fields.into_iter().map(violation).collect();
            details.set_bad_request(fields);
        }
        Status::with_error_details_and_metadata(code, message, details, headers)
    }
}

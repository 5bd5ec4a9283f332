//! gRPC errors with details: status code, reason, retry delay and field violations as google.rpc messages.
//!
//! <https://google.aip.dev/193>; retry pushback by gRFC A6.

use std::time::Duration;

use tonic::{Code, Status, metadata::MetadataMap};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

/// Error domain of every reason (`google.rpc.ErrorInfo.domain`).
pub const DOMAIN: &str = "retouch";

/// Metadata key that tells a client's retry policy how long to wait, in milliseconds (gRFC A6).
pub const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// gRPC status code.
    pub code: Code,
    /// Stable reason for programs, such as `QUEUE_FULL`.
    pub reason: &'static str,
    /// Message for people, without a full stop.
    pub message: String,
    /// Values in the message, by key.
    pub metadata: Vec<(String, String)>,
    /// Delay after which a retry may succeed.
    pub retry_after: Option<Duration>,
    /// Invalid fields of the request, with descriptions.
    pub fields: Vec<(String, String)>,
}

impl Refusal {
    /// A refusal with a code, a reason and a message only.
    pub fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, reason, message, metadata: Vec::new(), retry_after: None, fields: Vec::new() }
    }

    /// For a request that is not a valid gRPC message of its method.
    pub fn invalid_message(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, "INVALID_MESSAGE", message)
    }

    /// Adds a retry delay.
    #[must_use]
    pub fn retry_after(self, delay: Duration) -> Self {
        Self { retry_after: Some(delay), ..self }
    }

    /// Adds a value that the message contains.
    #[must_use]
    pub fn with(mut self, key: &str, value: &dyn ToString) -> Self {
        self.metadata.push((key.to_owned(), value.to_string()));
        self
    }

    /// Adds an invalid field of the request.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.fields.push((field.into(), description.into()));
        self
    }
}

/// Longest message, in bytes: clients accept headers of 8 to 16 KiB, which contain it twice, once percent-encoded.
const MAX_MESSAGE: usize = 1024;
/// Longest value or field in the details, in bytes.
const MAX_DETAIL: usize = 256;

/// Truncates a text to `most` bytes.
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
            // Rounded up: a client that returns slightly early would be refused again.
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

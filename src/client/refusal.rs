//! Errors reported by the server: google.rpc details of a status, or a job's error, as one line.

use std::{fmt, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::wire::v1;

/// Retry delay set by the server, in milliseconds; negative forbids retries (gRFC A6).
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// An error reported by the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// gRPC status code.
    pub code: Code,
    /// Reason in upper snake case; empty if a proxy or the connection caused the error.
    pub reason: String,
    /// Message for people.
    pub message: String,
    /// Invalid fields of the request.
    pub fields: Vec<String>,
    /// Delay after which a retry may succeed.
    pub retry_after: Option<Duration>,
    /// Whether the server forbids retries.
    pub is_final: bool,
}

impl Refusal {
    /// Whether a retry may succeed: `UNAVAILABLE`, and `RESOURCE_EXHAUSTED` with a retry delay.
    ///
    /// An error without a reason comes from a connection that broke, aged or was reset, and is retried: request ids
    /// make calls idempotent.
    pub fn is_transient(&self) -> bool {
        let broken = matches!(
            self.code,
            Code::Unavailable
                | Code::Cancelled
                | Code::Unknown
                | Code::Internal
                | Code::ResourceExhausted
        );
        let refused = match self.code {
            Code::Unavailable => true,
            Code::ResourceExhausted => self.retry_after.is_some(),
            _ => false,
        };
        !self.is_final && (refused || (self.reason.is_empty() && broken))
    }
}

impl From<&Status> for Refusal {
    fn from(status: &Status) -> Self {
        let details = status.get_error_details();
        let fields = details.bad_request().map(|it| it.field_violations.as_slice());
        let pushback = status.metadata().get(PUSHBACK);
        let pushback = pushback.and_then(|it| it.to_str().ok()?.parse::<i64>().ok());
        let told = details.retry_info().and_then(|it| it.retry_delay);
        let pushed = pushback.and_then(|it| u64::try_from(it).ok()).map(Duration::from_millis);
        Self {
            code: status.code(),
            reason: details.error_info().map(|it| it.reason.clone()).unwrap_or_default(),
            message: status.message().replace('\n', " "),
            fields: fields.unwrap_or_default().iter().map(|it| it.field.clone()).collect(),
            retry_after: pushed.or(told),
            is_final: pushback.is_some_and(|it| it < 0),
        }
    }
}

impl From<&v1::JobError> for Refusal {
    fn from(error: &v1::JobError) -> Self {
        Self {
            code: Code::from_i32(error.code),
            reason: error.reason.clone(),
            message: error.message.clone(),
            fields: Vec::new(),
            retry_after: error.retry_delay.and_then(|it| it.try_into().ok()),
            is_final: false,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason.as_str() {
            "" => write!(f, "{:?}: {}", self.code, self.message)?,
            reason => write!(f, "{reason}: {}", self.message)?,
        }
        // A field already in the message is not repeated.
        for field in self.fields.iter().filter(|it| !self.message.contains(*it)) {
            write!(f, " (field {field})")?;
        }
        if let Some(delay) = self.retry_after {
            write!(f, ", try again in {} s", delay.as_secs_f64().ceil())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn refusal(code: Code, details: ErrorDetails) -> Refusal {
        Refusal::from(&Status::with_error_details(code, "no", details))
    }

    fn with_reason(code: Code, reason: &str) -> Refusal {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, "retouch", std::collections::HashMap::new());
        refusal(code, details)
    }

    #[test]
    fn a_refusal_is_one_line_with_reason_field_and_time() {
        let mut details = ErrorDetails::with_retry_info(Some(Duration::from_millis(1500)));
        details.set_error_info("QUEUE_FULL", "retouch", std::collections::HashMap::new());
        details.add_bad_request_violation("spec.steps", "is 0");
        let found = refusal(Code::ResourceExhausted, details);
        assert_eq!(found.to_string(), "QUEUE_FULL: no (field spec.steps), try again in 2 s");
    }

    #[test]
    fn only_what_may_succeed_later_is_transient() {
        assert!(with_reason(Code::Unavailable, "DRAINING").is_transient());
        assert!(!with_reason(Code::ResourceExhausted, "DISK_FULL").is_transient());
        assert!(!with_reason(Code::Internal, "GPU_FAULT").is_transient());
        assert!(!with_reason(Code::InvalidArgument, "BAD_IMAGE").is_transient());
        // A broken connection.
        assert!(Refusal::from(&Status::unknown("h2 protocol error")).is_transient());
        assert!(Refusal::from(&Status::cancelled("the connection is too old")).is_transient());
        assert!(!Refusal::from(&Status::unauthenticated("no key")).is_transient());
    }

    #[test]
    fn a_server_may_forbid_another_try() {
        let mut status = Status::unavailable("gone for good");
        status.metadata_mut().insert(PUSHBACK, "-1".parse().unwrap());
        assert!(!Refusal::from(&status).is_transient());
    }
}

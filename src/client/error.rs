//! Why a call or a job failed.

use crate::client::refusal::Refusal;

/// Why a call or a job failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server can't be reached.
    #[error("{url} can't be reached: {reason}")]
    Unreachable {
        /// The server's URL.
        url: String,
        /// The cause.
        reason: String,
    },
    /// The server refused a call.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The job failed or was cancelled.
    #[error("{0}")]
    Failed(Box<Refusal>),
    /// The response is invalid.
    #[error("invalid response from the server: {0}")]
    Garbled(String),
}

impl ClientError {
    /// The server's reason, in upper snake case; without one, what kind of error it is.
    pub fn reason(&self) -> &str {
        match self {
            Self::Unreachable { .. } => "SERVER_UNREACHABLE",
            Self::Refused(refusal) | Self::Failed(refusal) if !refusal.reason.is_empty() => {
                &refusal.reason
            }
            Self::Refused(_) | Self::Failed(_) => "CONNECTION_FAILED",
            Self::Garbled(_) => "ANSWER_UNUSABLE",
        }
    }
}

impl From<Refusal> for ClientError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

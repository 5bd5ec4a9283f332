//! Errors of jobs and calls: a reason for programs, a message for people, and a retry delay.

use std::{collections::BTreeMap, time::Duration};

use crate::journal::{error::JournalError, ledger::LedgerError};
use crate::wire::{reason::Reason, spec, v1, violation::Violation};

/// Most field violations reported for one request.
const MAX_FIELDS: usize = 8;

/// An error of a job or a call.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// Machine-readable reason.
    pub reason: Reason,
    /// Message for people.
    pub message: String,
    /// Further values for programs, by key.
    pub metadata: BTreeMap<String, String>,
    /// Delay after which a retry may succeed; `None` if a retry doesn't help.
    pub retry_after: Option<Duration>,
    /// Fields of the request that are invalid, with descriptions.
    pub fields: Vec<Violation>,
}

impl Fault {
    /// A fault with a reason and a message.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            metadata: BTreeMap::new(),
            retry_after: None,
            fields: Vec::new(),
        }
    }

    /// A fault for a request with invalid fields; only the first few are reported.
    pub fn invalid(mut fields: Vec<Violation>) -> Self {
        let more = fields.len().saturating_sub(MAX_FIELDS);
        fields.truncate(MAX_FIELDS);
        let mut told: Vec<String> = fields.iter().map(ToString::to_string).collect();
        told.extend((more > 0).then(|| format!("and {more} more")));
        let message = told.join("; ");
        Self { fields, ..Self::new(Reason::InvalidArgument, message) }
    }

    /// The same with a delay after which a retry may succeed.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// The same with a further value for programs.
    #[must_use]
    pub fn with(mut self, key: &str, value: &dyn ToString) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// The same with the field of the request that it is about.
    #[must_use]
    pub fn about(mut self, field: &str) -> Self {
        self.fields.push(Violation { field: field.to_owned(), description: self.message.clone() });
        self
    }

    /// There is no such job, or it belongs to another tenant.
    pub fn no_job(name: &str) -> Self {
        Self::new(Reason::JobNotFound, format!("there is no job `{name}`; it may have expired"))
    }

    /// There is no such artifact, or it belongs to another tenant.
    pub fn no_artifact(name: &str) -> Self {
        let message = format!("there is no artifact `{name}`; it may have expired");
        Self::new(Reason::ArtifactNotFound, message)
    }

    /// The file of an artifact is missing or damaged; a retry doesn't help.
    pub fn lost_artifact(name: &str, why: &str) -> Self {
        let message = format!("`{name}` is lost: its file {why}");
        Self::new(Reason::ArtifactLost, message).with("artifact", &name)
    }

    /// The fault for an error in reading an artifact's file.
    pub(super) fn of_file(name: &str, error: LedgerError) -> Self {
        let LedgerError::Store(JournalError::Lost { path, why }) = error else {
            return error.into();
        };
        tracing::error!(path = %path.display(), why, "an artifact is lost");
        Self::lost_artifact(name, &why)
    }

    /// As the schema's `JobError`, which jobs store.
    pub fn to_wire(&self) -> v1::JobError {
        v1::JobError {
            code: self.reason.code() as i32,
            reason: self.reason.name().to_owned(),
            message: self.message.clone(),
            metadata: self.metadata.clone(),
            retry_delay: self.retry_after.map(spec::duration),
        }
    }

    /// From the schema's `JobError`.
    pub fn of_wire(error: &v1::JobError) -> Self {
        Self {
            reason: Reason::named(&error.reason).unwrap_or(Reason::Internal),
            message: error.message.clone(),
            metadata: error.metadata.clone(),
            retry_after: error.retry_delay.and_then(|it| it.try_into().ok()),
            fields: Vec::new(),
        }
    }
}

impl From<LedgerError> for Fault {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Full(_) | LedgerError::Store(JournalError::DiskFull { .. }) => {
                Self::new(Reason::DiskFull, "the server has no room for more; try again later")
                    .retry_after(Duration::from_secs(60))
            }
            LedgerError::Down | LedgerError::Conflict => {
                Self::new(Reason::EngineDown, "the server can't keep jobs for now; try again")
                    .retry_after(Duration::from_secs(5))
            }
            LedgerError::Store(error) => {
                // Disk errors are for the operator, not for clients.
                tracing::error!(%error, source = ?std::error::Error::source(&error), "the journal failed");
                Self::new(Reason::Internal, "the server could not keep this; its log says why")
            }
        }
    }
}

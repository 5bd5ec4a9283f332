//! Errors of jobs and calls: a reason for programs, a message for people, and a retry delay.

use std::{collections::BTreeMap, time::Duration};

use crate::journal::{error::JournalError, ledger::LedgerError};
use crate::wire::{spec, v1, violation::Violation};

/// Most field violations reported for one request.
const MAX_FIELDS: usize = 8;

/// Machine-readable reasons, in upper snake case on the wire (`google.rpc.ErrorInfo.reason`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is its message, see `Fault`; docs/service.md lists them")]
pub enum Reason {
    InvalidArgument,
    BadImage,
    ImageTooLarge,
    BadMask,
    EmptyMask,
    ObjectNotFound,
    LowConfidence,
    JobNotFound,
    ArtifactNotFound,
    ArtifactLost,
    RequestIdReused,
    MaskNotProposed,
    MaskAlreadyDecided,
    MaskEtagMismatch,
    JobTerminal,
    JobLive,
    ArtifactPinned,
    QueueFull,
    TenantQuota,
    OutOfMemory,
    DiskFull,
    ModelLoading,
    Draining,
    WorkerLost,
    EngineDown,
    QueueTimeout,
    RunTimeout,
    ReviewTimeout,
    ClientDeadline,
    ClientGone,
    CancelledByApi,
    ModelUnusable,
    Internal,
}

/// A code of `google.rpc.Code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "google.rpc.Code documents them")]
pub enum Code {
    Cancelled = 1,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
}

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

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 33] = [
        Self::InvalidArgument,
        Self::BadImage,
        Self::ImageTooLarge,
        Self::BadMask,
        Self::EmptyMask,
        Self::ObjectNotFound,
        Self::LowConfidence,
        Self::JobNotFound,
        Self::ArtifactNotFound,
        Self::ArtifactLost,
        Self::RequestIdReused,
        Self::MaskNotProposed,
        Self::MaskAlreadyDecided,
        Self::MaskEtagMismatch,
        Self::JobTerminal,
        Self::JobLive,
        Self::ArtifactPinned,
        Self::QueueFull,
        Self::TenantQuota,
        Self::OutOfMemory,
        Self::DiskFull,
        Self::ModelLoading,
        Self::Draining,
        Self::WorkerLost,
        Self::EngineDown,
        Self::QueueTimeout,
        Self::RunTimeout,
        Self::ReviewTimeout,
        Self::ClientDeadline,
        Self::ClientGone,
        Self::CancelledByApi,
        Self::ModelUnusable,
        Self::Internal,
    ];

    /// Name on the wire, such as `QUEUE_FULL`.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::BadImage => "BAD_IMAGE",
            Self::ImageTooLarge => "IMAGE_TOO_LARGE",
            Self::BadMask => "BAD_MASK",
            Self::EmptyMask => "EMPTY_MASK",
            Self::ObjectNotFound => "OBJECT_NOT_FOUND",
            Self::LowConfidence => "LOW_CONFIDENCE",
            Self::JobNotFound => "JOB_NOT_FOUND",
            Self::ArtifactNotFound => "ARTIFACT_NOT_FOUND",
            Self::ArtifactLost => "ARTIFACT_LOST",
            Self::RequestIdReused => "REQUEST_ID_REUSED",
            Self::MaskNotProposed => "MASK_NOT_PROPOSED",
            Self::MaskAlreadyDecided => "MASK_ALREADY_DECIDED",
            Self::MaskEtagMismatch => "MASK_ETAG_MISMATCH",
            Self::JobTerminal => "JOB_TERMINAL",
            Self::JobLive => "JOB_LIVE",
            Self::ArtifactPinned => "ARTIFACT_PINNED",
            Self::QueueFull => "QUEUE_FULL",
            Self::TenantQuota => "TENANT_QUOTA",
            Self::OutOfMemory => "OUT_OF_MEMORY",
            Self::DiskFull => "DISK_FULL",
            Self::ModelLoading => "MODEL_LOADING",
            Self::Draining => "DRAINING",
            Self::WorkerLost => "WORKER_LOST",
            Self::EngineDown => "ENGINE_DOWN",
            Self::QueueTimeout => "QUEUE_TIMEOUT",
            Self::RunTimeout => "RUN_TIMEOUT",
            Self::ReviewTimeout => "REVIEW_TIMEOUT",
            Self::ClientDeadline => "CLIENT_DEADLINE",
            Self::ClientGone => "CLIENT_GONE",
            Self::CancelledByApi => "CANCELLED_BY_API",
            Self::ModelUnusable => "MODEL_UNUSABLE",
            Self::Internal => "INTERNAL",
        }
    }

    /// The reason with this name on the wire.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// The gRPC status code of the reason.
    pub fn code(self) -> Code {
        match self {
            Self::InvalidArgument
            | Self::BadImage
            | Self::ImageTooLarge
            | Self::BadMask
            | Self::EmptyMask
            | Self::ObjectNotFound
            | Self::LowConfidence => Code::InvalidArgument,
            Self::JobNotFound | Self::ArtifactNotFound => Code::NotFound,
            Self::ArtifactLost => Code::DataLoss,
            Self::RequestIdReused => Code::AlreadyExists,
            Self::MaskNotProposed
            | Self::MaskAlreadyDecided
            | Self::JobTerminal
            | Self::JobLive
            | Self::ArtifactPinned
            | Self::ModelUnusable => Code::FailedPrecondition,
            Self::MaskEtagMismatch => Code::Aborted,
            Self::QueueFull | Self::TenantQuota | Self::OutOfMemory | Self::DiskFull => {
                Code::ResourceExhausted
            }
            Self::ModelLoading | Self::Draining | Self::WorkerLost | Self::EngineDown => {
                Code::Unavailable
            }
            Self::QueueTimeout | Self::RunTimeout | Self::ReviewTimeout | Self::ClientDeadline => {
                Code::DeadlineExceeded
            }
            Self::ClientGone | Self::CancelledByApi => Code::Cancelled,
            Self::Internal => Code::Internal,
        }
    }
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
        let message = format!("the server has lost `{name}`: its file {why}");
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

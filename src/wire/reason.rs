//! Reasons of errors of the service, as programs read them, and their gRPC codes.

use crate::picture::error::PictureError;

/// Machine-readable reasons, in upper snake case on the wire (`google.rpc.ErrorInfo.reason`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is its message, docs/service.md lists them")]
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

    /// The reason of a picture or mask that can't be used; `other` where it has no reason of its own.
    pub fn of_picture(error: &PictureError, other: Self) -> Self {
        match error {
            PictureError::TooManyBytes { .. } | PictureError::TooManyPixels { .. } => {
                Self::ImageTooLarge
            }
            PictureError::EmptyMask { .. }
            | PictureError::TransparentMask { .. }
            | PictureError::OpaqueMask { .. } => Self::EmptyMask,
            PictureError::MaskAspect { .. }
            | PictureError::BoxOutside { .. }
            | PictureError::BoxEmpty { .. } => Self::BadMask,
            _ => other,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_that_selects_nothing_is_empty_however_it_is_painted() {
        let name = || "mask.png".to_owned();
        for (error, expected) in [
            (PictureError::EmptyMask { name: name() }, Reason::EmptyMask),
            (PictureError::TransparentMask { name: name() }, Reason::EmptyMask),
            (PictureError::AmbiguousMask { name: name() }, Reason::BadMask),
        ] {
            assert_eq!(Reason::of_picture(&error, Reason::BadMask), expected, "{error}");
        }
    }
}

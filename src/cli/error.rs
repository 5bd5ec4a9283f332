//! Errors of commands, and their exit codes.

use std::{borrow::Cow, path::PathBuf, process::ExitCode};

use crate::cli::remote::exit_code;
use crate::client::{error::ClientError, manifest::ManifestError, state_file::StateFileError};
use crate::picture::error::PictureError;
use crate::sampling::{Interrupted, OutOfRange};
use crate::wire::reason::Reason;

/// Error of a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// A value out of its range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// Invalid or contradictory arguments.
    #[error("{0}")]
    Usage(String),
    /// A picture can't be read, or has the wrong size.
    #[error(transparent)]
    Picture(PictureError),
    /// A mask's file can't be read, or has the wrong size.
    #[error(transparent)]
    Mask(PictureError),
    /// The edit of a record can't be repeated.
    #[error("{path}: {reason}")]
    Record {
        /// The file that holds it.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The output can't be written.
    #[error(transparent)]
    Output(PictureError),
    /// A folder or file of maps can't be written.
    #[error("{path} can't be written: {source}")]
    Write {
        /// The path.
        path: PathBuf,
        /// The underlying error.
        source: std::io::Error,
    },
    /// The mask is to be chosen from what was found, and the instruction means the whole picture.
    #[error("the instruction edits the whole picture, so it has no clusters and no mask to invert")]
    NothingFound,
    /// The caller stopped it.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The engine failed.
    #[cfg(feature = "engine")]
    #[error(transparent)]
    Engine(crate::cli::engine_error::EngineError),
    /// A server can't be reached, refused a call, or failed the job.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Some edits of a batch failed.
    #[error("{failed} of {of} edits failed")]
    Batch {
        /// Number of failed edits.
        failed: usize,
        /// Number of all edits.
        of: usize,
    },
    /// A manifest can't be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Out of memory, as reported by libtorch.
    #[error("there was not enough memory; a smaller --size needs less")]
    Memory,
    /// The device failed during a computation.
    #[error("the device failed: {0}")]
    DeviceFailed(String),
    /// A defect of retouch: message and place of the panic.
    #[error("this is a defect of retouch, please report it: {0}")]
    Defect(String),
}

impl CliError {
    /// The error with its causes and its remedy, in one line.
    pub(crate) fn line(&self) -> String {
        match self.remedy() {
            Some(remedy) => format!("{}; {remedy}", in_one_line(self)),
            None => in_one_line(self),
        }
    }

    /// The remedy in terms of flags, which lower layers don't know.
    fn remedy(&self) -> Option<Cow<'static, str>> {
        Some(Cow::Borrowed(match self {
            #[cfg(feature = "engine")]
            Self::Engine(error) => return error.remedy(),
            Self::NothingFound => "give --mask or --box, or name the object with --object",
            Self::Client(ClientError::Unreachable { .. }) => {
                "check --server, and that `retouch serve` runs there"
            }
            Self::Output(PictureError::Exists { .. }) => "--force writes over it",
            Self::Output(PictureError::NameTooLong { .. }) => "-o names the output",
            Self::Output(PictureError::Stream { .. }) => {
                "for standard output give -, as in `-o - > FILE`"
            }
            _ => return None,
        }))
    }

    /// The exit code, as listed in the help.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            #[cfg(feature = "engine")]
            Self::Engine(error) => error.exit_code(),
            Self::Client(error) => exit_code::of(error),
            Self::OutOfRange(_) | Self::Usage(_) | Self::NothingFound => 2,
            Self::Picture(_) | Self::Mask(_) | Self::Manifest(_) | Self::Record { .. } => 3,
            Self::DeviceFailed(_) => 6,
            Self::Output(_) | Self::Write { .. } => 7,
            Self::Batch { .. } | Self::Memory => 1,
            Self::Interrupted(_) => 130,
            Self::Defect(_) => 70,
        })
    }

    /// The machine-readable reason, in upper snake case; a server's own if it refused (docs/service.md).
    pub(crate) fn reason(&self) -> &str {
        let shared = match self {
            #[cfg(feature = "engine")]
            Self::Engine(error) => return error.reason(),
            Self::Client(error) => return error.reason(),
            Self::OutOfRange(_) | Self::Usage(_) | Self::NothingFound => Reason::InvalidArgument,
            Self::Picture(error) => Reason::of_picture(error, Reason::BadImage),
            Self::Mask(error) => Reason::of_picture(error, Reason::BadMask),
            Self::Manifest(_) => return "BAD_MANIFEST",
            Self::Record { .. } => return "BAD_RECORD",
            Self::DeviceFailed(_) => return "DEVICE_UNUSABLE",
            Self::Output(PictureError::DiskFull { .. }) => Reason::DiskFull,
            Self::Output(PictureError::Exists { .. }) => return "OUTPUT_EXISTS",
            Self::Output(_) | Self::Write { .. } => return "OUTPUT_UNWRITABLE",
            Self::Batch { .. } => return "EDITS_FAILED",
            Self::Memory => Reason::OutOfMemory,
            Self::Interrupted(_) => return "INTERRUPTED",
            Self::Defect(_) => Reason::Internal,
        };
        shared.name()
    }
}

/// An error with its causes in one line, without repetitions.
pub(crate) fn in_one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Conversion of all errors of the engine.
#[cfg(feature = "engine")]
impl<E: crate::cli::engine_error::EngineFault> From<E> for CliError {
    fn from(error: E) -> Self {
        Self::Engine(error.into())
    }
}

impl From<StateFileError> for CliError {
    fn from(error: StateFileError) -> Self {
        match error {
            StateFileError::Locked(_) => Self::Usage(error.to_string()),
            StateFileError::Io { path, source } => Self::Write { path, source },
        }
    }
}

//! Errors of commands, and their exit codes.

use std::{borrow::Cow, path::PathBuf, process::ExitCode};

use crate::cli::{hub, remote::exit_code};
use crate::client::{error::ClientError, manifest::ManifestError, state_file::StateFileError};
use crate::edit::recommended::SettingsError;
use crate::editing::EditError;
use crate::evaluation::EvaluationError;
use crate::instruction::ParseError;
use crate::jobs::fault::Reason;
use crate::journal::error::JournalError;
use crate::kernels::gpu::cuda::CudaError;
use crate::picture::error::PictureError;
use crate::pipelines::{PipelineError, load::LoadError};
use crate::sampling::OutOfRange;

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
    /// A saved localization can't be used.
    #[error("{path}: {reason}")]
    Localization {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The edit of a record can't be repeated.
    #[error("{path}: {reason}")]
    Record {
        /// The file that holds it.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The model can't be used.
    #[error("model {path}: {source}")]
    Model {
        /// The model.
        path: PathBuf,
        /// The underlying error.
        source: Box<ModelError>,
    },
    /// The device's name is unknown.
    #[error("unknown device `{0}`; expected cpu, cuda or cuda:N")]
    UnknownDevice(String),
    /// CUDA can't be used.
    #[error(transparent)]
    Cuda(#[from] CudaError),
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
    /// The edit failed.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The evaluation can't be run, or its report can't be written.
    #[error(transparent)]
    Evaluation(EvaluationError),
    /// The server can't start.
    #[error("{0}")]
    Serve(String),
    /// A data folder can't be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
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

/// Why a model can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelError {
    /// Its files can't be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Its recommended settings are invalid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The model's configuration doesn't allow the sampler.
    #[error("{reason}{}", choose(others))]
    Sampler {
        /// What is wrong.
        reason: String,
        /// Names of the samplers that it allows.
        others: Vec<&'static str>,
    },
    /// Tensors are missing, superfluous or of the wrong shape, or parts don't match each other.
    #[error("{0}")]
    Unusable(String),
}

/// The remedy for a sampler that is not allowed.
fn choose(others: &[&str]) -> String {
    if others.is_empty() {
        return String::new();
    }
    format!("; choose another with --scheduler: {}", others.join(", "))
}

impl CliError {
    /// Exit code for a damaged data folder.
    pub(crate) fn damage() -> ExitCode {
        ExitCode::from(11)
    }

    /// The error with its causes and its remedy, in one line.
    pub(crate) fn line(&self) -> String {
        match self.remedy() {
            Some(remedy) => format!("{}; {remedy}", in_one_line(self)),
            None => in_one_line(self),
        }
    }

    /// The remedy in terms of command-line flags, which the library below doesn't know.
    fn remedy(&self) -> Option<Cow<'static, str>> {
        if let Self::Model { path, .. } = self {
            return hub::remedy(path).map(Cow::Owned);
        }
        Some(Cow::Borrowed(match self {
            Self::Edit(EditError::NothingFound) => {
                "give --mask or --box, or say what is meant with --object"
            }
            Self::Edit(EditError::NotParsed(ParseError::NoObject { .. })) => "give --object",
            Self::Edit(EditError::LowConfidence { .. }) => {
                "name another object, give --mask or --box, or lower --min-confidence"
            }
            Self::Edit(EditError::NotParsed(
                ParseError::NotUnderstood(_) | ParseError::NotLatin(_),
            )) => "give --object and --action, or leave --strict out",
            Self::Edit(EditError::Pipeline(PipelineError::NotFinite)) => "try --dtype fp32",
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

    /// Exit code, as listed in the help.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Edit(EditError::Interrupted(_)) => 130,
            Self::Edit(EditError::NotParsed(_)) => 4,
            Self::Edit(EditError::LowConfidence { .. }) => 10,
            Self::Edit(EditError::UnknownCluster { .. } | EditError::NothingFound)
            | Self::Evaluation(EvaluationError::UnknownMethod { .. })
            | Self::OutOfRange(_)
            | Self::Usage(_) => 2,
            Self::Edit(
                EditError::Picture(_) | EditError::EmptyMask | EditError::OtherGrid { .. },
            )
            | Self::Picture(_)
            | Self::Mask(_)
            | Self::Evaluation(
                EvaluationError::ReadManifest { .. }
                | EvaluationError::Manifest { .. }
                | EvaluationError::NoItems { .. },
            )
            | Self::Manifest(_)
            | Self::Localization { .. }
            | Self::Record { .. } => 3,
            Self::Edit(
                EditError::NoAttention
                | EditError::Distilled { .. }
                | EditError::NoUnrelatedWord { .. },
            )
            | Self::Model { .. } => 5,
            Self::UnknownDevice(_) | Self::Cuda(_) | Self::DeviceFailed(_) => 6,
            Self::Output(_) | Self::Write { .. } | Self::Evaluation(EvaluationError::Write(_)) => 7,
            Self::Edit(EditError::Pipeline(_))
            | Self::Evaluation(EvaluationError::Edit(_))
            | Self::Batch { .. }
            | Self::Memory => 1,
            Self::Client(error) => exit_code::of(error),
            Self::Serve(_) => 9,
            Self::Journal(_) => return Self::damage(),
            Self::Defect(_) => 70,
        })
    }
}

impl CliError {
    /// Reason for programs, in upper snake case; the server's own reason for an error of a server (docs/service.md).
    pub(crate) fn reason(&self) -> &str {
        let shared = match self {
            Self::OutOfRange(_)
            | Self::Usage(_)
            | Self::Evaluation(EvaluationError::UnknownMethod { .. })
            | Self::Edit(EditError::UnknownCluster { .. } | EditError::NothingFound) => {
                Reason::InvalidArgument
            }
            Self::Edit(EditError::LowConfidence { .. }) => Reason::LowConfidence,
            Self::Picture(error) | Self::Mask(error) | Self::Edit(EditError::Picture(error)) => {
                match error {
                    PictureError::TooManyBytes { .. } | PictureError::TooManyPixels { .. } => {
                        Reason::ImageTooLarge
                    }
                    PictureError::EmptyMask { .. } => Reason::EmptyMask,
                    PictureError::MaskAspect { .. }
                    | PictureError::BoxOutside { .. }
                    | PictureError::BoxEmpty { .. } => Reason::BadMask,
                    _ if matches!(self, Self::Picture(_)) => Reason::BadImage,
                    _ => Reason::BadMask,
                }
            }
            Self::Edit(EditError::EmptyMask) => Reason::EmptyMask,
            Self::Edit(EditError::NotParsed(_)) => Reason::ObjectNotFound,
            Self::Edit(
                EditError::NoAttention
                | EditError::Distilled { .. }
                | EditError::NoUnrelatedWord { .. },
            )
            | Self::Model { .. } => Reason::ModelUnusable,
            Self::Output(PictureError::DiskFull { .. }) => Reason::DiskFull,
            Self::Edit(EditError::Pipeline(_))
            | Self::Evaluation(EvaluationError::Edit(_))
            | Self::Defect(_) => Reason::Internal,
            Self::Edit(EditError::Interrupted(_)) => return "INTERRUPTED",
            Self::Localization { .. } | Self::Edit(EditError::OtherGrid { .. }) => {
                return "BAD_LOCALIZATION";
            }
            Self::Manifest(_)
            | Self::Evaluation(
                EvaluationError::ReadManifest { .. }
                | EvaluationError::Manifest { .. }
                | EvaluationError::NoItems { .. },
            ) => return "BAD_MANIFEST",
            Self::UnknownDevice(_) | Self::Cuda(_) | Self::DeviceFailed(_) => {
                return "DEVICE_UNUSABLE";
            }
            Self::Memory => Reason::OutOfMemory,
            Self::Output(PictureError::Exists { .. }) => return "OUTPUT_EXISTS",
            Self::Output(_) | Self::Write { .. } | Self::Evaluation(EvaluationError::Write(_)) => {
                return "OUTPUT_UNWRITABLE";
            }
            Self::Record { .. } => return "BAD_RECORD",
            Self::Journal(_) => return "JOURNAL_UNUSABLE",
            Self::Client(error) => return error.reason(),
            Self::Batch { .. } => return "EDITS_FAILED",
            Self::Serve(_) => return "SERVER_NOT_STARTED",
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

impl From<EvaluationError> for CliError {
    fn from(error: EvaluationError) -> Self {
        match error {
            EvaluationError::Edit(error) => Self::Edit(error),
            other => Self::Evaluation(other),
        }
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

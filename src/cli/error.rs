//! Why a command ended, and the exit code that says so.

use std::{path::PathBuf, process::ExitCode};

use crate::cli::client::refusal::RemoteError;
use crate::editing::{EditError, instruction::ParseError, settings::SettingsError};
use crate::evaluation::EvaluationError;
use crate::journal::error::JournalError;
use crate::kernels::cuda::CudaError;
use crate::picture::error::PictureError;
use crate::pipelines::{PipelineError, load::LoadError};
use crate::sampling::OutOfRange;

/// Why a command ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// A value that can't be.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// Values that contradict each other.
    #[error("{0}")]
    Usage(String),
    /// A picture or mask that can't be read, or does not fit.
    #[error(transparent)]
    Picture(PictureError),
    /// A saved localization that can't be used.
    #[error("{path}: {reason}")]
    Localization {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A record of an edit that can't be made again.
    #[error("{path}: {reason}")]
    Record {
        /// The file that holds it.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The model's files.
    #[error("model {path}: {source}")]
    Model {
        /// The model.
        path: PathBuf,
        /// What is wrong.
        source: Box<ModelError>,
    },
    /// A device that is not there.
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
        /// Which.
        path: PathBuf,
        /// Why.
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
    /// A server can't be reached, refused, or failed the job.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// Some edits of a batch failed.
    #[error("{failed} of {of} edits failed")]
    Batch {
        /// How many.
        failed: usize,
        /// Of how many.
        of: usize,
    },
    /// A list of edits that can't be read.
    #[error("{place}: {reason}")]
    Manifest {
        /// The file, and the line.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// libtorch found no memory.
    #[error("there was not enough memory; a smaller --size needs less")]
    Memory,
    /// The device broke while it computed.
    #[error("the device failed: {0}")]
    DeviceFailed(String),
    /// Something that is retouch's own fault: what was said, and where.
    #[error("this is a defect of retouch, please report it: {0}")]
    Defect(String),
}

/// What is wrong with a model.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelError {
    /// Its files.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The recommended settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Tensors that are missing, left over or of another shape, or parts that do not fit each other.
    #[error("{0}")]
    Unusable(String),
}

impl CliError {
    /// The exit code of a data folder that is damaged.
    pub(crate) fn damage() -> ExitCode {
        ExitCode::from(11)
    }

    /// The error with its causes and its remedy, in one line.
    pub(crate) fn line(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.ends_with(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        if let Some(remedy) = self.remedy() {
            text = format!("{text}; {remedy}");
        }
        text.replace('\n', " ")
    }

    /// What helps at the command line: the rooms below know no flags.
    fn remedy(&self) -> Option<&'static str> {
        Some(match self {
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
            Self::Output(PictureError::Exists { .. }) => "--force writes over it",
            _ => return None,
        })
    }

    /// The exit code, as the help lists them.
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
                EditError::Picture(_)
                | EditError::EmptyMask
                | EditError::OtherGrid { .. }
                | EditError::OtherObject { .. },
            )
            | Self::Picture(_)
            | Self::Evaluation(
                EvaluationError::ReadManifest { .. }
                | EvaluationError::Manifest { .. }
                | EvaluationError::NoItems { .. },
            )
            | Self::Manifest { .. }
            | Self::Localization { .. }
            | Self::Record { .. } => 3,
            Self::Edit(EditError::NoAttention | EditError::NoUnrelatedWord { .. })
            | Self::Model { .. } => 5,
            Self::UnknownDevice(_) | Self::Cuda(_) | Self::DeviceFailed(_) => 6,
            Self::Output(_) | Self::Write { .. } | Self::Evaluation(EvaluationError::Write(_)) => 7,
            Self::Edit(EditError::Pipeline(_))
            | Self::Evaluation(EvaluationError::Edit(_))
            | Self::Batch { .. }
            | Self::Memory => 1,
            Self::Remote(error) => error.exit_code(),
            Self::Serve(_) => 9,
            Self::Journal(_) => return Self::damage(),
            Self::Defect(_) => 70,
        })
    }
}

impl From<EvaluationError> for CliError {
    fn from(error: EvaluationError) -> Self {
        match error {
            EvaluationError::Edit(error) => Self::Edit(error),
            other => Self::Evaluation(other),
        }
    }
}

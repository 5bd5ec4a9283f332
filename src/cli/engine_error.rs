//! Errors of commands that run a model or a server on this machine, and their exit codes.

use std::{borrow::Cow, path::PathBuf};

use crate::cli::hub;
use crate::edit::recommended::SettingsError;
use crate::editing::EditError;
use crate::evaluation::EvaluationError;
use crate::instruction::ParseError;
use crate::journal::error::JournalError;
use crate::kernels::gpu::cuda::CudaError;
use crate::pipelines::{PipelineError, load::LoadError};
use crate::serving::load::ModelLoadError;
use crate::wire::reason::Reason;

/// Exit code for a damaged data folder.
pub(crate) const DAMAGE: u8 = 11;

/// Error of the engine, or of the server around it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// A saved localization can't be used.
    #[error("{path}: {reason}")]
    Localization {
        /// The file.
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
    /// A LoRA can't be used.
    #[error("{0}")]
    Lora(String),
    /// The device's name is unknown.
    #[error("unknown device `{0}`; expected cpu, cuda or cuda:N")]
    UnknownDevice(String),
    /// CUDA can't be used.
    #[error(transparent)]
    Cuda(#[from] CudaError),
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
}

/// An error that becomes an [`EngineError`], and so an error of a command.
pub(crate) trait EngineFault: Into<EngineError> {}

impl EngineFault for EngineError {}
impl EngineFault for EditError {}
impl EngineFault for EvaluationError {}
impl EngineFault for CudaError {}
impl EngineFault for JournalError {}
impl EngineFault for ModelLoadError {}

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

impl EngineError {
    /// The remedy in terms of flags, which lower layers don't know.
    pub(crate) fn remedy(&self) -> Option<Cow<'static, str>> {
        let error = match self {
            Self::Model { path, .. } => return hub::remedy(path).map(Cow::Owned),
            Self::Edit(error) => error,
            _ => return None,
        };
        Some(Cow::Borrowed(match error {
            EditError::NothingFound => "give --mask or --box, or name the object with --object",
            EditError::NotParsed(ParseError::NoObject { .. }) => "give --object",
            EditError::LowConfidence { .. } => {
                "name another object, give --mask or --box, or lower --min-confidence"
            }
            EditError::NotParsed(ParseError::NotUnderstood(_) | ParseError::NotLatin(_)) => {
                "give --object and --action, or leave --strict out"
            }
            EditError::NotJoint { .. } => "choose another --modulation",
            EditError::NoReferences { .. } => "choose another --localizer, and --align off",
            EditError::Distilled { .. } => "choose another --modulation, --localizer or --method",
            EditError::OneScale => "leave --image-guidance out",
            EditError::Pipeline(PipelineError::NotFinite) => "try --dtype fp32",
            _ => return None,
        }))
    }

    /// The exit code, as listed in the help.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Edit(error) => match error {
                EditError::Interrupted(_) => 130,
                EditError::NotParsed(_) => 4,
                EditError::LowConfidence { .. } => 10,
                EditError::UnknownCluster { .. } | EditError::NothingFound => 2,
                EditError::Picture(_) | EditError::EmptyMask | EditError::OtherGrid { .. } => 3,
                EditError::NoAttention
                | EditError::Distilled { .. }
                | EditError::NotJoint { .. }
                | EditError::OneScale
                | EditError::NoReferences { .. }
                | EditError::NoBlock { .. }
                | EditError::NoUnrelatedWord { .. } => 5,
                EditError::Pipeline(_) => 1,
            },
            Self::Evaluation(error) => match error {
                EvaluationError::UnknownMethod { .. } => 2,
                EvaluationError::ReadManifest { .. }
                | EvaluationError::Manifest { .. }
                | EvaluationError::NoItems { .. } => 3,
                EvaluationError::Write(_) => 7,
                EvaluationError::Edit(_) => 1,
            },
            Self::Localization { .. } => 3,
            Self::Model { .. } | Self::Lora(_) => 5,
            Self::UnknownDevice(_) | Self::Cuda(_) => 6,
            Self::Serve(_) => 9,
            Self::Journal(_) => DAMAGE,
        }
    }

    /// The machine-readable reason, in upper snake case.
    pub(crate) fn reason(&self) -> &'static str {
        let shared = match self {
            Self::Edit(error) => match error {
                EditError::Interrupted(_) => return "INTERRUPTED",
                EditError::OtherGrid { .. } => return "BAD_LOCALIZATION",
                EditError::UnknownCluster { .. } | EditError::NothingFound => {
                    Reason::InvalidArgument
                }
                EditError::LowConfidence { .. } => Reason::LowConfidence,
                EditError::Picture(error) => Reason::of_picture(error, Reason::BadMask),
                EditError::EmptyMask => Reason::EmptyMask,
                EditError::NotParsed(_) => Reason::ObjectNotFound,
                EditError::NoAttention
                | EditError::Distilled { .. }
                | EditError::NotJoint { .. }
                | EditError::OneScale
                | EditError::NoReferences { .. }
                | EditError::NoBlock { .. }
                | EditError::NoUnrelatedWord { .. } => Reason::ModelUnusable,
                EditError::Pipeline(_) => Reason::Internal,
            },
            Self::Evaluation(error) => match error {
                EvaluationError::UnknownMethod { .. } => Reason::InvalidArgument,
                EvaluationError::ReadManifest { .. }
                | EvaluationError::Manifest { .. }
                | EvaluationError::NoItems { .. } => return "BAD_MANIFEST",
                EvaluationError::Write(_) => return "OUTPUT_UNWRITABLE",
                EvaluationError::Edit(_) => Reason::Internal,
            },
            Self::Localization { .. } => return "BAD_LOCALIZATION",
            Self::Model { .. } | Self::Lora(_) => Reason::ModelUnusable,
            Self::UnknownDevice(_) | Self::Cuda(_) => return "DEVICE_UNUSABLE",
            Self::Serve(_) => return "SERVER_NOT_STARTED",
            Self::Journal(_) => return "JOURNAL_UNUSABLE",
        };
        shared.name()
    }
}

impl From<ModelLoadError> for EngineError {
    fn from(error: ModelLoadError) -> Self {
        match error {
            ModelLoadError::Files { path, source } => {
                Self::Model { path, source: Box::new(source.into()) }
            }
            ModelLoadError::Settings { path, source } => {
                Self::Model { path, source: Box::new(source.into()) }
            }
            ModelLoadError::UnknownDevice(name) => Self::UnknownDevice(name),
            ModelLoadError::Cuda(error) => Self::Cuda(error),
        }
    }
}

impl From<EvaluationError> for EngineError {
    fn from(error: EvaluationError) -> Self {
        match error {
            EvaluationError::Edit(error) => Self::Edit(error),
            other => Self::Evaluation(other),
        }
    }
}

//! Why a server can't start, or ends before it is told to.

use std::error::Error;

use crate::editing::EditError;
use crate::journal::error::JournalError;
use crate::serving::load::ModelLoadError;

/// Why a server can't start, or ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration names no data folder.
    #[error("there is no data folder")]
    NoDataFolder,
    /// The data folder can't be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A port, a thread or the telemetry can't be started.
    #[error(transparent)]
    Start(Box<dyn Error + Send + Sync>),
    /// The model can't be loaded.
    #[error(transparent)]
    Model(#[from] ModelLoadError),
    /// The model fails at its first edit.
    #[error(transparent)]
    WarmUp(#[from] EditError),
    /// A device is unusable; the process has to be restarted.
    #[error("the device has failed; restart the server")]
    DeviceLost,
    /// Loading or running the model panicked.
    #[error("the model's thread panicked")]
    Panicked,
}

impl ServeError {
    /// The error of something that can't be started.
    pub(super) fn start(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Start(Box::new(error))
    }
}

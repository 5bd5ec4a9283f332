//! What is logged, as it is said in one line, and changed while the server runs.

use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Why a level can't be set.
#[derive(Debug, thiserror::Error)]
pub enum LogFilterError {
    /// A word that is neither a level nor a target with one.
    #[error(
        "`{directive}` has no level: off, error, warn, info, debug or trace, alone or as TARGET=LEVEL"
    )]
    Directive {
        /// The word.
        directive: String,
    },
    /// Nothing at all.
    #[error("it is empty; expected such as info, or retouch=debug,info")]
    Empty,
    /// The log is gone.
    #[error("the log can't be changed any more")]
    Gone(#[from] reload::Error),
}

/// A filter such as `info` or `retouch=debug,info`.
///
/// Stricter than [`EnvFilter`], which takes a misspelled level for a target, and then logs nothing else.
///
/// # Errors
/// [`LogFilterError`] names the first part that is wrong.
pub fn parse(text: &str) -> Result<EnvFilter, LogFilterError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(LogFilterError::Empty);
    }
    for directive in text.split(',').map(str::trim) {
        let (target, level) = directive.rsplit_once('=').unwrap_or(("retouch", directive));
        let named = target.chars().all(|it| it.is_alphanumeric() || matches!(it, '_' | ':' | '-'));
        if target.is_empty() || !named || LevelFilter::from_str(level).is_err() || level.is_empty()
        {
            return Err(LogFilterError::Directive { directive: directive.to_owned() });
        }
    }
    EnvFilter::try_new(text).map_err(|_| LogFilterError::Directive { directive: text.to_owned() })
}

/// Reads and sets what is logged.
#[derive(Debug, Clone)]
pub struct LogFilter(reload::Handle<EnvFilter, Registry>);

impl LogFilter {
    /// A filter for a layer, and the handle to change it.
    ///
    /// # Errors
    /// [`LogFilterError`] if the text is no filter.
    pub fn new(text: &str) -> Result<(reload::Layer<EnvFilter, Registry>, Self), LogFilterError> {
        let (filter, handle) = reload::Layer::new(parse(text)?);
        Ok((filter, Self(handle)))
    }

    /// What is logged now.
    ///
    /// # Errors
    /// [`LogFilterError::Gone`] if the log is.
    pub fn get(&self) -> Result<String, LogFilterError> {
        Ok(self.0.with_current(ToString::to_string)?)
    }

    /// Changes what is logged.
    ///
    /// # Errors
    /// [`LogFilterError`] if the text is no filter; nothing has changed then.
    pub fn set(&self, text: &str) -> Result<(), LogFilterError> {
        let filter = parse(text)?;
        Ok(self.0.reload(filter)?)
    }
}

//! Log filter: parsing, and changing it while the server runs.

use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Why a filter is refused.
#[derive(Debug, thiserror::Error)]
pub enum LogFilterError {
    /// A directive that is neither a level nor TARGET=LEVEL.
    #[error(
        "`{directive}` has no level: off, error, warn, info, debug or trace, alone or as TARGET=LEVEL"
    )]
    Directive {
        /// The directive.
        directive: String,
    },
    /// The text is empty.
    #[error("the filter is empty; expected, for example, info or retouch=debug,info")]
    Empty,
    /// The subscriber no longer exists.
    #[error("the log filter can't be changed: the log has been shut down")]
    Gone(#[from] reload::Error),
}

/// Parses a filter such as `info` or `retouch=debug,info`.
///
/// Stricter than [`EnvFilter`], which takes a misspelled level for a target and then logs nothing else.
///
/// # Errors
/// [`LogFilterError`], for the first invalid directive.
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

/// Handle to read and change the log filter.
#[derive(Debug, Clone)]
pub struct LogFilter(reload::Handle<EnvFilter, Registry>);

impl LogFilter {
    /// A layer with this filter, and the handle to change it.
    ///
    /// # Errors
    /// [`LogFilterError`] if the text is invalid.
    pub fn new(text: &str) -> Result<(reload::Layer<EnvFilter, Registry>, Self), LogFilterError> {
        let (filter, handle) = reload::Layer::new(parse(text)?);
        Ok((filter, Self(handle)))
    }

    /// The current filter.
    ///
    /// # Errors
    /// [`LogFilterError::Gone`] if the subscriber no longer exists.
    pub fn get(&self) -> Result<String, LogFilterError> {
        Ok(self.0.with_current(ToString::to_string)?)
    }

    /// Replaces the filter.
    ///
    /// # Errors
    /// [`LogFilterError`] if the text is invalid; then nothing is changed.
    pub fn set(&self, text: &str) -> Result<(), LogFilterError> {
        let filter = parse(text)?;
        Ok(self.0.reload(filter)?)
    }
}

//! Levels of the log, such as `info` or `retouch=debug,info`.

use tracing_subscriber::EnvFilter;

/// Reads a level.
///
/// # Errors
/// What is wrong with it, and what may be written.
pub fn parse(level: &str) -> Result<EnvFilter, String> {
    EnvFilter::builder().parse(level).map_err(|error| {
        format!("error, warn, info, debug or trace, or targets with levels as in `retouch=debug,info` ({error})")
    })
}

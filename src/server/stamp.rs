//! Whether files have changed since they were read.

use std::{fs, os::unix::fs::MetadataExt, path::Path, time::SystemTime};

/// What a file system says of some files: time of change, length and identity of each; `None` for one that is not there.
///
/// Links are followed, so that a mounted Kubernetes secret, which changes by one link, is seen to change. Asking costs a
/// few microseconds a file, which spares a watching thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(Vec<Option<(SystemTime, u64, u64)>>);

impl Stamp {
    /// That of these files, now. Take it before reading them: a change in between is then seen the next time.
    pub fn of(paths: &[&Path]) -> Self {
        let one = |path: &&Path| {
            let meta = fs::metadata(path).ok()?;
            Some((meta.modified().ok()?, meta.len(), meta.ino()))
        };
        Self(paths.iter().map(one).collect())
    }
}

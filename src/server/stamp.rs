//! Detection of changed files, by metadata.

use std::{fs, os::unix::fs::MetadataExt, path::Path, time::SystemTime};

/// Modification time, length and inode of some files; `None` for a missing one.
///
/// Symbolic links are followed, so that the update of a mounted Kubernetes secret, which swaps one link, is detected. A
/// check costs a few microseconds per file, cheap enough to need no watcher thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(Vec<Option<(SystemTime, u64, u64)>>);

impl Stamp {
    /// The files' current state. Take it before reading them, so that a change in between is detected by the next
    /// check.
    pub fn of(paths: &[&Path]) -> Self {
        let one = |path: &&Path| {
            let meta = fs::metadata(path).ok()?;
            Some((meta.modified().ok()?, meta.len(), meta.ino()))
        };
        Self(paths.iter().map(one).collect())
    }
}

//! What can be wrong with a journal, each with its remedy.

use std::{
    io,
    path::{Path, PathBuf},
};

/// What to do about a store that can't be read.
const REMEDY: &str = "restore it from a copy, or move it away to start empty, which sets the pictures in `artifacts` aside; \
    `retouch journal check` says more, `retouch journal export` saves what can be read";

/// Why a journal can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has the folder.
    #[error("{} is in use by another process; stop it, or take another folder", path.display())]
    InUse {
        /// The store.
        path: PathBuf,
    },
    /// The store can't be made sense of.
    #[error(
        "{} is damaged ({source}); nothing of it was changed: {REMEDY}",
        path.display()
    )]
    Corrupt {
        /// The store.
        path: PathBuf,
        /// What is wrong.
        source: Box<redb::Error>,
    },
    /// There is none.
    #[error("there is no {}", path.display())]
    Missing {
        /// The store.
        path: PathBuf,
    },
    /// The store is a file without a byte, beside artifacts that it should know.
    #[error(
        "{} is empty, and there are artifacts beside it; nothing was changed: {REMEDY}",
        path.display()
    )]
    Emptied {
        /// The store.
        path: PathBuf,
    },
    /// The file of an artifact is not what was stored.
    #[error("{} {why}", path.display())]
    Lost {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Written by another version.
    #[error(
        "{} is of version {found}, this retouch reads versions up to {known}; start the retouch that wrote it, or a later one",
        path.display()
    )]
    Version {
        /// The store.
        path: PathBuf,
        /// The version that it has.
        found: u64,
        /// The version that is read.
        known: u64,
    },
    /// A record that is no message of its kind.
    #[error(
        "{} holds a damaged {what} ({source}); no record was dropped: {REMEDY}, or drop what can't be read by `retouch journal repair`",
        path.display()
    )]
    Record {
        /// The store.
        path: PathBuf,
        /// What was read.
        what: &'static str,
        /// What is wrong.
        source: prost::DecodeError,
    },
    /// The store failed.
    #[error("{} can't be written", path.display())]
    Store {
        /// The store.
        path: PathBuf,
        /// Why.
        source: Box<redb::Error>,
    },
    /// A file or folder failed.
    #[error("{} can't be read or written", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The disk has less free than it must keep.
    #[error("the disk of {} is full", path.display())]
    DiskFull {
        /// The folder.
        path: PathBuf,
    },
    /// Jobs and artifacts take all that they may.
    #[error("jobs and artifacts take all of their {limit} bytes; delete some or raise the quota")]
    Quota {
        /// In bytes.
        limit: u64,
    },
}

impl JournalError {
    /// A fault of the store.
    pub(super) fn store(path: &Path, source: redb::Error) -> Self {
        let path = path.to_owned();
        match &source {
            redb::Error::Corrupted(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::RepairAborted => Self::Corrupt { path, source: Box::new(source) },
            redb::Error::Io(io) if io.kind() == io::ErrorKind::StorageFull => {
                Self::DiskFull { path }
            }
            redb::Error::Io(io)
                if matches!(
                    io.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                Self::Corrupt { path, source: Box::new(source) }
            }
            _ => Self::Store { path, source: Box::new(source) },
        }
    }

    /// A fault of a file.
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::StorageFull {
            return Self::DiskFull { path };
        }
        Self::Io { path, source }
    }
}

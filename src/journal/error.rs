//! Errors of the journal, each with its remedy.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
};

/// Remedy for a store that can't be read.
const REMEDY: &str = "restore it from a backup, or move it away to start with an empty journal (the files in \
    `artifacts` are then moved to `set-aside`); `retouch journal check` says more, `retouch journal \
    export` saves what can be read";

/// Why a journal can't be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has locked the folder.
    #[error("{} is in use by another process; stop it, or take another folder", path.display())]
    InUse {
        /// The store.
        path: PathBuf,
    },
    /// The store's file is damaged.
    #[error(
        "{} is damaged ({source}); it was not changed. Remedy: {REMEDY}",
        path.display()
    )]
    Corrupt {
        /// The store.
        path: PathBuf,
        /// The underlying error.
        source: Box<redb::Error>,
    },
    /// There is no store.
    #[error("there is no {}", path.display())]
    Missing {
        /// The store.
        path: PathBuf,
    },
    /// The store's file is empty although there are artifacts beside it.
    #[error(
        "{} is empty, and there are artifacts beside it; nothing was changed: {REMEDY}",
        path.display()
    )]
    Emptied {
        /// The store.
        path: PathBuf,
    },
    /// An artifact's file is missing or damaged.
    #[error("{} {why}", path.display())]
    Lost {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The layout was written by a later version.
    #[error(
        "{} has layout version {found}, newer than this version of retouch supports ({known}); use the retouch that \
         wrote it, or a later one",
        path.display()
    )]
    Version {
        /// The store.
        path: PathBuf,
        /// Layout version found.
        found: u64,
        /// Newest layout version supported.
        known: u64,
    },
    /// A record can't be decoded as its protobuf message.
    #[error(
        "{} holds a damaged {what} ({source}); no record was dropped: {REMEDY}, or drop what can't be read by `retouch journal repair`",
        path.display()
    )]
    Record {
        /// The store.
        path: PathBuf,
        /// Kind of record.
        what: &'static str,
        /// The decoding error.
        source: prost::DecodeError,
    },
    /// The store can't be written.
    #[error("{} can't be written", path.display())]
    Store {
        /// The store.
        path: PathBuf,
        /// The underlying error.
        source: Box<redb::Error>,
    },
    /// A file or folder can't be read or written.
    #[error("{} can't be read or written", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The underlying error.
        source: io::Error,
    },
    /// A server that keeps jobs fails.
    #[error(transparent)]
    Remote(Box<dyn Error + Send + Sync>),
    /// The disk has less free space than configured as the minimum.
    #[error("the disk of {} is full: less than the configured minimum is free", path.display())]
    DiskFull {
        /// The folder.
        path: PathBuf,
    },
    /// The quota of jobs and artifacts is used up.
    #[error(
        "the disk quota of {limit} bytes for jobs and artifacts is used up; delete some or raise the quota"
    )]
    Quota {
        /// The quota, in bytes.
        limit: u64,
    },
}

impl JournalError {
    /// Converts an error of the store.
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

    /// Converts an error of a file.
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::StorageFull {
            return Self::DiskFull { path };
        }
        Self::Io { path, source }
    }
}

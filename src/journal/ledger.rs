//! The interface between the job store and what makes jobs durable: commits by compare-and-set, reads, artifact files,
//! the feed of other processes' commits, and the leases of workers.
//!
//! [`Journal`](crate::journal::Journal) implements it for one process on a local disk. All methods may block; those
//! that write may block for seconds.

use std::{collections::HashSet, fmt, time::Duration};

use uuid::Uuid;

use crate::journal::{error::JournalError, relay};
use crate::wire::{
    journal::v1::{ArtifactRecord, JobRecord},
    v1::EditEvent,
};

/// Version of a job's record: another one after each commit of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub u64);

impl Revision {
    /// That of a job that does not exist.
    pub const NONE: Self = Self(0);
}

/// Changes that become durable together.
#[derive(Debug, Default, Clone, Copy)]
pub struct Commit<'a> {
    /// New record of the job, replacing the previous one.
    pub job: Option<&'a JobRecord>,
    /// New events of that job.
    pub events: &'a [EditEvent],
    /// New artifacts, whose files are already stored.
    pub artifacts: &'a [ArtifactRecord],
}

/// An artifact's file, by its id and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    /// Id of the artifact.
    pub id: Uuid,
    /// Length in bytes.
    pub bytes: u64,
}

/// A commit as it is fed to every process.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Revision of the job since then: [`Revision::NONE`] if it was deleted.
    pub revision: Revision,
    /// Its record; of one that was deleted, at least its name, tenant, request id and artifacts.
    pub record: JobRecord,
}

/// What a process hears of others.
#[derive(Debug, Clone)]
pub enum News {
    /// A job was committed or deleted.
    Job(Box<Applied>),
    /// An artifact was stored; it comes before the job that it is of.
    Artifact(ArtifactRecord),
    /// An artifact was deleted.
    ArtifactGone(Uuid),
}

/// Why a ledger can't do as it is asked.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The job has another revision than expected, or the request id of a new job has one already; nothing was changed.
    #[error("the job was changed at the same time")]
    Conflict,
    /// The ledger can't be reached for now; whether the change was made is known once it can be.
    #[error("the ledger can't be reached")]
    Down,
    /// There is no room; nothing was changed.
    #[error(transparent)]
    Full(JournalError),
    /// Storage failed.
    #[error(transparent)]
    Store(JournalError),
}

impl From<JournalError> for LedgerError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::DiskFull { .. } | JournalError::Quota { .. } => Self::Full(error),
            _ => Self::Store(error),
        }
    }
}

/// What makes jobs durable. A commit is durable when its call returns.
pub trait Ledger: fmt::Debug + Send + Sync {
    /// Commits a change of a job whose revision is the expected one, [`Revision::NONE`] for a new job; returns its new
    /// revision. A commit without a job always applies.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn commit(&self, commit: Commit<'_>, expected: Revision) -> Result<Revision, LedgerError>;

    /// Deletes jobs of the expected revisions with their events, and artifacts with their files: all or nothing.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn remove(
        &self,
        jobs: &[(Revision, &JobRecord)],
        artifacts: &[Blob],
    ) -> Result<(), LedgerError>;

    /// Visits every job, oldest first, with only one in memory at a time.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn each_job(&self, visit: &mut dyn FnMut(Revision, JobRecord)) -> Result<(), LedgerError>;

    /// Visits every artifact record.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn each_artifact(&self, visit: &mut dyn FnMut(ArtifactRecord)) -> Result<(), LedgerError>;

    /// One job.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn job(&self, id: Uuid) -> Result<Option<(Revision, JobRecord)>, LedgerError>;

    /// One artifact record.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn artifact(&self, id: Uuid) -> Result<Option<ArtifactRecord>, LedgerError>;

    /// The job of a tenant's request id.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn request(&self, tenant: &str, request_id: &str) -> Result<Option<Uuid>, LedgerError>;

    /// A job's control events after a sequence number, at most `limit` of them.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn events(&self, job: Uuid, after: u64, limit: usize) -> Result<Vec<EditEvent>, LedgerError>;

    /// The commits of other processes from now on, in order; blocks for the next one.
    fn tail(&self) -> Box<dyn Iterator<Item = News> + Send>;

    /// Checks that there is room for `bytes` of new data.
    ///
    /// # Errors
    /// [`LedgerError::Full`].
    fn check_room(&self, bytes: u64) -> Result<(), LedgerError>;

    /// Stores artifacts' files, all or none; they count once a commit refers to them.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn put_blobs(&self, blobs: &[(Uuid, &[u8])]) -> Result<(), LedgerError>;

    /// Bytes of a file from `offset`, at most `limit` of them.
    ///
    /// # Errors
    /// [`LedgerError::Store`] with [`JournalError::Lost`] if it is missing or has another length than stored.
    fn read_blob(&self, blob: Blob, offset: u64, limit: usize) -> Result<Vec<u8>, LedgerError>;

    /// Deletes files that no commit refers to.
    fn drop_blobs(&self, blobs: &[Blob]);

    /// Makes the deletions of files since the last call durable.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn tidy(&self) -> Result<(), LedgerError>;

    /// Takes or renews a worker's lease, which lives for `lasts` at least, unless its process ends.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn lease(&self, worker: &str, lasts: Duration) -> Result<(), LedgerError>;

    /// Workers whose leases have not ended.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn leases(&self) -> Result<HashSet<String>, LedgerError>;

    /// The way past the ledger to other processes, if there are any.
    fn relay(&self) -> Option<relay::Shared> {
        None
    }

    /// Says for `lasts` that this process is there.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn present(&self, process: &str, lasts: Duration) -> Result<(), LedgerError> {
        let _ = (process, lasts);
        Ok(())
    }

    /// How many processes are there, this one among them.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn processes(&self) -> Result<usize, LedgerError> {
        Ok(1)
    }

    /// Whether other processes commit, too.
    fn is_shared(&self) -> bool {
        false
    }

    /// Says for `lasts` that a caller of this process waits for a job, so that no other process ends it as abandoned.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn seat(&self, job: Uuid, lasts: Duration) -> Result<(), LedgerError> {
        let _ = (job, lasts);
        Ok(())
    }

    /// Jobs for which a caller of any process waits, where there are others.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn seats(&self) -> Result<HashSet<Uuid>, LedgerError> {
        Ok(HashSet::new())
    }
}

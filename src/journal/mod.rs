//! Jobs on disk: an embedded store (redb) of job records, their events and the index of artifacts, with files beside it.
//!
//! A commit is durable when it returns: the store syncs its file, and an artifact's file is synced before the commit that
//! names it. One process owns a folder. Records are the schema's own messages, so that what is on disk is what is on the wire.

pub mod error;
mod files;

use std::{
    fs,
    path::{Path, PathBuf},
};

use prost::Message;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend, StorageError,
    TableDefinition,
};
use uuid::Uuid;

use crate::journal::{error::JournalError, files::Files};
use crate::wire::{
    journal::v1::{ArtifactRecord, JobRecord},
    v1::EditEvent,
};

/// Of the layout of the tables.
const VERSION: u64 = 1;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Job to its record.
const JOBS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("jobs");
/// Job and number to a control event.
const EVENTS: TableDefinition<'_, (u128, u64), &[u8]> = TableDefinition::new("events");
/// Tenant and request id to the job.
const REQUESTS: TableDefinition<'_, (&str, &str), u128> = TableDefinition::new("requests");
/// Artifact to its record.
const ARTIFACTS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("artifacts");

/// How much a journal may take.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    /// Bytes of all artifacts.
    pub quota: u64,
    /// Bytes that the disk must keep free of what comes in; jobs that are there move, end and are deleted in them.
    pub min_free: u64,
}

/// The journal of one folder.
#[derive(Debug)]
pub struct Journal {
    db: Database,
    path: PathBuf,
    files: Files,
}

/// What is made durable together.
#[derive(Debug, Default, Clone, Copy)]
pub struct Commit<'a> {
    /// The job's record, replacing the one before.
    pub job: Option<&'a JobRecord>,
    /// New events of that job.
    pub events: &'a [EditEvent],
    /// New artifacts, whose files are stored.
    pub artifacts: &'a [ArtifactRecord],
}

impl Journal {
    /// Opens a folder's journal, or makes one.
    ///
    /// # Errors
    /// [`JournalError::InUse`] if another process has it, [`JournalError::Corrupt`] and [`JournalError::Version`] if it can't be
    /// read; the folder is left as it was then.
    pub fn open(folder: &Path, space: Space) -> Result<Self, JournalError> {
        let io = |source| JournalError::Io { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(io)?;
        let path = folder.join("journal.redb");
        let db = Database::create(&path).map_err(|error| open_error(&path, error))?;
        Self::over(db, path, folder, space)
    }

    /// A journal over another kind of storage, for faults that a disk does not make at will.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_backend(
        backend: impl StorageBackend,
        folder: &Path,
        space: Space,
    ) -> Result<Self, JournalError> {
        let path = folder.join("journal.redb");
        let db = Database::builder().create_with_backend(backend);
        Self::over(db.map_err(|error| open_error(&path, error))?, path, folder, space)
    }

    fn over(
        db: Database,
        path: PathBuf,
        folder: &Path,
        space: Space,
    ) -> Result<Self, JournalError> {
        let prepare = || -> Result<u64, redb::Error> {
            let write = db.begin_write()?;
            let version = {
                let mut meta = write.open_table(META)?;
                let found = meta.get("version")?.map(|it| it.value());
                if found.is_none() {
                    meta.insert("version", VERSION)?;
                }
                write.open_table(JOBS)?;
                write.open_table(EVENTS)?;
                write.open_table(REQUESTS)?;
                write.open_table(ARTIFACTS)?;
                found.unwrap_or(VERSION)
            };
            write.commit()?;
            Ok(version)
        };
        match prepare() {
            Ok(VERSION) => {}
            Ok(found) => return Err(JournalError::Version { path, found, known: VERSION }),
            Err(source) => return Err(JournalError::store(&path, source)),
        }
        let mut journal = Self { db, path, files: Files::open(folder, space)? };
        let known = journal.artifacts()?;
        journal.files.keep_only(known.iter().filter_map(|it| {
            let artifact = it.artifact.as_ref()?;
            Some((id_of(&artifact.name)?, artifact.size_bytes))
        }))?;
        Ok(journal)
    }

    /// Makes a commit durable.
    ///
    /// # Errors
    /// [`JournalError::Store`]; nothing of it is kept then.
    pub fn commit(&self, commit: Commit<'_>) -> Result<(), JournalError> {
        self.write(|write| {
            if let Some(record) = commit.job {
                let id = job_id(record).as_u128();
                write.open_table(JOBS)?.insert(id, record.encode_to_vec().as_slice())?;
                let mut events = write.open_table(EVENTS)?;
                for event in commit.events {
                    events.insert((id, event.sequence), event.encode_to_vec().as_slice())?;
                }
                let request_id = record.job.as_ref().map_or("", |it| it.request_id.as_str());
                if !request_id.is_empty() {
                    write.open_table(REQUESTS)?.insert((record.tenant.as_str(), request_id), id)?;
                }
            }
            let mut artifacts = write.open_table(ARTIFACTS)?;
            for record in commit.artifacts {
                let name = record.artifact.as_ref().map_or("", |it| it.name.as_str());
                let id = id_of(name).unwrap_or_default().as_u128();
                artifacts.insert(id, record.encode_to_vec().as_slice())?;
            }
            Ok(())
        })
    }

    /// Forgets a job and its events.
    ///
    /// # Errors
    /// [`JournalError::Store`].
    pub fn remove_job(&self, record: &JobRecord) -> Result<(), JournalError> {
        let id = job_id(record).as_u128();
        let request_id = record.job.as_ref().map_or("", |it| it.request_id.as_str());
        self.write(|write| {
            write.open_table(JOBS)?.remove(id)?;
            write.open_table(EVENTS)?.retain_in((id, 0)..=(id, u64::MAX), |_, _| false)?;
            if !request_id.is_empty() {
                write.open_table(REQUESTS)?.remove((record.tenant.as_str(), request_id))?;
            }
            Ok(())
        })
    }

    /// Forgets an artifact and deletes its file.
    ///
    /// # Errors
    /// [`JournalError::Store`].
    pub fn remove_artifact(&self, id: Uuid) -> Result<(), JournalError> {
        self.write(|write| {
            write.open_table(ARTIFACTS)?.remove(id.as_u128())?;
            Ok(())
        })?;
        self.files.remove(id);
        Ok(())
    }

    /// Every job.
    ///
    /// # Errors
    /// [`JournalError::Store`], [`JournalError::Record`].
    pub fn jobs(&self) -> Result<Vec<JobRecord>, JournalError> {
        self.all(JOBS, "job")
    }

    /// One job.
    ///
    /// # Errors
    /// [`JournalError::Store`], [`JournalError::Record`].
    pub fn job(&self, id: Uuid) -> Result<Option<JobRecord>, JournalError> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            let table = self.db.begin_read()?.open_table(JOBS)?;
            Ok(table.get(id.as_u128())?.map(|it| it.value().to_vec()))
        };
        let record = read().map_err(|source| JournalError::store(&self.path, source))?;
        record.map(|bytes| self.decode(&bytes, "job")).transpose()
    }

    /// Every artifact.
    ///
    /// # Errors
    /// [`JournalError::Store`], [`JournalError::Record`].
    pub fn artifacts(&self) -> Result<Vec<ArtifactRecord>, JournalError> {
        self.all(ARTIFACTS, "artifact")
    }

    /// A job's control events after a number, at most `limit` of them.
    ///
    /// # Errors
    /// [`JournalError::Store`], [`JournalError::Record`].
    pub fn events(
        &self,
        job: Uuid,
        after: u64,
        limit: usize,
    ) -> Result<Vec<EditEvent>, JournalError> {
        let id = job.as_u128();
        let read = || -> Result<Vec<Vec<u8>>, redb::Error> {
            let table = self.db.begin_read()?.open_table(EVENTS)?;
            let range = table.range((id, after.saturating_add(1))..=(id, u64::MAX))?;
            let values = range.take(limit).map(|it| it.map(|(_, value)| value.value().to_vec()));
            Ok(values.collect::<Result<_, StorageError>>()?)
        };
        let records = read().map_err(|source| JournalError::store(&self.path, source))?;
        records.iter().map(|bytes| self.decode(bytes, "event")).collect()
    }

    /// Whether there is room for `bytes` that come in.
    ///
    /// # Errors
    /// [`JournalError::DiskFull`] if the disk would have less free than it must keep.
    pub fn check_room(&self, bytes: u64) -> Result<(), JournalError> {
        self.files.check_free(bytes)
    }

    /// Stores an artifact's bytes under an id; they count once a commit names it.
    ///
    /// # Errors
    /// [`JournalError::Quota`], [`JournalError::DiskFull`], [`JournalError::Io`].
    pub fn store_file(&self, id: Uuid, bytes: &[u8]) -> Result<(), JournalError> {
        self.files.store(id, bytes)
    }

    /// Bytes of an artifact from `offset`, at most `limit` of them.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn read_file(&self, id: Uuid, offset: u64, limit: usize) -> Result<Vec<u8>, JournalError> {
        self.files.read(id, offset, limit)
    }

    /// Drops a file that no commit named.
    pub fn drop_file(&self, id: Uuid) {
        self.files.remove(id);
    }

    fn write(
        &self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), JournalError> {
        let write = || -> Result<(), redb::Error> {
            let write = self.db.begin_write()?;
            change(&write)?;
            Ok(write.commit()?)
        };
        write().map_err(|source| JournalError::store(&self.path, source))
    }

    fn all<M: Message + Default>(
        &self,
        table: TableDefinition<'_, u128, &[u8]>,
        what: &'static str,
    ) -> Result<Vec<M>, JournalError> {
        let read = || -> Result<Vec<Vec<u8>>, redb::Error> {
            let table = self.db.begin_read()?.open_table(table)?;
            let values = table.iter()?.map(|it| it.map(|(_, value)| value.value().to_vec()));
            Ok(values.collect::<Result<_, StorageError>>()?)
        };
        let records = read().map_err(|source| JournalError::store(&self.path, source))?;
        records.iter().map(|bytes| self.decode(bytes, what)).collect()
    }

    fn decode<M: Message + Default>(
        &self,
        bytes: &[u8],
        what: &'static str,
    ) -> Result<M, JournalError> {
        M::decode(bytes).map_err(|source| JournalError::Record {
            path: self.path.clone(),
            what,
            source,
        })
    }
}

/// The id of `jobs/{uuid}` or `artifacts/{uuid}`.
pub fn id_of(name: &str) -> Option<Uuid> {
    let (_, id) = name.split_once('/')?;
    Uuid::try_parse(id).ok()
}

/// The id of a record's job.
pub fn job_id(record: &JobRecord) -> Uuid {
    let name = record.job.as_ref().map_or("", |it| it.name.as_str());
    id_of(name).expect("the server names its jobs itself")
}

fn open_error(path: &Path, error: DatabaseError) -> JournalError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => JournalError::InUse { path: path.to_owned() },
        other => JournalError::store(path, other.into()),
    }
}

//! Journal: durable storage of jobs in an embedded database (redb) of job records, events and artifact records, with
//! artifact files beside it.
//!
//! A commit is durable when it returns: the database is synced, and an artifact's file is synced before the commit that
//! refers to it. One process owns a folder. Records are the schema's own messages, so that no separate storage format
//! has to be kept in step.

pub mod error;
pub mod examine;
mod files;
mod overlay;
mod read;
mod tables;
mod takeover;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use prost::Message;
use redb::{Database, StorageBackend};
use uuid::Uuid;

use crate::journal::{
    error::JournalError,
    files::Files,
    overlay::Overlay,
    tables::{ARTIFACTS, EVENTS, GOING, JOBS, REQUESTS, guarded, put},
    takeover::Takeover,
};
use crate::wire::{
    journal::v1::{ArtifactRecord, JobRecord},
    v1::EditEvent,
};

/// File name of the database in a data folder.
const STORE: &str = "journal.redb";

/// Limits on disk space.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    /// Most bytes of records, events and artifacts together.
    pub quota: u64,
    /// Bytes that new data must leave free on the disk; existing jobs use them to change state, end and be deleted.
    pub min_free: u64,
}

/// The journal of one folder.
#[derive(Debug)]
pub struct Journal {
    db: Database,
    path: PathBuf,
    files: Files,
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

impl Journal {
    /// Opens or creates a folder's journal, and logs files without a record and records without a file.
    ///
    /// # Errors
    /// [`JournalError::InUse`] if another process has it; [`JournalError::Corrupt`], [`JournalError::Emptied`] and
    /// [`JournalError::Version`] if it can't be read; the folder is then unchanged.
    pub fn open(folder: &Path, space: Space) -> Result<Self, JournalError> {
        fs::create_dir_all(folder).map_err(|source| JournalError::io(folder, source))?;
        let path = folder.join(STORE);
        refuse_emptied(folder, &path)?;
        let db = tables::create(&path)?;
        Self::settled(Self::over(db, path, folder, space)?, folder, space)
    }

    /// Opens a journal over another storage backend, to inject faults in tests.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_backend(
        backend: impl StorageBackend,
        folder: &Path,
        space: Space,
    ) -> Result<Self, JournalError> {
        let path = folder.join(STORE);
        let db = tables::create_over(backend, &path)?;
        Self::settled(Self::over(db, path, folder, space)?, folder, space)
    }

    /// Opens a folder's journal read-only: nothing on disk is changed, not even to repair it.
    fn read_only(folder: &Path) -> Result<Self, JournalError> {
        let path = folder.join(STORE);
        refuse_emptied(folder, &path)?;
        let db = tables::create_over(Overlay::open(&path)?, &path)?;
        let (journal, _) = Self::over(db, path, folder, Space { quota: u64::MAX, min_free: 0 })?;
        Ok(journal)
    }

    /// The journal of a database, and the layout that it had if that was an earlier one.
    fn over(
        db: Database,
        path: PathBuf,
        folder: &Path,
        space: Space,
    ) -> Result<(Self, Option<u64>), JournalError> {
        let earlier = guarded(&path, || tables::prepare(&db, &path))?;
        Ok((Self { db, path, files: Files::new(folder, space, HashMap::new()) }, earlier))
    }

    /// Reconciles the artifact files with the records.
    fn settled(
        (mut journal, earlier): (Self, Option<u64>),
        folder: &Path,
        space: Space,
    ) -> Result<Self, JournalError> {
        if let Some(earlier) = earlier {
            let (path, now) = (journal.path.display(), tables::VERSION);
            tracing::info!("{path} was migrated from layout {earlier} to layout {now}");
        }
        let mut known = HashMap::new();
        journal.each_artifact(|record| {
            let artifact = record.artifact.unwrap_or_default();
            known.extend(id_of(&artifact.name).map(|id| (id, artifact.size_bytes)));
        })?;
        journal.files = Files::new(folder, space, known);
        let takeover = journal.files.settle(journal.going()?)?;
        let bytes = tables::bytes(&journal.db).map_err(|source| journal.store_error(source))?;
        journal.files.count_records(bytes as i64);
        journal.tidy()?;
        journal.tell(&takeover);
        Ok(journal)
    }

    fn tell(&self, takeover: &Takeover) {
        let Takeover { moved, taken_back, set_aside, lost, .. } = takeover;
        let folder = self.path.with_file_name(files::ARTIFACTS);
        let aside = self.path.with_file_name(files::SET_ASIDE);
        let (journal, folder, aside) = (self.path.display(), folder.display(), aside.display());
        if *moved > 0 {
            tracing::info!(files = moved, "files in {folder} were moved to folders of their own");
        }
        if *taken_back > 0 {
            tracing::info!(
                files = taken_back,
                "files that {journal} knows were taken back from {aside}"
            );
        }
        if *set_aside > 0 {
            tracing::warn!(
                files = set_aside,
                "{journal} does not know {set_aside} files in {folder}: they were moved to {aside}. If another journal does, put \
                 that one back and start again; `retouch journal export` names them as pictures"
            );
        }
        if *lost > 0 {
            tracing::warn!(
                files = lost,
                "{lost} artifacts that {journal} knows are lost: their files are missing from {folder}, or cut short; \
                 `retouch journal check` lists them"
            );
        }
    }

    /// Makes a commit durable.
    ///
    /// # Errors
    /// [`JournalError::Store`]; then nothing of it is kept.
    pub fn commit(&self, commit: Commit<'_>) -> Result<(), JournalError> {
        self.write(|write| {
            let mut more = 0;
            if let Some(record) = commit.job {
                let id = job_id(record).as_u128();
                more += put(&mut write.open_table(JOBS)?, id, &record.encode_to_vec())?;
                let mut events = write.open_table(EVENTS)?;
                for event in commit.events {
                    more += put(&mut events, (id, event.sequence), &event.encode_to_vec())?;
                }
                let request_id = request_id(record);
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
            Ok(more)
        })
    }

    /// Deletes jobs with their events, and artifacts, in one commit; then deletes the files.
    ///
    /// # Errors
    /// [`JournalError::Store`]; then nothing is deleted.
    pub fn remove(&self, jobs: &[&JobRecord], artifacts: &[Uuid]) -> Result<(), JournalError> {
        self.write(|write| {
            let mut less = 0;
            let mut records = write.open_table(JOBS)?;
            let mut events = write.open_table(EVENTS)?;
            let mut requests = write.open_table(REQUESTS)?;
            for record in jobs {
                let id = job_id(record).as_u128();
                less += records.remove(id)?.map_or(0, |it| it.value().len());
                events.retain_in((id, 0)..=(id, u64::MAX), |_, event| {
                    less += event.len();
                    false
                })?;
                if !request_id(record).is_empty() {
                    requests.remove((record.tenant.as_str(), request_id(record)))?;
                }
            }
            let mut known = write.open_table(ARTIFACTS)?;
            let mut going = write.open_table(GOING)?;
            for id in artifacts {
                known.remove(id.as_u128())?;
                going.insert(id.as_u128(), ())?;
            }
            Ok(-(less as i64))
        })?;
        self.files.remove(artifacts);
        Ok(())
    }

    /// Syncs the file deletions since the last call.
    ///
    /// # Errors
    /// [`JournalError::Io`], [`JournalError::Store`]; repeated at the next start.
    pub fn tidy(&self) -> Result<(), JournalError> {
        let removed = self.files.sync_removed()?;
        if removed.is_empty() {
            return Ok(());
        }
        self.write(|write| {
            let mut going = write.open_table(GOING)?;
            for id in removed {
                going.remove(id.as_u128())?;
            }
            Ok(0)
        })
    }

    /// Checks that there is room for `bytes` of new data.
    ///
    /// # Errors
    /// [`JournalError::Quota`]; [`JournalError::DiskFull`] if less than the configured minimum would stay free.
    pub fn check_room(&self, bytes: u64) -> Result<(), JournalError> {
        self.files.check_room(bytes)
    }

    /// Stores artifacts' files by id; they count once a commit refers to them.
    ///
    /// # Errors
    /// [`JournalError::Quota`], [`JournalError::DiskFull`], [`JournalError::Io`]; then none is stored.
    pub fn store_files(&self, files: &[(Uuid, &[u8])]) -> Result<(), JournalError> {
        self.files.store(files)
    }

    /// Stores one artifact's file.
    ///
    /// # Errors
    /// As [`Journal::store_files`].
    pub fn store_file(&self, id: Uuid, bytes: &[u8]) -> Result<(), JournalError> {
        self.store_files(&[(id, bytes)])
    }

    /// Bytes of an artifact from `offset`, at most `limit` of them.
    ///
    /// # Errors
    /// [`JournalError::Lost`] if its file is missing or has another length than stored; [`JournalError::Io`].
    pub fn read_file(&self, id: Uuid, offset: u64, limit: usize) -> Result<Vec<u8>, JournalError> {
        self.files.read(id, offset, limit)
    }

    /// Deletes a file that no commit refers to.
    pub fn drop_file(&self, id: Uuid) {
        self.files.remove(&[id]);
    }

    /// Runs one transaction; `change` returns by how many bytes records and events grow.
    fn write(
        &self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<i64, redb::Error>,
    ) -> Result<(), JournalError> {
        let write = || -> Result<i64, redb::Error> {
            let write = self.db.begin_write()?;
            let more = change(&write)?;
            tables::count(&write, more)?;
            write.commit()?;
            Ok(more)
        };
        let more = write().map_err(|source| self.store_error(source))?;
        self.files.count_records(more);
        Ok(())
    }

    fn store_error(&self, source: redb::Error) -> JournalError {
        JournalError::store(&self.path, source)
    }
}

/// Refuses an empty database file beside artifacts: data was lost, and a new database would orphan the artifacts.
fn refuse_emptied(folder: &Path, path: &Path) -> Result<(), JournalError> {
    let artifacts = folder.join(files::ARTIFACTS);
    if fs::metadata(path).is_ok_and(|it| it.len() == 0) {
        let found = takeover::found(&artifacts);
        if !found.map_err(|source| JournalError::io(&artifacts, source))?.is_empty() {
            return Err(JournalError::Emptied { path: path.to_owned() });
        }
    }
    Ok(())
}

/// The id in a resource name `jobs/{uuid}` or `artifacts/{uuid}`.
pub fn id_of(name: &str) -> Option<Uuid> {
    let (_, id) = name.split_once('/')?;
    Uuid::try_parse(id).ok()
}

/// The id of a record's job.
pub fn job_id(record: &JobRecord) -> Uuid {
    let name = record.job.as_ref().map_or("", |it| it.name.as_str());
    id_of(name).expect("the server names its jobs itself")
}

fn request_id(record: &JobRecord) -> &str {
    record.job.as_ref().map_or("", |it| it.request_id.as_str())
}

//! Journal: durable storage of jobs in an embedded database (redb) of job records, events and artifact records, with
//! artifact files beside it.
//!
//! A commit is durable when it returns: the database is synced, and an artifact's file is synced before the commit that
//! refers to it. One process owns a folder. Records are the schema's own messages, so that no separate storage format
//! has to be kept in step.

mod commits;
pub mod error;
pub mod examine;
mod files;
mod layout;
pub mod ledger;
mod overlay;
mod read;
pub mod relay;
pub mod space;
mod tables;
mod takeover;

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use redb::{Database, StorageBackend};
use uuid::Uuid;

use crate::journal::{
    error::JournalError,
    files::Files,
    overlay::Overlay,
    space::Space,
    tables::{ARTIFACTS, guarded},
    takeover::Takeover,
};
use crate::wire::journal::v1::{ArtifactRecord, JobRecord};

/// File name of the database in a data folder.
const STORE: &str = "journal.redb";

/// The journal of one folder.
#[derive(Debug)]
pub struct Journal {
    db: Database,
    path: PathBuf,
    files: Files,
    /// Workers that have a lease.
    leases: Mutex<HashSet<String>>,
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
        Self::settled(Self::over(db, path, folder, space)?)
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
        Self::settled(Self::over(db, path, folder, space)?)
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
        let files = Files::new(folder, space);
        Ok((Self { db, path, files, leases: Mutex::default() }, earlier))
    }

    /// Reconciles the artifact files with the records.
    fn settled((journal, earlier): (Self, Option<u64>)) -> Result<Self, JournalError> {
        if let Some(earlier) = earlier {
            let (path, now) = (journal.path.display(), tables::VERSION);
            tracing::info!("{path} was migrated from layout {earlier} to layout {now}");
        }
        let mut known = HashMap::new();
        journal.each(ARTIFACTS, "artifact", |record: ArtifactRecord| {
            let artifact = record.artifact.unwrap_or_default();
            known.extend(id_of(&artifact.name).map(|id| (id, artifact.size_bytes)));
        })?;
        let takeover = journal.files.settle(&known, journal.going()?)?;
        let bytes = tables::bytes(&journal.db).map_err(|source| journal.store_error(source))?;
        journal.files.count_records(bytes as i64);
        journal.forget_removed()?;
        journal.tell(&takeover);
        Ok(journal)
    }

    fn tell(&self, takeover: &Takeover) {
        let Takeover { moved, taken_back, set_aside, lost, .. } = takeover;
        let folder = self.path.with_file_name(layout::ARTIFACTS);
        let aside = self.path.with_file_name(layout::SET_ASIDE);
        let (journal, folder, aside) = (self.path.display(), folder.display(), aside.display());
        if *moved > 0 {
            tracing::info!(
                files = moved,
                "files in {folder} were moved to subfolders (layout version 2)"
            );
        }
        if *taken_back > 0 {
            tracing::info!(
                files = taken_back,
                "files with records in {journal} were restored from {aside}"
            );
        }
        if *set_aside > 0 {
            tracing::warn!(
                files = set_aside,
                "{set_aside} files in {folder} have no record in {journal} and were moved to {aside}. If they belong to \
                 another journal, put that one back and start again; `retouch journal export` names them as pictures"
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

    fn store_error(&self, source: redb::Error) -> JournalError {
        JournalError::store(&self.path, source)
    }
}

/// Refuses an empty database file beside artifacts: data was lost, and a new database would orphan the artifacts.
fn refuse_emptied(folder: &Path, path: &Path) -> Result<(), JournalError> {
    let artifacts = folder.join(layout::ARTIFACTS);
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

//! Files of jobs and of callers: named, owned, pinned by the jobs that refer to them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use dashmap::{DashMap, mapref::entry::Entry};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::jobs::fault::{Fault, Reason};
use crate::journal::{self, Commit, Journal, error::JournalError};
use crate::wire::{journal::v1::ArtifactRecord, pictures::PictureFile, v1};

/// All artifacts.
#[derive(Debug)]
pub struct Artifacts {
    journal: Arc<Journal>,
    known: DashMap<Uuid, Known>,
}

/// An artifact with the number of jobs that refer to it.
#[derive(Debug)]
struct Known {
    record: ArtifactRecord,
    pins: usize,
}

/// A file that is to be stored under a name that is settled already.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// As callers will see it.
    pub artifact: v1::Artifact,
    /// The file.
    pub bytes: Bytes,
}

impl NewFile {
    /// A file of a job, which lives as long as the job.
    pub fn of_picture(file: PictureFile) -> Self {
        let PictureFile { mime_type, size, bytes } = file;
        Self::new(mime_type, (size.width, size.height), bytes.into())
    }

    /// A file with a new name.
    pub fn new(mime_type: &str, (width, height): (u32, u32), bytes: Bytes) -> Self {
        let artifact = v1::Artifact {
            name: format!("artifacts/{}", Uuid::now_v7()),
            mime_type: mime_type.to_owned(),
            width,
            height,
            size_bytes: bytes.len() as u64,
            sha256: Bytes::copy_from_slice(&Sha256::digest(&bytes)),
            inline: Bytes::new(),
            expire_time: None,
        };
        Self { artifact, bytes }
    }

    /// The same, kept for a time even if no job refers to it.
    #[must_use]
    pub fn kept_for(mut self, time: Duration) -> Self {
        self.artifact.expire_time = Some((SystemTime::now() + time).into());
        self
    }

    fn id(&self) -> Uuid {
        journal::id_of(&self.artifact.name).expect("the server names its artifacts itself")
    }
}

impl Artifacts {
    /// The artifacts of a journal, pinned by nobody yet.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(journal: Arc<Journal>) -> Result<Self, JournalError> {
        let artifacts = Self { known: DashMap::new(), journal };
        for record in artifacts.journal.artifacts()? {
            artifacts.know(record, 0);
        }
        Ok(artifacts)
    }

    /// Writes files; they count once a commit names the records that are returned.
    ///
    /// # Errors
    /// What the journal says; none of them is kept then.
    pub fn store(&self, tenant: &str, files: &[NewFile]) -> Result<Vec<ArtifactRecord>, Fault> {
        for file in files {
            self.journal.store_file(file.id(), &file.bytes)?;
        }
        let record = |file: &NewFile| ArtifactRecord {
            artifact: Some(file.artifact.clone()),
            tenant: tenant.to_owned(),
        };
        Ok(files.iter().map(record).collect())
    }

    /// Drops files that no commit named.
    pub fn drop_files(&self, files: &[NewFile]) {
        for file in files {
            self.journal.drop_file(file.id());
        }
    }

    /// Takes in the records of a commit: a job refers to each.
    pub fn adopt(&self, records: Vec<ArtifactRecord>) {
        for record in records {
            self.know(record, 1);
        }
    }

    /// Stores a caller's file.
    ///
    /// # Errors
    /// What the journal says.
    pub fn upload(&self, tenant: &str, file: &NewFile) -> Result<v1::Artifact, Fault> {
        self.journal.check_room(file.bytes.len() as u64)?;
        let records = self.store(tenant, std::slice::from_ref(file))?;
        let commit = Commit { artifacts: &records, ..Commit::default() };
        if let Err(error) = self.journal.commit(commit) {
            self.drop_files(std::slice::from_ref(file));
            return Err(error.into());
        }
        for record in records {
            self.know(record, 0);
        }
        Ok(file.artifact.clone())
    }

    /// A tenant's artifact.
    ///
    /// # Errors
    /// [`Reason::ArtifactNotFound`], for another tenant's too.
    pub fn get(&self, tenant: &str, name: &str) -> Result<v1::Artifact, Fault> {
        let found = id(name).and_then(|id| {
            let known = self.known.get(&id)?;
            (known.record.tenant == tenant).then(|| known.record.artifact.clone())?
        });
        found.ok_or_else(|| Fault::no_artifact(name))
    }

    /// Bytes of an artifact, from `offset`.
    ///
    /// # Errors
    /// [`Reason::ArtifactNotFound`], or what the journal says.
    pub fn read(&self, name: &str, offset: u64, limit: usize) -> Result<Bytes, Fault> {
        let id = id(name).ok_or_else(|| Fault::no_artifact(name))?;
        Ok(self.journal.read_file(id, offset, limit)?.into())
    }

    /// All bytes of an artifact.
    ///
    /// # Errors
    /// As [`Artifacts::read`].
    pub fn read_all(&self, name: &str) -> Result<Bytes, Fault> {
        self.read(name, 0, usize::MAX)
    }

    /// Deletes a caller's artifact.
    ///
    /// # Errors
    /// [`Reason::ArtifactPinned`] if a job refers to it, [`Reason::ArtifactNotFound`].
    pub fn delete(&self, tenant: &str, name: &str) -> Result<(), Fault> {
        self.get(tenant, name)?;
        let id = id(name).ok_or_else(|| Fault::no_artifact(name))?;
        let Entry::Occupied(entry) = self.known.entry(id) else {
            return Err(Fault::no_artifact(name));
        };
        if entry.get().pins > 0 {
            let message = "a job refers to the artifact; delete the job first";
            return Err(Fault::new(Reason::ArtifactPinned, message));
        }
        self.journal.remove_artifact(id)?;
        entry.remove();
        Ok(())
    }

    /// Counts a job that refers to an artifact; whether it is there.
    pub fn pin(&self, name: &str) -> bool {
        let known = id(name).and_then(|id| self.known.get_mut(&id));
        known.map(|mut it| it.pins += 1).is_some()
    }

    /// Counts a job that refers to all of these.
    ///
    /// # Errors
    /// [`Reason::ArtifactNotFound`] if one is gone; then none is counted.
    pub fn pin_all(&self, names: &[String]) -> Result<(), Fault> {
        for (index, name) in names.iter().enumerate() {
            if !self.pin(name) {
                names[..index].iter().for_each(|it| self.unpin(it));
                return Err(Fault::no_artifact(name));
            }
        }
        Ok(())
    }

    /// Counts a job less; an artifact that nobody keeps is deleted, later if it can't be now.
    pub fn unpin(&self, name: &str) {
        let Some(id) = id(name) else { return };
        let Entry::Occupied(mut entry) = self.known.entry(id) else { return };
        entry.get_mut().pins = entry.get().pins.saturating_sub(1);
        if entry.get().pins == 0 && !is_kept(&entry.get().record) && self.forget(id) {
            entry.remove();
        }
    }

    /// Deletes what nobody refers to and has had its time.
    pub fn expire(&self) {
        let stale = self.known.iter().filter(|it| it.pins == 0 && !is_kept(&it.record));
        let stale: Vec<Uuid> = stale.map(|it| *it.key()).collect();
        for id in stale {
            if let Entry::Occupied(entry) = self.known.entry(id)
                && entry.get().pins == 0
                && self.forget(id)
            {
                entry.remove();
            }
        }
    }

    /// Bytes that a tenant's artifacts take.
    pub fn bytes_of(&self, tenant: &str) -> u64 {
        let of_tenant = self.known.iter().filter(|it| it.record.tenant == tenant);
        of_tenant.filter_map(|it| it.record.artifact.as_ref().map(|it| it.size_bytes)).sum()
    }

    fn know(&self, record: ArtifactRecord, pins: usize) {
        if let Some(id) = record.artifact.as_ref().and_then(|it| id(&it.name)) {
            self.known.insert(id, Known { record, pins });
        }
    }

    /// Deletes an artifact; whether it could.
    fn forget(&self, id: Uuid) -> bool {
        let forgotten = self.journal.remove_artifact(id);
        if let Err(error) = &forgotten {
            tracing::error!(%error, %id, "an artifact could not be deleted");
        }
        forgotten.is_ok()
    }
}

fn id(name: &str) -> Option<Uuid> {
    name.strip_prefix("artifacts/").and_then(|it| Uuid::try_parse(it).ok())
}

/// Whether an artifact that no job refers to has time left.
fn is_kept(record: &ArtifactRecord) -> bool {
    let until = record.artifact.as_ref().and_then(|it| it.expire_time);
    until.and_then(|it| SystemTime::try_from(it).ok()).is_some_and(|it| it > SystemTime::now())
}

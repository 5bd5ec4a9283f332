//! Artifacts: files of jobs and uploads, each owned by a tenant and reference-counted by the jobs that use it.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;
use dashmap::DashMap;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::jobs::{
    clock::{self, Clock},
    fault::Fault,
};
use crate::journal::{
    self,
    ledger::{Blob, Commit, Ledger, LedgerError, Revision},
};
use crate::wire::{journal::v1::ArtifactRecord, pictures::PictureFile, reason::Reason, v1};

/// Bytes read at once when a file is checked without being held in memory.
const PIECE: usize = 1 << 20;

/// Index of all artifacts, in memory; their files are in the journal's folder.
#[derive(Debug)]
pub struct Artifacts {
    pub(super) ledger: Arc<dyn Ledger>,
    clock: Clock,
    pub(super) known: DashMap<Uuid, Known>,
    /// Interned tenant names and MIME types.
    texts: Mutex<HashSet<Arc<str>>>,
}

/// What is held in memory per artifact; kept small, since there may be a hundred thousand.
#[derive(Debug)]
pub(super) struct Known {
    tenant: Arc<str>,
    mime_type: Arc<str>,
    size: (u32, u32),
    bytes: u64,
    sha256: [u8; 32],
    expire_time: Option<prost_types::Timestamp>,
    /// Number of jobs that refer to it.
    pins: u32,
    /// Whether it is being deleted; treated as absent.
    going: bool,
}

impl Known {
    fn artifact(&self, id: Uuid) -> v1::Artifact {
        v1::Artifact {
            name: format!("artifacts/{id}"),
            mime_type: self.mime_type.to_string(),
            width: self.size.0,
            height: self.size.1,
            size_bytes: self.bytes,
            sha256: Bytes::copy_from_slice(&self.sha256),
            inline: Bytes::new(),
            expire_time: self.expire_time,
        }
    }

    /// Whether no job refers to it and its time to live has passed.
    fn is_stale(&self, now: SystemTime) -> bool {
        self.pins == 0 && clock::time(self.expire_time).is_none_or(|it| it <= now)
    }
}

/// A file to be stored, with its resource name already assigned.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// The resource, as callers see it.
    pub artifact: v1::Artifact,
    /// Its contents.
    pub bytes: Bytes,
}

impl NewFile {
    /// A file of a job, which lives as long as the job.
    pub fn of_picture(file: PictureFile) -> Self {
        let PictureFile { mime_type, size, bytes } = file;
        Self::new(mime_type, (size.width, size.height), bytes)
    }

    /// A file with a new resource name.
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

    /// The same with a time to live during which it is kept even if no job refers to it.
    #[must_use]
    pub fn kept_until(mut self, time: SystemTime) -> Self {
        self.artifact.expire_time = Some(time.into());
        self
    }

    fn blob(&self) -> Blob {
        Blob { id: self.id(), bytes: self.artifact.size_bytes }
    }

    fn id(&self) -> Uuid {
        journal::id_of(&self.artifact.name).expect("the server names its artifacts itself")
    }
}

impl Artifacts {
    /// Loads the index of a journal's artifacts, with no references counted yet.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn open(ledger: Arc<dyn Ledger>, clock: Clock) -> Result<Self, LedgerError> {
        let artifacts = Self { known: DashMap::new(), texts: Mutex::default(), ledger, clock };
        artifacts.ledger.each_artifact(&mut |record| artifacts.know(&record))?;
        Ok(artifacts)
    }

    /// Writes files; they count as stored once a commit names the returned records.
    ///
    /// # Errors
    /// Those of the journal; then none of the files is kept.
    pub fn store(&self, tenant: &str, files: &[NewFile]) -> Result<Vec<ArtifactRecord>, Fault> {
        let bytes: Vec<(Uuid, &[u8])> = files.iter().map(|it| (it.id(), &*it.bytes)).collect();
        self.ledger.put_blobs(&bytes)?;
        let record = |file: &NewFile| ArtifactRecord {
            artifact: Some(file.artifact.clone()),
            tenant: tenant.to_owned(),
        };
        Ok(files.iter().map(record).collect())
    }

    /// Deletes files whose records were not committed.
    pub fn drop_files(&self, files: &[NewFile]) {
        let blobs: Vec<Blob> = files.iter().map(NewFile::blob).collect();
        self.ledger.drop_blobs(&blobs);
    }

    /// Adds committed records to the index, each with one reference more: another process may have gone on with their
    /// job, and been heard of, before this.
    pub fn adopt(&self, records: &[ArtifactRecord]) {
        for record in records {
            self.learn(record);
            self.pin(record.artifact.as_ref().map_or("", |it| &it.name));
        }
    }

    /// Stores an uploaded file.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn upload(&self, tenant: &str, file: &NewFile) -> Result<v1::Artifact, Fault> {
        self.ledger.check_room(file.bytes.len() as u64)?;
        let records = self.store(tenant, std::slice::from_ref(file))?;
        let commit = Commit { artifacts: &records, ..Commit::default() };
        if let Err(error) = self.ledger.commit(commit, Revision::NONE) {
            if !matches!(error, LedgerError::Down) {
                self.drop_files(std::slice::from_ref(file));
            }
            return Err(error.into());
        }
        for record in &records {
            self.know(record);
        }
        Ok(file.artifact.clone())
    }

    /// A tenant's artifact by name. Asks a ledger that other processes share for one that is not known here.
    ///
    /// # Errors
    /// [`Reason::ArtifactNotFound`], also for another tenant's artifact; those of the ledger.
    pub fn get(&self, tenant: &str, name: &str) -> Result<v1::Artifact, Fault> {
        let id = id(name).ok_or_else(|| Fault::no_artifact(name))?;
        self.seek(id)?;
        let known = self.known.get(&id).filter(|it| &*it.tenant == tenant && !it.going);
        known.map(|it| it.artifact(id)).ok_or_else(|| Fault::no_artifact(name))
    }

    /// Up to `limit` bytes of an artifact, from byte `offset`.
    ///
    /// # Errors
    /// [`Reason::ArtifactNotFound`]; [`Reason::ArtifactLost`] if its file is missing or truncated; those of the
    /// journal.
    pub fn read(&self, name: &str, offset: u64, limit: usize) -> Result<Bytes, Fault> {
        let id = id(name).ok_or_else(|| Fault::no_artifact(name))?;
        let bytes = self.known.get(&id).ok_or_else(|| Fault::no_artifact(name))?.bytes;
        let read = self.ledger.read_blob(Blob { id, bytes }, offset, limit);
        Ok(read.map_err(|error| Fault::of_file(name, error))?.into())
    }

    /// All bytes of an artifact, verified against its SHA-256.
    ///
    /// # Errors
    /// As [`Artifacts::read`]; [`Reason::ArtifactLost`] if the digest differs.
    pub fn read_all(&self, name: &str) -> Result<Bytes, Fault> {
        let bytes = self.read(name, 0, usize::MAX)?;
        self.check_hash(name, &Sha256::digest(&bytes))?;
        Ok(bytes)
    }

    /// Verifies an artifact's file against its SHA-256, reading it piece by piece.
    ///
    /// # Errors
    /// As [`Artifacts::read_all`].
    pub fn check(&self, name: &str) -> Result<(), Fault> {
        let (mut hash, mut offset) = (Sha256::new(), 0);
        loop {
            let piece = self.read(name, offset, PIECE)?;
            if piece.is_empty() {
                return self.check_hash(name, &hash.finalize());
            }
            hash.update(&piece);
            offset += piece.len() as u64;
        }
    }

    fn check_hash(&self, name: &str, found: &[u8]) -> Result<(), Fault> {
        let expected = id(name).and_then(|id| self.known.get(&id).map(|it| it.sha256));
        match expected {
            Some(expected) if expected != found => {
                tracing::error!(name, "an artifact's file does not match its SHA-256");
                Err(Fault::lost_artifact(name, "has changed since it was stored (SHA-256 differs)"))
            }
            _ => Ok(()),
        }
    }

    /// Deletes a tenant's artifact.
    ///
    /// # Errors
    /// [`Reason::ArtifactPinned`] if a job refers to it, [`Reason::ArtifactNotFound`] if there is none.
    pub fn delete(&self, tenant: &str, name: &str) -> Result<(), Fault> {
        self.get(tenant, name)?;
        let id = id(name).ok_or_else(|| Fault::no_artifact(name))?;
        let blob = {
            let known = self.known.get_mut(&id).filter(|it| !it.going);
            let mut known = known.ok_or_else(|| Fault::no_artifact(name))?;
            if known.pins > 0 {
                let message = "a job refers to the artifact; delete the job first";
                return Err(Fault::new(Reason::ArtifactPinned, message));
            }
            known.going = true;
            Blob { id, bytes: known.bytes }
        };
        Ok(self.forget(&[blob])?)
    }

    /// Adds a job's reference to an artifact; returns false if there is no such artifact.
    pub fn pin(&self, name: &str) -> bool {
        let known = id(name).and_then(|id| self.known.get_mut(&id)).filter(|it| !it.going);
        known.map(|mut it| it.pins += 1).is_some()
    }

    /// Adds a job's reference to all of these.
    ///
    /// # Errors
    /// [`Reason::ArtifactNotFound`] if one is missing; then no reference is added.
    pub fn pin_all(&self, names: &[String]) -> Result<(), Fault> {
        for (index, name) in names.iter().enumerate() {
            if !self.pin(name) {
                self.unpin(&names[..index]);
                return Err(Fault::no_artifact(name));
            }
        }
        Ok(())
    }

    /// Drops a job's reference to each of these; without references they expire by their time to live.
    pub fn unpin(&self, names: &[String]) {
        for id in names.iter().filter_map(|it| id(it)) {
            if let Some(mut known) = self.known.get_mut(&id) {
                known.pins = known.pins.saturating_sub(1);
            }
        }
    }

    /// Drops the references of a job that is being deleted; returns the artifacts to be deleted with it.
    pub(super) fn part<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<Blob> {
        let now = self.clock.now();
        let part = |id: Uuid| {
            let mut known = self.known.get_mut(&id)?;
            known.pins = known.pins.saturating_sub(1);
            let goes = known.is_stale(now) && !known.going;
            known.going |= goes;
            goes.then_some(Blob { id, bytes: known.bytes })
        };
        names.filter_map(id).filter_map(part).collect()
    }

    /// Undoes [`Artifacts::part`].
    pub(super) fn pin_again<'a>(&self, names: impl Iterator<Item = &'a str>, going: &[Blob]) {
        self.stay(going);
        for name in names {
            self.pin(name);
        }
    }

    /// Removes artifacts from the index after the journal has deleted them.
    pub(super) fn gone(&self, going: &[Blob]) {
        for blob in going {
            self.known.remove(&blob.id);
        }
    }

    /// Deletes artifacts without references whose time to live has passed, and syncs earlier deletions.
    pub fn expire(&self) {
        let mut stale = Vec::new();
        let now = self.clock.now();
        for mut known in self.known.iter_mut().filter(|it| it.is_stale(now) && !it.going) {
            // Uploads have a time to live, files of jobs have none.
            if known.expire_time.is_none() && self.may_come_before_its_job(known.key(), now) {
                continue;
            }
            known.going = true;
            stale.push(Blob { id: *known.key(), bytes: known.bytes });
        }
        let expired = if stale.is_empty() { Ok(()) } else { self.forget(&stale) };
        if let Err(error) = expired.and_then(|()| self.ledger.tidy()) {
            tracing::error!(%error, "artifacts could not be deleted");
        }
    }

    /// Total bytes of a tenant's artifacts.
    pub fn bytes_of(&self, tenant: &str) -> u64 {
        self.known.iter().filter(|it| &*it.tenant == tenant).map(|it| it.bytes).sum()
    }

    fn know(&self, record: &ArtifactRecord) {
        if let Some((id, known)) = self.known(record) {
            self.known.insert(id, known);
        }
    }

    pub(super) fn known(&self, record: &ArtifactRecord) -> Option<(Uuid, Known)> {
        let artifact = record.artifact.as_ref()?;
        let known = Known {
            tenant: self.shared(&record.tenant),
            mime_type: self.shared(&artifact.mime_type),
            size: (artifact.width, artifact.height),
            bytes: artifact.size_bytes,
            sha256: artifact.sha256.as_ref().try_into().unwrap_or_default(),
            expire_time: artifact.expire_time,
            pins: 0,
            going: false,
        };
        Some((id(&artifact.name)?, known))
    }

    /// Interns a text.
    fn shared(&self, text: &str) -> Arc<str> {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = texts.get(text) {
            return Arc::clone(shared);
        }
        let shared: Arc<str> = text.into();
        texts.insert(Arc::clone(&shared));
        shared
    }

    /// Deletes artifacts that are marked as being deleted.
    fn forget(&self, going: &[Blob]) -> Result<(), LedgerError> {
        let forgotten = self.ledger.remove(&[], going);
        match forgotten {
            Ok(()) => self.gone(going),
            Err(_) => self.stay(going),
        }
        forgotten
    }

    fn stay(&self, going: &[Blob]) {
        for blob in going {
            if let Some(mut known) = self.known.get_mut(&blob.id) {
                known.going = false;
            }
        }
    }
}

pub(super) fn id(name: &str) -> Option<Uuid> {
    name.strip_prefix("artifacts/").and_then(|it| Uuid::try_parse(it).ok())
}

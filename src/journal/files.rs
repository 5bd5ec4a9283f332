//! Artifacts as files: each synced before it counts, under a quota, with strays removed at the start.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use uuid::Uuid;

use crate::journal::{Space, error::JournalError};

/// The folder of artifacts.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    space: Space,
    sizes: Mutex<Sizes>,
}

/// Who takes how much.
#[derive(Debug, Default)]
struct Sizes {
    of: HashMap<Uuid, u64>,
    total: u64,
}

impl Files {
    pub(super) fn open(data: &Path, space: Space) -> Result<Self, JournalError> {
        let folder = data.join("artifacts");
        fs::create_dir_all(&folder).map_err(|source| JournalError::io(&folder, source))?;
        Ok(Self { folder, space, sizes: Mutex::default() })
    }

    /// Removes every file but these, which are what the journal knows.
    pub(super) fn keep_only(
        &mut self,
        known: impl Iterator<Item = (Uuid, u64)>,
    ) -> Result<(), JournalError> {
        let sizes = self.sizes.get_mut().unwrap_or_else(PoisonError::into_inner);
        sizes.of = known.collect();
        sizes.total = sizes.of.values().sum();
        let io = |source| JournalError::io(&self.folder, source);
        for entry in fs::read_dir(&self.folder).map_err(io)? {
            let entry = entry.map_err(io)?;
            let id = entry.file_name().to_str().and_then(|it| Uuid::try_parse(it).ok());
            if id.is_none_or(|id| !sizes.of.contains_key(&id)) {
                fs::remove_file(entry.path()).map_err(io)?;
            }
        }
        Ok(())
    }

    /// Writes a file so that it is there whole, or not at all, whatever happens.
    pub(super) fn store(&self, id: Uuid, bytes: &[u8]) -> Result<(), JournalError> {
        self.reserve(id, bytes.len() as u64)?;
        let (path, partial) = (self.path(id), self.path(id).with_extension("partial"));
        let write = || {
            let mut file = File::create(&partial)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&partial, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|source| {
            // What is left of it is swept at the next start.
            let _ = fs::remove_file(&partial);
            self.release(id);
            JournalError::io(&path, source)
        })
    }

    pub(super) fn read(
        &self,
        id: Uuid,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<u8>, JournalError> {
        let path = self.path(id);
        let read = || {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::new();
            file.take(limit as u64).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|source| JournalError::io(&path, source))
    }

    /// Deletes a file; one that can't be deleted is swept at the next start.
    pub(super) fn remove(&self, id: Uuid) {
        self.release(id);
        let _ = fs::remove_file(self.path(id));
    }

    /// Refuses to write `bytes` more if the disk would have less free than it must keep.
    pub(super) fn check_free(&self, bytes: u64) -> Result<(), JournalError> {
        let stat = rustix::fs::statvfs(&self.folder)
            .map_err(|source| JournalError::io(&self.folder, source.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free.saturating_sub(bytes) < self.space.min_free {
            return Err(JournalError::DiskFull { path: self.folder.clone() });
        }
        Ok(())
    }

    fn reserve(&self, id: Uuid, bytes: u64) -> Result<(), JournalError> {
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        if sizes.total.saturating_add(bytes) > self.space.quota {
            return Err(JournalError::Quota { limit: self.space.quota });
        }
        sizes.total += bytes;
        sizes.of.insert(id, bytes);
        Ok(())
    }

    fn release(&self, id: Uuid) {
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = sizes.of.remove(&id).unwrap_or_default();
        sizes.total -= bytes;
    }

    fn path(&self, id: Uuid) -> PathBuf {
        self.folder.join(id.to_string())
    }
}

//! Files of artifacts: written atomically, synced before they count as stored, and limited by a quota.
//!
//! `artifacts/b3/0199b3c5-…`: sharded by the ninth and tenth hexadecimal digit of the id, part of its timestamp, so
//! that the files of one commit share a folder and folders stay small. A file without a record is never deleted: it is
//! moved to `set-aside/`, and back if a later journal has a record of it.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use crate::journal::{
    error::JournalError,
    layout::{ARTIFACTS, PARTIAL, path, shard, sync},
    ledger::Blob,
    space::Space,
    takeover::Takeover,
};

/// The files of a data folder.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    space: Space,
    taken: Mutex<Taken>,
    /// Removed files whose removal is not synced yet, so that a crash may undo it.
    removed: Mutex<Vec<Uuid>>,
}

/// Bytes used.
#[derive(Debug, Default)]
struct Taken {
    files: u64,
    records: u64,
}

impl Files {
    /// The files of a data folder, none of them changed.
    pub(super) fn new(data: &Path, space: Space) -> Self {
        let (taken, removed) = (Mutex::default(), Mutex::default());
        Self { folder: data.join(ARTIFACTS), space, taken, removed }
    }

    /// Reconciles the folder with the journal's records.
    pub(super) fn settle(
        &self,
        known: &HashMap<Uuid, u64>,
        going: HashSet<Uuid>,
    ) -> Result<Takeover, JournalError> {
        let io = |source| JournalError::io(&self.folder, source);
        fs::create_dir_all(&self.folder).map_err(io)?;
        let takeover = Takeover::of(&self.folder, known, &going).map_err(io)?;
        lock(&self.taken).files = known.values().sum();
        lock(&self.removed).extend(going);
        Ok(takeover)
    }

    /// Writes files atomically: after a crash each is complete or absent.
    pub(super) fn store(&self, files: &[(Uuid, &[u8])]) -> Result<(), JournalError> {
        let bytes = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        {
            let mut taken = lock(&self.taken);
            taken.check(bytes, self.space.quota)?;
            taken.files += bytes;
        }
        self.write(files).map_err(|source| {
            for (id, _) in files {
                // What can't be removed here is removed at the next start.
                let _ = fs::remove_file(self.path(*id).with_extension(PARTIAL));
                let _ = fs::remove_file(self.path(*id));
            }
            lock(&self.taken).files -= bytes;
            JournalError::io(&self.folder, source)
        })
    }

    fn write(&self, files: &[(Uuid, &[u8])]) -> io::Result<()> {
        // All are written before the first is synced, so that the disk can batch the writes.
        let mut written = Vec::new();
        for (id, bytes) in files {
            let mut file = self.create(&self.path(*id).with_extension(PARTIAL))?;
            file.write_all(bytes)?;
            written.push(file);
        }
        for file in written {
            file.sync_all()?;
        }
        for (id, _) in files {
            let path = self.path(*id);
            fs::rename(path.with_extension(PARTIAL), path)?;
        }
        let folders: BTreeSet<PathBuf> = files.iter().map(|(id, _)| self.shard(*id)).collect();
        folders.iter().try_for_each(|it| sync(it))
    }

    /// Creates a file, and its folder if that is absent or was just removed as empty.
    fn create(&self, path: &Path) -> io::Result<File> {
        loop {
            match File::create(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let shard = path.parent().unwrap_or(&self.folder);
                    fs::create_dir_all(shard)?;
                    sync(&self.folder)?;
                }
                created => return created,
            }
        }
    }

    /// Reads bytes of a file from an offset; [`JournalError::Lost`] if its length is not the stored one.
    pub(super) fn read(
        &self,
        blob: Blob,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<u8>, JournalError> {
        let path = self.path(blob.id);
        let read = || -> io::Result<Result<Vec<u8>, u64>> {
            let mut file = File::open(&path)?;
            let found = file.metadata()?.len();
            if found != blob.bytes {
                return Ok(Err(found));
            }
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::new();
            file.take(limit as u64).read_to_end(&mut bytes)?;
            Ok(Ok(bytes))
        };
        let lost = |why: String| JournalError::Lost { path: path.clone(), why };
        match read() {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(found)) => Err(lost(format!("has {found} bytes, {} were stored", blob.bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(lost("is missing".to_owned()))
            }
            Err(source) => Err(JournalError::io(&path, source)),
        }
    }

    /// Deletes files; a failed deletion is repeated at the next start.
    pub(super) fn remove(&self, blobs: &[Blob]) {
        let mut removed = Vec::new();
        lock(&self.taken).files -= blobs.iter().map(|it| it.bytes).sum::<u64>();
        for Blob { id, .. } in blobs {
            match fs::remove_file(self.path(*id)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%id, %error, "the file of a deleted artifact could not be removed");
                }
                _ => removed.push(*id),
            }
        }
        for shard in blobs.iter().map(|it| self.shard(it.id)).collect::<BTreeSet<_>>() {
            // Fails on a folder that is not empty, as intended.
            let _ = fs::remove_dir(shard);
        }
        lock(&self.removed).extend(removed);
    }

    /// Syncs removals; returns the files whose removal is now durable.
    pub(super) fn sync_removed(&self) -> Result<Vec<Uuid>, JournalError> {
        let removed = std::mem::take(&mut *lock(&self.removed));
        let mut folders: BTreeSet<PathBuf> = removed.iter().map(|it| self.shard(*it)).collect();
        if !folders.is_empty() {
            folders.insert(self.folder.clone());
        }
        for folder in folders {
            match sync(&folder) {
                // The folder was removed with its last file.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                synced => synced.map_err(|source| JournalError::io(&folder, source))?,
            }
        }
        Ok(removed)
    }

    /// Adds to the byte count of records; `more` may be negative.
    pub(super) fn count_records(&self, more: i64) {
        let mut taken = lock(&self.taken);
        taken.records = taken.records.saturating_add_signed(more);
    }

    /// Checks that `bytes` more keep within the quota and leave the configured minimum of free disk space.
    pub(super) fn check_room(&self, bytes: u64) -> Result<(), JournalError> {
        lock(&self.taken).check(bytes, self.space.quota)?;
        let stat = rustix::fs::statvfs(&self.folder)
            .map_err(|source| JournalError::io(&self.folder, source.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free.saturating_sub(bytes) < self.space.min_free {
            return Err(JournalError::DiskFull { path: self.folder.clone() });
        }
        Ok(())
    }

    fn shard(&self, id: Uuid) -> PathBuf {
        shard(&self.folder, id)
    }

    fn path(&self, id: Uuid) -> PathBuf {
        path(&self.folder, id)
    }
}

impl Taken {
    fn check(&self, bytes: u64, limit: u64) -> Result<(), JournalError> {
        if self.files.saturating_add(self.records).saturating_add(bytes) > limit {
            return Err(JournalError::Quota { limit });
        }
        Ok(())
    }
}

/// Locks a mutex whose data stays consistent even if a thread panicked while holding it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Copy-on-write storage backend: the database code may write, such as to repair itself, without changing the file.

use std::{
    collections::BTreeMap,
    fs::{File, TryLockError},
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::StorageBackend;

use crate::journal::error::JournalError;

/// Page size in bytes, the unit of copy-on-write.
const PAGE: u64 = 4096;

/// A file with changes held in memory. It holds a shared lock, which excludes a server but no other readers.
#[derive(Debug)]
pub(super) struct Overlay {
    file: File,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Current length, including changes.
    len: u64,
    /// Bytes of the file that truncation has not hidden.
    of_file: u64,
    written: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    /// Opens a file without changes.
    ///
    /// # Errors
    /// [`JournalError::Missing`], [`JournalError::InUse`] while a server runs, [`JournalError::Io`].
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
        let io = |source| JournalError::io(path, source);
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => JournalError::Missing { path: path.to_owned() },
            _ => io(error),
        })?;
        file.try_lock_shared().map_err(|error| match error {
            TryLockError::WouldBlock => JournalError::InUse { path: path.to_owned() },
            TryLockError::Error(error) => io(error),
        })?;
        let len = file.metadata().map_err(io)?.len();
        let state = State { len, of_file: len, written: BTreeMap::new() };
        Ok(Self { file, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page of the file, zero-filled beyond its end.
    fn page(&self, index: u64, of_file: u64) -> io::Result<Vec<u8>> {
        let mut page = vec![0; PAGE as usize];
        let start = index * PAGE;
        let there = of_file.saturating_sub(start).min(PAGE) as usize;
        self.file.read_exact_at(&mut page[..there], start)?;
        Ok(page)
    }
}

/// Splits a range into pages: page index, offset in the page, offset in the range, length.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let end = offset + len as u64;
    let pages = if len == 0 { 0..0 } else { offset / PAGE..(end - 1) / PAGE + 1 };
    pages.map(move |index| {
        let from = (index * PAGE).max(offset);
        let to = ((index + 1) * PAGE).min(end);
        ((index), (from - index * PAGE) as usize, (from - offset) as usize, (to - from) as usize)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.state().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let state = self.state();
        for (index, in_page, in_range, len) in parts(offset, out.len()) {
            let out = &mut out[in_range..in_range + len];
            match state.written.get(&index) {
                Some(page) => out.copy_from_slice(&page[in_page..in_page + len]),
                None => {
                    out.copy_from_slice(&self.page(index, state.of_file)?[in_page..in_page + len]);
                }
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut state = self.state();
        state.len = len;
        state.of_file = state.of_file.min(len);
        let kept = len.div_ceil(PAGE);
        state.written.retain(|index, _| *index < kept);
        if let Some(page) = state.written.get_mut(&(len / PAGE)) {
            page[(len % PAGE) as usize..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut state = self.state();
        for (index, in_page, in_range, len) in parts(offset, data.len()) {
            if !state.written.contains_key(&index) {
                let page = self.page(index, state.of_file)?;
                state.written.insert(index, page);
            }
            let page = state.written.entry(index).or_default();
            page[in_page..in_page + len].copy_from_slice(&data[in_range..in_range + len]);
        }
        Ok(())
    }
}

//! A simulated disk that loses what was not synced.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use redb::StorageBackend;

/// A disk whose writes are lost unless they were synced.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    /// How often it was synced.
    syncs: usize,
    /// How long a sync takes.
    slow: Duration,
    length: u64,
    synced: Vec<u8>,
    written: BTreeMap<u64, Vec<u8>>,
}

impl Disk {
    /// A disk that holds a file.
    pub(crate) fn holding(synced: Vec<u8>) -> Self {
        let length = synced.len() as u64;
        Self(Arc::new(Mutex::new(Contents { length, synced, ..Contents::default() })))
    }

    /// How often it was synced.
    pub(crate) fn syncs(&self) -> usize {
        self.0.lock().unwrap().syncs
    }

    /// Makes each sync take so long.
    pub(crate) fn slow_down(&self, sync: Duration) {
        self.0.lock().unwrap().slow = sync;
    }

    /// What a crash leaves.
    pub(crate) fn after_a_crash(&self) -> Self {
        Self::holding(self.0.lock().unwrap().synced.clone())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.lock().unwrap().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let state = self.0.lock().unwrap();
        let end = offset + out.len() as u64;
        let from = (offset as usize).min(state.synced.len());
        let to = (end as usize).min(state.synced.len());
        out.fill(0);
        out[..to - from].copy_from_slice(&state.synced[from..to]);
        for (at, bytes) in &state.written {
            let (start, stop) = ((*at).max(offset), (at + bytes.len() as u64).min(end));
            if start < stop {
                let source = &bytes[(start - at) as usize..(stop - at) as usize];
                out[(start - offset) as usize..(stop - offset) as usize].copy_from_slice(source);
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        self.0.lock().unwrap().length = length;
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let slow = self.0.lock().unwrap().slow;
        std::thread::sleep(slow);
        let mut state = self.0.lock().unwrap();
        state.syncs += 1;
        let length = state.length as usize;
        state.synced.resize(length, 0);
        for (at, bytes) in std::mem::take(&mut state.written) {
            let at = at as usize;
            let stop = (at + bytes.len()).min(length);
            if at < stop {
                state.synced[at..stop].copy_from_slice(&bytes[..stop - at]);
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut state = self.0.lock().unwrap();
        // What it covers of earlier writes is gone; redb writes whole pages.
        let end = offset + data.len() as u64;
        state.written.retain(|at, bytes| *at < offset || at + bytes.len() as u64 > end);
        state.written.insert(offset, data.to_vec());
        Ok(())
    }
}

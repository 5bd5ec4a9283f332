//! Progress of a batch: an append-only file of JSON lines, so that a killed run loses at most its last line.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// File name in the folder of the results.
const NAME: &str = "batch-state.jsonl";

/// Why the progress of a batch can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// Another process writes to the folder.
    #[error("another `retouch batch` writes to {0}")]
    Locked(PathBuf),
    /// The file can't be read or written.
    #[error("{path} can't be written: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Outcome of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Id of the item.
    pub id: String,
    /// Digest of its request, see [`crate::client::manifest::Item::digest`].
    pub digest: String,
    /// How it ended.
    pub outcome: Outcome,
}

/// Success or failure of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done; the result is this file in the folder.
    Done(String),
    /// Failed with this reason.
    Failed(String),
}

/// The file, locked by one process.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    file: File,
    /// Last entry of each item.
    last: HashMap<String, Entry>,
    /// Number of failures by item and digest.
    failures: HashMap<(String, String), u32>,
}

impl StateFile {
    /// Opens or creates the file of a folder.
    ///
    /// # Errors
    /// [`StateFileError`].
    pub fn open(folder: &Path) -> Result<Self, StateFileError> {
        let path = folder.join(NAME);
        let failed = |source| StateFileError::Io { path: path.clone(), source };
        let mut file =
            OpenOptions::new().create(true).read(true).append(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StateFileError::Locked(folder.to_owned()));
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        if !text.is_empty() && !text.ends_with('\n') {
            // Ends an incomplete last line of a killed run, so that new entries stay separate.
            file.write_all(b"\n").map_err(failed)?;
        }
        let (last, failures) = (HashMap::new(), HashMap::new());
        let mut state = Self { path, file, last, failures };
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .for_each(|it| state.know(it));
        Ok(state)
    }

    /// Last outcome of an item.
    pub fn last(&self, id: &str) -> Option<&Entry> {
        self.last.get(id)
    }

    /// Number of failures of an item with this digest.
    pub fn failures(&self, id: &str, digest: &str) -> u32 {
        self.failures.get(&(id.to_owned(), digest.to_owned())).copied().unwrap_or_default()
    }

    /// Appends an outcome.
    ///
    /// # Errors
    /// [`StateFileError::Io`].
    pub fn keep(&mut self, entry: Entry) -> Result<(), StateFileError> {
        let mut line = serde_json::to_string(&entry).expect("texts become JSON");
        line.push('\n');
        let failed = |source| StateFileError::Io { path: self.path.clone(), source };
        self.file.write_all(line.as_bytes()).map_err(failed)?;
        self.file.sync_data().map_err(failed)?;
        self.know(entry);
        Ok(())
    }

    fn know(&mut self, entry: Entry) {
        if matches!(entry.outcome, Outcome::Failed(_)) {
            *self.failures.entry((entry.id.clone(), entry.digest.clone())).or_default() += 1;
        }
        self.last.insert(entry.id.clone(), entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, outcome: Outcome) -> Entry {
        Entry { id: id.to_owned(), digest: "d".to_owned(), outcome }
    }

    #[test]
    fn a_second_call_knows_what_the_first_did_but_for_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = StateFile::open(folder.path()).unwrap();
        state.keep(entry("a", Outcome::Failed("no".to_owned()))).unwrap();
        state.keep(entry("a", Outcome::Done("a.png".to_owned()))).unwrap();
        drop(state);
        let path = folder.path().join(NAME);
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"{\"id\":\"b\",\"dig").unwrap();
        drop(file);

        let mut state = StateFile::open(folder.path()).unwrap();
        assert_eq!(state.last("a").unwrap().outcome, Outcome::Done("a.png".to_owned()));
        assert_eq!(state.failures("a", "d"), 1);
        assert_eq!(state.failures("a", "other"), 0);
        assert!(state.last("b").is_none());
        state.keep(entry("b", Outcome::Done("b.png".to_owned()))).unwrap();
        drop(state);
        assert!(StateFile::open(folder.path()).unwrap().last("b").is_some());
    }

    #[test]
    fn one_call_at_a_time_writes_to_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let _held = StateFile::open(folder.path()).unwrap();
        let error = StateFile::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("another `retouch batch`"), "{error}");
    }
}

//! The layout of its data folder becomes today's, whole or not at all, and the log says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use redb::{Database, ReadableDatabase, StorageBackend, TableDefinition};
use retouch::{
    jobs::store::Store,
    journal::{Journal, error::JournalError},
};

use super::data;
use crate::service::{
    disk::Disk,
    harness::{LIMITS, SPACE, copied, files},
};

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// A disk that takes so many writes and syncs, and no more.
#[derive(Debug)]
struct Failing {
    disk: Disk,
    left: AtomicUsize,
}

impl Failing {
    fn take(&self) -> io::Result<()> {
        let took =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| it.checked_sub(1));
        took.map(drop).map_err(|_| io::Error::other("the disk is gone"))
    }
}

impl StorageBackend for Failing {
    fn len(&self) -> Result<u64, io::Error> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        self.take()?;
        self.disk.set_len(length)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.take()?;
        self.disk.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.take()?;
        self.disk.write(offset, data)
    }
}

/// The version of the layout on a disk.
fn layout(disk: &Disk) -> u64 {
    let store = Database::builder().create_with_backend(disk.clone()).unwrap();
    store.begin_read().unwrap().open_table(META).unwrap().get("version").unwrap().unwrap().value()
}

/// Names of the artifacts' files, and whether they lie in one folder.
fn names(folder: &Path) -> (BTreeSet<String>, bool) {
    let artifacts = folder.join("artifacts");
    let files = files(&artifacts);
    let flat = files.iter().all(|it| it.parent() == Some(&artifacts));
    (files.iter().map(|it| it.file_name().unwrap().to_str().unwrap().to_owned()).collect(), flat)
}

/// Every job with its record and its events, and every artifact with its bytes.
type Contents = (BTreeMap<uuid::Uuid, (Vec<u8>, usize)>, BTreeMap<String, Vec<u8>>);

fn contents(journal: Journal) -> Contents {
    use prost::Message;

    let records = journal.jobs().unwrap();
    let store = Store::open(journal, LIMITS).unwrap();
    let (mut jobs, mut artifacts) = (BTreeMap::new(), BTreeMap::new());
    for record in records {
        let id = retouch::journal::job_id(&record);
        for name in &record.artifacts {
            artifacts.insert(name.clone(), store.artifacts.read_all(name).unwrap().to_vec());
        }
        jobs.insert(id, (record.encode_to_vec(), store.events(id, 0).unwrap().len()));
    }
    (jobs, artifacts)
}

#[test]
fn a_layout_is_migrated_whole_or_not_at_all_whatever_the_storage_does() {
    let folder = data();
    let stored = fs::read(folder.path().join("journal.redb")).unwrap();
    let (known, was_flat) = names(folder.path());
    assert!(was_flat && known.len() > 50, "{}", known.len());
    assert_eq!(layout(&Disk::holding(stored.clone())), 1);
    let whole = copied(folder.path());
    let disk = Disk::holding(stored.clone());
    let expected = contents(Journal::open_backend(disk.clone(), whole.path(), SPACE).unwrap());
    assert_eq!(layout(&disk), 2);

    let mut seen = BTreeMap::<u64, usize>::new();
    for left in 0.. {
        let folder = copied(folder.path());
        let disk = Disk::holding(stored.clone());
        let failing = Failing { disk: disk.clone(), left: AtomicUsize::new(left) };
        let opened = Journal::open_backend(failing, folder.path(), SPACE);
        let is_open = opened.is_ok();
        // Killed, or refused: what was synced is there, and nothing else.
        drop(opened);
        let crashed = disk.after_a_crash();
        let found = layout(&crashed.after_a_crash());
        *seen.entry(found).or_default() += 1;
        // The earlier version could go on with what is not migrated.
        assert!(found == 2 || names(folder.path()).1, "{left}");
        assert!(found == 2 || !is_open, "{left}");
        let after = Journal::open_backend(crashed.clone(), folder.path(), SPACE).unwrap();
        assert_eq!(contents(after), expected, "{left}");
        assert_eq!(names(folder.path()).0, known, "{left}");
        if is_open {
            break;
        }
    }
    assert!(seen[&1] > 10 && seen[&2] > 0, "{seen:?}");
}

#[test]
fn files_that_cannot_be_moved_leave_all_of_them_where_the_next_start_finds_them() {
    let folder = data();
    let (known, _) = names(folder.path());
    // Where the last file belongs lies something else.
    let last = known.last().unwrap();
    let block = folder.path().join("artifacts").join(&last[9..11]);
    fs::write(&block, b"in the way").unwrap();
    let error = Journal::open(folder.path(), SPACE).unwrap_err();
    assert!(matches!(error, JournalError::Io { .. }), "{error}");
    fs::remove_file(&block).unwrap();
    assert_eq!(names(folder.path()).0, known);
    let journal = Journal::open(folder.path(), SPACE).unwrap();
    assert!(contents(journal).1.len() > 50);
    assert_eq!(names(folder.path()), (known, false));
}

/// Lines of a log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_log_says_that_a_layout_was_migrated_once() {
    let folder = data();
    let log = Log::default();
    let said = || {
        let lines = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || lines.clone());
        let subscriber = subscriber.with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, || {
            drop(Journal::open(folder.path(), SPACE).unwrap());
        });
        String::from_utf8(std::mem::take(&mut *log.0.lock().unwrap())).unwrap()
    };
    let first = said();
    assert!(first.contains("journal.redb was migrated from layout 1 to layout 2"), "{first}");
    assert!(first.contains("were moved to subfolders"), "{first}");
    assert_eq!(said(), "");
}

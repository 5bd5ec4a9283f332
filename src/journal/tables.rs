//! Tables of the embedded database, migration from earlier layouts, and its cache size.

use std::{
    panic::{self, AssertUnwindSafe},
    path::Path,
};

use redb::{
    Builder, Database, DatabaseError, Key, ReadableDatabase, ReadableTable, StorageBackend, Table,
    TableDefinition, TableError, WriteTransaction,
};

use crate::journal::error::JournalError;

/// Version of the folder's layout. Version 1 had all artifacts in one flat folder and no byte count.
pub(super) const VERSION: u64 = 2;
/// Cache size in bytes; redb's default is 1 GiB.
const CACHE: usize = 8 << 20;

/// Metadata: layout version and byte count.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Job records by job id.
pub(super) const JOBS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("jobs");
/// Control events by job id and sequence number.
pub(super) const EVENTS: TableDefinition<'_, (u128, u64), &[u8]> = TableDefinition::new("events");
/// Job ids by tenant and request id.
pub(super) const REQUESTS: TableDefinition<'_, (&str, &str), u128> =
    TableDefinition::new("requests");
/// Artifact records by artifact id.
pub(super) const ARTIFACTS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("artifacts");
/// Artifacts being deleted, whose files may still exist.
pub(super) const GOING: TableDefinition<'_, u128, ()> = TableDefinition::new("going");

/// Key of the layout version in [`META`].
const LAYOUT: &str = "version";
/// Key of the byte count of records and events in [`META`].
const BYTES: &str = "bytes";

/// Opens or creates a database file; what redb can't read counts as damage.
///
/// # Errors
/// [`JournalError`].
pub(super) fn create(path: &Path) -> Result<Database, JournalError> {
    opened(path, || builder().create(path))
}

/// The same over another storage backend.
pub(super) fn create_over(
    backend: impl StorageBackend,
    path: &Path,
) -> Result<Database, JournalError> {
    opened(path, || builder().create_with_backend(backend))
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    builder
}

fn opened(
    path: &Path,
    open: impl FnOnce() -> Result<Database, DatabaseError>,
) -> Result<Database, JournalError> {
    guarded(path, || {
        open().map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => JournalError::InUse { path: path.to_owned() },
            other => JournalError::store(path, other.into()),
        })
    })
}

/// Runs a function that reads a database which may be damaged, and turns panics into errors: redb panics on some
/// invalid pages.
pub(super) fn guarded<T>(
    path: &Path,
    read: impl FnOnce() -> Result<T, JournalError>,
) -> Result<T, JournalError> {
    panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        let what = "a page of it makes no sense".to_owned();
        Err(JournalError::store(path, redb::Error::Corrupted(what)))
    })
}

/// Creates the tables of a new database, or migrates an earlier layout, in one commit; returns that layout.
///
/// # Errors
/// [`JournalError::Version`] for a later layout; [`JournalError::Corrupt`], [`JournalError::Store`].
pub(super) fn prepare(db: &Database, path: &Path) -> Result<Option<u64>, JournalError> {
    let upgraded = || -> Result<Option<u64>, redb::Error> {
        let found = layout(db)?;
        if matches!(found, None | Some(1)) {
            let write = db.begin_write()?;
            make(&write)?;
            write.commit()?;
        }
        Ok(found)
    };
    match upgraded() {
        Ok(found @ (None | Some(1))) => Ok(found),
        Ok(Some(VERSION)) => Ok(None),
        Ok(Some(found)) => {
            Err(JournalError::Version { path: path.to_owned(), found, known: VERSION })
        }
        Err(source) => Err(JournalError::store(path, source)),
    }
}

/// Layout version of a database; `None` if it is new.
fn layout(db: &Database) -> Result<Option<u64>, redb::Error> {
    match db.begin_read()?.open_table(META) {
        Ok(meta) => Ok(meta.get(LAYOUT)?.map(|it| it.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn make(write: &WriteTransaction) -> Result<(), redb::Error> {
    let mut bytes = 0;
    for item in write.open_table(JOBS)?.iter()? {
        bytes += item?.1.value().len() as u64;
    }
    for item in write.open_table(EVENTS)?.iter()? {
        bytes += item?.1.value().len() as u64;
    }
    write.open_table(REQUESTS)?;
    write.open_table(ARTIFACTS)?;
    write.open_table(GOING)?;
    let mut meta = write.open_table(META)?;
    meta.insert(BYTES, bytes)?;
    meta.insert(LAYOUT, VERSION)?;
    Ok(())
}

/// Total bytes of records and events.
pub(super) fn bytes(db: &Database) -> Result<u64, redb::Error> {
    let meta = db.begin_read()?.open_table(META)?;
    Ok(meta.get(BYTES)?.map_or(0, |it| it.value()))
}

/// Adds to the byte count of records and events; `more` may be negative.
pub(super) fn count(write: &WriteTransaction, more: i64) -> Result<(), redb::Error> {
    let mut meta = write.open_table(META)?;
    let before = meta.get(BYTES)?.map_or(0, |it| it.value());
    meta.insert(BYTES, before.saturating_add_signed(more))?;
    Ok(())
}

/// Inserts a value; returns by how many bytes the table grows, which may be negative.
pub(super) fn put<K: Key + 'static>(
    table: &mut Table<'_, K, &'static [u8]>,
    key: K::SelfType<'_>,
    value: &[u8],
) -> Result<i64, redb::Error> {
    let before = table.insert(key, value)?.map_or(0, |it| it.value().len());
    Ok(value.len() as i64 - before as i64)
}

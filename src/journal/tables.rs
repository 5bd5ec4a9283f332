//! The tables of the store, how a store of an earlier layout becomes one of this, and how much memory the store takes.

use std::{
    panic::{self, AssertUnwindSafe},
    path::Path,
};

use redb::{
    Builder, Database, DatabaseError, Key, ReadableDatabase, ReadableTable, StorageBackend, Table,
    TableDefinition, TableError, WriteTransaction,
};

use crate::journal::error::JournalError;

/// Of the layout of the folder. 1: artifacts lie in one flat folder, and nothing is counted.
pub(super) const VERSION: u64 = 2;
/// Bytes of pages that are kept in memory. The store's own default is 1 GiB.
const CACHE: usize = 16 << 20;

/// Numbers of the store itself.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Job to its record.
pub(super) const JOBS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("jobs");
/// Job and number to a control event.
pub(super) const EVENTS: TableDefinition<'_, (u128, u64), &[u8]> = TableDefinition::new("events");
/// Tenant and request id to the job.
pub(super) const REQUESTS: TableDefinition<'_, (&str, &str), u128> =
    TableDefinition::new("requests");
/// Artifact to its record.
pub(super) const ARTIFACTS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("artifacts");
/// Artifacts that are deleted, whose files may still be there.
pub(super) const GOING: TableDefinition<'_, u128, ()> = TableDefinition::new("going");

/// Where [`META`] has the layout.
const LAYOUT: &str = "version";
/// Where [`META`] has the bytes of records and events.
const BYTES: &str = "bytes";

/// Opens or makes the store of a file; what its code can't make sense of is damage.
///
/// # Errors
/// [`JournalError`].
pub(super) fn create(path: &Path) -> Result<Database, JournalError> {
    opened(path, || builder().create(path))
}

/// The same over another kind of storage.
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

/// Runs what reads a store that may be damaged: redb panics over some pages that it did not write.
pub(super) fn guarded<T>(
    path: &Path,
    read: impl FnOnce() -> Result<T, JournalError>,
) -> Result<T, JournalError> {
    panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        let what = "a page of it makes no sense".to_owned();
        Err(JournalError::store(path, redb::Error::Corrupted(what)))
    })
}

/// Makes the tables of a new store, or brings one of an earlier layout to this one.
///
/// # Errors
/// [`JournalError::Version`] for a later layout; [`JournalError::Corrupt`], [`JournalError::Store`].
pub(super) fn prepare(db: &Database, path: &Path) -> Result<(), JournalError> {
    let upgraded = || -> Result<u64, redb::Error> {
        let found = layout(db)?;
        if matches!(found, None | Some(1)) {
            let write = db.begin_write()?;
            make(&write)?;
            write.commit()?;
            return Ok(VERSION);
        }
        Ok(found.unwrap_or(VERSION))
    };
    match upgraded() {
        Ok(VERSION) => Ok(()),
        Ok(found) => Err(JournalError::Version { path: path.to_owned(), found, known: VERSION }),
        Err(source) => Err(JournalError::store(path, source)),
    }
}

/// The layout of a store; none of a new one.
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

/// Bytes of all records and events.
pub(super) fn bytes(db: &Database) -> Result<u64, redb::Error> {
    let meta = db.begin_read()?.open_table(META)?;
    Ok(meta.get(BYTES)?.map_or(0, |it| it.value()))
}

/// Counts more bytes of records and events, or fewer.
pub(super) fn count(write: &WriteTransaction, more: i64) -> Result<(), redb::Error> {
    let mut meta = write.open_table(META)?;
    let before = meta.get(BYTES)?.map_or(0, |it| it.value());
    meta.insert(BYTES, before.saturating_add_signed(more))?;
    Ok(())
}

/// Puts a value in; returns how many bytes that adds.
pub(super) fn put<K: Key + 'static>(
    table: &mut Table<'_, K, &'static [u8]>,
    key: K::SelfType<'_>,
    value: &[u8],
) -> Result<i64, redb::Error> {
    let before = table.insert(key, value)?.map_or(0, |it| it.value().len());
    Ok(value.len() as i64 - before as i64)
}

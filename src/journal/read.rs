//! Reading from the journal: jobs, their events, artifact records.

use std::collections::HashSet;

use prost::Message;
use redb::{ReadableDatabase, ReadableTable, StorageError, TableDefinition};
use uuid::Uuid;

use crate::journal::{
    Journal,
    error::JournalError,
    tables::{GOING, JOBS, guarded},
};
use crate::wire::journal::v1::JobRecord;

impl Journal {
    /// Every job, oldest first.
    ///
    /// # Errors
    /// [`JournalError::Store`], [`JournalError::Record`].
    pub fn jobs(&self) -> Result<Vec<JobRecord>, JournalError> {
        let mut jobs = Vec::new();
        self.each(JOBS, "job", |it| jobs.push(it))?;
        Ok(jobs)
    }

    /// One record of a table.
    pub(super) fn one<M: Message + Default>(
        &self,
        table: TableDefinition<'_, u128, &'static [u8]>,
        what: &'static str,
        id: Uuid,
    ) -> Result<Option<M>, JournalError> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            let table = self.db.begin_read()?.open_table(table)?;
            Ok(table.get(id.as_u128())?.map(|it| it.value().to_vec()))
        };
        let record = read().map_err(|source| self.store_error(source))?;
        record.map(|bytes| self.decode(&bytes, what)).transpose()
    }

    pub(super) fn each<M: Message + Default>(
        &self,
        table: TableDefinition<'_, u128, &'static [u8]>,
        what: &'static str,
        mut visit: impl FnMut(M),
    ) -> Result<(), JournalError> {
        guarded(&self.path, || {
            self.each_bytes(table, |_, bytes| {
                visit(self.decode(bytes, what)?);
                Ok(())
            })
        })
    }

    pub(super) fn each_bytes(
        &self,
        table: TableDefinition<'_, u128, &'static [u8]>,
        mut visit: impl FnMut(Uuid, &[u8]) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let begin = || -> Result<_, redb::Error> { Ok(self.db.begin_read()?.open_table(table)?) };
        let table = begin().map_err(|source| self.store_error(source))?;
        for item in table.iter().map_err(|source| self.store_error(source.into()))? {
            let (key, value) = item.map_err(|source| self.store_error(source.into()))?;
            visit(Uuid::from_u128(key.value()), value.value())?;
        }
        Ok(())
    }

    /// Artifacts being deleted, whose files may still exist.
    pub(super) fn going(&self) -> Result<HashSet<Uuid>, JournalError> {
        let read = || -> Result<HashSet<Uuid>, redb::Error> {
            let table = self.db.begin_read()?.open_table(GOING)?;
            let ids = table.iter()?.map(|it| it.map(|(key, _)| Uuid::from_u128(key.value())));
            Ok(ids.collect::<Result<_, StorageError>>()?)
        };
        read().map_err(|source| self.store_error(source))
    }

    pub(super) fn decode<M: Message + Default>(
        &self,
        bytes: &[u8],
        what: &'static str,
    ) -> Result<M, JournalError> {
        M::decode(bytes).map_err(|source| JournalError::Record {
            path: self.path.clone(),
            what,
            source,
        })
    }
}

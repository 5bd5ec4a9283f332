//! The journal as the ledger of one process: a commit is one transaction of the database.

use std::{collections::HashSet, iter, time::Duration};

use prost::Message;
use redb::{ReadableDatabase, ReadableTable, StorageError};
use uuid::Uuid;

use crate::journal::{
    Journal,
    error::JournalError,
    files::lock,
    id_of, job_id,
    ledger::{Blob, Commit, Ledger, LedgerError, News, Revision},
    tables::{self, ARTIFACTS, EVENTS, GOING, JOBS, REQUESTS, put},
};
use crate::wire::{
    journal::v1::{ArtifactRecord, JobRecord},
    v1::EditEvent,
};

impl Ledger for Journal {
    fn commit(&self, commit: Commit<'_>, expected: Revision) -> Result<Revision, LedgerError> {
        self.write(|write| {
            let mut more = 0;
            if let Some(record) = commit.job {
                let id = job_id(record).as_u128();
                let mut jobs = write.open_table(JOBS)?;
                if stored(&jobs, id)? != expected {
                    return Ok(None);
                }
                more += put(&mut jobs, id, &record.encode_to_vec())?;
                let mut events = write.open_table(EVENTS)?;
                for event in commit.events {
                    more += put(&mut events, (id, event.sequence), &event.encode_to_vec())?;
                }
                if !request_id(record).is_empty() {
                    let key = (record.tenant.as_str(), request_id(record));
                    let mut requests = write.open_table(REQUESTS)?;
                    if requests.insert(key, id)?.is_some_and(|it| it.value() != id) {
                        return Ok(None);
                    }
                }
            }
            let mut artifacts = write.open_table(ARTIFACTS)?;
            for record in commit.artifacts {
                let name = record.artifact.as_ref().map_or("", |it| it.name.as_str());
                let id = id_of(name).unwrap_or_default().as_u128();
                artifacts.insert(id, record.encode_to_vec().as_slice())?;
            }
            Ok(Some(more))
        })?;
        Ok(commit.job.map_or(Revision::NONE, revision))
    }

    fn remove(
        &self,
        jobs: &[(Revision, &JobRecord)],
        artifacts: &[Blob],
    ) -> Result<(), LedgerError> {
        self.write(|write| {
            let mut less = 0;
            let mut records = write.open_table(JOBS)?;
            let mut events = write.open_table(EVENTS)?;
            let mut requests = write.open_table(REQUESTS)?;
            for (expected, record) in jobs {
                let id = job_id(record).as_u128();
                if stored(&records, id)? != *expected {
                    return Ok(None);
                }
                less += records.remove(id)?.map_or(0, |it| it.value().len());
                events.retain_in((id, 0)..=(id, u64::MAX), |_, event| {
                    less += event.len();
                    false
                })?;
                if !request_id(record).is_empty() {
                    requests.remove((record.tenant.as_str(), request_id(record)))?;
                }
            }
            let mut known = write.open_table(ARTIFACTS)?;
            let mut going = write.open_table(GOING)?;
            for Blob { id, .. } in artifacts {
                known.remove(id.as_u128())?;
                going.insert(id.as_u128(), ())?;
            }
            Ok(Some(-(less as i64)))
        })?;
        self.files.remove(artifacts);
        Ok(())
    }

    fn each_job(&self, visit: &mut dyn FnMut(Revision, JobRecord)) -> Result<(), LedgerError> {
        let visit = |record: JobRecord| visit(revision(&record), record);
        Ok(self.each(JOBS, "job", visit)?)
    }

    fn each_artifact(&self, visit: &mut dyn FnMut(ArtifactRecord)) -> Result<(), LedgerError> {
        Ok(self.each(ARTIFACTS, "artifact", visit)?)
    }

    fn job(&self, id: Uuid) -> Result<Option<(Revision, JobRecord)>, LedgerError> {
        let record: Option<JobRecord> = self.one(JOBS, "job", id)?;
        Ok(record.map(|it| (revision(&it), it)))
    }

    fn artifact(&self, id: Uuid) -> Result<Option<ArtifactRecord>, LedgerError> {
        Ok(self.one(ARTIFACTS, "artifact", id)?)
    }

    fn request(&self, tenant: &str, request_id: &str) -> Result<Option<Uuid>, LedgerError> {
        let read = || -> Result<Option<Uuid>, redb::Error> {
            let table = self.db.begin_read()?.open_table(REQUESTS)?;
            Ok(table.get((tenant, request_id))?.map(|it| Uuid::from_u128(it.value())))
        };
        Ok(read().map_err(|source| self.store_error(source))?)
    }

    fn events(&self, job: Uuid, after: u64, limit: usize) -> Result<Vec<EditEvent>, LedgerError> {
        let id = job.as_u128();
        let read = || -> Result<Vec<Vec<u8>>, redb::Error> {
            let table = self.db.begin_read()?.open_table(EVENTS)?;
            let range = table.range((id, after.saturating_add(1))..=(id, u64::MAX))?;
            let values = range.take(limit).map(|it| it.map(|(_, value)| value.value().to_vec()));
            Ok(values.collect::<Result<_, StorageError>>()?)
        };
        let records = read().map_err(|source| self.store_error(source))?;
        let events = records.iter().map(|bytes| self.decode(bytes, "event"));
        Ok(events.collect::<Result<_, JournalError>>()?)
    }

    /// No other process commits: this one has the folder to itself.
    fn tail(&self) -> Box<dyn Iterator<Item = News> + Send> {
        Box::new(iter::empty())
    }

    fn check_room(&self, bytes: u64) -> Result<(), LedgerError> {
        Ok(self.files.check_room(bytes)?)
    }

    fn put_blobs(&self, blobs: &[(Uuid, &[u8])]) -> Result<(), LedgerError> {
        Ok(self.files.store(blobs)?)
    }

    fn read_blob(&self, blob: Blob, offset: u64, limit: usize) -> Result<Vec<u8>, LedgerError> {
        Ok(self.files.read(blob, offset, limit)?)
    }

    fn drop_blobs(&self, blobs: &[Blob]) {
        self.files.remove(blobs);
    }

    fn tidy(&self) -> Result<(), LedgerError> {
        Ok(self.forget_removed()?)
    }

    /// Workers are threads of the process that has the folder, so that their leases live as long as it does.
    fn lease(&self, worker: &str, _: Duration) -> Result<(), LedgerError> {
        lock(&self.leases).insert(worker.to_owned());
        Ok(())
    }

    fn leases(&self) -> Result<HashSet<String>, LedgerError> {
        Ok(lock(&self.leases).clone())
    }
}

impl Journal {
    /// Syncs the deletions of files since the last call; a failed one is repeated at the next start.
    pub(super) fn forget_removed(&self) -> Result<(), JournalError> {
        let removed = self.files.sync_removed()?;
        if removed.is_empty() {
            return Ok(());
        }
        let forget = |write: &redb::WriteTransaction| {
            let mut going = write.open_table(GOING)?;
            for id in removed {
                going.remove(id.as_u128())?;
            }
            Ok(Some(0))
        };
        self.transact(forget).map(drop)
    }

    /// Runs the transaction of a commit.
    fn write(
        &self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<Option<i64>, redb::Error>,
    ) -> Result<(), LedgerError> {
        // Even a full disk is a failure of the store: the database then accepts no write until it is opened again.
        self.transact(change).map_err(LedgerError::Store)?.ok_or(LedgerError::Conflict)
    }

    /// Runs one transaction; `change` returns by how many bytes records and events grow, or `None` to change nothing.
    fn transact(
        &self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<Option<i64>, redb::Error>,
    ) -> Result<Option<()>, JournalError> {
        let write = || -> Result<Option<i64>, redb::Error> {
            let write = self.db.begin_write()?;
            let Some(more) = change(&write)? else {
                write.abort()?;
                return Ok(None);
            };
            tables::count(&write, more)?;
            write.commit()?;
            Ok(Some(more))
        };
        let more = write().map_err(|source| self.store_error(source))?;
        Ok(more.map(|more| self.files.count_records(more)))
    }
}

/// The revision of a record: its etag is a count of its commits.
fn revision(record: &JobRecord) -> Revision {
    let etag = record.job.as_ref().map_or("", |it| it.etag.as_str());
    Revision(u64::from_str_radix(etag, 16).unwrap_or_default())
}

/// The revision of a stored job.
fn stored(
    jobs: &impl ReadableTable<u128, &'static [u8]>,
    id: u128,
) -> Result<Revision, StorageError> {
    let record = jobs.get(id)?.and_then(|it| JobRecord::decode(it.value()).ok());
    Ok(record.map_or(Revision::NONE, |it| revision(&it)))
}

fn request_id(record: &JobRecord) -> &str {
    record.job.as_ref().map_or("", |it| it.request_id.as_str())
}

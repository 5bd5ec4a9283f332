//! Jobs that other processes change: taken in from the ledger, when its feed tells of them or a commit of this process
//! conflicts with theirs.

use std::{
    sync::{Arc, Weak},
    thread,
};

use uuid::Uuid;

use crate::jobs::{
    fault::Fault,
    job::Job,
    store::{Store, request_id},
};
use crate::journal::{
    self,
    ledger::{Applied, LedgerError, Revision},
};
use crate::wire::journal::v1::JobRecord;

/// Takes in the commits of other processes, on a thread of its own, until the store is dropped.
pub(super) fn follow(tail: Box<dyn Iterator<Item = Applied> + Send>, store: Weak<Store>) {
    thread::spawn(move || {
        for applied in tail {
            let Some(store) = store.upgrade() else { return };
            if let Err(error) = store.apply(applied) {
                tracing::error!(%error, "a change of another process could not be taken in");
            }
        }
    });
}

impl Store {
    fn apply(&self, applied: Applied) -> Result<(), LedgerError> {
        let Applied { record, revision } = applied;
        let job = self.by_id(journal::job_id(&record));
        if revision == Revision::NONE {
            if let Some(job) = job {
                let going = self.artifacts.part(record.artifacts.iter().map(String::as_str));
                self.artifacts.gone(&going);
                self.drop_job(&job, &record);
            }
            return Ok(());
        }
        let Some(job) = job else {
            self.take_up(record, revision)?.inspect(|job| self.enqueue(job));
            return Ok(());
        };
        let _changing = job.changing();
        self.take_in(&job, record, revision)
    }

    /// Brings a job up to date with the ledger.
    ///
    /// # Errors
    /// [`Reason::JobNotFound`](crate::jobs::fault::Reason::JobNotFound) if it was deleted; those of the ledger.
    pub(super) fn catch_up(&self, job: &Job) -> Result<(), Fault> {
        let _changing = job.changing();
        let found = self.ledger.job(job.id)?;
        let (revision, record) = found.ok_or_else(|| Fault::no_job(&job.name()))?;
        Ok(self.take_in(job, record, revision)?)
    }

    /// The job of an id, which another process may have made.
    pub(super) fn find(&self, id: Uuid) -> Result<Option<Arc<Job>>, LedgerError> {
        if let Some(job) = self.by_id(id) {
            return Ok(Some(job));
        }
        if let Some((revision, record)) = self.ledger.job(id)? {
            self.take_up(record, revision)?.inspect(|job| self.enqueue(job));
        }
        Ok(self.by_id(id))
    }

    /// Takes in a committed record of a job whose lock the caller holds.
    fn take_in(&self, job: &Job, record: JobRecord, revision: Revision) -> Result<(), LedgerError> {
        let (known, live) = job.snapshot();
        if revision <= known {
            return Ok(());
        }
        // A record only ever names more artifacts.
        let named = live.map_or(record.artifacts.len(), |it| it.artifacts.len());
        for name in record.artifacts.iter().skip(named) {
            self.artifacts.refer(name)?;
        }
        self.publish(job, record, revision);
        self.enqueue(job);
        Ok(())
    }

    /// Adds a job of the ledger; returns it if it has not ended.
    pub(super) fn take_up(
        &self,
        record: JobRecord,
        revision: Revision,
    ) -> Result<Option<Arc<Job>>, LedgerError> {
        for name in &record.artifacts {
            self.artifacts.refer(name)?;
        }
        let request_id = request_id(&record).to_owned();
        let job = Arc::new(Job::new(record, revision, self.clock.clone()));
        self.requests.add(&job.tenant, &request_id, job.id);
        self.jobs.insert(job.id, Arc::clone(&job));
        Ok((!job.is_over()).then_some(job))
    }
}

//! The store's copy of the ledger's jobs: loaded when it opens, and kept up to date where other processes change jobs,
//! when the ledger's feed tells of it or a commit of this process conflicts with theirs.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64},
    },
    thread,
};

use dashmap::{DashMap, DashSet};
use tokio::sync::watch;
use uuid::Uuid;

use crate::jobs::{
    artifacts::Artifacts,
    clock::Clock,
    decoded::DecodedInputs,
    fault::Fault,
    job::Job,
    queue::Queue,
    requests::Requests,
    store::{Limits, Phase, Store, request_id},
};
use crate::journal::{
    self,
    ledger::{Applied, Ledger, LedgerError, Revision},
};
use crate::wire::journal::v1::JobRecord;

impl Store {
    /// Opens a store over a ledger: jobs whose workers are gone return to their checkpoint and are queued again.
    ///
    /// # Errors
    /// Those of the ledger.
    pub fn open(ledger: impl Ledger + 'static, limits: Limits) -> Result<Arc<Self>, LedgerError> {
        let clock = Clock::default();
        let ledger: Arc<dyn Ledger> = Arc::new(ledger);
        let tail = ledger.tail();
        let store = Arc::new(Self {
            limits,
            queue: Queue::new(limits.queue),
            artifacts: Artifacts::open(Arc::clone(&ledger), clock.clone())?,
            inputs: DecodedInputs::default(),
            clock,
            jobs: DashMap::new(),
            requests: Requests::default(),
            reviews: DashMap::new(),
            model: OnceLock::new(),
            loaded: OnceLock::new(),
            devices: Mutex::default(),
            ready: watch::Sender::new(Err("the model is loading".to_owned())),
            phase: watch::Sender::new(Phase::Open),
            pace: AtomicU64::new(0),
            running: DashSet::new(),
            telling: Mutex::default(),
            halt: AtomicBool::new(false),
            ledger,
        });
        let mut live = Vec::new();
        let mut taken = Ok(());
        store.ledger.each_job(&mut |revision, record| {
            if taken.is_ok() {
                taken = store.take_up(record, revision).map(|job| live.extend(job));
            }
        })?;
        taken?;
        let alive = store.ledger.leases()?;
        for job in live {
            store.recover(&job, &alive);
        }
        follow(tail, Arc::downgrade(&store));
        store.show_queue();
        Ok(store)
    }

    /// Resumes a job from its checkpoint, unless its worker is alive.
    fn recover(&self, job: &Arc<Job>, alive: &HashSet<String>) {
        let record = job.live();
        let worker = record.as_ref().and_then(|it| it.job.as_ref()).map(|it| &it.worker);
        if worker.is_some_and(|it| alive.contains(it)) {
            return;
        }
        if job.attached {
            job.abandon();
        }
        let max_attempts = self.limits.max_attempts;
        let recovered = self.change(job, |draft| {
            draft.lost(max_attempts, "the server was restarted");
            Ok(())
        });
        match recovered {
            Ok(()) => self.enqueue(job),
            Err(fault) => {
                tracing::error!(job = %job.id, %fault, "a job could not be resumed after the restart");
            }
        }
    }

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
    /// [`Reason::JobNotFound`](crate::wire::reason::Reason::JobNotFound) if it was deleted; those of the ledger.
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

/// Takes in the commits of other processes, on a thread of its own, until the store is dropped.
fn follow(tail: Box<dyn Iterator<Item = Applied> + Send>, store: Weak<Store>) {
    thread::spawn(move || {
        for applied in tail {
            let Some(store) = store.upgrade() else { return };
            if let Err(error) = store.apply(applied) {
                tracing::error!(%error, "a change of another process could not be taken in");
            }
        }
    });
}

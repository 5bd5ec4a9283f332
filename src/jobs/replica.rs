//! The store's copy of the ledger's jobs: loaded when it opens, and kept up to date where other processes change jobs,
//! when the ledger's feed tells of it or a commit of this process conflicts with theirs.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64},
    },
    thread,
    time::Duration,
};

use dashmap::{DashMap, DashSet};
use tokio::sync::watch;
use uuid::Uuid;

use crate::jobs::{
    artifacts::Artifacts,
    clock::Clock,
    decoded::DecodedInputs,
    elsewhere,
    fault::Fault,
    job::Job,
    queue::Queue,
    requests::Requests,
    sending::Sending,
    store::{Limits, Phase, Store, request_id},
};
use crate::journal::{
    self,
    ledger::{Applied, Ledger, LedgerError, News, Revision},
};
use crate::wire::journal::v1::JobRecord;

/// Pause before a change of another process is taken in again.
const AGAIN: Duration = Duration::from_secs(1);

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
            taking: Mutex::default(),
            process: elsewhere::process(&*ledger),
            count: AtomicU32::new(1),
            sending: Sending::start(ledger.relay()),
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
        store.hear();
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
        // Where others share the ledger, the callers of a job that no worker has may be theirs.
        let is_lost = worker.is_some_and(|it| !it.is_empty());
        if job.attached && (is_lost || !self.ledger.is_shared()) {
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

    fn apply(&self, news: News) -> Result<(), LedgerError> {
        let Applied { record, revision } = match news {
            News::Job(applied) => *applied,
            News::Artifact(record) => {
                self.artifacts.learn(&record);
                return Ok(());
            }
            News::ArtifactGone(id) => {
                self.artifacts.unlearn(id);
                return Ok(());
            }
        };
        let id = journal::job_id(&record);
        if revision == Revision::NONE {
            if let Some(job) = self.by_id(id) {
                let going = self.artifacts.part(record.artifacts.iter().map(String::as_str));
                self.artifacts.gone(&going);
                self.drop_job(&job, &record);
            }
            return Ok(());
        }
        let Some(job) = self.by_id(id) else {
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

    /// Adds a job that this process has committed. Another one may have gone on with it, and been heard of, meanwhile.
    pub(super) fn add_own(&self, job: Arc<Job>) -> Arc<Job> {
        let _taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let there = self.by_id(job.id);
        if let Some(there) = there {
            let names = job.live().map(|it| it.artifacts.clone()).unwrap_or_default();
            self.artifacts.unpin(&names);
            return there;
        }
        self.jobs.insert(job.id, Arc::clone(&job));
        job
    }

    /// Adds a job of the ledger; returns it if it has not ended.
    pub(super) fn take_up(
        &self,
        record: JobRecord,
        revision: Revision,
    ) -> Result<Option<Arc<Job>>, LedgerError> {
        let _taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        if self.jobs.contains_key(&journal::job_id(&record)) {
            return Ok(None);
        }
        for name in &record.artifacts {
            self.artifacts.refer(name)?;
        }
        let request_id = request_id(&record).to_owned();
        let job = Arc::new(Job::new(record, revision, self.clock.clone()));
        if !self.is_shared() {
            job.trace();
        }
        self.requests.add(&job.tenant, &request_id, job.id);
        self.jobs.insert(job.id, Arc::clone(&job));
        Ok((!job.is_over()).then_some(job))
    }
}

/// Takes in the commits of other processes, on a thread of its own, until the store is dropped.
fn follow(tail: Box<dyn Iterator<Item = News> + Send>, store: Weak<Store>) {
    thread::spawn(move || {
        for news in tail {
            let Some(store) = store.upgrade() else { return };
            let mut applied = store.apply(news.clone());
            // What is missing is asked for again: nobody tells of this a second time.
            while matches!(applied, Err(LedgerError::Down)) {
                thread::sleep(AGAIN);
                applied = store.apply(news.clone());
            }
            if let Err(error) = applied {
                tracing::error!(%error, "a change of another process could not be taken in");
            }
        }
    });
}

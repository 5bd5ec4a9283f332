//! Job store: all jobs in memory and in the journal, each changed under its own lock.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64},
    },
    time::{Duration, Instant},
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
    queue::{Queue, QueueLimits},
    requests::Requests,
    runner::ModelInfo,
    sending::Sending,
};
use crate::journal::ledger::{Ledger, LedgerError};
use crate::wire::{
    journal::v1::JobRecord,
    reason::Reason,
    v1::{self, EditJob},
};

/// Limits of the service.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Jobs that run at the same time.
    pub slots: u32,
    /// Jobs that wait in the queue.
    pub queue: QueueLimits,
    /// A tenant's jobs whose mask awaits a decision, now or after pass 1.
    pub tenant_awaiting: usize,
    /// Longest wait in the queue; the job then fails.
    pub queue_timeout: Duration,
    /// Longest run of one pass; the job then fails.
    pub run_timeout: Duration,
    /// Time to live of a finished job unless its caller sets one.
    pub default_ttl: Duration,
    /// Longest time to live that a caller may set.
    pub max_ttl: Duration,
    /// Largest input, in pixels.
    pub max_pixels: u64,
    /// Largest input file, in bytes.
    pub max_artifact_bytes: u64,
    /// Most starts of a pass that end in a lost server or device before the job fails.
    pub max_attempts: u32,
    /// How long a worker may complete no step before its job is another's, where processes share a ledger.
    pub lease: Duration,
}

/// Phase of the shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Jobs are admitted and started.
    Open,
    /// No job is admitted or started; running passes continue.
    Draining,
    /// Running passes are stopped.
    Halted,
}

/// All jobs, their queue, artifacts and ledger.
#[derive(Debug)]
pub struct Store {
    /// Limits of the service.
    pub limits: Limits,
    /// Waiting jobs.
    pub queue: Queue,
    /// Files of jobs and uploads.
    pub artifacts: Artifacts,
    /// Time.
    pub clock: Clock,
    pub(super) ledger: Arc<dyn Ledger>,
    /// Decoded inputs of waiting jobs.
    pub(super) inputs: DecodedInputs,
    pub(super) jobs: DashMap<Uuid, Arc<Job>>,
    /// Held while a job of the ledger is added, so that it is added once.
    pub(super) taking: Mutex<()>,
    pub(super) sending: Sending,
    /// How many processes share the ledger.
    pub(super) count: AtomicU32,
    /// Name of this process among those that share the ledger; empty if it has it alone.
    pub(super) process: String,
    pub(super) requests: Requests,
    /// Reviews reserved by jobs that are being accepted, by tenant.
    pub(super) reviews: DashMap<String, usize>,
    pub(super) model: OnceLock<ModelInfo>,
    /// When the model was loaded.
    pub(super) loaded: OnceLock<Instant>,
    /// Names of the devices that hold the model.
    pub(super) devices: Mutex<Vec<String>>,
    pub(super) ready: watch::Sender<Result<(), String>>,
    pub(super) phase: watch::Sender<Phase>,
    /// Duration of a job in milliseconds, exponentially smoothed.
    pub(super) pace: AtomicU64,
    pub(super) running: DashSet<Uuid>,
    /// Held while queue positions are published, so that an older order never overwrites a newer one.
    pub(super) telling: Mutex<()>,
    /// Set when running jobs are to stop and return to their checkpoint.
    pub(super) halt: AtomicBool,
}

impl Store {
    /// A tenant's job by name.
    ///
    /// # Errors
    /// [`Reason::JobNotFound`], also for another tenant's job.
    pub fn job(&self, tenant: &str, name: &str) -> Result<Arc<Job>, Fault> {
        let id = name.strip_prefix("jobs/").and_then(|it| Uuid::try_parse(it).ok());
        let job = id.and_then(|id| self.jobs.get(&id).map(|it| Arc::clone(&it)));
        job.filter(|it| it.tenant == tenant).ok_or_else(|| Fault::no_job(name))
    }

    /// A job by its id, of any tenant.
    pub fn by_id(&self, id: Uuid) -> Option<Arc<Job>> {
        self.jobs.get(&id).map(|it| Arc::clone(&it))
    }

    /// All jobs, in no particular order.
    pub fn all(&self) -> Vec<Arc<Job>> {
        self.jobs.iter().map(|it| Arc::clone(&it)).collect()
    }

    /// Jobs that have not ended, in no particular order.
    pub fn live(&self) -> Vec<Arc<Job>> {
        self.jobs.iter().filter(|it| !it.is_over()).map(|it| Arc::clone(&it)).collect()
    }

    /// Whether a tenant's request id belongs to a stored job or to one being created. Never waits for the disk.
    pub fn knows_request(&self, tenant: &str, request_id: &str) -> bool {
        self.requests.knows(tenant, request_id)
    }

    /// Counts of a tenant's jobs by state.
    pub fn counts(&self, tenant: &str) -> BTreeMap<i32, u32> {
        let mut counts = BTreeMap::new();
        for job in self.jobs.iter().filter(|it| it.tenant == tenant) {
            *counts.entry(job.state() as i32).or_default() += 1;
        }
        counts
    }

    /// Whether a tenant has a live job without streams that will be cancelled unless one reconnects.
    pub fn has_lonely(&self, tenant: &str) -> bool {
        let lonely = |it: &Job| {
            it.attached && it.tenant == tenant && !it.is_over() && it.alone_since().is_some()
        };
        self.jobs.iter().any(|it| lonely(&it))
    }

    /// Number of jobs in a pass.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Deletes a job that has ended, and the artifacts that only it refers to.
    ///
    /// # Errors
    /// [`Reason::JobLive`] if it has not ended, [`Reason::JobNotFound`] if it was deleted concurrently.
    pub fn delete(&self, job: &Job) -> Result<(), Fault> {
        let _changing = job.changing();
        if !job.is_over() {
            let message = "the job has not ended; cancel it first";
            return Err(Fault::new(Reason::JobLive, message));
        }
        match self.forget(&[job]) {
            // All that happens to a job that has ended.
            Ok(0) | Err(LedgerError::Conflict) => Err(Fault::no_job(&job.name())),
            deleted => Ok(deleted.map(drop)?),
        }
    }

    /// Deletes expired jobs in one commit.
    ///
    /// # Errors
    /// Those of the ledger; then none is deleted.
    pub fn expire(&self, jobs: &[Arc<Job>]) -> Result<(), LedgerError> {
        let _changing: Vec<_> = jobs.iter().map(|it| it.changing()).collect();
        match self.forget(&jobs.iter().map(Arc::as_ref).collect::<Vec<_>>()) {
            // Another process was faster; what it has left is deleted the next time.
            Err(LedgerError::Conflict) => Ok(()),
            deleted => deleted.map(drop),
        }
    }

    /// Deletes jobs that have ended, whose locks the caller holds; returns how many there were.
    fn forget(&self, jobs: &[&Job]) -> Result<usize, LedgerError> {
        let mut there = Vec::new();
        for job in jobs.iter().filter(|it| self.jobs.contains_key(&it.id)) {
            there
                .extend(self.ledger.job(job.id)?.map(|(revision, record)| (job, revision, record)));
        }
        let names = || there.iter().flat_map(|(.., it)| &it.artifacts).map(String::as_str);
        let going = self.artifacts.part(names());
        let records: Vec<_> = there.iter().map(|(_, revision, it)| (*revision, it)).collect();
        if let Err(error) = self.ledger.remove(&records, &going) {
            self.artifacts.pin_again(names(), &going);
            return Err(error);
        }
        self.artifacts.gone(&going);
        for (job, _, record) in &there {
            self.drop_job(job, record);
        }
        Ok(there.len())
    }

    /// Drops a deleted job from memory.
    pub(super) fn drop_job(&self, job: &Job, record: &JobRecord) {
        // The request id first, so that an id that is found always has a job.
        self.requests.remove(&job.tenant, request_id(record));
        self.jobs.remove(&job.id);
        job.wake();
    }

    /// The next control events of a job after a sequence number, in bounded batches.
    ///
    /// # Errors
    /// Those of the ledger.
    pub fn events(&self, job: Uuid, after: u64) -> Result<Vec<v1::EditEvent>, Fault> {
        Ok(self.ledger.events(job, after, 64)?)
    }

    /// Takes or renews a worker's lease; without one, another process may give the worker's job to one of its own.
    pub(super) fn renew_lease(&self, worker: &str) {
        if let Err(error) = self.ledger.lease(worker, self.limits.lease) {
            tracing::warn!(worker, %error, "a lease could not be renewed");
        }
    }
}

/// The request id of a record's job.
pub(super) fn request_id(record: &JobRecord) -> &str {
    record.job.as_ref().map_or("", |it| it.request_id.as_str())
}

/// The resource name of a new job; its id is a version 7 UUID, ordered by creation time.
pub fn new_name() -> String {
    format!("jobs/{}", Uuid::now_v7())
}

/// A job's spec.
pub fn spec(job: &EditJob) -> v1::EditSpec {
    job.spec.clone().unwrap_or_default()
}

/// The artifact name of an image in a normalized spec.
pub fn image_name(image: Option<&v1::Image>) -> Option<&str> {
    match image?.source.as_ref()? {
        v1::image::Source::Artifact(name) => Some(name),
        v1::image::Source::Data(_) => None,
    }
}

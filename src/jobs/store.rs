//! Job store: all jobs in memory and in the journal, each changed under its own lock.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64},
    },
    time::{Duration, Instant, SystemTime},
};

use dashmap::DashMap;
use tokio::sync::watch;
use uuid::Uuid;

use crate::jobs::{
    artifacts::Artifacts,
    decoded::DecodedInputs,
    fault::{Fault, Reason},
    job::{self, Job},
    life::{Draft, Sealed},
    queue::{Queue, QueueLimits},
    requests::Requests,
    runner::ModelInfo,
    shutdown::Phase,
};
use crate::journal::{self, Commit, Journal, error::JournalError};
use crate::wire::{
    journal::v1::JobRecord,
    v1::{self, EditJob, edit_job::State},
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
}

/// All jobs, their queue, artifacts and journal.
#[derive(Debug)]
pub struct Store {
    /// Limits of the service.
    pub limits: Limits,
    /// Waiting jobs.
    pub queue: Queue,
    /// Files of jobs and uploads.
    pub artifacts: Artifacts,
    pub(super) journal: Arc<Journal>,
    /// Decoded inputs of waiting jobs.
    pub(super) inputs: DecodedInputs,
    pub(super) jobs: DashMap<Uuid, Arc<Job>>,
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
    pub(super) running: DashMap<Uuid, SystemTime>,
    /// Held while queue positions are published, so that an older order never overwrites a newer one.
    pub(super) telling: Mutex<()>,
    /// Set when running jobs are to stop and return to their checkpoint.
    pub(super) halt: AtomicBool,
}

impl Store {
    /// Opens a store over a journal: jobs that were running return to their checkpoint and are queued again.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(journal: Journal, limits: Limits) -> Result<Arc<Self>, JournalError> {
        let journal = Arc::new(journal);
        let store = Arc::new(Self {
            limits,
            queue: Queue::new(limits.queue),
            artifacts: Artifacts::open(Arc::clone(&journal))?,
            inputs: DecodedInputs::default(),
            jobs: DashMap::new(),
            requests: Requests::default(),
            reviews: DashMap::new(),
            model: OnceLock::new(),
            loaded: OnceLock::new(),
            devices: Mutex::default(),
            ready: watch::Sender::new(Err("the model is loading".to_owned())),
            phase: watch::Sender::new(Phase::Open),
            pace: AtomicU64::new(0),
            running: DashMap::new(),
            telling: Mutex::default(),
            halt: AtomicBool::new(false),
            journal,
        });
        let mut live = Vec::new();
        store.journal.each_job(|record| live.extend(store.take_up(record)))?;
        for job in live {
            store.recover(&job);
        }
        store.show_queue();
        Ok(store)
    }

    /// Adds a job of the journal; returns it if it has not ended.
    fn take_up(&self, record: JobRecord) -> Option<Arc<Job>> {
        let id = journal::job_id(&record);
        for name in &record.artifacts {
            self.artifacts.pin(name);
        }
        self.requests.add(&record.tenant, request_id(&record), id);
        let is_over = job::is_over(job::state(&record));
        let span =
            if is_over { tracing::Span::none() } else { tracing::info_span!("job", id = %id) };
        let job = Arc::new(Job::new(id, record, span));
        self.jobs.insert(id, Arc::clone(&job));
        (!is_over).then_some(job)
    }

    /// Resumes a job from its checkpoint.
    fn recover(&self, job: &Arc<Job>) {
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
                tracing::error!(job = %job.id, %fault, "a job could not be taken up again");
            }
        }
    }

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

    /// Changes a job: what `change` does to the draft is durable and published when this returns.
    ///
    /// # Errors
    /// Those of `change` and of the journal; the job is then unchanged.
    pub fn change<T>(
        &self,
        job: &Job,
        change: impl FnOnce(&mut Draft) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let changing = job.changing();
        let before = job.state();
        let mut draft = Draft::new(job.record());
        let made = change(&mut draft)?;
        if !draft.is_changed() {
            return Ok(made);
        }
        let sealed = draft.seal();
        self.commit(&job.tenant, &sealed)?;
        let span = job.span();
        let after = job::state(&sealed.record);
        job.committed(sealed.record);
        drop(changing);
        if after != before {
            self.moved(job, &span, before, after);
        }
        Ok(made)
    }

    /// Commits a change, or leaves everything as it was.
    fn commit(&self, tenant: &str, sealed: &Sealed) -> Result<(), Fault> {
        let Sealed { record, events, files, pins } = sealed;
        self.artifacts.pin_all(pins)?;
        let kept = self.artifacts.store(tenant, files).and_then(|artifacts| {
            let commit = Commit { job: Some(record), events, artifacts: &artifacts };
            self.journal.commit(commit).map(|()| artifacts).map_err(|error| {
                // After a failed write the journal accepts no other until it is opened again.
                self.set_ready(Err(format!("jobs can't be kept, start the server again: {error}")));
                Fault::from(error)
            })
        });
        match kept {
            Ok(artifacts) => {
                self.artifacts.adopt(&artifacts);
                Ok(())
            }
            Err(fault) => {
                self.artifacts.drop_files(files);
                self.artifacts.unpin(pins);
                Err(fault)
            }
        }
    }

    /// Updates metrics, log and queue after a change of state.
    fn moved(&self, job: &Job, span: &tracing::Span, before: State, after: State) {
        tracing::info!(parent: span, state = after.as_str_name(), "moved");
        if matches!(before, State::Queued | State::MaskReady) && self.queue.remove(job.id) {
            self.show_queue();
        }
        if job::is_over(after) {
            self.inputs.take(job.id);
            let reason =
                job.read().job.as_ref().and_then(|it| it.error.as_ref().map(|e| e.reason.clone()));
            let state = after.as_str_name().trim_start_matches("STATE_").to_lowercase();
            let reason = reason.unwrap_or_default();
            let priority = job.priority_label();
            metrics::counter!("retouch_jobs_total", "state" => state, "reason" => reason, "priority" => priority)
                .increment(1);
        }
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
        if self.by_id(job.id).is_none() {
            return Err(Fault::no_job(&format!("jobs/{}", job.id)));
        }
        if !job.is_over() {
            let message = "the job has not ended; cancel it first";
            return Err(Fault::new(Reason::JobLive, message));
        }
        Ok(self.forget(&[job])?)
    }

    /// Deletes expired jobs in one commit.
    ///
    /// # Errors
    /// Those of the journal; then none is deleted.
    pub fn expire(&self, jobs: &[Arc<Job>]) -> Result<(), JournalError> {
        let _changing: Vec<_> = jobs.iter().map(|it| it.changing()).collect();
        let there = jobs.iter().filter(|it| self.jobs.contains_key(&it.id));
        self.forget(&there.map(Arc::as_ref).collect::<Vec<_>>())
    }

    /// Deletes jobs that have ended, whose locks the caller holds.
    fn forget(&self, jobs: &[&Job]) -> Result<(), JournalError> {
        let records: Vec<Arc<JobRecord>> = jobs.iter().map(|it| it.read()).collect();
        let names = || records.iter().flat_map(|it| &it.artifacts).map(String::as_str);
        let going = self.artifacts.part(names());
        let records: Vec<&JobRecord> = records.iter().map(Arc::as_ref).collect();
        if let Err(error) = self.journal.remove(&records, &going) {
            self.artifacts.pin_again(names(), &going);
            return Err(error);
        }
        self.artifacts.gone(&going);
        for (job, record) in jobs.iter().zip(records) {
            // The request id first, so that an id that is found always has a job.
            self.requests.remove(&job.tenant, request_id(record));
            self.jobs.remove(&job.id);
            job.wake();
        }
        Ok(())
    }

    /// The next control events of a job after a sequence number, in bounded batches.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn events(&self, job: Uuid, after: u64) -> Result<Vec<v1::EditEvent>, Fault> {
        Ok(self.journal.events(job, after, 64)?)
    }
}

/// The request id of a record's job.
fn request_id(record: &JobRecord) -> &str {
    record.job.as_ref().map_or("", |it| it.request_id.as_str())
}

/// A new job's id and resource name; a version 7 UUID, ordered by creation time.
pub fn new_name() -> (Uuid, String) {
    let id = Uuid::now_v7();
    (id, format!("jobs/{id}"))
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

/// The current time as a protobuf timestamp.
pub fn now() -> prost_types::Timestamp {
    SystemTime::now().into()
}

//! All jobs: live in memory, durable in the journal, each changed under its own lock.

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

/// What a server allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Jobs that run at once.
    pub slots: u32,
    /// Jobs that wait for a slot.
    pub queue: QueueLimits,
    /// Jobs of one tenant whose mask is to be decided, now or once it is found.
    pub tenant_awaiting: usize,
    /// How long a job may wait for a slot.
    pub queue_timeout: Duration,
    /// How long a pass may take.
    pub run_timeout: Duration,
    /// How long a finished job is kept unless its caller says otherwise.
    pub default_ttl: Duration,
    /// And at most.
    pub max_ttl: Duration,
    /// Pixels of an input.
    pub max_pixels: u64,
    /// Bytes of an input's file.
    pub max_artifact_bytes: u64,
    /// Starts of a job that don't reach its next checkpoint.
    pub max_attempts: u32,
}

/// All jobs.
#[derive(Debug)]
pub struct Store {
    /// What is allowed.
    pub limits: Limits,
    /// Who is next.
    pub queue: Queue,
    /// Files.
    pub artifacts: Artifacts,
    pub(super) journal: Arc<Journal>,
    pub(super) jobs: DashMap<Uuid, Arc<Job>>,
    pub(super) requests: Requests,
    /// Jobs to be reviewed that are being accepted, by tenant.
    pub(super) reviews: DashMap<String, usize>,
    pub(super) model: OnceLock<ModelInfo>,
    /// Since when it is loaded.
    pub(super) loaded: OnceLock<Instant>,
    /// Those that hold the model, by name.
    pub(super) devices: Mutex<Vec<String>>,
    pub(super) ready: watch::Sender<Result<(), String>>,
    pub(super) phase: watch::Sender<Phase>,
    /// Milliseconds that a job takes, smoothed.
    pub(super) pace: AtomicU64,
    pub(super) running: DashMap<Uuid, SystemTime>,
    /// Held while places in the queue are told, so that an older order is never told after a newer one.
    pub(super) telling: Mutex<()>,
    /// Set when jobs in a pass are to go back to their checkpoint.
    pub(super) halt: AtomicBool,
}

impl Store {
    /// Takes up a journal: jobs that were in a pass go back to their checkpoint, and wait with the others.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(journal: Journal, limits: Limits) -> Result<Arc<Self>, JournalError> {
        let journal = Arc::new(journal);
        let store = Arc::new(Self {
            limits,
            queue: Queue::new(limits.queue),
            artifacts: Artifacts::open(Arc::clone(&journal))?,
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

    /// Takes in a job of the journal, and returns it if it goes on.
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

    /// Lets a job go on from its checkpoint.
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

    /// A tenant's job.
    ///
    /// # Errors
    /// [`Reason::JobNotFound`], for another tenant's too.
    pub fn job(&self, tenant: &str, name: &str) -> Result<Arc<Job>, Fault> {
        let id = name.strip_prefix("jobs/").and_then(|it| Uuid::try_parse(it).ok());
        let job = id.and_then(|id| self.jobs.get(&id).map(|it| Arc::clone(&it)));
        job.filter(|it| it.tenant == tenant).ok_or_else(|| Fault::no_job(name))
    }

    /// A job by its id, whoever's it is.
    pub fn by_id(&self, id: Uuid) -> Option<Arc<Job>> {
        self.jobs.get(&id).map(|it| Arc::clone(&it))
    }

    /// All jobs, in no order.
    pub fn all(&self) -> Vec<Arc<Job>> {
        self.jobs.iter().map(|it| Arc::clone(&it)).collect()
    }

    /// Jobs that have not ended, in no order.
    pub fn live(&self) -> Vec<Arc<Job>> {
        self.jobs.iter().filter(|it| !it.is_over()).map(|it| Arc::clone(&it)).collect()
    }

    /// Whether a tenant's request of this id made a job that is kept, or is making one. Never waits for the disk.
    pub fn knows_request(&self, tenant: &str, request_id: &str) -> bool {
        self.requests.knows(tenant, request_id)
    }

    /// Changes a job: what `change` does to the draft is durable, and seen by everybody, when this returns.
    ///
    /// # Errors
    /// What `change` says, and what the journal says; the job is as it was then.
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

    /// Makes a change durable, or leaves everything as it was.
    fn commit(&self, tenant: &str, sealed: &Sealed) -> Result<(), Fault> {
        let Sealed { record, events, files, pins } = sealed;
        self.artifacts.pin_all(pins)?;
        let kept = self.artifacts.store(tenant, files).and_then(|artifacts| {
            let commit = Commit { job: Some(record), events, artifacts: &artifacts };
            self.journal.commit(commit).map(|()| artifacts).map_err(|error| {
                // After a failed write the journal takes no other until it is opened again.
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

    /// What follows from a change of state.
    fn moved(&self, job: &Job, span: &tracing::Span, before: State, after: State) {
        tracing::info!(parent: span, state = after.as_str_name(), "moved");
        if matches!(before, State::Queued | State::MaskReady) && self.queue.remove(job.id) {
            self.show_queue();
        }
        if job::is_over(after) {
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

    /// Whether a live job of a tenant has lost its last stream, and ends if none comes back.
    pub fn has_lonely(&self, tenant: &str) -> bool {
        let lonely = |it: &Job| {
            it.attached && it.tenant == tenant && !it.is_over() && it.alone_since().is_some()
        };
        self.jobs.iter().any(|it| lonely(&it))
    }

    /// Jobs that are in a pass.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Removes a job that has ended, and the artifacts that only it pinned.
    ///
    /// # Errors
    /// [`Reason::JobLive`], [`Reason::JobNotFound`] if somebody else was faster.
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

    /// Removes jobs that have been kept long enough, in one commit.
    ///
    /// # Errors
    /// What the journal says; none is removed then.
    pub fn expire(&self, jobs: &[Arc<Job>]) -> Result<(), JournalError> {
        let _changing: Vec<_> = jobs.iter().map(|it| it.changing()).collect();
        let there = jobs.iter().filter(|it| self.jobs.contains_key(&it.id));
        self.forget(&there.map(Arc::as_ref).collect::<Vec<_>>())
    }

    /// Removes jobs that have ended and that nobody else changes.
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
            // The id first: whoever finds one finds its job.
            self.requests.remove(&job.tenant, request_id(record));
            self.jobs.remove(&job.id);
            job.wake();
        }
        Ok(())
    }

    /// The control events of a job after a number, at most some.
    ///
    /// # Errors
    /// What the journal says.
    pub fn events(&self, job: Uuid, after: u64) -> Result<Vec<v1::EditEvent>, Fault> {
        Ok(self.journal.events(job, after, 64)?)
    }
}

/// The request id of a record's job.
fn request_id(record: &JobRecord) -> &str {
    record.job.as_ref().map_or("", |it| it.request_id.as_str())
}

/// The id of a new job: its name tells when it was made.
pub fn new_name() -> (Uuid, String) {
    let id = Uuid::now_v7();
    (id, format!("jobs/{id}"))
}

/// A job's spec.
pub fn spec(job: &EditJob) -> v1::EditSpec {
    job.spec.clone().unwrap_or_default()
}

/// The bytes of an image that a normalized spec names.
pub fn image_name(image: Option<&v1::Image>) -> Option<&str> {
    match image?.source.as_ref()? {
        v1::image::Source::Artifact(name) => Some(name),
        v1::image::Source::Data(_) => None,
    }
}

/// Now, as the schema has it.
pub fn now() -> prost_types::Timestamp {
    SystemTime::now().into()
}

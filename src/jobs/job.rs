//! A job in memory: its record, its transient status, and the streams attached to it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;
use uuid::Uuid;

use crate::jobs::{
    clock::{self, Clock},
    job_elsewhere::Elsewhere,
    latest::{Latest, Shot},
    trace,
};
use crate::journal::{self, ledger::Revision};
use crate::wire::{
    journal::v1::JobRecord,
    v1::{self, EditJob, MaskPolicy, Priority, edit_job::State},
};

/// A job, shared by the worker, the streams and the calls that use it.
#[derive(Debug)]
pub struct Job {
    /// Its id.
    pub id: Uuid,
    /// Tenant that owns it.
    pub tenant: String,
    /// Scheduling priority: interactive or batch.
    pub priority: Priority,
    /// Whether it is cancelled when its last stream disconnects and none reconnects in time.
    pub attached: bool,
    /// Largest artifact that its answers carry inline, if its caller says so.
    pub max_inline_bytes: Option<u32>,
    span: Mutex<tracing::Span>,
    /// Held by a writer until its change is durable; readers never wait for it.
    changing: Mutex<()>,
    head: Mutex<Head>,
    clock: Clock,
    /// Copy of the record's state, readable without a lock.
    state: AtomicI32,
    last_sequence: AtomicU64,
    latest: Mutex<Latest>,
    tick: watch::Sender<u64>,
    /// When a caller cancelled it while a pass was running.
    cancelled: OnceLock<Instant>,
    audience: Mutex<Audience>,
    /// What other processes have to do with it.
    pub(super) elsewhere: Elsewhere,
}

/// What is kept in memory of a record.
#[derive(Debug)]
struct Head {
    revision: Revision,
    attempt: u32,
    /// The record of a job that has not ended. Those of ended jobs, which may be many, are read from the ledger.
    live: Option<Arc<JobRecord>>,
    expires: Option<SystemTime>,
}

impl Head {
    fn new(record: JobRecord, revision: Revision) -> Self {
        let job = record.job.as_ref();
        let expires = clock::time(job.and_then(|it| it.expire_time));
        let attempt = job.map_or(0, |it| it.attempt);
        let live = (!is_over(state(&record))).then(|| Arc::new(record));
        Self { revision, attempt, live, expires }
    }
}

/// Streams attached to a job.
#[derive(Debug, Default)]
struct Audience {
    streams: usize,
    /// Since when no stream is attached, after the last one disconnected.
    alone_since: Option<Instant>,
    /// Deadlines of the attached streams that have one.
    deadlines: BTreeSet<(Instant, Uuid)>,
    /// Whether the last stream to disconnect had reached its deadline.
    expired: bool,
}

/// A stream that disconnects this close to its deadline counts as expired: client and server clocks see it at different
/// moments.
const DEADLINE_SLACK: Duration = Duration::from_millis(500);

/// A stream's attachment to a job; dropping it counts as a disconnect unless [`Seat::leave`] was called.
#[derive(Debug)]
pub struct Seat {
    job: Arc<Job>,
    deadline: Option<(Instant, Uuid)>,
    left: bool,
}

impl Job {
    /// A job of a record of a revision.
    pub fn new(record: JobRecord, revision: Revision, clock: Clock) -> Self {
        let id = journal::job_id(&record);
        let events = record.job.as_ref().and_then(|it| it.spec.as_ref()?.events.as_ref());
        Self {
            id,
            max_inline_bytes: events.and_then(|it| it.max_inline_bytes),
            tenant: record.tenant.clone(),
            priority: priority(&record),
            attached: record.attached,
            span: Mutex::new(tracing::Span::none()),
            cancelled: OnceLock::new(),
            changing: Mutex::default(),
            state: AtomicI32::new(state(&record) as i32),
            last_sequence: AtomicU64::new(last_sequence(&record)),
            head: Mutex::new(Head::new(record, revision)),
            clock,
            latest: Mutex::default(),
            tick: watch::Sender::new(0),
            audience: Mutex::default(),
            elsewhere: Elsewhere::default(),
        }
    }

    /// Its resource name.
    pub fn name(&self) -> String {
        format!("jobs/{}", self.id)
    }

    /// The lock that writers of the job hold.
    pub fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record as last committed, without waiting for the ledger; `None` once the job has ended.
    pub fn live(&self) -> Option<Arc<JobRecord>> {
        self.head().live.clone()
    }

    /// The number of its attempt.
    pub fn attempt(&self) -> u32 {
        self.head().attempt
    }

    /// When a job that has ended expires.
    pub fn expires(&self) -> Option<SystemTime> {
        self.head().expires
    }

    /// Its revision and, if it has not ended, its record.
    pub(super) fn snapshot(&self) -> (Revision, Option<Arc<JobRecord>>) {
        let head = self.head();
        (head.revision, head.live.clone())
    }

    fn head(&self) -> MutexGuard<'_, Head> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The span in which its work in this process is traced; none before [`Job::trace`], and after it has ended.
    pub fn span(&self) -> tracing::Span {
        self.span.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins that span, unless it has begun or the job has ended. A job that is only heard of has none: each of many
    /// processes would export one.
    pub fn trace(&self) -> tracing::Span {
        let live = self.live();
        let mut span = self.span.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(record) = live.filter(|_| span.is_none()) {
            *span = trace::span(self.id, &record.traceparent);
        }
        span.clone()
    }

    /// Current state, without a lock.
    pub fn state(&self) -> State {
        State::try_from(self.state.load(Ordering::Acquire)).unwrap_or_default()
    }

    /// Whether its mask awaits a decision, now or after pass 1.
    pub fn is_to_be_decided(&self) -> bool {
        let Some(record) = self.live() else { return false };
        let spec = record.job.as_ref().and_then(|it| it.spec.as_ref());
        let review = spec.is_some_and(|it| it.mask_policy() == MaskPolicy::Review);
        let early =
            matches!(state(&record), State::Queued | State::Localizing | State::AwaitingMask);
        review && early && record.decision.is_none()
    }

    /// Sequence number of its last control event.
    pub fn last_sequence(&self) -> u64 {
        self.last_sequence.load(Ordering::Acquire)
    }

    /// Whether it waits in the queue.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state(), State::Queued | State::MaskReady)
    }

    /// Whether it has ended; without a lock, since workers ask at every step.
    pub fn is_over(&self) -> bool {
        is_over(self.state())
    }

    /// Transient status: queue position, progress and preview.
    pub fn latest(&self) -> Latest {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its priority as a metric label.
    pub fn priority_label(&self) -> &'static str {
        priority_label(self.priority)
    }

    /// Publishes a queue position.
    pub fn show_queue(&self, update: v1::QueueUpdate) {
        self.show(|latest| latest.queue.put(update));
    }

    /// Publishes progress.
    pub fn show_step(&self, step: v1::StepProgress) {
        self.show(|latest| latest.step.put(step));
    }

    /// Publishes a preview.
    pub fn show_preview(&self, shot: Shot) {
        self.show(|latest| latest.preview.put(Arc::new(shot)));
    }

    fn show(&self, change: impl FnOnce(&mut Latest)) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_over() {
            change(&mut latest);
        }
        drop(latest);
        self.wake();
    }

    /// A receiver that is notified of every change.
    pub fn listen(&self) -> watch::Receiver<u64> {
        self.tick.subscribe()
    }

    /// Notifies all receivers.
    pub fn wake(&self) {
        self.tick.send_modify(|it| *it = it.wrapping_add(1));
    }

    /// Publishes a committed record.
    pub fn committed(&self, record: JobRecord, revision: Revision) {
        let state = state(&record);
        self.last_sequence.store(last_sequence(&record), Ordering::Release);
        *self.head() = Head::new(record, revision);
        self.state.store(state as i32, Ordering::Release);
        if is_over(state) {
            *self.span.lock().unwrap_or_else(PoisonError::into_inner) = tracing::Span::none();
            // No stream delivers these after the end, and previews are large.
            *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Latest::default();
        }
        self.wake();
    }

    /// Records that a caller cancelled it.
    pub fn ask_cancel(&self) {
        self.cancelled.get_or_init(|| self.clock.instant());
    }

    /// When a caller cancelled it.
    pub fn cancel_asked(&self) -> Option<Instant> {
        self.cancelled.get().copied()
    }

    /// Time since it entered its current state.
    pub fn waited(&self) -> Duration {
        let since = self.live().and_then(|it| it.state_time);
        clock::elapsed(since, self.clock.now())
    }

    // === attached streams ===

    /// Attaches a stream, with the caller's deadline if it has one.
    pub fn attach(self: &Arc<Self>, deadline: Option<Instant>) -> Seat {
        let mut audience = self.audience();
        audience.streams += 1;
        audience.alone_since = None;
        audience.expired = false;
        let deadline = deadline.map(|it| (it, Uuid::now_v7()));
        audience.deadlines.extend(deadline);
        Seat { job: Arc::clone(self), deadline, left: false }
    }

    /// Since when no stream is attached, after the last one disconnected.
    pub fn alone_since(&self) -> Option<Instant> {
        self.audience().alone_since
    }

    /// Whether the deadlines of all attached streams have passed.
    pub fn is_past_deadline(&self) -> bool {
        let audience = self.audience();
        let last = audience.deadlines.last().map(|(at, _)| *at);
        let all_have_one = audience.streams == audience.deadlines.len();
        audience.expired || (all_have_one && last.is_some_and(|at| at <= self.clock.instant()))
    }

    /// Starts the disconnect grace now, as after a restart, which disconnects all streams.
    pub fn abandon(&self) {
        self.audience().alone_since.get_or_insert_with(|| self.clock.instant());
    }

    /// Whether streams are attached.
    pub(super) fn has_streams(&self) -> bool {
        self.audience().streams > 0
    }

    /// Ends the disconnect grace: a stream is attached at another process.
    pub(super) fn calm(&self) {
        self.audience().alone_since = None;
    }

    /// Whether anybody here listens to it.
    pub(super) fn is_watched(&self) -> bool {
        self.tick.receiver_count() > 0
    }

    fn audience(&self) -> MutexGuard<'_, Audience> {
        self.audience.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Detaches without counting as a disconnect: the server itself ends the stream.
    pub fn leave(mut self) {
        self.left = true;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let now = self.job.clock.instant();
        let mut audience = self.job.audience();
        audience.streams -= 1;
        let expired = self.deadline.is_some_and(|deadline| {
            audience.deadlines.remove(&deadline);
            deadline.0 <= now + DEADLINE_SLACK
        });
        if audience.streams == 0 && !self.left {
            audience.alone_since = Some(now);
            audience.expired = expired;
        }
    }
}

/// A priority as a metric label.
pub fn priority_label(priority: Priority) -> &'static str {
    match priority {
        Priority::Batch => "batch",
        Priority::Interactive | Priority::Unspecified => "interactive",
    }
}

/// The priority of a record.
fn priority(record: &JobRecord) -> Priority {
    let spec = record.job.as_ref().and_then(|it| it.spec.as_ref());
    spec.map_or(Priority::Interactive, v1::EditSpec::priority)
}

/// Sequence number of a record's last control event.
fn last_sequence(record: &JobRecord) -> u64 {
    record.job.as_ref().map_or(0, |it| it.last_sequence)
}

/// The state of a record.
pub fn state(record: &JobRecord) -> State {
    record.job.as_ref().map_or(State::Unspecified, EditJob::state)
}

/// Whether a state is terminal.
pub fn is_over(state: State) -> bool {
    matches!(state, State::Succeeded | State::Failed | State::Cancelled)
}

//! A job in memory: its record, its transient status, and the streams attached to it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use prost::Message;
use tokio::sync::watch;
use uuid::Uuid;

use crate::jobs::latest::{Latest, Shot};
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
    span: Mutex<tracing::Span>,
    /// Held by a writer until its change is durable; readers never wait for it.
    changing: Mutex<()>,
    held: Mutex<Held>,
    /// Copy of the record's state, readable without a lock.
    state: AtomicI32,
    last_sequence: AtomicU64,
    latest: Mutex<Latest>,
    tick: watch::Sender<u64>,
    /// When a caller cancelled it while a pass was running.
    cancelled: OnceLock<Instant>,
    audience: Mutex<Audience>,
}

/// A record in memory.
#[derive(Debug)]
enum Held {
    /// Of a job that has not ended.
    Live(Arc<JobRecord>),
    /// Of a job that has ended: encoded, to save memory, and without its localization, which the journal has.
    Ended { record: Box<[u8]>, expires: Option<SystemTime> },
}

impl Held {
    fn new(mut record: JobRecord) -> Self {
        if !is_over(state(&record)) {
            return Self::Live(Arc::new(record));
        }
        record.localization.clear();
        let expires = record.job.as_ref().and_then(|it| it.expire_time);
        let expires = expires.and_then(|it| SystemTime::try_from(it).ok());
        Self::Ended { record: record.encode_to_vec().into(), expires }
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
    /// A job of a record, with the span that its work is traced in.
    pub fn new(id: Uuid, record: JobRecord, span: tracing::Span) -> Self {
        Self {
            id,
            tenant: record.tenant.clone(),
            priority: priority(&record),
            attached: record.attached,
            span: Mutex::new(span),
            cancelled: OnceLock::new(),
            changing: Mutex::default(),
            state: AtomicI32::new(state(&record) as i32),
            last_sequence: AtomicU64::new(last_sequence(&record)),
            held: Mutex::new(Held::new(record)),
            latest: Mutex::default(),
            tick: watch::Sender::new(0),
            audience: Mutex::default(),
        }
    }

    /// The lock that writers of the job hold.
    pub fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record as last committed.
    pub fn read(&self) -> Arc<JobRecord> {
        match &*self.held() {
            Held::Live(record) => Arc::clone(record),
            Held::Ended { record, .. } => {
                let record = JobRecord::decode(&**record);
                Arc::new(record.expect("what was encoded can be decoded"))
            }
        }
    }

    /// A copy of the record, to be changed.
    pub fn record(&self) -> JobRecord {
        Arc::unwrap_or_clone(self.read())
    }

    /// When a job that has ended expires.
    pub fn expires(&self) -> Option<SystemTime> {
        match *self.held() {
            Held::Live(_) => None,
            Held::Ended { expires, .. } => expires,
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job as callers see it, with its position in the queue.
    pub fn view(&self) -> EditJob {
        let mut job = self.record().job.unwrap_or_default();
        if matches!(job.state(), State::Queued | State::MaskReady) {
            job.queue = self.latest().queue.value;
        }
        job
    }

    /// The job's tracing span; none after it has ended.
    pub fn span(&self) -> tracing::Span {
        self.span.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Current state, without a lock.
    pub fn state(&self) -> State {
        State::try_from(self.state.load(Ordering::Acquire)).unwrap_or_default()
    }

    /// Whether its mask awaits a decision, now or after pass 1.
    pub fn is_to_be_decided(&self) -> bool {
        let record = self.read();
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
    pub fn committed(&self, record: JobRecord) {
        let state = state(&record);
        self.last_sequence.store(last_sequence(&record), Ordering::Release);
        *self.held() = Held::new(record);
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
        self.cancelled.get_or_init(Instant::now);
    }

    /// When a caller cancelled it.
    pub fn cancel_asked(&self) -> Option<Instant> {
        self.cancelled.get().copied()
    }

    /// Time since it entered its current state.
    pub fn waited(&self) -> Duration {
        let since = self.read().state_time.and_then(|it| SystemTime::try_from(it).ok());
        since.and_then(|it| it.elapsed().ok()).unwrap_or_default()
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
        audience.expired || (all_have_one && last.is_some_and(|at| at <= Instant::now()))
    }

    /// Starts the disconnect grace now, as after a restart, which disconnects all streams.
    pub fn abandon(&self) {
        self.audience().alone_since.get_or_insert_with(Instant::now);
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
        let mut audience = self.job.audience();
        audience.streams -= 1;
        let expired = self.deadline.is_some_and(|deadline| {
            audience.deadlines.remove(&deadline);
            deadline.0 <= Instant::now() + DEADLINE_SLACK
        });
        if audience.streams == 0 && !self.left {
            audience.alone_since = Some(Instant::now());
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

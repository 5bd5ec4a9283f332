//! Event streams of a job: replays the control events in the journal, then follows live ones, each stream at its own
//! pace.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{sync::watch, task, time};

use crate::jobs::{
    fault::Fault,
    job::Job,
    latest::{Latest, Shot},
    store::{Phase, Store},
};
use crate::wire::{
    reason::Reason,
    spec::INLINE_BYTES,
    v1::{self, Artifact, EditEvent, EventOptions, edit_event::Event, edit_job::State},
};

/// Interval of heartbeats on a stream without other events.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// One stream of a job's events: control events in full, and only the newest queue position, progress and preview.
#[derive(Debug)]
pub struct Follower {
    store: Arc<Store>,
    job: Arc<Job>,
    tick: watch::Receiver<u64>,
    /// Sequence number of the last control event delivered.
    cursor: u64,
    /// Control events read from the journal and not delivered yet.
    ahead: VecDeque<EditEvent>,
    /// Write counts of the latest-wins events when each was last delivered.
    seen: Seen,
    missed: u64,
    wanted: Wanted,
    heartbeat: Duration,
    phase: watch::Receiver<Phase>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    queue: u64,
    step: u64,
    preview: u64,
}

/// Kinds of events that a stream asked for.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    preview_every: u32,
    /// The only pass whose previews are wanted.
    previews_of: Option<v1::Pass>,
    cluster_map: bool,
    heatmaps: bool,
    inline: usize,
}

impl Wanted {
    fn new(options: Option<&EventOptions>, of_job: Option<u32>) -> Self {
        let inline =
            options.and_then(|it| it.max_inline_bytes).or(of_job).unwrap_or(INLINE_BYTES.0);
        Self {
            preview_every: options.and_then(|it| it.preview_every).unwrap_or(1),
            previews_of: None,
            cluster_map: options.and_then(|it| it.cluster_map).unwrap_or(true),
            heatmaps: options.and_then(|it| it.heatmaps).unwrap_or(true),
            inline: inline.min(INLINE_BYTES.1) as usize,
        }
    }

    fn wants(&self, event: &Event) -> bool {
        match event {
            Event::ClusterMap(_) => self.cluster_map,
            Event::Heatmap(_) => self.heatmaps,
            _ => true,
        }
    }
}

impl Follower {
    /// Follows a job from the control event after sequence number `after`; `options` leave out kinds of events.
    pub fn new(
        store: &Arc<Store>,
        job: &Arc<Job>,
        after: u64,
        options: Option<&EventOptions>,
    ) -> Self {
        let tick = job.listen();
        // The current value of each kind is still to be delivered; older ones don't count as missed.
        let Latest { queue, step, preview } = job.latest();
        let [queue, step, preview] =
            [queue.count, step.count, preview.count].map(|it| it.saturating_sub(1));
        Self {
            store: Arc::clone(store),
            tick,
            cursor: after,
            ahead: VecDeque::new(),
            seen: Seen { queue, step, preview },
            missed: 0,
            wanted: Wanted::new(options, job.max_inline_bytes),
            heartbeat: HEARTBEAT,
            phase: store.phase(),
            job: Arc::clone(job),
        }
    }

    /// The same with previews of one pass alone.
    #[must_use]
    pub fn with_previews_of(mut self, pass: v1::Pass) -> Self {
        self.wanted.previews_of = Some(pass);
        self
    }

    /// The job that is followed.
    pub fn job(&self) -> &Arc<Job> {
        &self.job
    }

    /// The next event; `None` after the terminal one. Cancel-safe: no event is lost if the future is dropped.
    ///
    /// # Errors
    /// Those of the journal; [`Reason::JobNotFound`] once the job is deleted; [`Reason::Draining`] once a shutdown ends
    /// the stream, while the job goes on after the restart.
    pub async fn next(&mut self) -> Result<Option<EditEvent>, Fault> {
        loop {
            if is_cut(*self.phase.borrow_and_update(), &self.job) {
                let message =
                    "the server is shutting down; watch the job by name after the restart";
                let fault = Fault::new(Reason::Draining, message);
                return Err(fault.retry_after(Duration::from_secs(1)));
            }
            self.tick.mark_unchanged();
            // Read before the events, so that a commit after it is seen in the next round.
            let is_over = self.job.is_over();
            if let Some(event) = self.control().await? {
                return Ok(Some(event));
            }
            if is_over {
                if self.cursor < self.job.last_sequence() {
                    self.check_there()?;
                }
                return Ok(None);
            }
            if let Some(event) = self.latest().await {
                return Ok(Some(event));
            }
            tokio::select! {
                changed = time::timeout(self.heartbeat, self.tick.changed()) => match changed {
                    Ok(Ok(())) => self.check_there()?,
                    Ok(Err(_)) => return Ok(None),
                    Err(_) => return Ok(Some(self.dress(Event::Heartbeat(v1::Heartbeat {})))),
                },
                changed = self.phase.changed() => if changed.is_err() {
                    return Ok(None);
                },
            }
        }
    }

    /// What the job failed with, once it has ended.
    ///
    /// # Errors
    /// Those of the ledger.
    pub async fn fault(&self) -> Result<Option<Fault>, Fault> {
        let job = Arc::clone(&self.job);
        let record = self.blocking(move |store| store.record(&job)).await??;
        Ok(record.job.as_ref().and_then(|it| it.error.as_ref()).map(Fault::of_wire))
    }

    fn check_there(&self) -> Result<(), Fault> {
        match self.store.by_id(self.job.id) {
            Some(_) => Ok(()),
            None => Err(Fault::no_job(&format!("jobs/{}", self.job.id))),
        }
    }

    /// The next control event that the stream asked for.
    async fn control(&mut self) -> Result<Option<EditEvent>, Fault> {
        loop {
            if self.ahead.is_empty() {
                let (job, after) = (Arc::clone(&self.job), self.cursor);
                if after >= job.last_sequence() {
                    return Ok(None);
                }
                let read = self.blocking(move |store| store.events(job.id, after)).await??;
                self.ahead.extend(read);
            }
            let Some(event) = self.ahead.front() else { return Ok(None) };
            if !event.event.as_ref().is_some_and(|it| self.wanted.wants(it)) {
                self.cursor = event.sequence;
                self.ahead.pop_front();
                continue;
            }
            // The event stays in the buffer until it is complete, so that none is lost if this future is dropped.
            let mut event = event.clone();
            let inline = self.wanted.inline;
            if !pictures(&mut event).is_empty() {
                let whole = self.blocking(move |store| {
                    fill(store, pictures(&mut event), inline);
                    event
                });
                event = whole.await?;
            }
            self.cursor = event.sequence;
            self.ahead.pop_front();
            event.conflated = std::mem::take(&mut self.missed);
            return Ok(Some(event));
        }
    }

    /// Runs a function that reads the disk on a blocking thread.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let store = Arc::clone(&self.store);
        let done = task::spawn_blocking(move || work(&store)).await;
        done.map_err(|_| Fault::new(Reason::Internal, "internal error; see the server's log"))
    }

    /// The next latest-wins event with a new value: queue position, preview, then progress.
    async fn latest(&mut self) -> Option<EditEvent> {
        let Latest { queue, step, preview } = self.job.latest();
        if queue.count > self.seen.queue {
            let first = self.seen.queue;
            self.seen.queue = queue.count;
            // A job that left the queue has no position in it.
            if let Some(place) = queue.value.filter(|_| self.job.is_waiting()) {
                self.miss("queue", queue.count - first - 1);
                return Some(self.dress(Event::Queue(place)));
            }
        }
        if preview.count > self.seen.preview {
            let shot = preview.value?;
            let wanted = self.is_wanted(&shot);
            let image = if wanted { Some(shot.file().await.clone()) } else { None };
            let first = self.seen.preview;
            self.seen.preview = preview.count;
            if wanted {
                self.miss("preview", preview.count - first - 1);
                let preview = v1::Preview { pass: shot.pass as i32, step: shot.step, image };
                return Some(self.dress(Event::Preview(preview)));
            }
        }
        if step.count > self.seen.step {
            self.miss("step", step.count - self.seen.step - 1);
            self.seen.step = step.count;
            return Some(self.dress(Event::Step(step.value?)));
        }
        None
    }

    /// Counts events of a kind that were overwritten before they were delivered.
    fn miss(&mut self, kind: &'static str, count: u64) {
        self.missed += count;
        metrics::counter!("retouch_events_conflated_total", "kind" => kind).increment(count);
    }

    fn is_wanted(&self, shot: &Shot) -> bool {
        let every = self.wanted.preview_every;
        let is_of_pass = self.wanted.previews_of.is_none_or(|it| it == shot.pass);
        every > 0 && is_of_pass && shot.step.is_multiple_of(every)
    }

    /// Wraps a latest-wins event with the fields that every event has.
    fn dress(&mut self, event: Event) -> EditEvent {
        let missed = std::mem::take(&mut self.missed);
        EditEvent {
            job: format!("jobs/{}", self.job.id),
            sequence: self.cursor,
            attempt: self.job.attempt(),
            time: Some(self.store.clock.timestamp()),
            conflated: missed,
            event: Some(event),
        }
    }
}

/// Whether a shutdown ends the streams of a job: at once if it is not in a pass, later in any case.
fn is_cut(phase: Phase, job: &Job) -> bool {
    match phase {
        Phase::Open => false,
        Phase::Draining => {
            !job.is_over() && !matches!(job.state(), State::Localizing | State::Editing)
        }
        Phase::Halted => !job.is_over(),
    }
}

/// The artifacts of an event.
fn pictures(event: &mut EditEvent) -> Vec<&mut Artifact> {
    match &mut event.event {
        Some(Event::ClusterMap(it)) => it.image.iter_mut().chain(it.labels.iter_mut()).collect(),
        Some(Event::Heatmap(it)) => it.image.iter_mut().collect(),
        Some(Event::Part(it)) => it.image.iter_mut().collect(),
        Some(Event::MaskProposed(it)) => it.mask.iter_mut().collect(),
        Some(Event::MaskSettled(it)) => it.mask.iter_mut().collect(),
        Some(Event::Result(it)) => it.image.iter_mut().chain(it.mask.iter_mut()).collect(),
        _ => Vec::new(),
    }
}

/// Inlines the bytes of artifacts into an answer: at most `inline` bytes each, 3 MiB together. Blocking: reads files.
pub fn fill(store: &Store, artifacts: Vec<&mut Artifact>, inline: usize) {
    let mut left = INLINE_BYTES.1 as usize;
    for artifact in artifacts {
        let size = artifact.size_bytes as usize;
        if size > inline || size > left {
            continue;
        }
        // On an error the answer still has the artifact's name.
        if let Ok(bytes) = store.artifacts.read_all(&artifact.name) {
            left -= size;
            artifact.inline = bytes;
        }
    }
}

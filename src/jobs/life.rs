//! State machine of a job: every transition, made on a draft that is committed atomically.
//! ```text
//! QUEUED → LOCALIZING → EDITING → SUCCEEDED                     AUTO
//!              └→ AWAITING_MASK → MASK_READY → EDITING          REVIEW
//! QUEUED → EDITING        PROVIDED, or the plain backbone
//! LOCALIZING → SUCCEEDED  LOCALIZE_ONLY
//! EDITING → LOCALIZING    the next part of an instruction that asks for several edits
//! any that has not ended → FAILED | CANCELLED; a job with `reuse_localization_of` is never LOCALIZING
//! after a restart: LOCALIZING → QUEUED, EDITING → MASK_READY (QUEUED where no pass 1 is needed)
//! ```

use std::time::{Duration, SystemTime};

use crate::jobs::{artifacts::NewFile, clock, fault::Fault, job::is_over};
use crate::wire::{
    journal::v1::JobRecord,
    pictures::PictureFile,
    reason::Reason,
    spec,
    v1::{self, EditEvent, EditJob, EditSpec, edit_event::Event, edit_job::State},
};

/// A job's record while it is changed, with the events and files to be committed with it.
#[derive(Debug)]
pub struct Draft {
    pub(super) record: JobRecord,
    events: Vec<EditEvent>,
    files: Vec<NewFile>,
    pins: Vec<String>,
    pub(super) changed: bool,
    /// When it is changed: every time that the change records.
    pub(super) now: SystemTime,
}

/// A change ready to be committed.
#[derive(Debug)]
pub struct Sealed {
    /// The record, with a new etag.
    pub record: JobRecord,
    /// New control events.
    pub events: Vec<EditEvent>,
    /// New files.
    pub files: Vec<NewFile>,
    /// Existing artifacts that the job refers to from now on.
    pub pins: Vec<String>,
}

impl Draft {
    /// A draft that starts from a record.
    pub fn new(record: JobRecord, now: SystemTime) -> Self {
        let (events, files, pins) = (Vec::new(), Vec::new(), Vec::new());
        Self { record, events, files, pins, changed: false, now }
    }

    /// Whether there is anything to commit.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// Finishes the draft: all of the change in one value.
    pub fn seal(mut self) -> Sealed {
        let job = self.job();
        let version = u64::from_str_radix(&job.etag, 16).unwrap_or_default() + 1;
        job.etag = format!("{version:x}");
        Sealed { record: self.record, events: self.events, files: self.files, pins: self.pins }
    }

    /// The record with the changes so far.
    pub fn record(&self) -> &JobRecord {
        &self.record
    }

    /// The job's state with the changes so far.
    pub fn state(&self) -> State {
        self.record.job.as_ref().map_or(State::Unspecified, EditJob::state)
    }

    pub(super) fn job(&mut self) -> &mut EditJob {
        self.record.job.get_or_insert_default()
    }

    pub(super) fn spec(&self) -> &EditSpec {
        let spec = self.record.job.as_ref().and_then(|it| it.spec.as_ref());
        spec.expect("a job has a spec")
    }

    /// Appends a control event, with the next sequence number.
    pub fn event(&mut self, event: Event) {
        self.changed = true;
        let job = self.record.job.get_or_insert_default();
        job.last_sequence += 1;
        self.events.push(EditEvent {
            job: job.name.clone(),
            sequence: job.last_sequence,
            attempt: job.attempt,
            time: Some(self.now.into()),
            conflated: 0,
            event: Some(event),
        });
    }

    /// Adds a new file to the job.
    pub fn file(&mut self, file: PictureFile) -> v1::Artifact {
        self.keep(NewFile::of_picture(file))
    }

    /// Adds a file whose artifact name is already assigned.
    pub fn keep(&mut self, file: NewFile) -> v1::Artifact {
        let artifact = file.artifact.clone();
        self.record.artifacts.push(artifact.name.clone());
        self.files.push(file);
        self.changed = true;
        artifact
    }

    /// Adds a reference to an existing artifact.
    pub fn keep_name(&mut self, name: String) {
        self.record.artifacts.push(name.clone());
        self.pins.push(name);
        self.changed = true;
    }

    pub(super) fn go(&mut self, state: State, detail: &str) {
        let spent = clock::elapsed(self.record.state_time, self.now);
        let from = self.state();
        let timings = self.record.timings.get_or_insert_default();
        let slot = match from {
            State::Queued | State::MaskReady => Some(&mut timings.queued),
            State::Localizing => Some(&mut timings.localize),
            State::AwaitingMask => Some(&mut timings.review),
            State::Editing => Some(&mut timings.edit),
            _ => None,
        };
        if let Some(slot) = slot {
            let so_far = slot.and_then(|it| Duration::try_from(it).ok()).unwrap_or_default();
            *slot = Some(spec::duration(so_far + spent));
        }
        let now = self.now;
        self.record.state_time = Some(now.into());
        self.job().state = state as i32;
        self.event(Event::State(v1::StateChanged {
            state: state as i32,
            detail: detail.to_owned(),
        }));
        if is_over(state) {
            let ttl =
                self.spec().ttl.and_then(|it| Duration::try_from(it).ok()).unwrap_or_default();
            let job = self.job();
            job.end_time = Some(now.into());
            job.expire_time = Some((now + ttl).into());
            job.worker.clear();
        }
    }

    /// Refuses the change if the job has ended.
    ///
    /// # Errors
    /// [`Reason::JobTerminal`].
    pub fn check_live(&self) -> Result<(), Fault> {
        if is_over(self.state()) {
            let state = self.state().as_str_name().trim_start_matches("STATE_");
            let message = format!("the job has ended: {state}");
            return Err(Fault::new(Reason::JobTerminal, message).with("state", &state));
        }
        Ok(())
    }

    // === acceptance ===

    /// Starts a new job: QUEUED, with its first events and warnings.
    pub fn accept(&mut self, warnings: Vec<v1::Warning>) {
        self.job().attempt = 1;
        self.go(State::Queued, "");
        for warning in warnings {
            self.event(Event::Warning(warning));
        }
    }

    /// Handles a server or device lost during a pass: returns to the checkpoint before it, or fails the job after
    /// `max_attempts` losses without progress.
    pub fn lost(&mut self, max_attempts: u32, why: &str) {
        // Also in QUEUED, in which a worker reads a stored localization.
        if self.job().worker.is_empty() {
            return;
        }
        self.record.failures += 1;
        if self.record.failures < max_attempts {
            return self.put_back(why);
        }
        let times = self.record.failures;
        let message =
            format!("the server or its device failed {times} times while running this job");
        self.fail(&Fault::new(Reason::WorkerLost, message));
    }

    /// Returns to the checkpoint before the running pass.
    pub fn put_back(&mut self, why: &str) {
        let localized = !self.record.localization.is_empty();
        let back = match self.state() {
            State::Editing if localized => State::MaskReady,
            State::Localizing | State::Editing => State::Queued,
            _ => {
                self.job().worker.clear();
                self.changed = true;
                return;
            }
        };
        self.job().attempt += 1;
        self.job().worker.clear();
        metrics::counter!("retouch_redeliveries_total").increment(1);
        self.go(back, why);
    }

    // === the end ===

    pub(super) fn succeed(&mut self, mut result: v1::EditResult) {
        result.provenance = self.job().result.take().and_then(|it| it.provenance);
        self.job().result = Some(result);
        // The timings include the pass that ends here.
        let (events, sequence) = (self.events.len(), self.job().last_sequence);
        self.go(State::Succeeded, "");
        let state = self.events.split_off(events);
        self.job().last_sequence = sequence;
        let timings = self.record.timings;
        let result = self.job().result.get_or_insert_default();
        result.timings = timings;
        let result = result.clone();
        self.event(Event::Result(result));
        for event in state.into_iter().filter_map(|it| it.event) {
            self.event(event);
        }
    }

    /// Ends the job with an error, or as cancelled.
    pub fn fail(&mut self, fault: &Fault) {
        if is_over(self.state()) {
            return;
        }
        let error = fault.to_wire();
        self.job().error = Some(error.clone());
        self.event(Event::Error(error));
        let cancelled = matches!(fault.reason, Reason::CancelledByApi | Reason::ClientGone);
        let end = if cancelled { State::Cancelled } else { State::Failed };
        self.go(end, &fault.message);
    }
}

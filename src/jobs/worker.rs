//! Worker threads: each takes the next job and runs its passes on a device, and is never blocked by streams.

use std::{
    ops::ControlFlow,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::edit::{
    edit_mask::MaskSource,
    event::{EditEvent, EventSink},
};
use crate::jobs::{
    fault::Fault,
    job::Job,
    latest::Shot,
    life::Draft,
    passes::Hold,
    runner::{RunError, Runner, Task},
    store::{self, Store},
};
use crate::panics::{Cause, Panic};
use crate::sampling::Interrupted;
use crate::wire::{
    events,
    pictures::{self, LazyPreview},
    reason::Reason,
    spec,
    v1::{self, Pass, edit_event::Event},
};

/// Why a worker thread ended.
#[derive(Debug, PartialEq, Eq)]
pub enum WorkerEnd {
    /// The queue was closed.
    Closed,
    /// The device is unusable; the process has to be restarted.
    DeviceLost,
}

/// Time between renewals of a worker's lease, which only a worker whose steps complete renews.
const RENEWAL: Duration = Duration::from_secs(5);

/// Runs jobs on a device until the queue is closed; `device` is its index among those of all workers.
pub fn run(store: &Store, runner: &dyn Runner, name: &str, device: usize) -> WorkerEnd {
    let mut slot = Slot::new();
    while let Some(taken) = store.queue.pop(device) {
        let id = taken.job;
        store.show_queue();
        let Some(job) = store.by_id(id) else { continue };
        store.running.insert(id);
        slot.is_busy(true);
        let started = store.clock.instant();
        let lost = work(store, runner, name, &job);
        store.running.remove(&id);
        slot.is_busy(false);
        store.took(store.clock.since(started));
        if let Some(asked) = job.cancel_asked() {
            metrics::histogram!("retouch_cancel_latency_seconds")
                .record(store.clock.since(asked).as_secs_f64());
        }
        if lost {
            return WorkerEnd::DeviceLost;
        }
    }
    WorkerEnd::Closed
}

/// Counts one worker as busy or free in the metrics.
struct Slot {
    busy: bool,
}

impl Slot {
    fn new() -> Self {
        metrics::gauge!("retouch_slots", "state" => "busy").increment(0.0);
        metrics::gauge!("retouch_slots", "state" => "free").increment(1.0);
        Self { busy: false }
    }

    fn is_busy(&mut self, busy: bool) {
        if self.busy != busy {
            let [busier, freer] = if busy { [1.0, -1.0] } else { [-1.0, 1.0] };
            metrics::gauge!("retouch_slots", "state" => "busy").increment(busier);
            metrics::gauge!("retouch_slots", "state" => "free").increment(freer);
            self.busy = busy;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.is_busy(false);
        metrics::gauge!("retouch_slots", "state" => "free").decrement(1.0);
    }
}

/// Runs a job as far as it can go; returns whether the device was lost.
fn work(store: &Store, runner: &dyn Runner, name: &str, job: &Arc<Job>) -> bool {
    let _span = job.span().entered();
    store.let_go_first(job);
    let waited = job.waited();
    store.renew_lease(name);
    let started = store.change(job, |draft| {
        let first = draft.start(name)?;
        Ok((first, draft.hold()))
    });
    let Ok((first, hold)) = started else {
        return false; // it ended while it waited, or another worker has it
    };
    metrics::histogram!("retouch_queue_wait_seconds").record(waited.as_secs_f64());
    let worker = Worker { store, runner, job, hold };
    worker.passes(first).is_err_and(|error| worker.failed(error))
}

/// One worker running one job.
struct Worker<'a> {
    store: &'a Store,
    runner: &'a dyn Runner,
    job: &'a Arc<Job>,
    hold: Hold,
}

impl Worker<'_> {
    /// Runs the job's passes from `first`, part by part, until it ends or has to wait for a decision.
    fn passes(&self, first: Pass) -> Result<(), RunError> {
        let mut next = Some(first);
        while let Some(first) = next {
            next = self.part(first)?;
        }
        Ok(())
    }

    /// Opens the job's part that is next, and runs its passes from `first`; returns the first pass of the part after it,
    /// if there is one and nothing is to wait for.
    fn part(&self, first: Pass) -> Result<Option<Pass>, RunError> {
        let task = self.task().map_err(RunError::Fault)?;
        let size = task.input.picture.size();
        let mut opened = self.guarded(|_| self.runner.open(task))?;
        if first == Pass::Localize {
            let goes_on = self.timed("localize", || {
                let found = self.guarded(|sink| opened.localize(sink))?;
                self.change(|draft| draft.localized(found.clone()))
            })?;
            if !goes_on {
                return Ok(None);
            }
        }
        self.timed("edit", || {
            let mask = self.store.decided_mask(self.job, size).map_err(RunError::Fault)?;
            let edited = self.guarded(|sink| opened.edit(mask, sink))?;
            let input = self.input_sha256();
            self.change(|draft| draft.edited(edited.clone(), self.runner.model(), input.clone()))
        })
    }

    /// Runs work on the model and catches panics, through which libtorch reports errors, so that they fail only this
    /// job.
    fn guarded<T>(
        &self,
        run: impl FnOnce(&mut dyn EventSink) -> Result<T, RunError>,
    ) -> Result<T, RunError> {
        let mut pass = Listening::new(self.store, self.job, &self.hold);
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| run(&mut pass)));
        let outcome = outcome.unwrap_or_else(|payload| Err(of_panic(payload.as_ref())));
        match pass.fault.take() {
            Some(fault) => Err(RunError::Fault(fault)),
            None => outcome,
        }
    }

    fn change<T>(&self, change: impl FnMut(&mut Draft) -> Result<T, Fault>) -> Result<T, RunError> {
        self.store.change_held(self.job, &self.hold, change).map_err(RunError::Fault)
    }

    /// Builds the runner's task from the job.
    fn task(&self) -> Result<Task, Fault> {
        let record = self.store.record(self.job)?;
        let spec = record.job.as_ref().map(store::spec).unwrap_or_default();
        let input = self.store.decoded_input(self.job.id, &spec)?;
        let found = !record.localization.is_empty();
        let done = self.store.done_parts(&record, input.picture.size())?;
        Ok(Task { spec, input, localization: found.then(|| record.localization.clone()), done })
    }

    fn input_sha256(&self) -> Bytes {
        let spec =
            self.job.live().and_then(|it| it.job.as_ref().map(store::spec)).unwrap_or_default();
        let name = store::image_name(spec.image.as_ref()).unwrap_or_default();
        self.store.artifacts.get(&self.job.tenant, name).map(|it| it.sha256).unwrap_or_default()
    }

    /// Ends or puts back the job after a failed pass; returns whether the device was lost.
    fn failed(&self, error: RunError) -> bool {
        match error {
            RunError::Interrupted if self.job.is_over() => false,
            // A pass is interrupted only by the job's end or by a halt.
            RunError::Interrupted => {
                self.settle(|draft| draft.put_back("the server is shutting down"));
                false
            }
            RunError::Fault(fault) if self.job.is_over() => {
                tracing::debug!(%fault, "a pass ended after its job");
                false
            }
            RunError::Fault(fault) if fault.reason == Reason::EngineDown => {
                tracing::warn!(%fault, "a pass ended without a commit");
                self.settle(|draft| draft.put_back("the engine was away"));
                false
            }
            RunError::Fault(fault) => {
                tracing::warn!(reason = fault.reason.name(), %fault, "a job failed");
                self.settle(|draft| draft.fail(&fault));
                false
            }
            RunError::DeviceLost(message) => {
                tracing::error!(%message, "the device has failed; restart the server");
                self.store.set_ready(Err(format!("the device has failed: {message}")));
                let most = self.store.limits.max_attempts;
                self.settle(|draft| draft.lost(most, "the device was lost"));
                true
            }
        }
    }

    /// Ends the job or returns it to its checkpoint.
    fn settle(&self, mut change: impl FnMut(&mut Draft)) {
        let settled = self.store.change_held(self.job, &self.hold, |draft| {
            change(draft);
            Ok(())
        });
        if let Err(fault) = settled {
            tracing::error!(%fault, "a job could not be returned to its checkpoint; it will be at the next start");
        }
    }

    /// Runs one pass in a span of its own, and measures it.
    fn timed<T>(
        &self,
        pass: &'static str,
        run: impl FnOnce() -> Result<T, RunError>,
    ) -> Result<T, RunError> {
        let _span = tracing::info_span!("pass", pass).entered();
        let started = self.store.clock.instant();
        let made = run()?;
        metrics::histogram!("retouch_pass_seconds", "pass" => pass)
            .record(self.store.clock.since(started).as_secs_f64());
        Ok(made)
    }
}

/// Listener of a pass: publishes progress, commits events, and stops the pass on a timeout or the job's end.
struct Listening<'a> {
    store: &'a Store,
    job: &'a Arc<Job>,
    /// Longer side of previews, in pixels.
    preview_max_px: Option<u32>,
    hold: &'a Hold,
    started: Instant,
    last: Instant,
    /// When the worker's lease was renewed.
    renewed: Instant,
    fault: Option<Fault>,
}

impl EventSink for Listening<'_> {
    fn emit(&mut self, event: EditEvent) -> ControlFlow<Interrupted> {
        if self.job.is_over() || self.store.halt.load(Ordering::Acquire) {
            return ControlFlow::Break(Interrupted);
        }
        if self.store.clock.since(self.started) > self.store.limits.run_timeout {
            let seconds = self.store.limits.run_timeout.as_secs();
            let message = format!("a pass took longer than {seconds} s");
            return self.break_with(Fault::new(Reason::RunTimeout, message));
        }
        match event {
            EditEvent::StepDone(report) => {
                let step = events::step(&report);
                if let Some(image) = report.preview {
                    let picture = LazyPreview::new(image, self.preview_max_px);
                    self.job.show_preview(Shot::new(step.pass(), step.step, picture));
                }
                self.step(step);
                ControlFlow::Continue(())
            }
            EditEvent::PartStarted(part, _) => self.keep(|draft| {
                draft.part_started(&part);
                Ok(())
            }),
            EditEvent::InstructionParsed(parsed) => {
                self.keep_event(&Event::Instruction(events::instruction(parsed)))
            }
            EditEvent::Warning(warning) => {
                self.keep_event(&Event::Warning(events::warning(warning)))
            }
            EditEvent::DriftTold(drift) => self.keep_event(&Event::Drift(events::drift(drift))),
            // Its pictures are committed with the end of the pass.
            EditEvent::Localized(..) => ControlFlow::Continue(()),
            EditEvent::MaskSettled(mask) => {
                let file = pictures::mask(mask.full().as_image());
                let is_whole = mask.source() == MaskSource::Whole;
                self.keep(|draft| draft.mask_settled(file.clone(), mask.area(), is_whole))
            }
        }
    }
}

impl<'a> Listening<'a> {
    fn new(store: &'a Store, job: &'a Arc<Job>, hold: &'a Hold) -> Self {
        // What came before, such as clusters of large maps, may have taken most of the lease.
        store.renew_lease(&hold.worker);
        let now = store.clock.instant();
        let events = job.live().and_then(|it| it.job.as_ref()?.spec.as_ref()?.events);
        let preview_max_px = events.and_then(|it| it.preview_max_px);
        let [started, last, renewed] = [now; 3];
        Self { store, job, preview_max_px, hold, started, last, renewed, fault: None }
    }

    fn step(&mut self, step: v1::StepProgress) {
        let now = self.store.clock.instant();
        if now - self.renewed > RENEWAL {
            self.store.renew_lease(&self.hold.worker);
            self.renewed = now;
        }
        metrics::histogram!("retouch_step_seconds").record((now - self.last).as_secs_f64());
        self.last = now;
        let pace = (now - self.started) / step.step.max(1);
        let left = pace.saturating_mul(step.total.saturating_sub(step.step));
        tracing::trace!(step = step.step, of = step.total, "step");
        self.job.show_step(v1::StepProgress { eta: Some(spec::duration(left)), ..step });
        self.store.sending.changed(self.job);
    }

    fn keep_event(&mut self, event: &Event) -> ControlFlow<Interrupted> {
        self.keep(|draft| {
            draft.event(event.clone());
            Ok(())
        })
    }

    fn keep(
        &mut self,
        change: impl FnMut(&mut Draft) -> Result<(), Fault>,
    ) -> ControlFlow<Interrupted> {
        match self.store.change_held(self.job, self.hold, change) {
            Ok(()) => ControlFlow::Continue(()),
            Err(fault) => self.break_with(fault),
        }
    }

    fn break_with(&mut self, fault: Fault) -> ControlFlow<Interrupted> {
        self.fault = Some(fault);
        ControlFlow::Break(Interrupted)
    }
}

/// The error of a panic, by its cause.
fn of_panic(payload: &(dyn std::any::Any + Send)) -> RunError {
    let Panic { line, cause } = Panic::of(payload);
    match cause {
        Cause::Memory => {
            let message =
                "there was not enough memory for this job; a smaller `spec.resize.fit` needs less";
            let fault = Fault::new(Reason::OutOfMemory, message);
            RunError::Fault(fault.retry_after(Duration::from_secs(10)))
        }
        Cause::Device => RunError::DeviceLost(line),
        Cause::Defect => {
            tracing::error!(panic = %line, "a pass panicked");
            let message = "the edit failed; the server's log says why";
            RunError::Fault(Fault::new(Reason::Internal, message))
        }
    }
}

//! Worker threads: each takes the next job and runs its passes on a device, and is never blocked by streams.

use std::{
    ops::ControlFlow,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;

use crate::jobs::{
    fault::{Fault, Reason},
    job::Job,
    latest::Shot,
    panics::{Cause, Panic},
    runner::{RunError, RunEvent, Runner, Task},
    store::{self, Store},
};
use crate::wire::{
    masks, spec,
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

/// Runs jobs on a device until the queue is closed; `device` is its index among those of all workers.
pub fn run(store: &Store, runner: &mut dyn Runner, name: &str, device: usize) -> WorkerEnd {
    let mut slot = Slot::new();
    while let Some(taken) = store.queue.pop(device) {
        let id = taken.job;
        store.show_queue();
        let Some(job) = store.by_id(id) else { continue };
        store.running.insert(id, SystemTime::now());
        slot.is_busy(true);
        let started = Instant::now();
        let lost = Worker { store, runner, name, job: &job }.run();
        store.running.remove(&id);
        slot.is_busy(false);
        store.took(started.elapsed());
        if let Some(asked) = job.cancel_asked() {
            metrics::histogram!("retouch_cancel_latency_seconds")
                .record(asked.elapsed().as_secs_f64());
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

/// One worker running one job.
struct Worker<'a> {
    store: &'a Store,
    runner: &'a mut dyn Runner,
    name: &'a str,
    job: &'a Arc<Job>,
}

impl Worker<'_> {
    /// Runs the job as far as it can go; returns whether the device was lost.
    fn run(&mut self) -> bool {
        let _span = self.job.span().entered();
        let waited = self.job.waited();
        let Ok(mut pass) = self.store.change(self.job, |draft| draft.start(self.name)) else {
            return false; // it ended while it waited
        };
        metrics::histogram!("retouch_queue_wait_seconds").record(waited.as_secs_f64());
        loop {
            match self.pass(pass) {
                Ok(Some(next)) => pass = next,
                Ok(None) => return false,
                Err(error) => return self.failed(error),
            }
        }
    }

    /// Runs one pass; returns the next one if this worker continues with it.
    fn pass(&mut self, pass: Pass) -> Result<Option<Pass>, RunError> {
        let name = if pass == Pass::Edit { "edit" } else { "localize" };
        let _span = tracing::info_span!("pass", pass = name).entered();
        let started = Instant::now();
        let task = self.task(pass).map_err(RunError::Fault)?;
        let next = if pass == Pass::Edit {
            let edited = self.guarded(|runner, listen| runner.edit(&task, listen))?;
            let input = self.input_sha256();
            let model = self.runner.model().clone();
            self.change(|draft| {
                draft.provenance(&model, input);
                draft.edited(edited)
            })?;
            None
        } else {
            let localized = self.guarded(|runner, listen| runner.localize(&task, listen))?;
            let goes_on = self.change(|draft| draft.localized(localized.found))?;
            goes_on.then_some(Pass::Edit)
        };
        metrics::histogram!("retouch_pass_seconds", "pass" => name)
            .record(started.elapsed().as_secs_f64());
        Ok(next)
    }

    /// Runs a pass and catches panics, through which libtorch reports errors, so that they fail only this job.
    fn guarded<T>(
        &mut self,
        run: impl FnOnce(&mut dyn Runner, crate::jobs::runner::Listener<'_>) -> Result<T, RunError>,
    ) -> Result<T, RunError> {
        let mut pass = Listening::new(self.store, self.job);
        let mut listen = |event: RunEvent| pass.hear(event);
        let runner = &mut *self.runner;
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| run(runner, &mut listen)));
        let outcome = outcome.unwrap_or_else(|payload| Err(of_panic(payload.as_ref())));
        match pass.fault.take() {
            Some(fault) => Err(RunError::Fault(fault)),
            None => outcome,
        }
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut crate::jobs::life::Draft) -> Result<T, Fault>,
    ) -> Result<T, RunError> {
        self.store.change(self.job, change).map_err(RunError::Fault)
    }

    /// Builds the runner's task from the job.
    fn task(&self, pass: Pass) -> Result<Task, Fault> {
        let record = self.job.record();
        let spec = record.job.as_ref().map(store::spec).unwrap_or_default();
        let name = store::image_name(spec.image.as_ref()).unwrap_or_default();
        let image = self.store.artifacts.read_all(name)?;
        let found = !record.localization.is_empty();
        let mask = match (&record.decision, &spec.mask) {
            (Some(decision), _) => Some(masks::of_decision(decision)),
            (None, Some(mask)) => Some(mask.clone()),
            (None, None) => None,
        };
        let mask = match mask.filter(|_| pass == Pass::Edit) {
            Some(mask) => {
                let name = store::image_name(mask.image.as_ref());
                let file = name.map(|it| self.store.artifacts.read_all(it)).transpose()?;
                Some((mask, file))
            }
            None => None,
        };
        Ok(Task { spec, image, localization: found.then_some(record.localization), mask })
    }

    fn input_sha256(&self) -> Bytes {
        let spec = self.job.record().job.as_ref().map(store::spec).unwrap_or_default();
        let name = store::image_name(spec.image.as_ref()).unwrap_or_default();
        self.store.artifacts.get(&self.job.tenant, name).map(|it| it.sha256).unwrap_or_default()
    }

    /// Ends or puts back the job after a failed pass; returns whether the device was lost.
    fn failed(&self, error: RunError) -> bool {
        match error {
            RunError::Interrupted if self.job.is_over() => false,
            // A pass is interrupted only by the job's end or by a halt.
            RunError::Interrupted => {
                self.put_back(|draft| draft.put_back("the server is shutting down"));
                false
            }
            RunError::Fault(fault) if self.job.is_over() => {
                tracing::debug!(%fault, "a pass ended after its job");
                false
            }
            RunError::Fault(fault) => {
                tracing::warn!(reason = fault.reason.name(), %fault, "a job failed");
                self.store.end(self.job, &fault);
                false
            }
            RunError::DeviceLost(message) => {
                tracing::error!(%message, "the device is lost");
                self.store.set_ready(Err(format!("the device is lost: {message}")));
                let most = self.store.limits.max_attempts;
                self.put_back(|draft| draft.lost(most, "the device was lost"));
                true
            }
        }
    }

    fn put_back(&self, change: impl FnOnce(&mut crate::jobs::life::Draft)) {
        let put = self.store.change(self.job, |draft| {
            change(draft);
            Ok(())
        });
        if let Err(fault) = put {
            tracing::error!(%fault, "a job could not be put back; it is at the next start");
        }
    }
}

/// Listener of a pass: publishes progress, commits events, and stops the pass on a timeout or the job's end.
struct Listening<'a> {
    store: &'a Store,
    job: &'a Job,
    started: Instant,
    last: Instant,
    fault: Option<Fault>,
}

impl<'a> Listening<'a> {
    fn new(store: &'a Store, job: &'a Job) -> Self {
        let now = Instant::now();
        Self { store, job, started: now, last: now, fault: None }
    }

    fn hear(&mut self, event: RunEvent) -> ControlFlow<()> {
        if self.job.is_over() || self.store.halt.load(Ordering::Acquire) {
            return ControlFlow::Break(());
        }
        if self.started.elapsed() > self.store.limits.run_timeout {
            let seconds = self.store.limits.run_timeout.as_secs();
            let message = format!("a pass took longer than {seconds} s");
            return self.break_with(Fault::new(Reason::RunTimeout, message));
        }
        match event {
            RunEvent::Step(step) => {
                self.step(step);
                ControlFlow::Continue(())
            }
            RunEvent::Preview(pass, step, picture) => {
                self.job.show_preview(Shot::new(pass, step, picture));
                ControlFlow::Continue(())
            }
            RunEvent::Parsed(parsed) => self.keep(|draft| {
                draft.event(Event::Instruction(parsed));
                Ok(())
            }),
            RunEvent::Warning(warning) => self.keep(|draft| {
                draft.event(Event::Warning(warning));
                Ok(())
            }),
            RunEvent::MaskSettled { file, area, whole } => {
                self.keep(|draft| draft.mask_settled(file, area, whole))
            }
        }
    }

    fn step(&mut self, step: v1::StepProgress) {
        let now = Instant::now();
        metrics::histogram!("retouch_step_seconds").record((now - self.last).as_secs_f64());
        self.last = now;
        let pace = self.started.elapsed() / step.step.max(1);
        let left = pace.saturating_mul(step.total.saturating_sub(step.step));
        tracing::trace!(step = step.step, of = step.total, "step");
        self.job.show_step(v1::StepProgress { eta: Some(spec::duration(left)), ..step });
    }

    fn keep(
        &mut self,
        change: impl FnOnce(&mut crate::jobs::life::Draft) -> Result<(), Fault>,
    ) -> ControlFlow<()> {
        let kept = self.store.change(self.job, |draft| {
            draft.check_live()?;
            change(draft)
        });
        match kept {
            Ok(()) => ControlFlow::Continue(()),
            Err(fault) => self.break_with(fault),
        }
    }

    fn break_with(&mut self, fault: Fault) -> ControlFlow<()> {
        self.fault = Some(fault);
        ControlFlow::Break(())
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

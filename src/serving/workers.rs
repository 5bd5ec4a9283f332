//! The workers of a process over their runners, and the jobs' timeouts.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::{sync::oneshot, task, time};

use crate::jobs::{
    runner::Runner,
    store::Store,
    timeouts,
    worker::{self, WorkerEnd},
};
use crate::serving::error::ServeError;

/// Longest time that a shutdown waits for a denoising step to end.
const LAST_STEP: Duration = Duration::from_secs(10);

/// Runners by device: one for each job that a device runs at once.
pub type Runners = Vec<Vec<Box<dyn Runner + Send>>>;

/// Running workers.
#[derive(Debug)]
pub struct Workers {
    store: Arc<Store>,
    failed: oneshot::Receiver<ServeError>,
    threads: thread::JoinHandle<()>,
    timeouts: task::JoinHandle<()>,
}

impl Workers {
    /// Runs the store's jobs on what `load` returns, which runs on a thread of its own.
    ///
    /// # Errors
    /// [`ServeError`] if there can be no thread.
    pub fn start(
        store: Arc<Store>,
        load: impl FnOnce() -> Result<Runners, ServeError> + Send + 'static,
    ) -> Result<Self, ServeError> {
        let (tell, failed) = oneshot::channel();
        let threads = thread::Builder::new().name("retouch-models".to_owned()).spawn({
            let store = Arc::clone(&store);
            move || work(&store, load, tell)
        });
        let threads = threads.map_err(ServeError::start)?;
        let timeouts = tokio::spawn(timeouts::run(Arc::clone(&store)));
        Ok(Self { store, failed, threads, timeouts })
    }

    /// Waits until the model can't be loaded, or a device is lost; else for ever.
    pub async fn failed(&mut self) -> ServeError {
        (&mut self.failed).await.unwrap_or(ServeError::Panicked)
    }

    /// Returns running jobs to their checkpoints, and ends the workers; `false` if a step still runs, whose job another
    /// process goes on with if there is one.
    pub async fn stop(self) -> bool {
        self.store.halt();
        self.timeouts.abort();
        let ended = task::spawn_blocking(move || self.threads.join());
        if time::timeout(LAST_STEP, ended).await.is_ok() {
            return true;
        }
        let given_up = task::spawn_blocking(move || self.store.give_up());
        // Without an answer of the ledger, the jobs are others' when the leases end.
        let _ = time::timeout(LAST_STEP, given_up).await;
        false
    }
}

/// Loads the runners, and runs jobs on each of them on its own thread until the queue is closed.
fn work(
    store: &Store,
    load: impl FnOnce() -> Result<Runners, ServeError>,
    tell: oneshot::Sender<ServeError>,
) {
    let runners = match load() {
        Ok(runners) => runners,
        // Sending fails only if the server is shutting down.
        Err(error) => return drop(tell.send(error)),
    };
    for runner in runners.iter().flatten() {
        store.set_model(runner.model().clone());
    }
    if !store.is_draining() {
        store.set_ready(Ok(()));
    }
    if runners.is_empty() {
        // Jobs run elsewhere, and nothing can fail.
        std::mem::forget(tell);
        return;
    }
    let tell = Mutex::new(Some(tell));
    let work = |name: &str, device: usize, runner: &dyn Runner| {
        let end = worker::run(store, runner, name, device);
        let first = tell.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (end, first) {
            (WorkerEnd::DeviceLost, Some(tell)) => drop(tell.send(ServeError::DeviceLost)),
            // The server closed the queue.
            (WorkerEnd::Closed, Some(tell)) => std::mem::forget(tell),
            // Another worker ended first.
            (_, None) => {}
        }
    };
    thread::scope(|scope| {
        for (device, runners) in runners.into_iter().enumerate() {
            for (index, runner) in runners.into_iter().enumerate() {
                let name = store.worker_name(device, index);
                let thread = format!("retouch-model-{device}-{index}");
                let thread = thread::Builder::new().name(thread);
                let started = thread.spawn_scoped(scope, move || work(&name, device, &*runner));
                started.expect("a process can start a thread");
            }
        }
    });
}

//! Shutdown: stop admitting and starting jobs, then wait for the running ones or return them to their checkpoints.

use std::sync::atomic::Ordering;

use tokio::sync::watch;

use crate::jobs::store::{Phase, Store};

impl Store {
    /// Stops admitting and starting jobs; running passes continue.
    pub fn drain(&self) {
        self.phase.send_replace(Phase::Draining);
        self.queue.close();
        self.set_ready(Err("the server is draining".to_owned()));
    }

    /// Stops running passes and returns their jobs to the last checkpoint.
    pub fn halt(&self) {
        self.halt.store(true, Ordering::Release);
        self.queue.close();
        self.phase.send_replace(Phase::Halted);
    }

    /// Whether jobs are no longer admitted.
    pub fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Open
    }

    /// The current phase, with changes.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }
}

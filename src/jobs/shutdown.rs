//! The end of a server as its jobs see it: none are taken any more, then none run.

use std::sync::atomic::Ordering;

use tokio::sync::watch;

use crate::jobs::store::Store;

/// How far the end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Jobs are taken.
    Open,
    /// None are taken or started; running ones go on.
    Draining,
    /// None runs any more.
    Halted,
}

impl Store {
    /// Takes no more jobs and starts none; running ones go on.
    pub fn drain(&self) {
        self.phase.send_replace(Phase::Draining);
        self.queue.close();
        self.set_ready(Err("the server is draining".to_owned()));
    }

    /// Sends running jobs back to their checkpoint.
    pub fn halt(&self) {
        self.halt.store(true, Ordering::Release);
        self.queue.close();
        self.phase.send_replace(Phase::Halted);
    }

    /// Whether no more jobs are taken.
    pub fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Open
    }

    /// Hears of the end.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }
}

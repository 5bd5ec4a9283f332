//! Entry into the queue, published queue positions, and estimated waiting times.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, atomic::Ordering},
    time::Duration,
};

use crate::jobs::{
    job::{self, Job},
    queue::Class,
    store::Store,
};
use crate::wire::{
    spec,
    v1::{self, Priority, edit_job::State},
};

impl Store {
    /// Enqueues a job that waits for a worker.
    pub fn enqueue(&self, job: &Job) {
        let class = match job.state() {
            State::MaskReady => Class::Decided,
            State::Queued => class_of(job.priority),
            _ => return,
        };
        self.queue.push(class, &job.tenant, job.id);
        self.show_queue();
    }

    /// Publishes every waiting job's position and estimated start.
    pub fn show_queue(&self) {
        let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let order = self.queue.order();
        let pace = Duration::from_millis(self.pace.load(Ordering::Relaxed));
        let mut depths = BTreeMap::from(
            [Priority::Interactive, Priority::Batch].map(|it| (job::priority_label(it), 0_u32)),
        );
        for (index, id) in order.iter().enumerate() {
            let Some(job) = self.by_id(*id) else { continue };
            *depths.entry(job.priority_label()).or_default() += 1;
            let ahead = index + self.running.len();
            let turns = ahead as u32 / self.limits.slots.max(1);
            let eta = (!pace.is_zero()).then(|| spec::duration(pace.saturating_mul(turns)));
            let (position, length) = (index as u32 + 1, order.len() as u32);
            job.show_queue(v1::QueueUpdate { position, length, eta });
        }
        for (priority, depth) in depths {
            metrics::gauge!("retouch_queue_depth", "priority" => priority).set(f64::from(depth));
        }
    }

    /// Number of jobs that wait for a worker or have one, of all processes that share the ledger. Jobs that wait for a
    /// decision are none of a worker's.
    pub fn work(&self) -> usize {
        let is_work = |it: &Job| {
            matches!(
                it.state(),
                State::Queued | State::Localizing | State::MaskReady | State::Editing
            )
        };
        self.jobs.iter().filter(|it| is_work(it)).count()
    }

    /// Records how long a job took.
    pub(super) fn took(&self, time: Duration) {
        let new = time.as_millis() as u64;
        let old = self.pace.load(Ordering::Relaxed);
        let smoothed = if old == 0 { new } else { (3 * old + new) / 4 };
        self.pace.store(smoothed.max(1), Ordering::Relaxed);
    }

    /// Estimated time until a new job would start; at least one second.
    pub fn wait(&self) -> Duration {
        let pace = Duration::from_millis(self.pace.load(Ordering::Relaxed).max(1_000));
        let turns = (self.queue.len() as u32).div_ceil(self.limits.slots.max(1));
        pace.saturating_mul(turns.max(1))
    }
}

/// Scheduling class of a job whose mask is not decided yet.
fn class_of(priority: Priority) -> Class {
    match priority {
        Priority::Batch => Class::Batch,
        Priority::Interactive | Priority::Unspecified => Class::Interactive,
    }
}

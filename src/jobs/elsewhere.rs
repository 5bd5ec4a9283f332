//! Other processes that share the ledger: their jobs, what becomes of those whose worker is gone, and whose callers are
//! where.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use uuid::Uuid;

use crate::jobs::{fault::Fault, job::Job, store::Store};
use crate::journal::ledger::{Ledger, LedgerError};

/// How long a job of another process waits for a worker there before one of this process takes it.
const HEAD_START: Duration = Duration::from_millis(30);
/// Shortest grace in which callers may move to another process: leases count whole seconds.
const MOVABLE: Duration = Duration::from_secs(1);
/// How long a process counts as being there after it said so.
const PRESENT: Duration = Duration::from_secs(15);
/// Shortest lease of a caller's seat.
const SEAT: Duration = Duration::from_secs(3);

/// A name for this process: random, so that it is never one that a worker had before.
pub(super) fn process(ledger: &dyn Ledger) -> String {
    if !ledger.is_shared() {
        return String::new();
    }
    let id = Uuid::now_v7().simple().to_string();
    // The random end of it.
    id[id.len() - 8..].to_owned()
}

impl Store {
    /// Whether other processes share the ledger.
    pub fn is_shared(&self) -> bool {
        self.ledger.is_shared()
    }

    /// Name of this process among those that share the ledger; empty if it has it alone.
    pub fn process(&self) -> &str {
        &self.process
    }

    /// Name of a worker: its device's and its own index there.
    pub fn worker_name(&self, device: usize, index: usize) -> String {
        let name = format!("model-{device}-{index}");
        if self.process.is_empty() { name } else { format!("{}-{name}", self.process) }
    }

    /// How many processes share the ledger, as of the last count.
    pub fn processes(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// Tells the other processes that this one is there, and counts them.
    pub(super) fn keep_present(&self) {
        if !self.is_shared() {
            return;
        }
        let counted = self.ledger.present(&self.process, PRESENT);
        match counted.and_then(|()| self.ledger.processes()) {
            Ok(count) => self.count.store(count as u32, Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, "the other processes can't be counted"),
        }
    }

    /// A tenant's job by name, which another process may have made just now. Blocking: asks the ledger.
    ///
    /// # Errors
    /// As [`Store::job`]; those of the ledger.
    pub fn seek(&self, tenant: &str, name: &str) -> Result<Arc<Job>, Fault> {
        let id = name.strip_prefix("jobs/").and_then(|it| Uuid::try_parse(it).ok());
        if let Some(id) = id.filter(|_| self.is_shared()) {
            self.find(id)?;
        }
        self.job(tenant, name)
    }

    /// Leaves a job that another process has accepted to a worker there for a moment.
    pub(super) fn let_go_first(&self, job: &Job) {
        if self.is_shared() && !job.elsewhere.is_of_here() && job.attempt() == 1 {
            std::thread::sleep(HEAD_START.saturating_sub(job.waited()));
        }
    }

    /// Returns jobs to their checkpoints whose workers are gone: those of other processes whose leases have ended, and
    /// those of this one that it does not run, as after a commit that got no answer.
    ///
    /// # Errors
    /// Those of the ledger.
    pub fn reap(&self) -> Result<(), LedgerError> {
        if !self.is_shared() {
            return Ok(());
        }
        let worker = |job: &Job| {
            let record = job.live()?;
            let worker = record.job.as_ref().map(|it| it.worker.clone())?;
            (!worker.is_empty()).then_some(worker)
        };
        let held: Vec<_> =
            self.live().into_iter().filter_map(|job| Some((worker(&job)?, job))).collect();
        let (ours, others): (Vec<_>, Vec<_>) =
            held.into_iter().partition(|(worker, _)| worker.starts_with(&self.process));
        for (worker, job) in ours {
            if !self.running.contains(&job.id) {
                self.take_back(&job, &worker, Some("its worker could not commit"));
            }
        }
        if others.is_empty() {
            return Ok(());
        }
        let alive = self.ledger.leases()?;
        for (worker, job) in others.iter().filter(|(worker, _)| !alive.contains(worker)) {
            tracing::warn!(job = %job.id, worker, "the worker's lease has ended");
            metrics::counter!("retouch_engine_leases_lost_total").increment(1);
            self.take_back(job, worker, None);
        }
        Ok(())
    }

    /// Returns what still runs here to its checkpoint, for another process to go on with at once: what a step that has
    /// not ended would commit is refused from then on. Without other processes it does nothing.
    pub fn give_up(&self) {
        if !self.is_shared() {
            return;
        }
        for job in self.running.iter().filter_map(|id| self.by_id(*id)) {
            let worker = job.live().and_then(|it| it.job.as_ref().map(|it| it.worker.clone()));
            if let Some(worker) = worker.filter(|it| it.starts_with(&self.process)) {
                self.take_back(&job, &worker, Some("the server is shutting down"));
            }
        }
    }

    /// Returns a job to its checkpoint; `left` says why its worker has left it, if it is not lost.
    fn take_back(&self, job: &Job, worker: &str, left: Option<&str>) {
        let most = self.limits.max_attempts;
        let back = self.change(job, |draft| {
            // Another process may have been faster.
            if draft.hold().worker == worker {
                match left {
                    Some(why) => draft.put_back(why),
                    None => draft.lost(most, "its worker is gone"),
                }
            }
            Ok(())
        });
        match back {
            Ok(()) => {
                if job.attached {
                    job.abandon();
                }
                self.enqueue(job);
            }
            Err(fault) => tracing::warn!(job = %job.id, %fault, "a job could not be taken back"),
        }
    }

    // === callers that wait for a job ===

    /// Tells the other processes for which attached jobs a caller of this one waits.
    pub fn keep_seats(&self) {
        if !self.is_shared() {
            return;
        }
        for job in self.live().iter().filter(|it| it.attached && it.has_streams()) {
            let lasts = grace(job).max(SEAT);
            if grace(job) >= MOVABLE
                && job.elsewhere.is_seat_due(lasts / 3)
                && let Err(error) = self.ledger.seat(job.id, lasts)
            {
                tracing::warn!(job = %job.id, %error, "a caller's seat could not be kept");
            }
        }
    }

    /// Whether a job whose last stream here has broken has a caller at another process.
    pub(super) fn is_waited_for_elsewhere(&self, job: &Job) -> bool {
        if !self.is_shared() || grace(job) < MOVABLE {
            return false;
        }
        let seats = self.ledger.seats().unwrap_or_else(|error| {
            tracing::warn!(%error, "callers' seats can't be read");
            HashSet::from([job.id])
        });
        seats.contains(&job.id)
    }
}

/// How long a job lives without a stream.
fn grace(job: &Job) -> Duration {
    let grace = job.live().and_then(|it| it.disconnect_grace);
    grace.and_then(|it| Duration::try_from(it).ok()).unwrap_or_default()
}

//! Changing a job: on a draft of its record, which is committed if nobody else has changed the job meanwhile, and made
//! again if somebody has.

use std::sync::Arc;

use crate::jobs::{
    fault::Fault,
    job::{self, Job},
    life::{Draft, Sealed},
    passes::Hold,
    store::Store,
};
use crate::journal::ledger::{Commit, LedgerError, Revision};
use crate::wire::{
    journal::v1::JobRecord,
    v1::{EditJob, edit_job::State},
};

/// Conflicts after which a change is given up. Each is a commit of another process, of which a job has some ten in all.
const CONFLICTS: usize = 32;

impl Store {
    /// A job's record as last committed. Reads the ledger if the job has ended.
    ///
    /// # Errors
    /// [`Reason::JobNotFound`](crate::wire::reason::Reason::JobNotFound) if it was deleted; those of the ledger.
    pub fn record(&self, job: &Job) -> Result<Arc<JobRecord>, Fault> {
        Ok(self.latest(job)?.1)
    }

    fn latest(&self, job: &Job) -> Result<(Revision, Arc<JobRecord>), Fault> {
        let (revision, live) = job.snapshot();
        if let Some(record) = live {
            return Ok((revision, record));
        }
        let found = self.ledger.job(job.id)?;
        let (revision, record) = found.ok_or_else(|| Fault::no_job(&job.name()))?;
        Ok((revision, Arc::new(record)))
    }

    /// A job as callers see it, with its position in the queue. Reads the ledger if it has ended.
    ///
    /// # Errors
    /// As [`Store::record`].
    pub fn view(&self, job: &Job) -> Result<EditJob, Fault> {
        let mut view = self.record(job)?.job.clone().unwrap_or_default();
        if matches!(view.state(), State::Queued | State::MaskReady) {
            view.queue = job.latest().queue.value;
        }
        Ok(view)
    }

    /// Changes a job: what `change` does to the draft is durable and published when this returns. After a conflict with
    /// another process it is called again, on a draft of what that one has committed.
    ///
    /// # Errors
    /// Those of `change` and of the ledger; the job is then unchanged.
    pub fn change<T>(
        &self,
        job: &Job,
        mut change: impl FnMut(&mut Draft) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        for _ in 0..CONFLICTS {
            if let Some(made) = self.try_change(job, &mut change)? {
                return Ok(made);
            }
            self.catch_up(job)?;
        }
        Err(LedgerError::Conflict.into())
    }

    /// Changes a job that a worker has, unless another one has it by now.
    ///
    /// # Errors
    /// As [`Store::change`]; [`Reason::WorkerLost`](crate::wire::reason::Reason::WorkerLost).
    pub fn change_held<T>(
        &self,
        job: &Job,
        hold: &Hold,
        mut change: impl FnMut(&mut Draft) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.change(job, |draft| {
            draft.check_held(hold)?;
            change(draft)
        })
    }

    /// Tries a change once; `None` after a conflict.
    pub(super) fn try_change<T>(
        &self,
        job: &Job,
        change: &mut impl FnMut(&mut Draft) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        let changing = job.changing();
        let (revision, record) = self.latest(job)?;
        let mut draft = Draft::new(Arc::unwrap_or_clone(record), self.clock.now());
        let made = change(&mut draft)?;
        if !draft.is_changed() {
            return Ok(Some(made));
        }
        let sealed = draft.seal();
        let Some(revision) = self.commit(&job.tenant, &sealed, revision)? else {
            return Ok(None);
        };
        self.publish(job, sealed.record, revision);
        drop(changing);
        Ok(Some(made))
    }

    /// Commits a change, or leaves everything as it was; `None` after a conflict.
    fn commit(
        &self,
        tenant: &str,
        sealed: &Sealed,
        expected: Revision,
    ) -> Result<Option<Revision>, Fault> {
        let Sealed { record, events, files, pins } = sealed;
        self.artifacts.pin_all(pins)?;
        let artifacts = self.artifacts.store(tenant, files).inspect_err(|_| {
            self.artifacts.unpin(pins);
        })?;
        let commit = Commit { job: Some(record), events, artifacts: &artifacts };
        match self.ledger.commit(commit, expected) {
            Ok(revision) => {
                self.artifacts.adopt(&artifacts);
                Ok(Some(revision))
            }
            Err(error) => {
                // The commit may be stored all the same; what is not is swept.
                if !matches!(error, LedgerError::Down) {
                    self.artifacts.drop_files(files);
                }
                self.artifacts.unpin(pins);
                match error {
                    LedgerError::Conflict => return Ok(None),
                    // After a failed write the journal accepts no other until it is opened again.
                    LedgerError::Store(_) => self.set_ready(Err(format!(
                        "the journal can't be written; restart the server: {error}"
                    ))),
                    LedgerError::Down | LedgerError::Full(_) => {}
                }
                Err(error.into())
            }
        }
    }

    /// Makes a committed record that of the job, and updates metrics, log and queue after a change of state.
    pub(super) fn publish(&self, job: &Job, record: JobRecord, revision: Revision) {
        let (before, after) = (job.state(), job::state(&record));
        let (span, error) = (job.span(), record.job.as_ref().and_then(|it| it.error.as_ref()));
        let reason = error.map(|it| it.reason.clone()).unwrap_or_default();
        job.committed(record, revision);
        if after == before {
            return;
        }
        if span.is_none() {
            tracing::debug!(job = %job.id, state = after.as_str_name(), "moved elsewhere");
        } else {
            tracing::info!(parent: span, state = after.as_str_name(), "moved");
        }
        if matches!(before, State::Queued | State::MaskReady) && self.queue.remove(job.id) {
            self.show_queue();
        }
        if job::is_over(after) {
            self.inputs.take(job.id);
            let state = after.as_str_name().trim_start_matches("STATE_").to_lowercase();
            let priority = job.priority_label();
            metrics::counter!("retouch_jobs_total", "state" => state, "reason" => reason, "priority" => priority)
                .increment(1);
        }
    }
}

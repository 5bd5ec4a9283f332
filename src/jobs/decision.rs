//! Changes that callers make to an existing job: `SubmitMask` and cancelling.

use std::sync::Arc;

use crate::jobs::{
    fault::Fault,
    inputs::Kept,
    job::Job,
    life::Draft,
    store::{self, Store},
};
use crate::wire::{
    journal::v1::JobRecord,
    masks,
    reason::Reason,
    v1::{
        self, MaskPolicy, MaskSource, ReviewTimeoutAction, edit_job::State, mask_decision::Decision,
    },
    violation::Violation,
};

/// Longest reason for a cancellation, in characters.
const MAX_REASON: usize = 1000;

impl Store {
    /// Commits a caller's decision on a job's mask; of concurrent decisions the first one committed counts.
    ///
    /// # Errors
    /// [`Reason::MaskNotProposed`], [`Reason::MaskAlreadyDecided`], [`Reason::MaskEtagMismatch`],
    /// [`Reason::JobTerminal`], [`Reason::BadMask`], [`Reason::EmptyMask`], or violations of single fields.
    pub fn decide(&self, job: &Arc<Job>, decision: v1::MaskDecision) -> Result<v1::EditJob, Fault> {
        let faults = masks::check_decision(&decision);
        if !faults.is_empty() {
            return Err(Fault::invalid(faults));
        }
        if is_repeated(self.record(job)?.as_ref(), &decision) {
            return self.view(job);
        }
        let (decision, file) = self.with_mask_kept(job, decision)?;
        self.change(job, |draft| {
            let record = draft.record();
            if is_repeated(record, &decision) {
                return Ok(());
            }
            draft.check_live()?;
            let policy = record.job.as_ref().map(|it| store::spec(it).mask_policy());
            if record.decision.is_some() || policy != Some(MaskPolicy::Review) {
                let message = "the mask is decided already: by an earlier decision, or by the job's mask_policy";
                return Err(Fault::new(Reason::MaskAlreadyDecided, message));
            }
            let proposed = record.job.as_ref().and_then(|it| it.mask.as_ref());
            check_against(proposed, &decision)?;
            draft.keep_all(file.clone());
            draft.decide(decision.clone(), MaskSource::Decision);
            Ok(())
        })?;
        if job.state() == State::MaskReady {
            self.enqueue(job);
        }
        self.view(job)
    }

    /// The decision with its mask image replaced by an artifact's name, and the artifact's file if it is new.
    fn with_mask_kept(
        &self,
        job: &Job,
        mut decision: v1::MaskDecision,
    ) -> Result<(v1::MaskDecision, Option<Kept>), Fault> {
        let Some(Decision::Replace(mask)) = &mut decision.decision else {
            return Ok((decision, None));
        };
        let record = self.record(job)?;
        let spec = record.job.as_ref().map(store::spec).unwrap_or_default();
        let input = store::image_name(spec.image.as_ref()).unwrap_or_default();
        let input = self.artifacts.get(&job.tenant, input)?;
        let kept = self.settle_mask(&job.tenant, mask, (input.width, input.height))?;
        Ok((decision, kept))
    }

    /// Cancels a job; cancelling a cancelled job returns it unchanged.
    ///
    /// # Errors
    /// [`Reason::JobTerminal`] if it has ended otherwise, [`Reason::InvalidArgument`] if the reason is too long.
    pub fn cancel(&self, job: &Job, reason: &str) -> Result<v1::EditJob, Fault> {
        let count = reason.chars().count();
        if count > MAX_REASON {
            let description = format!("has {count} characters, at most {MAX_REASON}");
            return Err(Fault::invalid(vec![Violation {
                field: "reason".to_owned(),
                description,
            }]));
        }
        let message = if reason.is_empty() { "cancelled by its caller" } else { reason };
        job.ask_cancel();
        self.change(job, |draft| {
            if draft.state() == State::Cancelled {
                return Ok(());
            }
            draft.check_live()?;
            draft.fail(&Fault::new(Reason::CancelledByApi, message));
            Ok(())
        })?;
        self.view(job)
    }
}

impl Draft {
    /// Records a decision on the mask.
    pub fn decide(&mut self, decision: v1::MaskDecision, source: MaskSource) {
        self.record.decision = Some(decision);
        self.record.mask_source = source as i32;
        self.changed = true;
        if self.state() == State::AwaitingMask {
            self.go(State::MaskReady, "");
        }
    }

    /// Records that the review's deadline passed without a decision.
    pub fn review_timed_out(&mut self) {
        if self.state() != State::AwaitingMask {
            return;
        }
        match self.spec().on_review_timeout() {
            ReviewTimeoutAction::AcceptProposed => {
                let accept = v1::mask_decision::Decision::Accept(v1::AcceptMask::default());
                let decision = v1::MaskDecision { decision: Some(accept), ..Default::default() };
                self.decide(decision, MaskSource::ReviewTimeout);
            }
            ReviewTimeoutAction::Unspecified | ReviewTimeoutAction::Fail => {
                let message = "no decision on the mask arrived before the review's deadline";
                self.fail(&Fault::new(Reason::ReviewTimeout, message));
            }
        }
    }
}

/// Refuses a decision that doesn't fit the proposed mask, or that comes before a mask is proposed.
fn check_against(
    proposed: Option<&v1::MaskProposed>,
    decision: &v1::MaskDecision,
) -> Result<(), Fault> {
    let Some(proposed) = proposed else {
        if masks::names_clusters(decision) || !decision.etag.is_empty() {
            let message = "no mask is proposed yet, so there are no clusters and no etag; wait for mask_proposed";
            return Err(Fault::new(Reason::MaskNotProposed, message));
        }
        return Ok(());
    };
    if !decision.etag.is_empty() && decision.etag != proposed.etag {
        let message =
            format!("the etag does not match: the proposed mask has etag `{}`", proposed.etag);
        return Err(Fault::new(Reason::MaskEtagMismatch, message).with("etag", &proposed.etag));
    }
    let Some(Decision::Replace(mask)) = &decision.decision else { return Ok(()) };
    let count = proposed.clusters.len() as u32;
    let mut ids = mask.clusters.iter().flat_map(|it| &it.ids);
    match ids.find(|&&id| id > count) {
        Some(id) => Err(Fault::invalid(vec![Violation {
            field: "decision.replace.clusters.ids".to_owned(),
            description: format!("there is no cluster {id}; clusters are numbered 1 to {count}"),
        }])),
        None => Ok(()),
    }
}

/// Whether a decision repeats one already recorded (a retry), of this part of the edit or an earlier one.
fn is_repeated(record: &JobRecord, decision: &v1::MaskDecision) -> bool {
    let id = &decision.request_id;
    let earlier = record.parts.iter().flat_map(|it| &it.decisions);
    !id.is_empty() && record.decision.iter().chain(earlier).any(|it| it.request_id == *id)
}

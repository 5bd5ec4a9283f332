//! Admission of jobs: validates a create request, checks queue and tenant limits, and commits the accepted job to the
//! journal.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dashmap::DashMap;

use crate::edit::{
    choices::Unparsed,
    event::WarningReason,
    reuse::{self, Meant, ReuseError},
};
use crate::instruction::{Action, Overrides};
use crate::jobs::{
    fault::Fault,
    inputs::Inputs,
    job::Job,
    queue::{Full, Place},
    same_request::digest,
    store::{self, Store},
    trace,
};
use crate::journal::ledger::{LedgerError, Revision};
use crate::picture::note::Note;
use crate::wire::{
    enums::InSchema,
    events,
    journal::v1::JobRecord,
    localization_json::SavedLocalization,
    reason::Reason,
    spec,
    v1::{self, CreateEditJobRequest, EditJob, EditSpec, MaskPolicy},
    violation::Violation,
};

/// Longest request id, in characters.
const MAX_REQUEST_ID: usize = 128;
/// How long an attached job survives its last disconnected stream: default and maximum.
const GRACE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// One of a tenant's reviews (jobs whose mask awaits a decision), reserved while a job is being accepted.
struct Review<'a> {
    places: &'a DashMap<String, usize>,
    tenant: String,
}

impl<'a> Review<'a> {
    fn new(places: &'a DashMap<String, usize>, tenant: &str) -> Self {
        *places.entry(tenant.to_owned()).or_default() += 1;
        Self { places, tenant: tenant.to_owned() }
    }
}

impl Drop for Review<'_> {
    fn drop(&mut self) {
        if let Some(mut places) = self.places.get_mut(&self.tenant) {
            *places -= 1;
        }
        self.places.remove_if(&self.tenant, |_, places| *places == 0);
    }
}

/// Whether a call stays attached to the job that it creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachment {
    /// The call waits for the job, which may be cancelled once no stream is attached any more.
    Waiting,
    /// The call returns at once; the job runs without it.
    Detached,
}

impl Store {
    /// Creates a job, or returns the one that an earlier request with the same id created (idempotent). The job is
    /// durable when this returns.
    ///
    /// Blocking: decodes pictures and writes files.
    ///
    /// # Errors
    /// Invalid requests and exceeded limits; `docs/service.md` lists the reasons.
    pub fn create(
        &self,
        tenant: &str,
        request: CreateEditJobRequest,
        attachment: Attachment,
    ) -> Result<Arc<Job>, Fault> {
        self.create_in(tenant, request, attachment, None)
    }

    /// Creates a job in a place of the queue, if one is reserved for it.
    pub(super) fn create_in(
        &self,
        tenant: &str,
        request: CreateEditJobRequest,
        attachment: Attachment,
        place: Option<Place<'_>>,
    ) -> Result<Arc<Job>, Fault> {
        let CreateEditJobRequest { request_id, spec, detach, disconnect_grace, .. } = request;
        let asked = spec.unwrap_or_default();
        check_request_id(&request_id)?;
        let grace = grace(disconnect_grace)?;

        // 1. A repeated request id is answered whatever the state of the queue, the disk and the model.
        let images = self.images(tenant, &asked)?;
        let as_asked = digest(&asked, &images);
        let claim = match self.claim(tenant, &request_id) {
            Ok(claim) => claim,
            Err(job) => return self.same_or_reused(job, asked, &images, &as_asked),
        };
        let again = asked.clone();
        let (mut spec, spec_digest) = self.settled(asked, &images)?;
        let inputs = self.inputs(tenant, &spec)?;
        let _places = self.admit(tenant, spec.mask_policy(), &inputs, place)?;

        // 2. Decode and check the pictures.
        let checked = self.check_pictures(tenant, &mut spec, inputs)?;
        let (localization, warned) = self.reused(tenant, &spec, &checked.image_sha256)?;

        // 3. Build the record.
        let texts = spec::text_notes(&spec).into_iter();
        let text_warnings = texts.map(|message| v1::Warning {
            reason: WarningReason::TextCleaned.code().to_owned(),
            message,
        });
        let warnings = checked.notes.iter().map(warning).chain(text_warnings).chain(warned);
        let warnings: Vec<v1::Warning> = warnings.collect();
        let now = Some(self.clock.timestamp());
        let job = EditJob {
            name: store::new_name(),
            spec: Some(spec),
            create_time: now,
            request_id: request_id.clone(),
            ..EditJob::default()
        };
        let record = JobRecord {
            job: Some(job),
            tenant: tenant.to_owned(),
            spec_digest,
            asked_digest: as_asked.clone(),
            attached: attachment == Attachment::Waiting && !detach,
            disconnect_grace: Some(spec::duration(grace)),
            localization,
            state_time: now,
            traceparent: trace::current(),
            ..JobRecord::default()
        };

        // 4. Commit it.
        let job = Arc::new(Job::new(record, Revision::NONE, self.clock.clone()));
        job.trace();
        let accepted = self.try_change(&job, &mut |draft| {
            draft.keep_all(checked.kept.iter().cloned());
            draft.accept(warnings.clone());
            Ok(())
        })?;
        if accepted.is_none() {
            // Another process has accepted the same request meanwhile.
            let made = self.ledger.request(tenant, &request_id)?;
            let other = made.map(|id| self.find(id)).transpose()?.flatten();
            return self.same_or_reused(
                other.ok_or(LedgerError::Conflict)?,
                again,
                &images,
                &as_asked,
            );
        }
        let job = self.add_own(job);
        job.elsewhere.accepted_here();
        self.inputs.keep(job.id, checked.decoded);
        if job.attached {
            job.abandon(); // until its caller's stream is attached
        }
        if let Some(claim) = claim {
            claim.settle(job.id);
        }
        self.enqueue(&job);
        Ok(job)
    }

    /// Validates a request as [`Store::create`] does, and stores nothing.
    ///
    /// # Errors
    /// As [`Store::create`].
    pub fn validate(&self, tenant: &str, request: CreateEditJobRequest) -> Result<EditJob, Fault> {
        check_request_id(&request.request_id)?;
        grace(request.disconnect_grace)?;
        let asked = request.spec.unwrap_or_default();
        let mut spec = spec::normalize(asked, &self.terms()?).map_err(Fault::invalid)?;
        let inputs = self.inputs(tenant, &spec)?;
        self.admit(tenant, spec.mask_policy(), &inputs, None)?;
        let checked = self.check_pictures(tenant, &mut spec, inputs)?;
        self.reused(tenant, &spec, &checked.image_sha256)?;
        // The images got names without being stored, so the spec leaves them out.
        spec.image = None;
        spec.mask = None;
        Ok(EditJob { spec: Some(spec), request_id: request.request_id, ..EditJob::default() })
    }

    /// Checks the limits on a tenant's new job that need no request body: draining, model loaded, queue length, tenant
    /// quota.
    ///
    /// # Errors
    /// [`Reason::Draining`], [`Reason::ModelLoading`], [`Reason::QueueFull`], [`Reason::TenantQuota`].
    pub fn check_load(&self, tenant: &str) -> Result<(), Fault> {
        self.check_open()?;
        self.queue.check(tenant).map_err(|full| self.full(full))
    }

    /// Checks that jobs are admitted at all.
    pub(super) fn check_open(&self) -> Result<(), Fault> {
        if self.is_draining() {
            let fault = Fault::new(Reason::Draining, "the server is shutting down");
            return Err(fault.retry_after(Duration::from_secs(1)));
        }
        self.need_model()?;
        Ok(())
    }

    /// Reserves a place in the queue.
    pub(super) fn reserve(&self, tenant: &str) -> Result<Place<'_>, Fault> {
        self.queue.reserve(tenant).map_err(|full| self.full(full))
    }

    fn full(&self, full: Full) -> Fault {
        let fault = match full {
            Full::Total => Fault::new(Reason::QueueFull, "the queue is full"),
            Full::Tenant => {
                Fault::new(Reason::TenantQuota, "the tenant's limit of waiting jobs is reached")
            }
        };
        fault.with("queue_length", &self.queue.len()).retry_after(self.wait())
    }

    /// Reserves a place in the queue, unless there is one, and a review if the job needs one, within the tenant's limits
    /// and the free disk space.
    fn admit<'a>(
        &'a self,
        tenant: &str,
        policy: MaskPolicy,
        inputs: &Inputs,
        place: Option<Place<'a>>,
    ) -> Result<(Place<'a>, Option<Review<'a>>), Fault> {
        self.check_open()?;
        let place = place.map_or_else(|| self.reserve(tenant), Ok)?;
        let mask = inputs.mask.as_ref().map_or(0, Bytes::len);
        self.ledger.check_room((inputs.image.len() + mask) as u64)?;
        let review =
            (policy == MaskPolicy::Review).then(|| self.reserve_review(tenant)).transpose()?;
        Ok((place, review))
    }

    /// Reserves one of a tenant's reviews: jobs whose mask awaits a decision, now or after pass 1.
    fn reserve_review(&self, tenant: &str) -> Result<Review<'_>, Fault> {
        let review = Review::new(&self.reviews, tenant);
        let undecided = |it: &Arc<Job>| it.tenant == tenant && it.is_to_be_decided();
        let there = self.live().iter().filter(|it| undecided(it)).count();
        let coming = self.reviews.get(tenant).map_or(0, |it| *it);
        let most = self.limits.tenant_awaiting;
        if there + coming <= most {
            return Ok(review);
        }
        let message = format!(
            "the tenant's limit of {most} jobs in review is reached; decide some masks first"
        );
        let fault = Fault::new(Reason::TenantQuota, message);
        Err(fault.retry_after(Duration::from_secs(30)))
    }

    /// The localization of the job named by `reuse_localization_of`, and a warning if it may not fit the spec.
    fn reused(
        &self,
        tenant: &str,
        spec: &EditSpec,
        image_sha256: &Bytes,
    ) -> Result<(Bytes, Option<v1::Warning>), Fault> {
        let name = &spec.reuse_localization_of;
        if name.is_empty() {
            return Ok((Bytes::new(), None));
        }
        let job = self.job(tenant, name);
        let job = job.map_err(|it| it.about("spec.reuse_localization_of"))?;
        let record = self.record(&job)?;
        let fault = |description: &str| {
            Fault::invalid(vec![Violation::new("reuse_localization_of", description)])
        };
        if record.localization.is_empty() {
            return Err(fault("that job has no localization (yet)"));
        }
        let of = record.job.as_ref().map(store::spec).unwrap_or_default();
        let image = store::image_name(of.image.as_ref()).unwrap_or_default();
        if self.artifacts.get(tenant, image)?.sha256 != *image_sha256 {
            return Err(fault("that job is on another image"));
        }
        let text = std::str::from_utf8(&record.localization).unwrap_or_default();
        // A localization that can't be parsed is reported by the pass that reads it.
        let Ok(saved) = SavedLocalization::from_json(text) else {
            return Ok((record.localization.clone(), None));
        };
        if self.model().is_some_and(|it| it.digest != saved.model_digest) {
            return Err(fault("that job's localization was made with another model"));
        }
        // A mask of boxes and pictures alone doesn't use the localization.
        let is_used = spec.mask.as_ref().is_none_or(|it| it.clusters.is_some());
        let warned = is_used.then(|| about(&saved, spec)).transpose();
        let other = |error| fault(&format!("{error}; if that is meant, name it in `spec.object`"));
        let warned = warned.map_err(other)?;
        Ok((record.localization.clone(), warned.flatten()))
    }
}

/// Checks that a stored localization is of the object that a spec names.
fn about(saved: &SavedLocalization, spec: &EditSpec) -> Result<Option<v1::Warning>, ReuseError> {
    let object = (!spec.object.is_empty()).then_some(spec.object.as_str());
    let meant = Meant {
        instruction: &spec.instruction,
        overrides: Overrides { object, action: Action::read(spec.action()) },
        unparsed: if spec.strict { Unparsed::Refuse } else { Unparsed::PlainEdit },
    };
    let asked = saved.asked.as_ref().map(|it| it.instruction.as_str());
    let warned = reuse::check(&saved.localization, asked, meant)?;
    Ok(warned.map(events::warning))
}

fn check_request_id(id: &str) -> Result<(), Fault> {
    let count = id.chars().count();
    if count <= MAX_REQUEST_ID {
        return Ok(());
    }
    let description = format!("has {count} characters, at most {MAX_REQUEST_ID}");
    Err(Fault::invalid(vec![Violation { field: "request_id".to_owned(), description }]))
}

fn grace(asked: Option<prost_types::Duration>) -> Result<Duration, Fault> {
    let (default, most) = GRACE;
    let Some(asked) = asked else { return Ok(default) };
    Duration::try_from(asked).ok().filter(|it| *it <= most).ok_or_else(|| {
        let description = format!("must be 0 to {} s", most.as_secs());
        Fault::invalid(vec![Violation { field: "disconnect_grace".to_owned(), description }])
    })
}

fn warning(note: &Note) -> v1::Warning {
    v1::Warning { reason: "PICTURE".to_owned(), message: note.to_string() }
}

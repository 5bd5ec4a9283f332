//! From what a caller asks to a job that waits: everything that can be refused is refused here, and what is accepted is kept.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::jobs::{
    artifacts::NewFile,
    decision::Kept,
    fault::{Fault, Reason},
    job::Job,
    life::Draft,
    queue::Full,
    store::{self, Store},
};
use crate::picture::{
    Note,
    decode::{self, Decoded, InputLimits},
    error::PictureError,
    size::Size,
};
use crate::wire::{
    journal::v1::JobRecord,
    masks, pictures,
    spec::{self, Violation},
    v1::{self, CreateEditJobRequest, EditJob, EditSpec, MaskPolicy, edit_job::State, image::Source},
};

/// Most characters of a request id.
const MAX_REQUEST_ID: usize = 128;
/// How long a job outlives its last stream unless the caller says otherwise, and at most.
const GRACE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(10));

/// How a job is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachment {
    /// By a call that waits for it: it may be cancelled when nobody waits any more.
    Waiting,
    /// By a call that returns at once.
    Detached,
}

impl Store {
    /// Accepts a job, or finds the one that an earlier request of the same id made. It is durable when this returns.
    ///
    /// Decodes pictures and writes files: not for a thread that others wait on.
    ///
    /// # Errors
    /// Everything that is wrong with the request, as the table in `docs/service.md` has it.
    pub fn create(
        &self,
        tenant: &str,
        request: CreateEditJobRequest,
        attachment: Attachment,
    ) -> Result<Arc<Job>, Fault> {
        let CreateEditJobRequest { request_id, spec, detach, disconnect_grace, .. } = request;
        let asked = spec.unwrap_or_default();
        check_request_id(&request_id)?;
        let grace = grace(disconnect_grace)?;
        let has_seed = asked.seed.is_some();
        let mut spec = spec::normalize(asked, &self.terms()?).map_err(Fault::invalid)?;

        // 1. The same request again?
        let inputs = self.inputs(tenant, &spec)?;
        let digest = digest(&spec, &inputs, has_seed);
        let key = (tenant.to_owned(), request_id.clone());
        if let Some(job) = self.repeated(&key, &digest)? {
            return Ok(job);
        }
        self.admit(tenant, spec.mask_policy())?;

        // 2. What the pictures hold.
        let checked = self.check_pictures(tenant, &mut spec, inputs)?;
        let localization = self.reused(tenant, &spec, &checked.image_sha256)?;

        // 3. A record.
        let (id, name) = store::new_name();
        let job = EditJob {
            name,
            spec: Some(spec),
            create_time: Some(store::now()),
            request_id: request_id.clone(),
            ..EditJob::default()
        };
        let record = JobRecord {
            job: Some(job),
            tenant: tenant.to_owned(),
            spec_digest: digest.clone(),
            attached: attachment == Attachment::Waiting && !detach,
            disconnect_grace: Some(spec::duration(grace)),
            localization,
            state_time: Some(store::now()),
            ..JobRecord::default()
        };
        let mut draft = Draft::new(record.clone());
        draft.keep_all(checked.kept);
        draft.accept(checked.notes.iter().map(warning).collect());

        // 4. Kept, if no other request of the same id was faster.
        let span = tracing::info_span!("job", id = %id);
        let job = Arc::new(Job::new(id, record, span));
        let reservation = (!request_id.is_empty()).then(|| self.requests.entry(key));
        if let Some(dashmap::Entry::Occupied(taken)) = &reservation {
            let found = self.by_id(*taken.get());
            return found.map_or_else(
                || Err(Fault::new(Reason::Internal, "the job is being deleted; try again")),
                |job| same_or_reused(job, &digest),
            );
        }
        self.change(&job, |empty| {
            *empty = draft;
            Ok(())
        })?;
        if job.lock().attached {
            job.abandon(); // until its caller's stream is attached
        }
        self.jobs.insert(id, Arc::clone(&job));
        if let Some(dashmap::Entry::Vacant(free)) = reservation {
            free.insert(id);
        }
        self.enqueue(&job);
        Ok(job)
    }

    /// Checks a request as [`Store::create`] does and keeps nothing of it.
    ///
    /// # Errors
    /// As [`Store::create`].
    pub fn validate(&self, tenant: &str, request: CreateEditJobRequest) -> Result<EditJob, Fault> {
        check_request_id(&request.request_id)?;
        grace(request.disconnect_grace)?;
        let asked = request.spec.unwrap_or_default();
        let mut spec = spec::normalize(asked, &self.terms()?).map_err(Fault::invalid)?;
        let inputs = self.inputs(tenant, &spec)?;
        self.admit(tenant, spec.mask_policy())?;
        let checked = self.check_pictures(tenant, &mut spec, inputs)?;
        self.reused(tenant, &spec, &checked.image_sha256)?;
        // Files were named and not stored, so the spec keeps no images.
        spec.image = None;
        spec.mask = None;
        Ok(EditJob { spec: Some(spec), request_id: request.request_id, ..EditJob::default() })
    }

    /// Stores a caller's picture, to be named by later requests.
    ///
    /// # Errors
    /// [`Reason::BadImage`], [`Reason::ImageTooLarge`], [`Reason::DiskFull`], or the header's field that does not hold.
    pub fn upload(
        &self,
        tenant: &str,
        header: &v1::UploadHeader,
        bytes: Bytes,
    ) -> Result<v1::Artifact, Fault> {
        let wrong = |field: &str, description: String| {
            Fault::invalid(vec![Violation { field: format!("header.{field}"), description }])
        };
        if header.size_bytes > 0 && header.size_bytes != bytes.len() as u64 {
            let text = format!("is {}, but {} bytes came", header.size_bytes, bytes.len());
            return Err(wrong("size_bytes", text));
        }
        if !header.sha256.is_empty() && header.sha256 != Sha256::digest(&bytes).as_slice() {
            return Err(wrong("sha256", "is not that of the bytes that came".to_owned()));
        }
        let decoded = self.decode("the artifact", &bytes, Reason::BadImage)?;
        let found = pictures::mime_type(decoded.format);
        if !header.mime_type.is_empty() && header.mime_type != found {
            return Err(wrong("mime_type", format!("is {}, but {found} came", header.mime_type)));
        }
        let size = decoded.picture.size();
        let file = NewFile::new(found, (size.width, size.height), bytes);
        self.artifacts.upload(tenant, &file.kept_for(self.limits.default_ttl))
    }

    /// Whether a new job of a tenant may wait; what can be told before a request's body is read.
    ///
    /// # Errors
    /// [`Reason::Draining`], [`Reason::ModelLoading`], [`Reason::QueueFull`], [`Reason::TenantQuota`].
    pub fn check_load(&self, tenant: &str) -> Result<(), Fault> {
        if self.is_draining() {
            let fault = Fault::new(Reason::Draining, "the server is shutting down");
            return Err(fault.retry_after(Duration::from_secs(1)));
        }
        self.need_model()?;
        self.queue.check(tenant).map_err(|full| {
            let fault = match full {
                Full::Total => Fault::new(Reason::QueueFull, "the queue is full"),
                Full::Tenant => {
                    Fault::new(Reason::TenantQuota, "this tenant has as many waiting jobs as it may")
                }
            };
            fault.with("queue_length", self.queue.len()).retry_after(self.wait())
        })
    }

    fn admit(&self, tenant: &str, policy: MaskPolicy) -> Result<(), Fault> {
        self.check_load(tenant)?;
        let awaiting = self.counts(tenant).get(&(State::AwaitingMask as i32)).copied();
        let most = self.limits.tenant_awaiting;
        if policy == MaskPolicy::Review && awaiting.unwrap_or_default() as usize >= most {
            let message = format!("{most} jobs of this tenant wait for a decision on their mask; decide some first");
            let fault = Fault::new(Reason::TenantQuota, message);
            return Err(fault.retry_after(Duration::from_secs(30)));
        }
        Ok(())
    }

    /// The job of an earlier request of the same id.
    fn repeated(&self, key: &(String, String), digest: &Bytes) -> Result<Option<Arc<Job>>, Fault> {
        if key.1.is_empty() {
            return Ok(None);
        }
        let id = self.requests.get(key).map(|it| *it);
        id.and_then(|id| self.by_id(id)).map(|job| same_or_reused(job, digest)).transpose()
    }

    /// The bytes of the images of a spec.
    fn inputs(&self, tenant: &str, spec: &EditSpec) -> Result<Inputs, Fault> {
        let mask = spec.mask.as_ref().and_then(|it| it.image.as_ref());
        Ok(Inputs {
            image: self.input(tenant, spec.image.as_ref())?.unwrap_or_default(),
            mask: self.input(tenant, mask)?,
        })
    }

    fn input(&self, tenant: &str, image: Option<&v1::Image>) -> Result<Option<Bytes>, Fault> {
        Ok(match image.and_then(|it| it.source.as_ref()) {
            Some(Source::Data(bytes)) => Some(bytes.clone()),
            Some(Source::Artifact(name)) => {
                self.artifacts.get(tenant, name)?;
                Some(self.artifacts.read_all(name)?)
            }
            None => None,
        })
    }

    /// Decodes what a job will need, and gives its images names.
    fn check_pictures(
        &self,
        tenant: &str,
        spec: &mut EditSpec,
        inputs: Inputs,
    ) -> Result<Checked, Fault> {
        let decoded = self.decode("the image", &inputs.image, Reason::BadImage)?;
        let size = decoded.picture.size();
        let image_sha256 = Bytes::copy_from_slice(&Sha256::digest(&inputs.image));
        let mut kept = vec![Self::name_image(&mut spec.image, &decoded, inputs.image)];
        if let Some(mask) = &mut spec.mask {
            kept.extend(self.settle_mask(tenant, mask, (size.width, size.height))?);
        }
        Ok(Checked { kept, notes: decoded.notes, image_sha256 })
    }

    /// Checks a mask against the input's size, and gives its picture a name.
    pub(super) fn settle_mask(
        &self,
        tenant: &str,
        mask: &mut v1::Mask,
        (width, height): (u32, u32),
    ) -> Result<Option<Kept>, Fault> {
        let bytes = self.input(tenant, mask.image.as_ref())?;
        let painted = match &bytes {
            Some(bytes) => Some(self.decode("the mask", bytes, Reason::BadMask)?),
            None => None,
        };
        let picture = painted.as_ref().map(|it| &it.picture);
        masks::choice(mask, picture, Size::new(width, height)).map_err(|error| {
            let reason = match error {
                PictureError::EmptyMask { .. } => Reason::EmptyMask,
                _ => Reason::BadMask,
            };
            Fault::new(reason, error.to_string())
        })?;
        match (painted, bytes) {
            (Some(painted), Some(bytes)) => {
                Ok(Some(Self::name_image(&mut mask.image, &painted, bytes)))
            }
            _ => Ok(None),
        }
    }

    fn decode(&self, name: &str, bytes: &Bytes, reason: Reason) -> Result<Decoded, Fault> {
        let limits =
            InputLimits { bytes: self.limits.max_artifact_bytes, pixels: self.limits.max_pixels };
        decode::decode(name, bytes, limits).map_err(|error| {
            let reason = match error {
                PictureError::TooManyPixels { .. } | PictureError::TooManyBytes { .. } => {
                    Reason::ImageTooLarge
                }
                _ => reason,
            };
            Fault::new(reason, error.to_string())
        })
    }

    /// Gives an image that came with the request a name.
    fn name_image(image: &mut Option<v1::Image>, decoded: &Decoded, bytes: Bytes) -> Kept {
        if let Some(name) = store::image_name(image.as_ref()) {
            return Kept::Known(name.to_owned());
        }
        let size = decoded.picture.size();
        let file = NewFile::new(pictures::mime_type(decoded.format), (size.width, size.height), bytes);
        let source = Some(Source::Artifact(file.artifact.name.clone()));
        *image = Some(v1::Image { source });
        Kept::New(file)
    }

    /// The localization of the job that is to be reused.
    fn reused(&self, tenant: &str, spec: &EditSpec, image_sha256: &Bytes) -> Result<Bytes, Fault> {
        let name = &spec.reuse_localization_of;
        if name.is_empty() {
            return Ok(Bytes::new());
        }
        let record = self.job(tenant, name)?.record();
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
        Ok(record.localization)
    }
}

/// The images of a request.
#[derive(Debug, Default)]
struct Inputs {
    image: Bytes,
    mask: Option<Bytes>,
}

/// Images that are known to be good.
#[derive(Debug)]
struct Checked {
    kept: Vec<Kept>,
    notes: Vec<Note>,
    image_sha256: Bytes,
}

impl Draft {
    /// Keeps new files, and what is pinned, with the job.
    pub(super) fn keep_all(&mut self, files: impl IntoIterator<Item = Kept>) {
        for file in files {
            match file {
                Kept::New(file) => {
                    self.keep(file);
                }
                Kept::Known(name) => self.keep_name(name),
            }
        }
    }
}

/// SHA-256 of what is asked: defaults filled in, images by their bytes; a drawn seed does not count.
fn digest(spec: &EditSpec, inputs: &Inputs, has_seed: bool) -> Bytes {
    let named = |bytes: &Bytes| v1::Image {
        source: Some(Source::Data(Bytes::copy_from_slice(&Sha256::digest(bytes)))),
    };
    let mut spec = spec.clone();
    spec.image = Some(named(&inputs.image));
    if let (Some(mask), Some(bytes)) = (&mut spec.mask, &inputs.mask) {
        mask.image = Some(named(bytes));
    }
    if !has_seed {
        spec.seed = None;
    }
    Bytes::copy_from_slice(&Sha256::digest(spec.encode_to_vec()))
}

fn same_or_reused(job: Arc<Job>, digest: &Bytes) -> Result<Arc<Job>, Fault> {
    if job.lock().spec_digest == *digest {
        return Ok(job);
    }
    let message = "this request_id was used for another request; choose a new one";
    let name = job.view().name;
    Err(Fault { metadata: BTreeMap::from([("job".to_owned(), name)]), ..Fault::new(Reason::RequestIdReused, message) })
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

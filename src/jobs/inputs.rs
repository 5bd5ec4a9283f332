//! Images of a request: decoded within the limits, given artifact names, and stored with the job.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::edit::edit_mask::MaskChoice;
use crate::jobs::{
    artifacts::NewFile,
    fault::Fault,
    job::Job,
    life::Draft,
    runner::DoneParts,
    store::{self, Store},
};
use crate::picture::{
    decode::{self, Decoded, InputLimits},
    mask::Mask,
    note::Note,
    size::Size,
};
use crate::wire::{
    edit_request,
    journal::v1::JobRecord,
    masks, pictures,
    reason::Reason,
    v1::{self, EditSpec, image::Source},
    violation::Violation,
};

/// Limits for images of accepted jobs, which were held to the server's when they were accepted.
const UNLIMITED: InputLimits = InputLimits { bytes: u64::MAX, pixels: u64::MAX };

/// An image of a request: a new file, or an existing artifact.
#[derive(Debug, Clone)]
pub enum Kept {
    /// New, to be stored with the job's next commit.
    New(NewFile),
    /// Name of an existing artifact.
    Known(String),
}

/// The images of a request, undecoded.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    pub(super) image: Bytes,
    pub(super) mask: Option<Bytes>,
}

/// Images that were decoded and passed the checks.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) kept: Vec<Kept>,
    pub(super) notes: Vec<Note>,
    pub(super) image_sha256: Bytes,
    pub(super) decoded: Decoded,
}

impl Store {
    /// Stores an uploaded picture as an artifact for later requests.
    ///
    /// # Errors
    /// [`Reason::BadImage`], [`Reason::ImageTooLarge`], [`Reason::DiskFull`], or the header field that doesn't match
    /// the file.
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
            let text = format!("is {}, but {} bytes were received", header.size_bytes, bytes.len());
            return Err(wrong("size_bytes", text));
        }
        if !header.sha256.is_empty() && header.sha256 != Sha256::digest(&bytes).as_slice() {
            return Err(wrong("sha256", "is not that of the bytes that came".to_owned()));
        }
        let decoded = self.decode("the artifact", &bytes, Reason::BadImage)?;
        let found = pictures::mime_type(decoded.format);
        if !header.mime_type.is_empty() && header.mime_type != found {
            return Err(wrong(
                "mime_type",
                format!("is {}, but the file is {found}", header.mime_type),
            ));
        }
        let size = decoded.picture.size();
        let file = NewFile::new(found, (size.width, size.height), bytes);
        let until = self.clock.now() + self.limits.default_ttl;
        self.artifacts.upload(tenant, &file.kept_until(until))
    }

    /// Reads the images that a spec contains or names.
    pub(super) fn inputs(&self, tenant: &str, spec: &EditSpec) -> Result<Inputs, Fault> {
        let mask = spec.mask.as_ref().and_then(|it| it.image.as_ref());
        Ok(Inputs {
            image: self
                .input(tenant, spec.image.as_ref())
                .map_err(|it| it.about("spec.image"))?
                .unwrap_or_default(),
            mask: self.input(tenant, mask).map_err(|it| it.about("spec.mask"))?,
        })
    }

    /// The bytes of an image that a request contains or names.
    ///
    /// # Errors
    /// As [`Artifacts::get`](crate::jobs::artifacts::Artifacts::get) and
    /// [`Artifacts::read_all`](crate::jobs::artifacts::Artifacts::read_all).
    pub fn input(&self, tenant: &str, image: Option<&v1::Image>) -> Result<Option<Bytes>, Fault> {
        Ok(match image.and_then(|it| it.source.as_ref()) {
            Some(Source::Data(bytes)) => Some(bytes.clone()),
            Some(Source::Artifact(name)) => {
                self.artifacts.get(tenant, name)?;
                Some(self.artifacts.read_all(name)?)
            }
            None => None,
        })
    }

    /// Decodes the images that a job needs, and replaces them in the spec by artifact names.
    pub(super) fn check_pictures(
        &self,
        tenant: &str,
        spec: &mut EditSpec,
        inputs: Inputs,
    ) -> Result<Checked, Fault> {
        let decoded = self.decode("the image", &inputs.image, Reason::BadImage);
        let decoded = decoded.map_err(|it| it.about("spec.image"))?;
        let size = decoded.picture.size();
        let image_sha256 = Bytes::copy_from_slice(&Sha256::digest(&inputs.image));
        let output = edit_request::output(spec).map_err(|it| Fault::invalid(vec![it]))?;
        let policy = edit_request::metadata_policy(spec).map_err(|it| Fault::invalid(vec![it]))?;
        let mut notes = decoded.notes.clone();
        if spec.mask_policy() != v1::MaskPolicy::LocalizeOnly {
            notes.extend(decoded.metadata.notes(policy, output.file_format()));
        }
        let mut kept = vec![Self::name_image(&mut spec.image, &decoded, inputs.image)];
        if let Some(mask) = &mut spec.mask {
            let settled = self.settle_mask(tenant, mask, (size.width, size.height));
            kept.extend(settled.map_err(|it| it.about("spec.mask"))?);
        }
        Ok(Checked { kept, notes, image_sha256, decoded })
    }

    /// The decoded input of an accepted job: as admission left it, else decoded again.
    pub(super) fn decoded_input(&self, job: Uuid, spec: &EditSpec) -> Result<Decoded, Fault> {
        if let Some(input) = self.inputs.take(job) {
            return Ok(input);
        }
        let name = store::image_name(spec.image.as_ref()).unwrap_or_default();
        decode("the image", &self.artifacts.read_all(name)?, UNLIMITED, Reason::BadImage)
    }

    /// The mask of an accepted job, as far as its spec or a decision says it; `size` is that of the input.
    pub(super) fn decided_mask(&self, job: &Job, size: Size) -> Result<MaskChoice, Fault> {
        let record = self.record(job)?;
        self.mask_choice(&record, record.decision.as_ref(), size)
    }

    /// What the parts before the current one left; `None` for the first.
    pub(super) fn done_parts(
        &self,
        record: &JobRecord,
        size: Size,
    ) -> Result<Option<DoneParts>, Fault> {
        let Some(parts) = &record.parts else { return Ok(None) };
        let picture = |artifact: &Option<v1::Artifact>| {
            let name = artifact.as_ref().map_or("", |it| it.name.as_str());
            let bytes = self.artifacts.read_all(name)?;
            decode("the picture of a part", &bytes, UNLIMITED, Reason::Internal)
        };
        let (image, mask) = (picture(&parts.image)?.picture.rgb, picture(&parts.mask)?.picture.rgb);
        let choice = |decision: &v1::MaskDecision| {
            let decision = decision.decision.is_some().then_some(decision);
            self.mask_choice(record, decision, size)
        };
        Ok(Some(DoneParts {
            count: parts.count as usize,
            image: Arc::unwrap_or_clone(image),
            mask: Mask::from_fn(size, |x, y| mask.get_pixel(x, y)[0] > 0),
            choices: parts.decisions.iter().map(choice).collect::<Result<_, _>>()?,
        }))
    }

    /// The caller's choice of a mask: a decision, else what the job's spec says.
    fn mask_choice(
        &self,
        record: &JobRecord,
        decision: Option<&v1::MaskDecision>,
        size: Size,
    ) -> Result<MaskChoice, Fault> {
        let mask = match decision {
            Some(decision) => Some(masks::of_decision(decision)),
            None => record.job.as_ref().and_then(|it| it.spec.as_ref()?.mask.clone()),
        };
        let Some(mask) = mask else { return Ok(MaskChoice::default()) };
        let file = store::image_name(mask.image.as_ref()).map(|it| self.artifacts.read_all(it));
        let painted = file
            .transpose()?
            .map(|it| decode("the mask", &it, UNLIMITED, Reason::BadImage))
            .transpose()?;
        let choice = masks::choice(&mask, painted.as_ref().map(|it| &it.picture), size);
        choice
            .map(|(choice, _)| choice)
            .map_err(|error| Fault::new(Reason::BadMask, error.to_string()))
    }

    /// Checks a mask against the input's size, and replaces its image by an artifact name.
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
            Fault::new(Reason::of_picture(&error, Reason::BadMask), error.to_string())
        })?;
        match (painted, bytes) {
            (Some(painted), Some(bytes)) => {
                Ok(Some(Self::name_image(&mut mask.image, &painted, bytes)))
            }
            _ => Ok(None),
        }
    }

    fn decode(&self, name: &str, bytes: &[u8], reason: Reason) -> Result<Decoded, Fault> {
        let limits =
            InputLimits { bytes: self.limits.max_artifact_bytes, pixels: self.limits.max_pixels };
        decode(name, bytes, limits, reason)
    }

    /// Assigns an artifact name to an image that came inside the request.
    fn name_image(image: &mut Option<v1::Image>, decoded: &Decoded, bytes: Bytes) -> Kept {
        if let Some(name) = store::image_name(image.as_ref()) {
            return Kept::Known(name.to_owned());
        }
        let size = decoded.picture.size();
        let file =
            NewFile::new(pictures::mime_type(decoded.format), (size.width, size.height), bytes);
        let source = Some(Source::Artifact(file.artifact.name.clone()));
        *image = Some(v1::Image { source });
        Kept::New(file)
    }
}

fn decode(name: &str, bytes: &[u8], limits: InputLimits, reason: Reason) -> Result<Decoded, Fault> {
    let _span = tracing::debug_span!("decode", name).entered();
    decode::decode(name, bytes, limits)
        .map_err(|error| Fault::new(Reason::of_picture(&error, reason), error.to_string()))
}

impl Draft {
    /// Adds new files and references to existing artifacts to the job's draft.
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

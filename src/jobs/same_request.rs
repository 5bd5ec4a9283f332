//! Detection of repeated requests: by request id, then by a digest of the spec and its images.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::jobs::{
    fault::Fault,
    job::Job,
    requests::Claim,
    store::{self, Store},
};
use crate::wire::{
    journal::v1::JobRecord,
    reason::Reason,
    spec,
    v1::{self, EditSpec, EventOptions, PreviewDecode, image::Source},
    violation::Violation,
};

impl Store {
    /// Claims a request id, if the request has one.
    ///
    /// # Errors
    /// The job that already exists for it.
    pub(super) fn claim(
        &self,
        tenant: &str,
        request_id: &str,
    ) -> Result<Option<Claim<'_>>, Arc<Job>> {
        if request_id.is_empty() {
            return Ok(None);
        }
        loop {
            match self.requests.claim(tenant, request_id) {
                Ok(claim) => return Ok(Some(claim)),
                Err(id) => match self.by_id(id) {
                    Some(job) => return Err(job),
                    None => self.requests.wait_removed(tenant, request_id, id),
                },
            }
        }
    }

    /// Returns the job of a request id if the request is the same, else [`Reason::RequestIdReused`]. A request that
    /// states defaults explicitly is the same; comparing it needs the model.
    pub(super) fn same_or_reused(
        &self,
        job: Arc<Job>,
        asked: EditSpec,
        images: &Images,
        as_asked: &Bytes,
    ) -> Result<Arc<Job>, Fault> {
        let record = self.record(&job)?;
        if record.asked_digest == *as_asked {
            return Ok(job);
        }
        let has_seed = asked.seed.is_some();
        let settled = self.settled(asked, images)?.1;
        if record.spec_digest == settled || self.settled_again(&record, has_seed) == Some(settled) {
            return Ok(job);
        }
        let why = "was used for another request; choose a new one";
        let fault = Fault::new(Reason::RequestIdReused, format!("request_id: {why}"));
        let field = Violation { field: "request_id".to_owned(), description: why.to_owned() };
        let name = format!("jobs/{}", job.id);
        Err(Fault { fields: vec![field], ..fault }.with("job", &name))
    }

    /// Digest of a spec that an earlier version accepted, with the defaults that it did not know yet; `None` for
    /// others.
    fn settled_again(&self, record: &JobRecord, has_seed: bool) -> Option<Bytes> {
        if !record.asked_digest.is_empty() {
            return None;
        }
        let spec = store::spec(record.job.as_ref()?);
        let spec = EditSpec { seed: spec.seed.filter(|_| has_seed), ..spec };
        let images = self.images(&record.tenant, &spec).ok()?;
        Some(self.settled(spec, &images).ok()?.1)
    }

    /// Normalizes a spec and computes its digest, which leaves out a seed that the server drew.
    pub(super) fn settled(
        &self,
        asked: EditSpec,
        images: &Images,
    ) -> Result<(EditSpec, Bytes), Fault> {
        let has_seed = asked.seed.is_some();
        let asks = |it: &EventOptions| it.preview_decode() != PreviewDecode::Unspecified;
        let has_decode = asked.events.as_ref().is_some_and(asks);
        let spec = spec::normalize(asked, &self.terms()?).map_err(Fault::invalid)?;
        let seed = spec.seed.filter(|_| has_seed);
        let mut told = EditSpec { seed, ..spec.clone() };
        if let Some(events) = told.events.as_mut().filter(|_| !has_decode) {
            // As before servers had tiny decoders: a repeat of a request of then has its digest.
            events.preview_decode = PreviewDecode::Linear.into();
        }
        Ok((spec, digest(&told, images)))
    }

    /// SHA-256 digests of a spec's images, whether inline or artifacts. Reads no file.
    pub(super) fn images(&self, tenant: &str, spec: &EditSpec) -> Result<Images, Fault> {
        let hash = |image: Option<&v1::Image>| match image.and_then(|it| it.source.as_ref()) {
            Some(Source::Data(bytes)) => Ok(Some(Bytes::copy_from_slice(&Sha256::digest(bytes)))),
            Some(Source::Artifact(name)) => Ok(Some(self.artifacts.get(tenant, name)?.sha256)),
            None => Ok::<_, Fault>(None),
        };
        let mask = spec.mask.as_ref().and_then(|it| it.image.as_ref());
        Ok(Images {
            image: hash(spec.image.as_ref()).map_err(|it| it.about("spec.image"))?,
            mask: hash(mask).map_err(|it| it.about("spec.mask"))?,
        })
    }
}

/// SHA-256 digests of a request's images.
#[derive(Debug)]
pub(super) struct Images {
    image: Option<Bytes>,
    mask: Option<Bytes>,
}

/// SHA-256 of a spec in which each image is replaced by its digest.
pub(super) fn digest(spec: &EditSpec, images: &Images) -> Bytes {
    let named = |sha256: &Option<Bytes>| {
        sha256.clone().map(|it| v1::Image { source: Some(Source::Data(it)) })
    };
    let mut spec = EditSpec { image: named(&images.image), ..spec.clone() };
    if let Some(mask) = &mut spec.mask {
        mask.image = named(&images.mask);
    }
    Bytes::copy_from_slice(&Sha256::digest(spec.encode_to_vec()))
}

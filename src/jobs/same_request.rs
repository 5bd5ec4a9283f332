//! Whether a request is one that was made before: by its id, then by what it asks for.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::jobs::{
    fault::{Fault, Reason},
    job::Job,
    requests::Claim,
    store::Store,
};
use crate::wire::{
    spec,
    v1::{self, EditSpec, image::Source},
};

impl Store {
    /// Claims a request id, if there is one.
    ///
    /// # Errors
    /// The job that it made.
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
                    // It is being deleted, and the id is free in a moment.
                    None => std::thread::yield_now(),
                },
            }
        }
    }

    /// The job of a request id, if the same was asked for; the model is needed where it was said in other words.
    pub(super) fn same_or_reused(
        &self,
        job: Arc<Job>,
        asked: EditSpec,
        images: &Images,
        as_asked: &Bytes,
    ) -> Result<Arc<Job>, Fault> {
        let record = job.read();
        if record.asked_digest == *as_asked || record.spec_digest == self.settled(asked, images)?.1
        {
            return Ok(job);
        }
        let message = "this request_id was used for another request; choose a new one";
        let name = format!("jobs/{}", job.id);
        Err(Fault::new(Reason::RequestIdReused, message).with("job", &name))
    }

    /// A spec with all its defaults, and its digest; a drawn seed does not count.
    pub(super) fn settled(
        &self,
        asked: EditSpec,
        images: &Images,
    ) -> Result<(EditSpec, Bytes), Fault> {
        let has_seed = asked.seed.is_some();
        let spec = spec::normalize(asked, &self.terms()?).map_err(Fault::invalid)?;
        let seed = spec.seed.filter(|_| has_seed);
        let digest = digest(&EditSpec { seed, ..spec.clone() }, images);
        Ok((spec, digest))
    }

    /// SHA-256 of the images of a spec, however they came. Reads no file.
    pub(super) fn images(&self, tenant: &str, spec: &EditSpec) -> Result<Images, Fault> {
        let hash = |image: Option<&v1::Image>| match image.and_then(|it| it.source.as_ref()) {
            Some(Source::Data(bytes)) => Ok(Some(Bytes::copy_from_slice(&Sha256::digest(bytes)))),
            Some(Source::Artifact(name)) => Ok(Some(self.artifacts.get(tenant, name)?.sha256)),
            None => Ok::<_, Fault>(None),
        };
        let mask = spec.mask.as_ref().and_then(|it| it.image.as_ref());
        Ok(Images { image: hash(spec.image.as_ref())?, mask: hash(mask)? })
    }
}

/// SHA-256 of the images of a request.
#[derive(Debug)]
pub(super) struct Images {
    image: Option<Bytes>,
    mask: Option<Bytes>,
}

/// SHA-256 of a spec, with its images by their own.
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

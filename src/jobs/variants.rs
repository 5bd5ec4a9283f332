//! Several variants of one edit, as a job each: all of them are created, or none.

use std::sync::Arc;

use crate::jobs::{
    admission::Attachment,
    fault::Fault,
    job::Job,
    store::{self, Store},
};
use crate::wire::v1::{CreateEditJobRequest, EditSpec, Image, image::Source};

impl Store {
    /// Creates a job for each request, or none. All are about the pictures of the first, whose files they share. A
    /// request whose id is known is answered with its job, as by [`Store::create`].
    ///
    /// Blocking: decodes pictures and writes files.
    ///
    /// # Errors
    /// As [`Store::create`].
    pub fn create_variants(
        &self,
        tenant: &str,
        requests: Vec<CreateEditJobRequest>,
        attachment: Attachment,
    ) -> Result<Vec<Arc<Job>>, Fault> {
        let is_new = |it: &CreateEditJobRequest| {
            it.request_id.is_empty() || !self.knows_request(tenant, &it.request_id)
        };
        // The queue has room for all before the first is there.
        let places = requests.iter().map(|it| is_new(it).then(|| self.reserve(tenant)).transpose());
        let places = places.collect::<Result<Vec<_>, Fault>>()?;
        let (mut jobs, mut new) = (Vec::new(), Vec::new());
        for (mut request, place) in requests.into_iter().zip(places) {
            let is_new = place.is_some();
            let made = self.pictures_of(jobs.first()).and_then(|pictures| {
                if let (Some(pictures), Some(spec)) = (pictures, &mut request.spec) {
                    share(spec, pictures);
                }
                self.create_in(tenant, request, attachment, place)
            });
            match made {
                Ok(job) => {
                    new.extend(is_new.then(|| Arc::clone(&job)));
                    jobs.push(job);
                }
                Err(fault) => {
                    self.withdraw(&new);
                    return Err(fault);
                }
            }
        }
        Ok(jobs)
    }

    /// The spec of the first job, in which its pictures have names.
    fn pictures_of(&self, first: Option<&Arc<Job>>) -> Result<Option<EditSpec>, Fault> {
        let record = first.map(|job| self.record(job)).transpose()?;
        Ok(record.and_then(|it| it.job.as_ref().map(store::spec)))
    }

    /// Removes jobs as if they had never been created.
    fn withdraw(&self, jobs: &[Arc<Job>]) {
        for job in jobs {
            let gone = self.cancel(job, "another variant could not be created");
            if let Err(fault) = gone.and_then(|_| self.delete(job)) {
                tracing::error!(job = %job.id, %fault, "a variant could not be withdrawn");
            }
        }
    }
}

/// Names the pictures of another spec of the same edit instead of sending them again.
fn share(spec: &mut EditSpec, named: EditSpec) {
    let is_sent = |it: &Option<Image>| {
        matches!(it.as_ref().and_then(|it| it.source.as_ref()), Some(Source::Data(_)))
    };
    if is_sent(&spec.image) {
        spec.image = named.image;
    }
    if let (Some(mask), Some(named)) = (&mut spec.mask, named.mask)
        && is_sent(&mask.image)
    {
        mask.image = named.image;
    }
}

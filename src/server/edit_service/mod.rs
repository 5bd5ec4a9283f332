//! `EditService`: the gRPC methods over the job store.

mod answers;
mod artifacts;
mod info;
mod list;
pub mod run_edit;
mod streams;

use std::{sync::Arc, time::Instant};

use tokio_stream::StreamExt;
use tonic::{Extensions, Request, Response, Status, Streaming, metadata::MetadataMap};

use crate::jobs::{
    admission::Attachment,
    fault::Fault,
    follow::{self, Follower},
    job::Job,
    store::Store,
};
use crate::server::{
    budget::BodyHold,
    deadline,
    edit_service::{
        answers::Answers,
        streams::{Ending, Streams},
    },
    keys::{Caller, LOCAL},
    status,
    work::Work,
};
use crate::wire::{
    reason::Reason,
    spec::INLINE_BYTES,
    v1::{self, edit_input::Input, edit_service_server::EditService},
    violation::Violation,
};

/// Most requests in one batch.
const MAX_BATCH: usize = 100;

/// The gRPC service.
#[derive(Debug, Clone)]
pub struct Edits {
    store: Arc<Store>,
    streams: Streams,
    max_request_bytes: u64,
    work: Work,
}

impl Edits {
    /// The service over a store; `max_request_bytes` limits one message.
    pub fn new(store: Arc<Store>, max_request_bytes: u64) -> Self {
        let work = Work::new(Arc::clone(&store));
        Self { streams: Streams::new(Arc::clone(&store)), store, max_request_bytes, work }
    }

    /// Runs a function that waits for the disk or decodes pictures on a blocking thread.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Store>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Status> {
        self.work.reading(work).await.map_err(|fault| status::of_fault(&fault))
    }

    /// The same for a function that writes.
    async fn changing<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Store>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Status> {
        self.work.changing(work).await.map_err(|fault| status::of_fault(&fault))
    }

    async fn create(
        &self,
        call: &Call,
        request: v1::CreateEditJobRequest,
        attachment: Attachment,
    ) -> Result<Arc<Job>, Status> {
        let (tenant, deadline) = (call.tenant.clone(), call.deadline);
        self.changing(move |store| {
            in_time(deadline)?;
            store.create(&tenant, request, attachment)
        })
        .await
    }

    async fn validate(
        &self,
        tenant: String,
        request: v1::CreateEditJobRequest,
    ) -> Result<v1::EditJob, Status> {
        self.blocking(move |store| store.validate(&tenant, request)).await
    }

    /// A job by name; one that is not known here may be another process's.
    async fn job(&self, tenant: &str, name: &str) -> Result<Arc<Job>, Status> {
        match self.store.job(tenant, name) {
            Err(_) if self.store.is_shared() => {
                let (tenant, name) = (tenant.to_owned(), name.to_owned());
                self.blocking(move |store| store.seek(&tenant, &name)).await
            }
            found => found.map_err(|fault| status::of_fault(&fault)),
        }
    }

    /// A job for a response, with small artifacts inlined.
    async fn view(&self, job: Arc<Job>) -> Result<Response<v1::EditJob>, Status> {
        let whole = self.blocking(move |store| whole(store, &job));
        whole.await.map(Response::new)
    }
}

/// A job with small artifacts inlined. Blocking: reads files.
fn whole(store: &Store, job: &Job) -> Result<v1::EditJob, Fault> {
    let mut view = store.view(job)?;
    let events = view.spec.as_ref().and_then(|it| it.events.as_ref());
    let inline = events.and_then(|it| it.max_inline_bytes).unwrap_or(INLINE_BYTES.0);
    let result = view.result.iter_mut().flat_map(|it| it.image.iter_mut().chain(&mut it.mask));
    let mask = view.mask.iter_mut().flat_map(|it| &mut it.mask);
    follow::fill(store, result.chain(mask).collect(), inline as usize);
    Ok(view)
}

#[tonic::async_trait]
impl EditService for Edits {
    type StreamEditStream = Answers<v1::EditEvent>;
    type EditStream = Answers<v1::EditEvent>;
    type WatchEditJobStream = Answers<v1::EditEvent>;
    type DownloadArtifactStream = Answers<v1::ArtifactChunk>;

    async fn stream_edit(
        &self,
        request: Request<v1::CreateEditJobRequest>,
    ) -> Result<Response<Self::StreamEditStream>, Status> {
        let call = Call::of(request.metadata(), request.extensions());
        let request = request.into_inner();
        if request.validate_only {
            self.validate(call.tenant, request).await?;
            return Ok(Response::new(Box::pin(tokio_stream::empty())));
        }
        let job = self.create(&call, request, Attachment::Waiting).await?;
        let seat = job.attach(call.deadline);
        let follower = Follower::new(&self.store, &job, 0, None);
        Ok(Response::new(self.streams.follow(follower, seat, Ending::OfJob, call.deadline)))
    }

    async fn edit(
        &self,
        request: Request<Streaming<v1::EditInput>>,
    ) -> Result<Response<Self::EditStream>, Status> {
        let call = Call::of(request.metadata(), request.extensions());
        let mut inputs = request.into_inner();
        let Some(Input::Start(start)) = inputs.message().await?.and_then(|it| it.input) else {
            return Err(invalid("input", "the first message must be `start`"));
        };
        if start.validate_only {
            self.validate(call.tenant, start).await?;
            return Ok(Response::new(Box::pin(tokio_stream::empty())));
        }
        let job = self.create(&call, start, Attachment::Waiting).await?;
        // The picture is stored as an artifact, and the stream may stay open for a review.
        release(call.body.as_ref());
        let seat = job.attach(call.deadline);
        let follower = Follower::new(&self.store, &job, 0, None);
        Ok(Response::new(self.streams.converse(follower, seat, inputs, call.deadline)))
    }

    async fn run_edit(
        &self,
        request: Request<v1::CreateEditJobRequest>,
    ) -> Result<Response<v1::EditJob>, Status> {
        let call = Call::of(request.metadata(), request.extensions());
        let request = request.into_inner();
        if request.validate_only {
            return Ok(Response::new(self.validate(call.tenant, request).await?));
        }
        let job = self.create(&call, request, Attachment::Waiting).await?;
        // The picture is stored as an artifact, and the answer comes only when the job has ended.
        release(call.body.as_ref());
        let seat = job.attach(call.deadline);
        let follower = Follower::new(&self.store, &job, 0, None);
        let mut events = self.streams.follow(follower, seat, Ending::OfJob, call.deadline);
        while events.next().await.transpose()?.is_some() {}
        self.view(job).await
    }

    async fn create_edit_job(
        &self,
        request: Request<v1::CreateEditJobRequest>,
    ) -> Result<Response<v1::EditJob>, Status> {
        let call = Call::of(request.metadata(), request.extensions());
        let request = request.into_inner();
        if request.validate_only {
            return Ok(Response::new(self.validate(call.tenant, request).await?));
        }
        let job = self.create(&call, request, Attachment::Detached).await?;
        self.view(job).await
    }

    async fn batch_create_edit_jobs(
        &self,
        request: Request<v1::BatchCreateEditJobsRequest>,
    ) -> Result<Response<v1::BatchCreateEditJobsResponse>, Status> {
        let call = Call::of(request.metadata(), request.extensions());
        let requests = request.into_inner().requests;
        if requests.is_empty() || requests.len() > MAX_BATCH {
            return Err(invalid("requests", &format!("must be 1 to {MAX_BATCH}")));
        }
        let outcomes = self
            .changing(move |store| {
                let create = |request: v1::CreateEditJobRequest| {
                    in_time(call.deadline)?;
                    if request.validate_only {
                        return store.validate(&call.tenant, request);
                    }
                    let job = store.create(&call.tenant, request, Attachment::Detached)?;
                    store.view(&job)
                };
                Ok(requests.into_iter().map(create).collect::<Vec<_>>())
            })
            .await?;
        let result = |outcome: Result<v1::EditJob, Fault>| v1::BatchCreateResult {
            outcome: Some(match outcome {
                Ok(job) => v1::batch_create_result::Outcome::Job(job),
                Err(fault) => v1::batch_create_result::Outcome::Error(fault.to_wire()),
            }),
        };
        let results = outcomes.into_iter().map(result).collect();
        Ok(Response::new(v1::BatchCreateEditJobsResponse { results }))
    }

    async fn get_edit_job(
        &self,
        request: Request<v1::GetEditJobRequest>,
    ) -> Result<Response<v1::EditJob>, Status> {
        let call = Call::of(request.metadata(), request.extensions());
        let job = self.job(&call.tenant, &request.into_inner().name).await?;
        self.view(job).await
    }

    async fn list_edit_jobs(
        &self,
        request: Request<v1::ListEditJobsRequest>,
    ) -> Result<Response<v1::ListEditJobsResponse>, Status> {
        let call = Call::of(request.metadata(), request.extensions());
        let request = request.into_inner();
        let listed = self.blocking(move |store| list::list(store, &call.tenant, &request));
        listed.await.map(Response::new)
    }

    async fn watch_edit_job(
        &self,
        request: Request<v1::WatchEditJobRequest>,
    ) -> Result<Response<Self::WatchEditJobStream>, Status> {
        let call = Call::of(request.metadata(), request.extensions());
        let v1::WatchEditJobRequest { name, after_sequence, events } = request.into_inner();
        let job = self.job(&call.tenant, &name).await?;
        // A watcher has no deadline for the job: only a call that waits for it has.
        let seat = job.attach(None);
        let follower = Follower::new(&self.store, &job, after_sequence, events.as_ref());
        Ok(Response::new(self.streams.follow(follower, seat, Ending::OfWatch, call.deadline)))
    }

    async fn submit_mask(
        &self,
        request: Request<v1::SubmitMaskRequest>,
    ) -> Result<Response<v1::EditJob>, Status> {
        let call = Call::of(request.metadata(), request.extensions());
        let v1::SubmitMaskRequest { name, decision } = request.into_inner();
        let job = self.job(&call.tenant, &name).await?;
        let decision = decision.unwrap_or_default();
        let view = self.changing(move |store| store.decide(&job, decision)).await?;
        Ok(Response::new(view))
    }

    async fn cancel_edit_job(
        &self,
        request: Request<v1::CancelEditJobRequest>,
    ) -> Result<Response<v1::EditJob>, Status> {
        let call = Call::of(request.metadata(), request.extensions());
        let v1::CancelEditJobRequest { name, reason } = request.into_inner();
        let job = self.job(&call.tenant, &name).await?;
        let view = self.changing(move |store| store.cancel(&job, &reason)).await?;
        Ok(Response::new(view))
    }

    async fn delete_edit_job(
        &self,
        request: Request<v1::DeleteEditJobRequest>,
    ) -> Result<Response<v1::DeleteEditJobResponse>, Status> {
        let call = Call::of(request.metadata(), request.extensions());
        let job = self.job(&call.tenant, &request.into_inner().name).await?;
        self.changing(move |store| store.delete(&job)).await?;
        Ok(Response::new(v1::DeleteEditJobResponse {}))
    }

    async fn upload_artifact(
        &self,
        request: Request<Streaming<v1::UploadArtifactRequest>>,
    ) -> Result<Response<v1::Artifact>, Status> {
        let call = Call::of(request.metadata(), request.extensions());
        artifacts::upload(self, call.tenant, request.into_inner()).await.map(Response::new)
    }

    async fn download_artifact(
        &self,
        request: Request<v1::DownloadArtifactRequest>,
    ) -> Result<Response<Self::DownloadArtifactStream>, Status> {
        let call = Call::of(request.metadata(), request.extensions());
        artifacts::download(self, call.tenant, request.into_inner()).await.map(Response::new)
    }

    async fn delete_artifact(
        &self,
        request: Request<v1::DeleteArtifactRequest>,
    ) -> Result<Response<v1::DeleteArtifactResponse>, Status> {
        let call = Call::of(request.metadata(), request.extensions());
        let name = request.into_inner().name;
        self.changing(move |store| store.artifacts.delete(&call.tenant, &name)).await?;
        Ok(Response::new(v1::DeleteArtifactResponse {}))
    }

    async fn get_server_info(
        &self,
        request: Request<v1::GetServerInfoRequest>,
    ) -> Result<Response<v1::ServerInfo>, Status> {
        let call = Call::of(request.metadata(), request.extensions());
        let max_request_bytes = self.max_request_bytes;
        let info =
            self.blocking(move |store| Ok(info::info(store, max_request_bytes, &call.tenant)));
        info.await.map(Response::new)
    }
}

/// Caller and deadline of a call.
#[derive(Debug)]
struct Call {
    tenant: String,
    deadline: Option<Instant>,
    /// Share of the memory budget held by the request's body.
    body: Option<BodyHold>,
}

impl Call {
    fn of(metadata: &MetadataMap, extensions: &Extensions) -> Self {
        // The gate has already refused a malformed timeout.
        let deadline = deadline::of(metadata.as_ref()).ok().flatten();
        let caller = extensions.get::<Caller>();
        let tenant = caller.map_or_else(|| LOCAL.to_owned(), |it| it.tenant.clone());
        let body = extensions.get::<BodyHold>().cloned();
        Self { tenant, deadline, body }
    }
}

/// Releases a body's share of the memory budget.
fn release(body: Option<&BodyHold>) {
    if let Some(body) = body {
        body.release();
    }
}

/// Refuses to create a job once the caller's deadline has passed.
fn in_time(deadline: Option<Instant>) -> Result<(), Fault> {
    if deadline.is_some_and(|it| it <= Instant::now()) {
        return Err(Fault::new(Reason::ClientDeadline, "the caller's deadline has passed"));
    }
    Ok(())
}

fn invalid(field: &str, description: &str) -> Status {
    status::of_fault(&wrong(field, description))
}

fn wrong(field: &str, description: &str) -> Fault {
    let (field, description) = (field.to_owned(), description.to_owned());
    Fault::invalid(vec![Violation { field, description }])
}

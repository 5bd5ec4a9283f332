//! Unary calls with retries on broken connections and busy servers, and chunked transfer of files.

use std::future::Future;

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use tonic::{Response, Status};

use crate::client::{
    connect::{Api, Remote},
    error::ClientError,
    retry::Retry,
};
use crate::wire::v1::{self, upload_artifact_request::Data};

/// Largest picture sent inside a request, in bytes; larger ones are uploaded before.
pub const INLINE: usize = 3 << 20;
/// Chunk size of an upload, in bytes.
const PIECE: usize = 256 << 10;

impl Remote {
    /// Retries a call until it succeeds or a retry can't help.
    async fn call<Q: Clone, T, F>(
        &self,
        request: Q,
        call: impl Fn(Api, Q) -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut retry = Retry::default();
        loop {
            match call(self.api.clone(), request.clone()).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => retry.after(&status).await?,
            }
        }
    }

    /// Gets a job, with small pictures inlined.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn job(&self, name: &str) -> Result<v1::EditJob, ClientError> {
        let request = v1::GetEditJobRequest { name: name.to_owned() };
        self.call(request, |mut api, it| async move { api.get_edit_job(it).await }).await
    }

    /// Lists jobs, a page of them.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn list(
        &self,
        request: v1::ListEditJobsRequest,
    ) -> Result<v1::ListEditJobsResponse, ClientError> {
        self.call(request, |mut api, it| async move { api.list_edit_jobs(it).await }).await
    }

    /// Creates a detached job, which runs without an attached stream.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn create(
        &self,
        request: v1::CreateEditJobRequest,
    ) -> Result<v1::EditJob, ClientError> {
        self.call(request, |mut api, it| async move { api.create_edit_job(it).await }).await
    }

    /// Submits the decision on a job's mask.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn decide(
        &self,
        name: &str,
        decision: v1::MaskDecision,
    ) -> Result<v1::EditJob, ClientError> {
        let request = v1::SubmitMaskRequest { name: name.to_owned(), decision: Some(decision) };
        self.call(request, |mut api, it| async move { api.submit_mask(it).await }).await
    }

    /// Cancels a job.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn cancel(&self, name: &str, reason: &str) -> Result<v1::EditJob, ClientError> {
        let (name, reason) = (name.to_owned(), reason.to_owned());
        let request = v1::CancelEditJobRequest { name, reason };
        self.call(request, |mut api, it| async move { api.cancel_edit_job(it).await }).await
    }

    /// Deletes a job that has ended.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn delete(&self, name: &str) -> Result<(), ClientError> {
        let request = v1::DeleteEditJobRequest { name: name.to_owned() };
        self.call(request, |mut api, it| async move { api.delete_edit_job(it).await }).await?;
        Ok(())
    }

    /// A picture for a request: inlined if small, else uploaded.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it can't be uploaded.
    pub async fn image(&self, file: Bytes) -> Result<v1::Image, ClientError> {
        let source = if file.len() <= INLINE {
            v1::image::Source::Data(file)
        } else {
            v1::image::Source::Artifact(self.upload(file).await?.name)
        };
        Ok(v1::Image { source: Some(source) })
    }

    /// Uploads a picture's file in chunks.
    async fn upload(&self, file: Bytes) -> Result<v1::Artifact, ClientError> {
        let header = v1::UploadHeader {
            mime_type: String::new(),
            sha256: Bytes::copy_from_slice(&Sha256::digest(&file)),
            size_bytes: file.len() as u64,
        };
        self.call((header, file), |mut api, (header, file)| {
            let pieces = (0..file.len()).step_by(PIECE);
            let chunk = move |at: usize| Data::Chunk(file.slice(at..file.len().min(at + PIECE)));
            let data = std::iter::once(Data::Header(header)).chain(pieces.map(chunk));
            let messages = data.map(|data| v1::UploadArtifactRequest { data: Some(data) });
            async move { api.upload_artifact(tokio_stream::iter(messages)).await }
        })
        .await
    }

    /// The file of a job's result.
    ///
    /// # Errors
    /// [`ClientError::Garbled`] if there is none, or it can't be fetched.
    pub async fn result(&self, job: &v1::EditJob) -> Result<Bytes, ClientError> {
        let image = job.result.as_ref().and_then(|it| it.image.as_ref());
        let none = || ClientError::Garbled(format!("{} has no picture", job.name));
        self.bytes(image.ok_or_else(none)?).await
    }

    /// The bytes of an artifact: inlined ones, else downloaded in chunks, resuming after a broken connection.
    ///
    /// # Errors
    /// [`ClientError::Refused`], [`ClientError::Garbled`] if they don't match the artifact's digest.
    pub async fn bytes(&self, artifact: &v1::Artifact) -> Result<Bytes, ClientError> {
        if !artifact.inline.is_empty() {
            return Ok(artifact.inline.clone());
        }
        let mut bytes = BytesMut::new();
        let mut retry = Retry::default();
        while (bytes.len() as u64) < artifact.size_bytes {
            if let Err(status) = self.append(artifact, &mut bytes).await {
                retry.after(&status).await?;
            }
        }
        let bytes = bytes.freeze();
        if !artifact.sha256.is_empty() && artifact.sha256 != Sha256::digest(&bytes).as_slice() {
            let message = format!("{} was damaged in transfer (SHA-256 differs)", artifact.name);
            return Err(ClientError::Garbled(message));
        }
        Ok(bytes)
    }

    async fn append(&self, artifact: &v1::Artifact, bytes: &mut BytesMut) -> Result<(), Status> {
        let (name, offset) = (artifact.name.clone(), bytes.len() as u64);
        let request = v1::DownloadArtifactRequest { name, offset };
        let mut chunks = self.api.clone().download_artifact(request).await?.into_inner();
        while let Some(chunk) = chunks.message().await? {
            bytes.extend_from_slice(&chunk.data);
        }
        if (bytes.len() as u64) < artifact.size_bytes {
            return Err(Status::unavailable("the download ended early"));
        }
        Ok(())
    }
}

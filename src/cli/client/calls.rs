//! Unary calls with retries on broken connections and busy servers, and chunked transfer of files.

use std::future::Future;

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use tonic::{Response, Status};

use crate::cli::{
    client::{
        connect::{Api, Remote},
        refusal::RemoteError,
        retry::Retry,
    },
    error::CliError,
};
use crate::wire::v1::{self, upload_artifact_request::Data};

/// Chunk size of an upload, in bytes.
const PIECE: usize = 256 << 10;

impl Remote {
    /// Retries a call until it succeeds or a retry can't help.
    ///
    /// # Errors
    /// [`RemoteError::Refused`].
    pub(crate) async fn call<T, F>(&self, call: impl Fn(Api) -> F) -> Result<T, CliError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut retry = Retry::new();
        loop {
            match call(self.api.clone()).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => retry.after(&status).await?,
            }
        }
    }

    /// Gets a job, with small pictures inlined.
    ///
    /// # Errors
    /// [`RemoteError::Refused`].
    pub(crate) async fn job(&self, name: &str) -> Result<v1::EditJob, CliError> {
        let request = v1::GetEditJobRequest { name: name.to_owned() };
        self.call(|mut api| {
            let request = request.clone();
            async move { api.get_edit_job(request).await }
        })
        .await
    }

    /// Creates a detached job, which runs without an attached stream.
    ///
    /// # Errors
    /// [`RemoteError::Refused`].
    pub(crate) async fn create(
        &self,
        request: v1::CreateEditJobRequest,
    ) -> Result<v1::EditJob, CliError> {
        self.call(|mut api| {
            let request = request.clone();
            async move { api.create_edit_job(request).await }
        })
        .await
    }

    /// Submits the decision on a job's mask.
    ///
    /// # Errors
    /// [`RemoteError::Refused`].
    pub(crate) async fn decide(
        &self,
        name: &str,
        decision: v1::MaskDecision,
    ) -> Result<v1::EditJob, CliError> {
        let request = v1::SubmitMaskRequest { name: name.to_owned(), decision: Some(decision) };
        self.call(|mut api| {
            let request = request.clone();
            async move { api.submit_mask(request).await }
        })
        .await
    }

    /// Cancels a job.
    ///
    /// # Errors
    /// [`RemoteError::Refused`].
    pub(crate) async fn cancel(&self, name: &str, reason: &str) -> Result<v1::EditJob, CliError> {
        let (name, reason) = (name.to_owned(), reason.to_owned());
        let request = v1::CancelEditJobRequest { name, reason };
        self.call(|mut api| {
            let request = request.clone();
            async move { api.cancel_edit_job(request).await }
        })
        .await
    }

    /// Uploads a picture's file in chunks.
    ///
    /// # Errors
    /// [`RemoteError::Refused`].
    pub(crate) async fn upload(&self, file: Bytes) -> Result<v1::Artifact, CliError> {
        let header = v1::UploadHeader {
            mime_type: String::new(),
            sha256: Bytes::copy_from_slice(&Sha256::digest(&file)),
            size_bytes: file.len() as u64,
        };
        self.call(|mut api| {
            let (header, file) = (header.clone(), file.clone());
            let pieces = (0..file.len()).step_by(PIECE);
            let chunk = move |at: usize| Data::Chunk(file.slice(at..file.len().min(at + PIECE)));
            let data = std::iter::once(Data::Header(header)).chain(pieces.map(chunk));
            let messages = data.map(|data| v1::UploadArtifactRequest { data: Some(data) });
            async move { api.upload_artifact(tokio_stream::iter(messages)).await }
        })
        .await
    }

    /// The bytes of an artifact: inlined ones, else downloaded in chunks, resuming after a broken connection.
    ///
    /// # Errors
    /// [`RemoteError::Refused`], [`RemoteError::Garbled`] if they don't match the artifact's digest.
    pub(crate) async fn bytes(&self, artifact: &v1::Artifact) -> Result<Bytes, CliError> {
        if !artifact.inline.is_empty() {
            return Ok(artifact.inline.clone());
        }
        let mut bytes = BytesMut::new();
        let mut retry = Retry::new();
        while (bytes.len() as u64) < artifact.size_bytes {
            if let Err(status) = self.append(artifact, &mut bytes).await {
                retry.after(&status).await?;
            }
        }
        let bytes = bytes.freeze();
        if !artifact.sha256.is_empty() && artifact.sha256 != Sha256::digest(&bytes).as_slice() {
            let message = format!("{} came damaged", artifact.name);
            return Err(RemoteError::Garbled(message).into());
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

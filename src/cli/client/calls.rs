//! Calls that are tried again when a connection breaks or a server is busy, and files in pieces.

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

/// Bytes of a piece of an upload.
const PIECE: usize = 256 << 10;

impl Remote {
    /// Makes a call until it succeeds, or another try can't help.
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

    /// Reads a job, small pictures in it.
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

    /// Makes a job that lives on by itself.
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

    /// Decides a job's mask.
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

    /// Stores a picture's file in pieces.
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

    /// The bytes of an artifact: those that came with it, else in pieces, going on where a connection broke.
    ///
    /// # Errors
    /// [`RemoteError::Refused`], [`RemoteError::Garbled`] if they are not those that the server named.
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

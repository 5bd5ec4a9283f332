//! Upload and download of artifacts as streams of chunks.

use bytes::BytesMut;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::jobs::fault::Fault;
use crate::server::{
    edit_service::{Edits, answers::Answers, invalid},
    status,
};
use crate::wire::{
    reason::Reason,
    v1::{self, upload_artifact_request::Data},
};

/// Chunk size of downloads, in bytes.
const CHUNK: usize = 256 << 10;

/// Stores an uploaded file: a header message, then chunks.
pub(super) async fn upload(
    edits: &Edits,
    tenant: String,
    mut pieces: Streaming<v1::UploadArtifactRequest>,
) -> Result<v1::Artifact, Status> {
    let first = pieces.message().await?.and_then(|it| it.data);
    let Some(Data::Header(header)) = first else {
        return Err(invalid("data", "the first message must be `header`"));
    };
    let limit = edits.store.limits.max_artifact_bytes;
    let too_large = |bytes: u64| {
        let message = format!("an artifact has at most {limit} bytes, this one {bytes} or more");
        status::of_fault(&Fault::new(Reason::ImageTooLarge, message).with("limit_bytes", &limit))
    };
    if header.size_bytes > limit {
        return Err(too_large(header.size_bytes));
    }
    let mut bytes = BytesMut::new();
    while let Some(piece) = pieces.message().await? {
        let Some(Data::Chunk(chunk)) = piece.data else {
            return Err(invalid("data", "only `chunk` may follow the header"));
        };
        let size = (bytes.len() + chunk.len()) as u64;
        if size > limit {
            return Err(too_large(size));
        }
        bytes.extend_from_slice(&chunk);
    }
    let bytes = bytes.freeze();
    edits.changing(move |store| store.upload(&tenant, &header, bytes)).await
}

/// Streams a file from an offset, after verifying its digest.
pub(super) async fn download(
    edits: &Edits,
    tenant: String,
    request: v1::DownloadArtifactRequest,
) -> Result<Answers<v1::ArtifactChunk>, Status> {
    let (wanted, offset) = (request.name, request.offset);
    let artifact = edits.blocking(move |store| store.artifacts.get(&tenant, &wanted)).await?;
    let (size, mut offset) = (artifact.size_bytes, offset);
    if offset > size {
        return Err(invalid("offset", &format!("is beyond the artifact's {size} bytes")));
    }
    let name = artifact.name.clone();
    edits.blocking(move |store| store.artifacts.check(&name)).await?;
    let edits = edits.clone();
    let (chunks, received) = mpsc::channel(2);
    tokio::spawn(async move {
        while offset < size {
            let name = artifact.name.clone();
            let read = edits.blocking(move |store| store.artifacts.read(&name, offset, CHUNK));
            let chunk = read.await.and_then(|data| {
                if data.is_empty() {
                    return Err(status::of_fault(&Fault::no_artifact(&artifact.name)));
                }
                Ok(v1::ArtifactChunk { offset, data })
            });
            let failed = chunk.is_err();
            offset += chunk.as_ref().map_or(0, |it| it.data.len()) as u64;
            if chunks.send(chunk).await.is_err() || failed {
                return;
            }
        }
    });
    Ok(Box::pin(ReceiverStream::new(received)))
}

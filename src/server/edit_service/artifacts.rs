//! Artifacts in chunks, up and down.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::jobs::fault::{Fault, Reason};
use crate::server::{
    edit_service::{Answers, Edits, invalid},
    status,
};
use crate::wire::v1::{self, upload_artifact_request::Data};

/// Bytes of a chunk.
const CHUNK: usize = 256 << 10;

/// Takes a file: a header, then chunks.
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
    edits.blocking(move |store| store.upload(&tenant, &header, bytes)).await
}

/// Gives a file's bytes from an offset.
pub(super) fn download(
    edits: &Edits,
    tenant: &str,
    request: &v1::DownloadArtifactRequest,
) -> Result<Answers<v1::ArtifactChunk>, Status> {
    let artifact = edits.store.artifacts.get(tenant, &request.name);
    let artifact = artifact.map_err(|fault| status::of_fault(&fault))?;
    if request.offset > artifact.size_bytes {
        let text = format!("is beyond the artifact's {} bytes", artifact.size_bytes);
        return Err(invalid("offset", &text));
    }
    let (store, from) = (Arc::clone(&edits.store), request.offset);
    let (chunks, received) = mpsc::channel(2);
    tokio::spawn(async move {
        let mut offset = from;
        while offset < artifact.size_bytes {
            let read = store.artifacts.read(&artifact.name, offset, CHUNK);
            let chunk = match read {
                Ok(data) if data.is_empty() => Err(Fault::no_artifact(&artifact.name)),
                other => other,
            };
            let next = chunk.as_ref().map_or(0, Bytes::len) as u64;
            let chunk = chunk
                .map(|data| v1::ArtifactChunk { offset, data })
                .map_err(|fault| status::of_fault(&fault));
            let failed = chunk.is_err();
            if chunks.send(chunk).await.is_err() || failed {
                return;
            }
            offset += next;
        }
    });
    Ok(Box::pin(ReceiverStream::new(received)))
}

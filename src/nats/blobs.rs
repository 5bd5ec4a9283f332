//! Artifacts' bytes, as messages of a stream: one subject for each piece, so that a part is read alone and a deletion
//! leaves nothing behind.
//!
//! Differs: not NATS's object store, whose deletions leave a message each for ever, and whose reads need a consumer.

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};

use async_nats::{HeaderMap, Request};
use serde_json::json;

use crate::journal::{error::JournalError, ledger::LedgerError};
use crate::nats::link::Wire;

/// Bytes of a piece. A reader computes by it where a byte is, so it never changes.
const PIECE: usize = 256 << 10;
/// Length of what stands before the bytes of a piece: the length of the whole.
const HEAD: usize = 8;
/// Least `max_payload` of a server: a piece with its head, as the base64 of a read from the leader.
pub(super) const LEAST_PAYLOAD: usize = 512 << 10;
/// Requests at once.
const AT_ONCE: usize = 8;

/// The subject of a file, without its pieces' numbers; `kind` is `blob` or `spill`.
pub(super) fn subject(wire: &Wire, kind: &str, name: &str) -> String {
    wire.names.subject(kind, name)
}

/// Stores a file.
pub(super) async fn put(wire: &Wire, subject: &str, bytes: Bytes) -> Result<(), LedgerError> {
    let count = bytes.len().div_ceil(PIECE).max(1);
    let pieces = (0..count).map(|number| {
        let piece = &bytes[number * PIECE..bytes.len().min((number + 1) * PIECE)];
        let mut payload = BytesMut::with_capacity(HEAD + piece.len());
        payload.put_u64(bytes.len() as u64);
        payload.put_slice(piece);
        let subject = format!("{subject}.{number}");
        async move { wire.store_again(&subject, HeaderMap::new(), payload.freeze()).await }
    });
    stream::iter(pieces).buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await
}

/// Bytes of a file from `offset`, at most `limit` of them.
///
/// # Errors
/// [`JournalError::Lost`] if it is missing or has another length than `whole`.
pub(super) async fn read(
    wire: &Wire,
    subject: &str,
    whole: u64,
    offset: u64,
    limit: usize,
) -> Result<Vec<u8>, LedgerError> {
    let end = offset.saturating_add(limit as u64).min(whole).max(offset.min(whole));
    let offset = offset.min(whole);
    let last = (whole as usize).div_ceil(PIECE).max(1) - 1;
    let first = (offset as usize / PIECE).min(last);
    let until = (end.saturating_sub(1) as usize / PIECE).clamp(first, last);
    let pieces = (first..=until).map(|number| {
        let subject = format!("{subject}.{number}");
        async move { piece(wire, &subject, whole).await }
    });
    let pieces: Vec<Bytes> = stream::iter(pieces).buffered(AT_ONCE).try_collect().await?;
    let mut bytes = pieces.concat();
    let skipped = offset as usize - first * PIECE;
    bytes.truncate(skipped + (end - offset) as usize);
    if bytes.len() < skipped + (end - offset) as usize {
        return Err(lost(subject, "is cut short"));
    }
    Ok(bytes.split_off(skipped))
}

async fn piece(wire: &Wire, subject: &str, whole: u64) -> Result<Bytes, LedgerError> {
    let stream = wire.names.blob();
    let found = match direct(wire, &stream, subject).await {
        Some(found) => Some(found),
        // A follower may not have it yet; the leader knows.
        None => wire.last(&stream, subject).await?.map(|it| it.payload),
    };
    let Some(found) = found.filter(|it| it.len() >= HEAD) else {
        return Err(lost(subject, "is missing"));
    };
    let said = u64::from_be_bytes(std::array::from_fn(|it| found[it]));
    if said != whole {
        return Err(lost(subject, &format!("is of a file of {said} bytes, not {whole}")));
    }
    Ok(found.slice(HEAD..))
}

/// A message from any replica; `None` if that one does not have it, or does not answer.
async fn direct(wire: &Wire, stream: &str, subject: &str) -> Option<Bytes> {
    let body = json!({ "last_by_subj": subject }).to_string();
    let request = Request::new().payload(body.into());
    let answer = wire.client.send_request(format!("$JS.API.DIRECT.GET.{stream}"), request).await;
    answer.ok().filter(|it| it.status.is_none()).map(|it| it.payload)
}

/// Deletes files, as far as the servers can be reached.
pub(super) async fn drop_all(wire: &Wire, subjects: Vec<String>) {
    let stream = &wire.names.blob();
    let gone = subjects.into_iter().map(|subject| async move {
        if let Err(error) = wire.purge(stream, &format!("{subject}.>")).await {
            tracing::warn!(%error, subject, "a file could not be deleted");
        }
    });
    stream::iter(gone).buffer_unordered(AT_ONCE).collect::<()>().await;
}

fn lost(subject: &str, why: &str) -> LedgerError {
    LedgerError::Store(JournalError::Lost { path: subject.into(), why: why.to_owned() })
}

//! The log of commits: a write is one message, or one atomic batch, that holds if its subjects are as expected.

use bytes::Bytes;
use serde_json::json;
use uuid::Uuid;

use crate::journal::ledger::{LedgerError, Revision};
use crate::nats::{
    answers::Answer,
    blobs,
    entries::{self, Entries, Entry},
    link::{self, Patience, Wire},
};
use crate::wire::journal::v1::{ArtifactRecord, JobRecord, LogRecord};

/// Conflicts with what is no other's commit of the same job, such as a deleted job's marker, after which it is one.
const MARKERS: usize = 8;

/// Stores a commit; returns the sequence of its last message.
pub(super) async fn commit(wire: &Wire, mut entries: Entries) -> Result<u64, LedgerError> {
    if let Some((subject, bytes)) = entries.spilled.take() {
        blobs::put(wire, &subject, bytes).await?;
    }
    let patience = Patience::new();
    for _ in 0..MARKERS {
        let answer = loop {
            match send(wire, &entries.all()).await {
                Answer::Unknown(said) => patience.pause(&said).await?,
                answer => break answer,
            }
        };
        match answer {
            Answer::Stored(sequence) => return Ok(sequence),
            Answer::Full(said) => return Err(link::full(said)),
            Answer::Refused(said) => return Err(link::refused("store a commit", said)),
            Answer::Stale | Answer::Unknown(_) => {}
        }
        if let Some(sequence) = stale(wire, &mut entries).await? {
            return Ok(sequence);
        }
    }
    Err(LedgerError::Conflict)
}

/// Finds out why a commit's subjects are not as expected. `Some` if it is stored itself, and its answer was lost; `None`
/// if it may be sent again, with expectations that were changed for the markers of deleted jobs.
async fn stale(wire: &Wire, entries: &mut Entries) -> Result<Option<u64>, LedgerError> {
    let log = wire.names.log();
    let ours = entries::id(entries.commit);
    let Some(job) = &mut entries.job else { return Err(LedgerError::Conflict) };
    let expected = job.expected.unwrap_or_default();
    // 1. The commit that the job has instead, after the one that this one starts from: what came after it says nothing.
    if let Some(next) = wire.next(&log, &job.subject, expected + 1).await? {
        match entries::decode(&next.payload)? {
            Some(record) if record.commit_id == ours => return Ok(Some(next.sequence)),
            // A job that was deleted is one that does not exist.
            Some(record) if record.removed && entries.is_new => {
                job.expected = Some(next.sequence);
                return Ok(None);
            }
            _ => return Err(LedgerError::Conflict),
        }
    }
    // 2. Else it is the request id, which another job has, or had.
    let Some(request) = &mut entries.request else { return Err(LedgerError::Conflict) };
    let Some(last) = wire.last(&log, &request.subject).await? else {
        request.expected = Some(0);
        return Ok(None);
    };
    let record = entries::decode(&last.payload)?.unwrap_or_default();
    if !record.removed && is_there(wire, &record.created).await? {
        return Err(LedgerError::Conflict);
    }
    request.expected = Some(last.sequence);
    Ok(None)
}

async fn is_there(wire: &Wire, job: &str) -> Result<bool, LedgerError> {
    let Ok(id) = Uuid::try_parse(job) else { return Ok(false) };
    Ok(self::job(wire, id).await?.is_some())
}

/// Sends a commit once: one message as it is, several as an atomic batch.
async fn send(wire: &Wire, entries: &[&Entry]) -> Answer {
    let Some((last, before)) = entries.split_last() else {
        return Answer::Refused("a commit of nothing".to_owned());
    };
    metrics::counter!("retouch_engine_commits_total").increment(1);
    let mut headers = last.headers();
    if !before.is_empty() {
        // Another one for each try: what the server has of one that broke is none of this.
        let batch = Uuid::now_v7().simple().to_string();
        for (index, entry) in before.iter().enumerate() {
            let mut headers = entry.headers();
            headers.insert("Nats-Batch-Id", batch.as_str());
            headers.insert("Nats-Batch-Sequence", (index + 1).to_string());
            let (subject, payload) = (entry.subject.clone(), entry.payload.clone());
            if let Err(error) = wire.client.publish_with_headers(subject, headers, payload).await {
                return Answer::Unknown(error.to_string());
            }
        }
        headers.insert("Nats-Batch-Id", batch.as_str());
        headers.insert("Nats-Batch-Sequence", entries.len().to_string());
        headers.insert("Nats-Batch-Commit", "1");
    }
    wire.store(&last.subject, headers, last.payload.clone()).await
}

/// Deletes jobs if they have the expected revisions, then artifacts' records.
pub(super) async fn remove(
    wire: &Wire,
    commit: Uuid,
    jobs: Vec<(Revision, Uuid, JobRecord)>,
    artifacts: Vec<Uuid>,
) -> Result<(), LedgerError> {
    let names = &wire.names;
    let mut entries = Vec::new();
    for (revision, job, record) in &jobs {
        let request_id = record.job.as_ref().map_or("", |it| it.request_id.as_str());
        if !request_id.is_empty() {
            let subject = names.request(&record.tenant, request_id);
            entries.push(Entry::marker(subject, commit, None));
        }
        entries.push(Entry::marker(names.job(*job), commit, Some(record)).after(revision.0));
    }
    let patience = Patience::new();
    while !entries.is_empty() {
        match send(wire, &entries.iter().collect::<Vec<_>>()).await {
            Answer::Stored(_) => break,
            Answer::Stale => {
                let (_, first, _) = &jobs[0];
                let last = wire.last(&names.log(), &names.job(*first)).await?;
                let last = last.map(|it| entries::decode(&it.payload)).transpose()?.flatten();
                if last.is_some_and(|it| it.commit_id == entries::id(commit)) {
                    break;
                }
                return Err(LedgerError::Conflict);
            }
            Answer::Full(said) => return Err(link::full(said)),
            Answer::Refused(said) => return Err(link::refused("delete jobs", said)),
            Answer::Unknown(said) => patience.pause(&said).await?,
        }
    }
    // What is not deleted now has no job any more, and is when it expires.
    for id in artifacts {
        let entry = Entry::marker(names.artifact(id), commit, None);
        wire.store_again(&entry.subject, entry.headers(), entry.payload.clone()).await?;
    }
    Ok(())
}

/// A job as last committed.
pub(super) async fn job(
    wire: &Wire,
    id: Uuid,
) -> Result<Option<(Revision, JobRecord)>, LedgerError> {
    let Some(last) = wire.last(&wire.names.log(), &wire.names.job(id)).await? else {
        return Ok(None);
    };
    let record = entries::latest(wire, last.sequence, &last.payload).await?;
    let kept = record.filter(|it| !it.removed);
    Ok(kept.and_then(|it| Some((Revision(last.sequence), it.job?))))
}

/// An artifact's record.
pub(super) async fn artifact(wire: &Wire, id: Uuid) -> Result<Option<ArtifactRecord>, LedgerError> {
    let Some(last) = wire.last(&wire.names.log(), &wire.names.artifact(id)).await? else {
        return Ok(None);
    };
    Ok(kept(wire, &last.payload).await?.and_then(|it| it.artifact))
}

/// A message of something that was not deleted.
pub(super) async fn kept(wire: &Wire, payload: &Bytes) -> Result<Option<LogRecord>, LedgerError> {
    Ok(entries::whole(wire, payload).await?.filter(|it| !it.removed))
}

/// The last sequence of the log, as its leader knows it.
pub(super) async fn last_sequence(wire: &Wire) -> Result<u64, LedgerError> {
    let call = format!("STREAM.INFO.{}", wire.names.log());
    let info = wire.ask::<serde_json::Value>(&call, &json!({})).await?;
    let info = info.map_err(|error| link::refused(&call, error.description))?;
    Ok(info["state"]["last_seq"].as_u64().unwrap_or_default())
}

//! Commits as messages of the log, one for each subject that they change.

use async_nats::HeaderMap;
use bytes::Bytes;
use prost::Message;
use uuid::Uuid;

use crate::journal::{
    id_of, job_id,
    ledger::{Commit, LedgerError, Revision},
};
use crate::nats::{
    blobs,
    link::{self, Wire},
};
use crate::wire::{
    journal::v1::{ArtifactRecord, JobRecord, LogRecord},
    v1::{EditEvent, EditJob},
};

/// Room for headers and subject beside a message's payload, in bytes.
const OVERHEAD: usize = 4 << 10;
/// Largest record with its events, in bytes; larger ones are refused.
const LARGEST: usize = 16 << 20;
/// How long the marker of a deletion stays, in seconds: longer than a process misses the feed without a new start.
const MARKED: u64 = 24 * 60 * 60;

/// A message of a commit.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) subject: String,
    /// The sequence that the subject's last message must have; `None` is any.
    pub(super) expected: Option<u64>,
    /// Whether it replaces all earlier messages of the subject.
    pub(super) removes: bool,
    pub(super) payload: Bytes,
}

impl Entry {
    fn new(subject: String, record: &LogRecord) -> Self {
        let payload = record.encode_to_vec().into();
        Self { subject, expected: None, removes: false, payload }
    }

    /// A marker of a deletion, with as much of a job as who hears of it needs.
    pub(super) fn marker(subject: String, commit: Uuid, job: Option<&JobRecord>) -> Self {
        let job = job.map(|it| JobRecord {
            job: it.job.as_ref().map(|it| EditJob {
                name: it.name.clone(),
                request_id: it.request_id.clone(),
                ..EditJob::default()
            }),
            tenant: it.tenant.clone(),
            artifacts: it.artifacts.clone(),
            ..JobRecord::default()
        });
        let record =
            LogRecord { commit_id: id(commit), removed: true, job, ..LogRecord::default() };
        Self { removes: true, ..Self::new(subject, &record) }
    }

    /// The same if the subject's last message has this sequence.
    pub(super) fn after(mut self, expected: u64) -> Self {
        self.expected = Some(expected);
        self
    }

    /// Its headers.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(expected) = self.expected {
            headers.insert("Nats-Expected-Last-Subject-Sequence", expected.to_string());
        }
        if self.removes {
            headers.insert("Nats-Rollup", "sub");
            headers.insert("Nats-TTL", MARKED.to_string());
        }
        headers
    }
}

/// What a commit stores: its artifacts, then the request id of a new job, then the job.
#[derive(Debug)]
pub(super) struct Entries {
    pub(super) commit: Uuid,
    /// Whether its job is to be a new one.
    pub(super) is_new: bool,
    pub(super) artifacts: Vec<Entry>,
    pub(super) request: Option<Entry>,
    pub(super) job: Option<Entry>,
    /// Record and events that are too large for a message, to be stored before.
    pub(super) spilled: Option<(String, Bytes)>,
}

impl Entries {
    /// The messages of a commit.
    ///
    /// # Errors
    /// [`LedgerError::Store`] if the record is larger than any may be.
    pub(super) fn new(
        wire: &Wire,
        commit: Commit<'_>,
        expected: Revision,
    ) -> Result<Self, LedgerError> {
        let commit_id = Uuid::now_v7();
        let names = &wire.names;
        let artifact = |record: &ArtifactRecord| {
            let name = record.artifact.as_ref().map_or("", |it| it.name.as_str());
            let record = LogRecord {
                commit_id: id(commit_id),
                artifact: Some(record.clone()),
                ..LogRecord::default()
            };
            Entry::new(names.artifact(id_of(name).unwrap_or_default()), &record)
        };
        let artifacts = commit.artifacts.iter().map(artifact).collect();
        let is_new = expected == Revision::NONE;
        let mut entries =
            Self { commit: commit_id, is_new, artifacts, request: None, job: None, spilled: None };
        let Some(record) = commit.job else { return Ok(entries) };
        let job = job_id(record);
        let request_id = record.job.as_ref().map_or("", |it| it.request_id.as_str());
        if is_new && !request_id.is_empty() {
            let created = LogRecord {
                commit_id: id(commit_id),
                created: job.to_string(),
                ..LogRecord::default()
            };
            let subject = names.request(&record.tenant, request_id);
            entries.request = Some(Entry::new(subject, &created).after(0));
        }
        let whole = LogRecord {
            commit_id: id(commit_id),
            job: Some(record.clone()),
            events: commit.events.to_vec(),
            ..LogRecord::default()
        };
        let encoded = wire.carried.with(job, whole.encode_to_vec());
        let length = encoded.len();
        if length > LARGEST {
            let why = format!("the record has {length} bytes, and the largest may have {LARGEST}");
            return Err(link::refused("store a job", why));
        }
        if length + OVERHEAD > wire.client.max_payload() {
            let name = format!("{job}.{commit_id}");
            let spill = LogRecord {
                commit_id: id(commit_id),
                spilled_bytes: length as u64,
                spilled: name.clone(),
                ..LogRecord::default()
            };
            entries.spilled = Some((blobs::subject(wire, "spill", &name), encoded.into()));
            entries.job = Some(Entry::new(names.job(job), &spill).after(expected.0));
            return Ok(entries);
        }
        let entry = Entry {
            subject: names.job(job),
            expected: Some(expected.0),
            removes: false,
            payload: encoded.into(),
        };
        entries.job = Some(entry);
        Ok(entries)
    }

    /// Its messages, the job's last, so that who hears of a job knows its artifacts.
    pub(super) fn all(&self) -> Vec<&Entry> {
        self.artifacts.iter().chain(&self.request).chain(&self.job).collect()
    }
}

/// The bytes of a commit's id.
pub(super) fn id(commit: Uuid) -> Bytes {
    Bytes::copy_from_slice(commit.as_bytes())
}

/// A message of the log as it was committed; `None` of one that holds nothing, such as a marker of the server's.
pub(super) fn decode(payload: &Bytes) -> Result<Option<LogRecord>, LedgerError> {
    if payload.is_empty() {
        return Ok(None);
    }
    let record = LogRecord::decode(payload.clone());
    record
        .map(Some)
        .map_err(|error| link::refused("give a message that can be read", error.to_string()))
}

/// A message of the log, with what was too large for it.
pub(super) async fn whole(wire: &Wire, payload: &Bytes) -> Result<Option<LogRecord>, LedgerError> {
    Ok(encoded(wire, payload).await?.map(|it| it.0))
}

/// The same of a message that may be its job's last; the job's next commit carries on what is not known of it.
pub(super) async fn latest(
    wire: &Wire,
    sequence: u64,
    payload: &Bytes,
) -> Result<Option<LogRecord>, LedgerError> {
    let found = encoded(wire, payload).await?;
    Ok(found.map(|(record, encoded)| {
        wire.carried.note(sequence, &record, &encoded);
        record
    }))
}

async fn encoded(wire: &Wire, payload: &Bytes) -> Result<Option<(LogRecord, Bytes)>, LedgerError> {
    let Some(record) = decode(payload)? else { return Ok(None) };
    if record.spilled_bytes == 0 {
        return Ok(Some((record, payload.clone())));
    }
    let subject = blobs::subject(wire, "spill", &record.spilled);
    let bytes = blobs::read(wire, &subject, record.spilled_bytes, 0, usize::MAX).await?;
    let bytes = bytes.into();
    Ok(decode(&bytes)?.map(|it| (it, bytes)))
}

/// The events of a message after a sequence number.
pub(super) fn events_after(record: LogRecord, after: u64) -> impl Iterator<Item = EditEvent> {
    record.events.into_iter().filter(move |it| it.sequence > after)
}

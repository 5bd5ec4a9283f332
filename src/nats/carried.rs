//! What a newer version has written into a job's record and this one does not know: carried on in this one's commits, so
//! that two versions may share a log while one replaces the other.
//!
//! prost drops unknown fields. They are appended to the encoding of the next record, by which protobuf merges them into
//! it; those of lists, maps and alternatives (`oneof`) are lost, since their place there may be another's by then.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use prost::{
    Message,
    bytes::{BufMut, Bytes},
    encoding::{WireType, encode_key, encode_varint},
};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, Value};
use uuid::Uuid;

use crate::journal::job_id;
use crate::wire::{JOURNAL_DESCRIPTOR_SET, journal::v1::LogRecord};

/// Number of the job's record in a message of the log.
const JOB: u32 = 3;

/// The records of jobs with fields that this version does not know; there are none but while versions are mixed.
#[derive(Debug, Default)]
pub(super) struct Carried(Mutex<HashMap<Uuid, (u64, DynamicMessage)>>);

impl Carried {
    fn by_job(&self) -> MutexGuard<'_, HashMap<Uuid, (u64, DynamicMessage)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what is unknown of a job's record, which was decoded from a message of this sequence.
    pub(super) fn note(&self, sequence: u64, record: &LogRecord, encoded: &Bytes) {
        let Some(job) = &record.job else { return };
        let id = job_id(job);
        if self.by_job().get(&id).is_some_and(|it| it.0 > sequence) {
            return;
        }
        // What is known is as long again as it was.
        let unknown = (record.encoded_len() != encoded.len() && !record.removed)
            .then(|| job_of(encoded))
            .flatten()
            .filter(|it| !unknown(it, it).is_empty());
        match unknown {
            Some(job) => drop(self.by_job().insert(id, (sequence, job))),
            None => drop(self.by_job().remove(&id)),
        }
    }

    /// The encoding of a job's next message with what is carried on.
    pub(super) fn with(&self, job: Uuid, mut encoded: Vec<u8>) -> Vec<u8> {
        let Some((_, before)) = self.by_job().get(&job).cloned() else { return encoded };
        let now = job_of(&Bytes::copy_from_slice(&encoded));
        let unknown = now.map(|now| unknown(&before, &now)).unwrap_or_default();
        nested(JOB, &unknown, &mut encoded);
        encoded
    }
}

fn job_of(encoded: &Bytes) -> Option<DynamicMessage> {
    let log = DynamicMessage::decode(descriptor(), encoded.clone()).ok()?;
    let job = log.get_field_by_number(JOB)?;
    job.as_message().cloned()
}

/// The unknown fields of a message, and of the messages in it that there are now, too.
fn unknown(before: &DynamicMessage, now: &DynamicMessage) -> Vec<u8> {
    let mut found = Vec::new();
    for field in before.unknown_fields() {
        field.encode(&mut found);
    }
    for (field, value) in before.fields() {
        let is_alternative = field.containing_oneof().is_some_and(|it| !it.is_synthetic());
        if let Value::Message(inner) = value
            && !is_alternative
            && now.has_field(&field)
            && let Some(now) = now.get_field(&field).as_message()
        {
            nested(field.number(), &unknown(inner, now), &mut found);
        }
    }
    found
}

/// Appends a message within another, unless it is empty.
fn nested(number: u32, message: &[u8], to: &mut Vec<u8>) {
    if !message.is_empty() {
        encode_key(number, WireType::LengthDelimited, to);
        encode_varint(message.len() as u64, to);
        to.put_slice(message);
    }
}

fn descriptor() -> MessageDescriptor {
    static LOG: OnceLock<MessageDescriptor> = OnceLock::new();
    let read = || {
        let pool = DescriptorPool::decode(JOURNAL_DESCRIPTOR_SET).ok()?;
        pool.get_message_by_name("retouch.journal.v1.LogRecord")
    };
    LOG.get_or_init(|| read().expect("the schema's descriptors are sound")).clone()
}

#[cfg(test)]
mod tests {
    use prost::encoding::{string, uint64};
    use prost_reflect::UnknownField;

    use super::*;
    use crate::wire::{
        journal::v1::JobRecord,
        v1::{EditJob, EditSpec},
    };

    fn record(id: Uuid, has_mask: bool) -> LogRecord {
        let mask = has_mask.then(Default::default);
        let spec = Some(EditSpec { instruction: "edit".to_owned(), ..EditSpec::default() });
        let job = Some(EditJob { name: format!("jobs/{id}"), spec, mask, ..EditJob::default() });
        LogRecord { job: Some(JobRecord { job, ..JobRecord::default() }), ..LogRecord::default() }
    }

    /// A record as a later version may write it: a number of its own, and a text in the job's mask.
    fn newer(record: &LogRecord) -> Bytes {
        let (mut text, mut in_job, mut in_record) = (Vec::new(), Vec::new(), Vec::new());
        string::encode(1999, &"later".to_owned(), &mut text);
        let mask = descriptor().get_field(JOB).unwrap().kind().as_message().unwrap().clone();
        let job = mask.get_field_by_name("job").unwrap();
        let mask = job.kind().as_message().unwrap().get_field_by_name("mask").unwrap();
        nested(mask.number(), &text, &mut in_job);
        nested(job.number(), &in_job, &mut in_record);
        uint64::encode(2000, &7, &mut in_record);
        let mut encoded = record.encode_to_vec();
        nested(JOB, &in_record, &mut encoded);
        encoded.into()
    }

    #[test]
    fn what_a_newer_version_wrote_is_in_the_next_commit_unless_its_place_is_gone() {
        let (carried, id) = (Carried::default(), Uuid::from_u128(7));
        let first = newer(&record(id, true));
        let read = LogRecord::decode(first.clone()).unwrap();
        assert_eq!(read, record(id, true));
        carried.note(5, &read, &first);
        let next = Bytes::from(carried.with(id, read.encode_to_vec()));
        assert_eq!(LogRecord::decode(next.clone()).unwrap(), read);
        let (before, after) = (job_of(&first).unwrap(), job_of(&next).unwrap());
        assert_eq!(unknown(&after, &after), unknown(&before, &before));
        // Without its mask the number alone is left.
        let less = record(id, false);
        let next = Bytes::from(carried.with(id, less.encode_to_vec()));
        assert_eq!(LogRecord::decode(next.clone()).unwrap(), less);
        let after = job_of(&next).unwrap();
        assert_eq!(after.unknown_fields().map(UnknownField::number).collect::<Vec<_>>(), [2000]);
        // An older message says nothing, and a later one without them ends it.
        let plain: Bytes = less.encode_to_vec().into();
        carried.note(4, &less, &plain);
        assert_ne!(carried.with(id, plain.to_vec()), plain);
        carried.note(6, &less, &plain);
        assert_eq!(carried.with(id, plain.to_vec()), plain);
    }
}

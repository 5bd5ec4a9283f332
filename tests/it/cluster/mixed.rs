//! Two versions of the program on one log, as while one replaces the other.

use prost::{Message, encoding};
use retouch::wire::{
    journal::v1::LogRecord,
    v1::{
        AcceptMask, EditSpec, MaskDecision, MaskPolicy, edit_job::State, mask_decision::Decision,
    },
};

use super::{nats_server::NatsServer, shared};
use crate::service::harness::{numbers, request, spec};

/// What a later version writes into a field of its own, in the record and in the job within it.
const LATER: [&str; 2] = ["a later version's own", "the same, further in"];
/// Number of such a field: none that there is.
const NUMBER: u32 = 2000;
/// Numbers of a message's job record, and of that one's job.
const NESTED: (u32, u32) = (3, 1);

/// A record as a later version writes it.
fn later(record: &LogRecord) -> Vec<u8> {
    let text = |text: &str| {
        let mut field = Vec::new();
        encoding::string::encode(NUMBER, &text.to_owned(), &mut field);
        field
    };
    let mut job = text(LATER[0]);
    encoding::bytes::encode(NESTED.1, &text(LATER[1]), &mut job);
    let mut encoded = record.encode_to_vec();
    encoding::bytes::encode(NESTED.0, &job, &mut encoded);
    encoded
}

fn is_in(text: &str, bytes: &[u8]) -> bool {
    bytes.windows(text.len()).any(|it| it == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_versions_fields_stay_in_a_job_that_this_one_goes_on_with_and_an_earlier_ones_lack_none()
 {
    let Some(nats) = NatsServer::start() else { return };
    let servers = shared::servers(&nats, 2).await;
    let review = EditSpec { mask_policy: MaskPolicy::Review as i32, ..spec("edit") };
    let job = servers[0].create(request(review)).await;
    servers[1].until(&job.name, State::AwaitingMask).await;

    // 1. A commit of a later version, to a record of an earlier one, which has no trace.
    let client = async_nats::connect(nats.url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let log = jetstream.get_stream("RT_LOG").await.unwrap();
    let subject = format!("rt.job.{}", job.name.strip_prefix("jobs/").unwrap());
    let last = log.get_last_raw_message_by_subject(&subject).await.unwrap();
    let mut record = LogRecord::decode(last.payload).unwrap();
    record.events.clear();
    record.commit_id = uuid::Uuid::now_v7().as_bytes().to_vec().into();
    let inner = record.job.as_mut().unwrap();
    inner.traceparent.clear();
    inner.job.as_mut().unwrap().etag = "ff".to_owned();
    let ack = jetstream.publish(subject.clone(), later(&record).into()).await.unwrap();
    let sequence = ack.await.unwrap().sequence;

    // 2. This version goes on, at either process.
    let started = std::time::Instant::now();
    while servers[1].get(&job.name).await.etag != "ff" {
        assert!(started.elapsed().as_secs() < 20, "the later commit is never heard of");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let decision = Some(Decision::Accept(AcceptMask::default()));
    let decision = MaskDecision { decision, ..MaskDecision::default() };
    servers[1].decide(&job.name, decision).await.unwrap();
    let done = servers[0].until(&job.name, State::Succeeded).await;
    let events = servers[0].watch(&job.name, 0).await;
    assert_eq!(numbers(&events), (1..=done.last_sequence).collect::<Vec<_>>());

    // 3. Nothing of it is lost.
    let last = log.get_last_raw_message_by_subject(&subject).await.unwrap();
    assert!(last.sequence > sequence + 2);
    assert!(LATER.iter().all(|it| is_in(it, &last.payload)));
}

//! The ledger over NATS does what every ledger does.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use proptest::prelude::*;
use retouch::{
    journal::{
        error::JournalError,
        job_id,
        ledger::{Blob, Commit, Ledger, LedgerError, News, Revision},
    },
    nats::{Nats, options::Options},
    wire::{journal::v1::ArtifactRecord, v1},
};
use uuid::Uuid;

use super::nats_server::NatsServer;
use crate::ledger::conformance::{self, Model};

/// Two processes over streams of their own.
fn two(server: &NatsServer) -> (Nats, Nats) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let prefix = format!("c{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let open = || Nats::open(&Options::plain(server.url(), &prefix), true).unwrap();
    (open(), open())
}

#[test]
fn a_ledger_over_nats_is_one_and_shows_the_same_to_every_process() {
    let Some(server) = NatsServer::start() else { return };
    let config = ProptestConfig { cases: 8, failure_persistence: None, ..Default::default() };
    let ops = prop::collection::vec((conformance::op(), any::<bool>()), 1..25);
    proptest!(config, |(ops in ops)| {
        let (first, second) = two(&server);
        let mut fed = second.tail();
        let mut model = Model::default();
        for (op, by_first) in &ops {
            let before = model.jobs.clone();
            model.run(if *by_first { &first } else { &second }, op)?;
            if let Some(applied) = conformance::changed(&before, &model.jobs)
                && *by_first
            {
                let told = fed.find_map(|it| match it {
                    News::Job(told) => Some(told),
                    News::Artifact(_) | News::ArtifactGone(_) => None,
                });
                let told = *told.unwrap();
                prop_assert_eq!(told.revision, applied.0);
                prop_assert_eq!(job_id(&told.record), job_id(&applied.1));
                prop_assert!(told.revision == Revision::NONE || told.record == applied.1);
            }
        }
        model.check(&second)?;
        // A process that comes later loads the same.
        model.check(&first)?;
    });
}

#[test]
fn what_is_stored_outlives_a_killed_server_but_not_a_lease() {
    let Some(mut server) = NatsServer::start() else { return };
    let (first, _) = two(&server);
    let record = conformance::record(1);
    let revision =
        first.commit(Commit { job: Some(&record), ..Commit::default() }, Revision::NONE).unwrap();
    let bytes: Vec<u8> = (0..700_000_u32).map(|it| it as u8).collect();
    let id = Uuid::from_u128(9);
    first.put_blobs(&[(id, &bytes)]).unwrap();
    first.lease("worker", Duration::from_secs(2)).unwrap();
    assert!(first.leases().unwrap().contains("worker"));
    server.kill();
    server.again();
    let job = job_id(&record);
    assert_eq!(first.job(job).unwrap(), Some((revision, record)));
    let blob = Blob { id, bytes: bytes.len() as u64 };
    assert_eq!(first.read_blob(blob, 0, usize::MAX).unwrap(), bytes);
    assert_eq!(first.read_blob(blob, 262_100, 100).unwrap(), bytes[262_100..262_200]);
    assert_eq!(first.read_blob(blob, 699_990, 100).unwrap(), bytes[699_990..]);
    let started = std::time::Instant::now();
    while first.leases().unwrap().contains("worker") {
        assert!(started.elapsed() < Duration::from_secs(10), "the lease never ends");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_record_larger_than_a_message_is_kept_beside_the_log_and_one_beyond_all_is_refused() {
    let Some(server) = NatsServer::start() else { return };
    let (first, second) = two(&server);
    let mut fed = second.tail();
    let mut record = conformance::record(1);
    record.localization = vec![7; 3 << 20].into();
    let commit = Commit { job: Some(&record), ..Commit::default() };
    let told = std::thread::scope(|scope| {
        let told = scope.spawn(|| fed.next());
        std::thread::sleep(Duration::from_millis(300));
        let revision = first.commit(commit, Revision::NONE).unwrap();
        let Some(News::Job(told)) = told.join().unwrap() else { panic!("nothing was told") };
        assert_eq!(told.revision, revision);
        told.record
    });
    assert!(told == record);
    let job = job_id(&record);
    let (revision, found) = second.job(job).unwrap().unwrap();
    assert!(found == record);
    let large = retouch::wire::journal::v1::JobRecord {
        localization: vec![7; 17 << 20].into(),
        ..record.clone()
    };
    let refused = first.commit(Commit { job: Some(&large), ..Commit::default() }, revision);
    assert!(matches!(refused, Err(LedgerError::Store(JournalError::Remote(_)))), "{refused:?}");
    assert_eq!(second.job(job).unwrap().unwrap().0, revision);
    second.remove(&[(revision, &record)], &[]).unwrap();
    assert_eq!(first.job(job).unwrap(), None);
}

#[test]
fn a_file_whose_process_died_before_its_commit_is_deleted_later_and_no_other() {
    let Some(server) = NatsServer::start() else { return };
    let (first, second) = two(&server);
    let at = |seconds: u64| Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0));
    let [orphan, kept, new] = [at(1_700_000_000), at(1_700_000_001), Uuid::now_v7()];
    for id in [orphan, kept, new] {
        first.put_blobs(&[(id, b"bytes")]).unwrap();
    }
    let artifact = v1::Artifact { name: format!("artifacts/{kept}"), ..v1::Artifact::default() };
    let artifacts = [ArtifactRecord { artifact: Some(artifact), tenant: String::new() }];
    let commit = Commit { artifacts: &artifacts, ..Commit::default() };
    first.commit(commit, Revision::NONE).unwrap();
    second.tidy().unwrap();
    let read = |id| first.read_blob(Blob { id, bytes: 5 }, 0, 9);
    assert!(matches!(read(orphan), Err(LedgerError::Store(JournalError::Lost { .. }))));
    assert!(read(kept).is_ok() && read(new).is_ok());
}

#[test]
fn many_creates_of_one_request_make_one_job() {
    let Some(server) = NatsServer::start() else { return };
    let (first, second) = two(&server);
    for round in 0..5_u128 {
        let made: Vec<_> = std::thread::scope(|scope| {
            let create = |index: u128| {
                let ledger = if index.is_multiple_of(2) { &first } else { &second };
                let mut record = conformance::record(1000 * (round + 1) + index);
                record.job.as_mut().unwrap().request_id = format!("request {round}");
                let artifacts = [conformance::record_of(index as u8)];
                let commit =
                    Commit { job: Some(&record), artifacts: &artifacts, ..Commit::default() };
                ledger.commit(commit, Revision::NONE)
            };
            let calls: Vec<_> = (0..16).map(|it| scope.spawn(move || create(it))).collect();
            calls.into_iter().map(|it| it.join().unwrap()).collect()
        });
        let conflicts = made.iter().filter(|it| matches!(it, Err(LedgerError::Conflict))).count();
        assert_eq!(made.iter().filter(|it| it.is_ok()).count(), 1, "{made:?}");
        assert_eq!(conflicts, 15, "{made:?}");
    }
    let mut jobs = 0;
    first.each_job(&mut |_, _| jobs += 1).unwrap();
    assert_eq!(jobs, 5);
}

#[test]
fn a_full_stream_refuses_and_an_unfit_one_is_named() {
    let Some(server) = NatsServer::start() else { return };
    let small = Options { max_bytes: 64 << 10, ..Options::plain(server.url(), "small") };
    let ledger = Nats::open(&small, true).unwrap();
    let mut record = conformance::record(1);
    record.localization = vec![7; 100 << 10].into();
    let full = ledger.commit(Commit { job: Some(&record), ..Commit::default() }, Revision::NONE);
    assert!(matches!(full, Err(LedgerError::Full(_))), "{full:?}");

    let missing = Nats::open(&Options::plain(server.url(), "missing"), false).unwrap_err();
    assert!(missing.to_string().contains("there is no stream MISSING_LOG"), "{missing}");
    Nats::init(&Options::plain(server.url(), "fit")).unwrap();
    Nats::open(&Options::plain(server.url(), "fit"), false).unwrap();
}

#[test]
fn a_server_that_is_away_for_long_is_down_and_one_that_comes_back_goes_on() {
    let Some(mut server) = NatsServer::start() else { return };
    let (first, _) = two(&server);
    let record = conformance::record(1);
    let commit = Commit { job: Some(&record), ..Commit::default() };
    server.kill();
    let revision = std::thread::scope(|scope| {
        let commit = scope.spawn(|| first.commit(commit, Revision::NONE));
        std::thread::sleep(Duration::from_secs(3));
        server.again();
        commit.join().unwrap().unwrap()
    });
    assert_eq!(first.job(job_id(&record)).unwrap().unwrap().0, revision);
    server.kill();
    let started = std::time::Instant::now();
    let down = first.commit(commit, revision);
    assert!(matches!(down, Err(LedgerError::Down)), "{down:?}");
    assert!(started.elapsed() < Duration::from_secs(40));
}

#[test]
fn the_access_rules_let_retouch_do_its_work_and_others_not_touch_it() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/nats-acl.conf");
    let text = std::fs::read_to_string(rules).unwrap();
    let text =
        text.replace("$RETOUCH_NATS_PASSWORD", "ours").replace("$OTHER_NATS_PASSWORD", "theirs");
    let Some(server) = NatsServer::configured(&text) else { return };
    let as_user = |user: &str| server.url().replace("nats://", &format!("nats://{user}@"));
    let open = |user: &str, prefix: &str| Nats::open(&Options::plain(as_user(user), prefix), true);

    // 1. All of a ledger's work.
    let ledger = open("retouch:ours", "rt").unwrap();
    let mut fed = open("retouch:ours", "rt").unwrap().tail();
    let record = conformance::record(1);
    let artifacts = [conformance::record_of(1)];
    let id = Uuid::from_u128(1001);
    ledger.put_blobs(&[(id, b"bytes")]).unwrap();
    let commit = Commit { job: Some(&record), artifacts: &artifacts, ..Commit::default() };
    let revision = ledger.commit(commit, Revision::NONE).unwrap();
    ledger.lease("worker", Duration::from_secs(9)).unwrap();
    assert_eq!(ledger.leases().unwrap().len(), 1);
    let blob = Blob { id, bytes: 5 };
    assert_eq!(ledger.read_blob(blob, 0, 9).unwrap(), b"bytes");
    let mut jobs = Vec::new();
    ledger.each_job(&mut |at, it| jobs.push((at, it))).unwrap();
    assert_eq!(jobs, [(revision, record.clone())]);
    drop(fed.next());
    ledger.remove(&[(revision, &record)], &[blob]).unwrap();

    // 2. Others have streams of their own, and nothing of these.
    let other = open("other:theirs", "theirs").unwrap();
    other.commit(commit, Revision::NONE).unwrap();
    assert!(open("other:theirs", "rt").is_err());
    assert!(open("retouch:wrong", "rt").is_err());
}

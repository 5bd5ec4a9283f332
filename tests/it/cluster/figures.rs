//! What a ledger over NATS takes: printed, for docs/scale-out.md. Run by `make test-cluster`.

use std::{
    thread,
    time::{Duration, Instant},
};

use retouch::{
    journal::{
        job_id,
        ledger::{Commit, Ledger, Revision},
    },
    nats::{Nats, options::Options},
    wire::v1::EditEvent,
};
use uuid::Uuid;

use super::nats_server::NatsServer;
use crate::ledger::conformance;

/// Jobs that have ended, at the start of a process.
const JOBS: u128 = 10_000;

fn median(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    format!("p50 {:?}, p99 {:?}", at(0.5), at(0.99))
}

#[test]
#[ignore = "measures; `make test-cluster` runs it"]
fn a_process_with_ten_thousand_jobs_starts_within_seconds() {
    let Some(server) = NatsServer::start() else { return };
    let open = || Nats::open(&Options::plain(server.url(), "rt"), true).unwrap();
    let ledger = open();

    // 1. Commits of one job after another, each of some kilobytes, and reads of what was committed.
    let (mut commits, mut reads) = (Vec::new(), Vec::new());
    let mut record = conformance::record(u128::MAX);
    record.localization = vec![7; 4000].into();
    let mut revision = Revision::NONE;
    for sequence in 1..=500 {
        record.job.as_mut().unwrap().last_sequence = sequence;
        let event = EditEvent { sequence, ..EditEvent::default() };
        let started = Instant::now();
        let commit = Commit { job: Some(&record), events: &[event], artifacts: &[] };
        revision = ledger.commit(commit, revision).unwrap();
        commits.push(started.elapsed());
        let started = Instant::now();
        assert_eq!(ledger.events(job_id(&record), sequence - 1, 64).unwrap().len(), 1);
        reads.push(started.elapsed());
    }
    println!("a commit of 4 kB: {}; its event read: {}", median(commits), median(reads));

    // 2. Pictures.
    let picture = vec![7; 200_000];
    let (mut puts, mut gets) = (Vec::new(), Vec::new());
    for id in 0..100 {
        let id = Uuid::from_u128(id);
        let started = Instant::now();
        ledger.put_blobs(&[(id, &picture)]).unwrap();
        puts.push(started.elapsed());
        let started = Instant::now();
        let blob = retouch::journal::ledger::Blob { id, bytes: 200_000 };
        assert_eq!(ledger.read_blob(blob, 0, usize::MAX).unwrap().len(), 200_000);
        gets.push(started.elapsed());
    }
    println!("200 kB put: {}; read: {}", median(puts), median(gets));

    // 3. A start.
    let started = Instant::now();
    thread::scope(|scope| {
        for part in 0..32 {
            let ledger = &ledger;
            scope.spawn(move || {
                for index in (0..JOBS).filter(|it| it % 32 == part) {
                    let mut record = conformance::record(index + 1);
                    record.localization = vec![7; 2000].into();
                    let commit = Commit { job: Some(&record), ..Commit::default() };
                    ledger.commit(commit, Revision::NONE).unwrap();
                }
            });
        }
    });
    let rate = JOBS as f64 / started.elapsed().as_secs_f64();
    println!("{rate:.0} commits a second of 32 jobs at once");
    let started = Instant::now();
    let again = open();
    let mut count = 0;
    again.each_artifact(&mut |_| {}).unwrap();
    again.each_job(&mut |_, _| count += 1).unwrap();
    println!("a start with {count} jobs: {:?}", started.elapsed());
    assert_eq!(count, JOBS + 1);
    assert!(started.elapsed() < Duration::from_secs(20));
}

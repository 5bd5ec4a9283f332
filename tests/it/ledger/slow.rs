//! A ledger whose commits take seconds, as in an election: calls that need none are answered as ever.

use std::time::{Duration, Instant};

use retouch::wire::v1::{self, EditSpec, edit_job::State};

use super::memory::Memory;
use crate::service::harness::{Harness, request, spec};

const COMMIT: Duration = Duration::from_secs(2);
/// How long a call that commits nothing may take, as a rule: one of these cores may be another program's for a while.
const ANSWER: Duration = Duration::from_millis(50);

/// All calls share the server's one thread: one that blocks it stops every other.
#[tokio::test(flavor = "current_thread")]
async fn calls_that_commit_nothing_do_not_wait_for_those_that_do() {
    let ledger = Memory::new();
    let server = Harness::over_ledger(ledger.another()).await;
    let mut client = server.client.clone();
    let done = client.run_edit(request(spec("edit"))).await.unwrap().into_inner();
    let long = EditSpec { localize_steps: Some(1000), ..spec("edit") };
    let running = server.create(request(long)).await;
    server.until(&running.name, State::Localizing).await;

    ledger.script(|it| it.slow = COMMIT);
    let started = Instant::now();
    let creates: Vec<_> = (0..8)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.create_edit_job(request(spec("slow"))).await })
        })
        .collect();
    let name = running.name.clone();
    let cancel = tokio::spawn({
        let mut client = client.clone();
        let cancel = v1::CancelEditJobRequest { name, reason: String::new() };
        async move { client.cancel_edit_job(cancel).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut answers = Vec::new();
    while started.elapsed() + Duration::from_millis(500) < COMMIT {
        let asked = Instant::now();
        server.get(&running.name).await;
        answers.push(asked.elapsed());
        let asked = Instant::now();
        server.get(&done.name).await;
        answers.push(asked.elapsed());
        let asked = Instant::now();
        client.list_edit_jobs(v1::ListEditJobsRequest::default()).await.unwrap();
        answers.push(asked.elapsed());
        let asked = Instant::now();
        server.watch(&done.name, 0).await;
        answers.push(asked.elapsed());
    }
    assert!(!cancel.is_finished() && creates.iter().all(|it| !it.is_finished()), "it was slow");
    answers.sort();
    let (median, longest) = (answers[answers.len() / 2], answers[answers.len() - 1]);
    assert!(median < ANSWER && longest < COMMIT / 2, "{median:?} {longest:?}");
    ledger.script(|it| it.slow = Duration::ZERO);
    cancel.await.unwrap().unwrap();
    for create in creates {
        create.await.unwrap().unwrap();
    }
}

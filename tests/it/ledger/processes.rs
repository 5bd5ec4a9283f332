//! Several stores over one ledger, as processes that share it have them.

use std::{
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use retouch::{
    jobs::{
        admission::Attachment,
        job::Job,
        queue::QueueLimits,
        store::{Limits, Store},
        timeouts,
    },
    journal::ledger::Ledger,
    wire::{
        reason::Reason,
        v1::{CreateEditJobRequest, EditSpec, edit_job::State},
    },
};

use super::{
    memory::Memory,
    refusals::{create, store},
};
use crate::service::harness::{LIMITS, request, spec};

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The same job in another store, once it has heard of it.
fn same(store: &Store, job: &Job) -> Arc<Job> {
    until("the job is told of", || store.by_id(job.id).is_some());
    store.by_id(job.id).unwrap()
}

fn asked(id: &str, spec: EditSpec) -> CreateEditJobRequest {
    CreateEditJobRequest { request_id: id.to_owned(), ..request(spec) }
}

#[test]
fn every_process_hears_of_jobs_changes_and_deletions() {
    let ledger = Memory::new();
    let (one, other) = (store(&ledger), store(&ledger));
    let job = one.create("local", asked("id", spec("edit")), Attachment::Detached).unwrap();
    let copy = same(&other, &job);
    assert_eq!(other.queue.order(), [job.id]);
    let image = copy.live().unwrap().artifacts[0].clone();
    assert!(!other.artifacts.read_all(&image).unwrap().is_empty());
    one.cancel(&job, "").unwrap();
    until("the end is told", || copy.is_over());
    assert!(other.queue.is_empty());
    one.delete(&job).unwrap();
    until("the deletion is told", || other.by_id(job.id).is_none());
    assert_eq!(other.artifacts.get("local", &image).unwrap_err().reason, Reason::ArtifactNotFound);
    assert!(!other.knows_request("local", "id"));
}

#[test]
fn a_change_on_top_of_another_processs_sees_what_that_one_did() {
    let ledger = Memory::new();
    let (one, other) = (store(&ledger), store(&ledger));
    let job = create(&one);
    let copy = same(&other, &job);
    ledger.script(|it| it.deaf = true);
    other.cancel(&copy, "by the other").unwrap();
    // 1. It has not heard of it, and its commit conflicts.
    assert_eq!(job.state(), State::Queued);
    let fault = one.change(&job, |draft| draft.start("worker")).unwrap_err();
    assert_eq!((fault.reason, job.state()), (Reason::JobTerminal, State::Cancelled));
    assert!(one.queue.is_empty());
    // 2. One that deletes it is heard of in the same way.
    other.delete(&copy).unwrap();
    assert_eq!(one.delete(&job).unwrap_err().reason, Reason::JobNotFound);
    assert_eq!(one.view(&job).unwrap_err().reason, Reason::JobNotFound);
}

#[test]
fn one_of_two_workers_starts_a_job_that_both_were_given() {
    let ledger = Memory::new();
    let (one, other) = (store(&ledger), store(&ledger));
    let jobs: Vec<Arc<Job>> = (0..4).map(|_| create(&one)).collect();
    let copies: Vec<Arc<Job>> = jobs.iter().map(|it| same(&other, it)).collect();
    ledger.script(|it| it.deaf = true);
    let start = Barrier::new(2);
    let take = |store: &Store, jobs: &[Arc<Job>], worker: &str| -> Vec<bool> {
        start.wait();
        jobs.iter().map(|it| store.change(it, |draft| draft.start(worker)).is_ok()).collect()
    };
    let (ours, theirs) = thread::scope(|scope| {
        let theirs = scope.spawn(|| take(&other, &copies, "theirs"));
        (take(&one, &jobs, "ours"), theirs.join().unwrap())
    });
    assert!(ours.iter().zip(&theirs).all(|(ours, theirs)| ours != theirs), "{ours:?} {theirs:?}");
}

#[test]
fn a_request_makes_one_job_whichever_process_it_reaches() {
    let ledger = Memory::new();
    ledger.script(|it| it.deaf = true);
    let limits = Limits { queue: QueueLimits { total: 64, tenant: 64 }, ..LIMITS };
    let stores: Vec<Arc<Store>> = (0..2)
        .map(|_| {
            let model = store(&ledger).model().unwrap().clone();
            let store = Store::open(ledger.another(), limits).unwrap();
            store.set_model(model);
            store
        })
        .collect();
    let names = thread::scope(|scope| {
        let calls: Vec<_> = (0..32)
            .map(|index| {
                let store = &stores[index % 2];
                let create =
                    || store.create("local", asked("id", spec("edit")), Attachment::Detached);
                scope.spawn(move || create().unwrap().id)
            })
            .collect();
        calls.into_iter().map(|it| it.join().unwrap()).collect::<std::collections::BTreeSet<_>>()
    });
    assert_eq!(names.len(), 1);
    for store in &stores {
        let other = store.create("local", asked("id", spec("another")), Attachment::Detached);
        assert_eq!(other.unwrap_err().reason, Reason::RequestIdReused);
    }
}

#[test]
fn a_job_is_lost_once_its_workers_lease_is_and_not_before() {
    let ledger = Memory::new();
    let process = ledger.another();
    let one = store(&ledger);
    let job = create(&one);
    process.lease("worker", Duration::from_secs(3600)).unwrap();
    one.change(&job, |draft| draft.start("worker")).unwrap();

    let other = store(&ledger);
    let copy = other.by_id(job.id).unwrap();
    assert_eq!((copy.state(), copy.attempt()), (State::Localizing, 1), "its worker goes on");
    process.die();
    let other = store(&ledger);
    let copy = other.by_id(job.id).unwrap();
    assert_eq!((copy.state(), copy.attempt()), (State::Queued, 2));
    assert_eq!(other.queue.order(), [job.id]);
}

#[test]
fn a_timeout_that_another_process_forestalls_ends_nothing() {
    let ledger = Memory::new();
    let (one, other) = (store(&ledger), store(&ledger));
    let job = create(&one);
    let copy = same(&other, &job);
    ledger.script(|it| it.deaf = true);
    other.change(&copy, |draft| draft.start("worker")).unwrap();
    one.clock.advance(LIMITS.queue_timeout);
    assert_eq!(job.state(), State::Queued, "it has not heard of the start");
    timeouts::look(&one);
    assert_eq!(job.state(), State::Localizing);
    assert!(copy.live().is_some());
}

//! The store over a ledger that conflicts, is down or full, and workers that have lost their job.

use std::{sync::Arc, time::Duration};

use retouch::{
    jobs::{
        admission::Attachment,
        job::Job,
        runner::{EditedFile, Proposal, Runner},
        store::Store,
    },
    picture::{format::FileFormat, size::Size},
    wire::{
        pictures::PictureFile,
        reason::Reason,
        v1::{self, Pass, edit_job::State},
    },
};

use super::memory::{Memory, Script};
use crate::service::{
    harness::{LIMITS, picture, request, spec},
    script,
};

/// A store over a process's end of a ledger; no worker takes its jobs.
pub(super) fn store(ledger: &Memory) -> Arc<Store> {
    let store = Store::open(ledger.another(), LIMITS).unwrap();
    store.set_model(script::Script::new().model().clone());
    store.set_ready(Ok(()));
    store
}

pub(super) fn create(store: &Store) -> Arc<Job> {
    store.create("local", request(spec("edit")), Attachment::Detached).unwrap()
}

fn file() -> PictureFile {
    PictureFile::new(FileFormat::Png, Size::new(32, 24), picture(9).to_vec())
}

fn proposal() -> Proposal {
    Proposal {
        json: "{}".into(),
        source: v1::LocalizationSource::Pass,
        clusters: Vec::new(),
        cluster_map: None,
        heatmaps: Vec::new(),
        mask: file(),
        area: 0.5,
        covered: None,
        confidence: None,
    }
}

fn edited() -> EditedFile {
    EditedFile { image: file(), mask: None, goes_on: false, decode: Duration::ZERO }
}

#[test]
fn a_change_that_conflicts_is_made_again() {
    let ledger = Memory::new();
    let store = store(&ledger);
    let job = create(&store);
    ledger.script(|it| it.conflicts = 3);
    let mut tries = 0;
    store
        .change(&job, |draft| {
            tries += 1;
            draft.start("worker")
        })
        .unwrap();
    assert_eq!((tries, job.state()), (4, State::Localizing));
    // A ledger that never agrees is given up, and the job is as it was.
    ledger.script(|it| it.conflicts = usize::MAX);
    let fault = store.cancel(&job, "").unwrap_err();
    assert_eq!((fault.reason, job.state()), (Reason::EngineDown, State::Localizing));
    ledger.script(|it| it.conflicts = 0);
    store.cancel(&job, "").unwrap();
    let events = store.events(job.id, 0).unwrap();
    assert_eq!(events.len() as u64, job.last_sequence(), "no try left an event");
}

#[test]
fn a_ledger_that_is_down_or_full_refuses_and_changes_nothing() {
    let ledger = Memory::new();
    let store = store(&ledger);
    let job = create(&store);
    let down: fn(&mut Script) = |it| it.down = true;
    let full: fn(&mut Script) = |it| it.full = true;
    for (script, reason) in [(down, Reason::EngineDown), (full, Reason::DiskFull)] {
        ledger.script(script);
        let fault = store.cancel(&job, "").unwrap_err();
        assert_eq!(fault.reason, reason);
        assert!(fault.retry_after.is_some());
        let refused = store.create("local", request(spec("edit")), Attachment::Detached);
        assert_eq!(refused.unwrap_err().reason, reason);
        assert_eq!((job.state(), store.all().len()), (State::Queued, 1));
        assert!(store.ready().borrow().is_ok(), "it passes by itself");
        ledger.script(|it| *it = Script::default());
    }
    store.cancel(&job, "").unwrap();
    assert_eq!(job.state(), State::Cancelled);
}

#[test]
fn a_worker_that_has_lost_its_job_changes_nothing_of_it() {
    let ledger = Memory::new();
    let store = store(&ledger);
    let job = create(&store);
    let take = |worker: &str| {
        store.change(&job, |draft| {
            let pass = draft.start(worker)?;
            Ok((pass, draft.hold()))
        })
    };
    let put_back = || {
        store.change(&job, |draft| {
            draft.put_back("its worker is gone");
            Ok(())
        })
    };
    let (_, zombie) = take("first").unwrap();
    // As long as a worker has it, no other takes it.
    assert_eq!(take("second").unwrap_err().reason, Reason::WorkerLost);

    // 1. Another worker has it; then the same one has it in another attempt.
    for worker in ["second", "first"] {
        put_back().unwrap();
        let (pass, hold) = take(worker).unwrap();
        assert_eq!(pass, Pass::Localize);
        let before = store.record(&job).unwrap();
        let late = store.change_held(&job, &zombie, |draft| draft.localized(Some(proposal())));
        assert_eq!(late.unwrap_err().reason, Reason::WorkerLost);
        let late = store.change_held(&job, &zombie, |draft| draft.mask_settled(file(), 0.5, false));
        assert_eq!(late.unwrap_err().reason, Reason::WorkerLost);
        let late = store.change_held(&job, &zombie, |draft| {
            draft.edited(edited(), script::Script::new().model(), picture(1))
        });
        assert_eq!(late.unwrap_err().reason, Reason::WorkerLost);
        let late = store.change_held(&job, &zombie, |draft| {
            draft.fail(&retouch::jobs::fault::Fault::new(Reason::Internal, "late"));
            Ok(())
        });
        assert_eq!(late.unwrap_err().reason, Reason::WorkerLost);
        assert_eq!(store.record(&job).unwrap(), before);
        store.change_held(&job, &hold, |draft| draft.mask_settled(file(), 0.5, false)).unwrap();
    }

    // 2. The one that has it goes on, and its result is the only one.
    let hold = zombie_free(&store, &job);
    let goes_on =
        store.change_held(&job, &hold, |draft| draft.localized(Some(proposal()))).unwrap();
    assert!(goes_on);
    let late = store.change_held(&job, &zombie, |draft| {
        draft.edited(edited(), script::Script::new().model(), picture(1))
    });
    assert_eq!(late.unwrap_err().reason, Reason::WorkerLost);
    store
        .change_held(&job, &hold, |draft| {
            draft.edited(edited(), script::Script::new().model(), picture(1))
        })
        .unwrap();
    let late = store.change_held(&job, &hold, |draft| {
        draft.edited(edited(), script::Script::new().model(), picture(1))
    });
    assert_eq!(late.unwrap_err().reason, Reason::JobTerminal);
    assert_eq!(job.state(), State::Succeeded);
    // Of a job that has ended only the ledger has the record.
    assert!(job.live().is_none() && job.expires().is_some());
    assert_eq!(store.view(&job).unwrap().state(), State::Succeeded);
    ledger.script(|it| it.down = true);
    assert_eq!(store.view(&job).unwrap_err().reason, Reason::EngineDown);
}

/// The hold of the worker that has the job now.
fn zombie_free(store: &Store, job: &Job) -> retouch::jobs::passes::Hold {
    let mut hold = None;
    store
        .change(job, |draft| {
            hold = Some(draft.hold());
            Ok(())
        })
        .unwrap();
    hold.unwrap()
}

//! Restarts: accepted jobs continue from their last checkpoint.

use std::{sync::Arc, time::Duration};

use retouch::{
    jobs::{admission::Attachment, runner::Runner, store::Store, worker},
    journal::{
        Journal,
        error::JournalError,
        id_of,
        ledger::{Blob, Commit, Ledger, LedgerError},
        space::Space,
    },
    wire::{
        reason::Reason,
        v1::{CreateEditJobRequest, EditSpec, MaskPolicy, edit_job::State},
    },
};

use super::{
    harness::{Harness, LIMITS, SPACE, copied, kinds, numbers, open, request, spec},
    script::Script,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_from_its_checkpoint_whatever_its_state() {
    let server = Harness::new().await;
    let review = EditSpec { mask_policy: MaskPolicy::Review as i32, ..spec("edit") };
    let done = server.client.clone().run_edit(request(spec("done"))).await.unwrap().into_inner();
    let awaiting = server.create(request(review)).await;
    server.until(&awaiting.name, State::AwaitingMask).await;
    let editing = server
        .create(request(EditSpec { localize_steps: Some(2), steps: Some(200), ..spec("edit") }))
        .await;
    server.until(&editing.name, State::Editing).await;
    let queued = server
        .create(CreateEditJobRequest { request_id: "queued".to_owned(), ..request(spec("queued")) })
        .await;
    let told = server.watch(&done.name, 0).await;
    let folder = server.stop().await;

    let server = Harness::over(&folder).await;
    assert_eq!(server.watch(&done.name, 0).await, told);
    assert_eq!(server.get(&awaiting.name).await.state(), State::AwaitingMask);
    let again = CreateEditJobRequest { request_id: "queued".to_owned(), ..request(spec("queued")) };
    assert_eq!(server.create(again).await.name, queued.name);
    server.until(&queued.name, State::Succeeded).await;
    let editing = server.until(&editing.name, State::Succeeded).await;
    assert_eq!(editing.attempt, 2);
    let events = server.watch(&editing.name, 0).await;
    assert_eq!(numbers(&events), (1..=editing.last_sequence).collect::<Vec<u64>>());
    let told = kinds(&events);
    assert_eq!(told.iter().filter(|it| *it == "LOCALIZING").count(), 1);
    assert!(told.contains(&"MASK_READY".to_owned()));
    std::fs::remove_dir_all(server.stop().await).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_takes_the_server_down_each_time_fails_in_the_end() {
    let mut server = Harness::new().await;
    let job = server.create(request(EditSpec { localize_steps: Some(1000), ..spec("edit") })).await;
    for _ in 0..2 {
        server.until(&job.name, State::Localizing).await;
        // Without the store's own end, which would put the job back.
        let copy = copied(server.folder()).keep();
        std::fs::remove_dir_all(server.stop().await).unwrap();
        server = Harness::over(&copy).await;
    }
    server.until(&job.name, State::Localizing).await;
    let copy = copied(server.folder()).keep();
    std::fs::remove_dir_all(server.stop().await).unwrap();
    let server = Harness::over(&copy).await;
    let failed = server.get(&job.name).await;
    assert_eq!(
        (failed.state(), failed.error.unwrap().reason),
        (State::Failed, "WORKER_LOST".to_owned())
    );
    std::fs::remove_dir_all(server.stop().await).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_loses_the_device_each_time_fails_in_the_end() {
    let mut server = Harness::new().await;
    let job = server.create(request(spec("lose the device"))).await;
    for losses in 1..3 {
        let lost = async {
            while server.get(&job.name).await.attempt == losses {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), lost).await.unwrap();
        server = Harness::over(&server.stop().await).await;
    }
    let failed = server.until(&job.name, State::Failed).await;
    assert_eq!(failed.error.unwrap().reason, "WORKER_LOST");
    std::fs::remove_dir_all(server.stop().await).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_outlives_any_number_of_shutdowns() {
    let mut server = Harness::new().await;
    let job = server.create(request(EditSpec { localize_steps: Some(1000), ..spec("edit") })).await;
    for _ in 0..4 {
        server.until(&job.name, State::Localizing).await;
        server = Harness::over(&server.stop().await).await;
    }
    let again = server.until(&job.name, State::Localizing).await;
    assert_eq!(again.attempt, 5);
    std::fs::remove_dir_all(server.stop().await).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_without_a_server_is_not_spent_in_the_queue() {
    let server = Harness::new().await;
    let slow = EditSpec { localize_steps: Some(1000), ..spec("edit") };
    let running = server.create(request(slow)).await;
    server.until(&running.name, State::Localizing).await;
    let waiting = server.create(request(spec("edit"))).await;
    let folder = server.stop().await;
    // It waits since an hour ago, as the journal says.
    let journal = open(&folder, SPACE).await;
    let id = id_of(&waiting.name).unwrap();
    let (revision, mut record) = Ledger::job(&journal, id).unwrap().unwrap();
    record.state_time.as_mut().unwrap().seconds -= 3600;
    journal.commit(Commit { job: Some(&record), ..Commit::default() }, revision).unwrap();
    drop(journal);

    let server = Harness::over(&folder).await;
    server.cancel(&running.name).await.unwrap();
    server.until(&waiting.name, State::Succeeded).await;
    std::fs::remove_dir_all(server.stop().await).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_below_its_reserve_takes_no_job_and_lets_those_end_and_go_that_are_there() {
    let server = Harness::new().await;
    let done = server.client.clone().run_edit(request(spec("done"))).await.unwrap().into_inner();
    let slow = EditSpec { localize_steps: Some(1000), ..spec("edit") };
    let running = server.create(request(slow)).await;
    server.until(&running.name, State::Localizing).await;
    let folder = server.stop().await;

    let space = Space { quota: 1 << 30, min_free: u64::MAX };
    let store = Store::open(open(&folder, space).await, LIMITS).unwrap();
    let mut script = Script::new();
    script.step = Duration::ZERO;
    store.set_model(script.model().clone());
    let refused = store.create("local", request(spec("new")), Attachment::Detached).unwrap_err();
    assert_eq!(refused.reason, Reason::DiskFull);
    let [done, running] = [done, running].map(|it| store.job("local", &it.name).unwrap());
    let working = std::thread::spawn({
        let store = Arc::clone(&store);
        move || worker::run(&store, &script, "model-0", 0)
    });
    let over = async {
        while !running.is_over() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), over).await.expect("it ends");
    assert_eq!(running.state(), State::Succeeded);
    store.drain();
    working.join().unwrap();
    for job in [done, running] {
        store.delete(&job).unwrap();
    }
    store.artifacts.expire();
    assert!(std::fs::read_dir(folder.join("artifacts")).unwrap().next().is_none());
    drop(store);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_journal_has_one_process_and_a_damaged_one_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let space = Space { quota: 1 << 20, min_free: 0 };
    let open = || Journal::open(folder.path(), space);
    let first = open().unwrap();
    assert!(matches!(open().unwrap_err(), JournalError::InUse { .. }));
    drop(first);

    let path = folder.path().join("journal.redb");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[..64].fill(0xa5);
    bytes[middle..middle + 64].fill(0xa5);
    std::fs::write(&path, &bytes).unwrap();
    let error = open().unwrap_err();
    assert!(error.to_string().contains("journal.redb"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "it was left as it is");
}

#[test]
fn a_full_disk_and_a_full_quota_are_refused_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path(), Space { quota: 100, min_free: 0 }).unwrap();
    let id = uuid::Uuid::now_v7();
    assert!(matches!(journal.put_blobs(&[(id, &[0; 101])]).unwrap_err(), LedgerError::Full(_)));
    journal.put_blobs(&[(id, &[0; 60])]).unwrap();
    let other = uuid::Uuid::now_v7();
    assert!(journal.put_blobs(&[(other, &[0; 60])]).is_err());
    journal.drop_blobs(&[Blob { id, bytes: 60 }]);
    journal.put_blobs(&[(other, &[0; 60])]).unwrap();
    drop(journal);

    let space = Space { quota: 1 << 20, min_free: u64::MAX };
    let full = Journal::open(folder.path(), space).unwrap();
    assert!(matches!(full.check_room(1).unwrap_err(), LedgerError::Full(_)));
    full.put_blobs(&[(id, b"x")]).unwrap();
    full.drop_blobs(&[Blob { id, bytes: 1 }]);
    assert!(std::fs::read_dir(folder.path().join("artifacts")).unwrap().next().is_none());
}

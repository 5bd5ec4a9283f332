//! Idempotent retries: the same request after a lost answer gets its job, even while new requests are refused.

use std::sync::Arc;

use retouch::{
    jobs::{
        admission::Attachment,
        queue::QueueLimits,
        runner::Runner,
        store::{Limits, Store},
    },
    journal::space::Space,
    server::{admission::QueueAdmission, gate::Admission, keys::Caller},
    wire::v1::{
        self, CreateEditJobRequest, EditInput, EditSpec, MaskPolicy, batch_create_result::Outcome,
        edit_input::Input, edit_job::State,
    },
};
use tonic::Code;

use super::{
    harness::{Harness, LIMITS, open, reason, request, spec},
    script::Script,
};

fn asked(id: &str, spec: EditSpec) -> CreateEditJobRequest {
    CreateEditJobRequest { request_id: id.to_owned(), ..request(spec) }
}

fn endless() -> EditSpec {
    EditSpec { localize_steps: Some(1000), ..spec("edit") }
}

/// A server whose queue is full of `running` and `waiting`.
async fn full() -> (Harness, v1::EditJob) {
    let server =
        Harness::with(Limits { queue: QueueLimits { total: 1, tenant: 1 }, ..LIMITS }).await;
    let running = server.create(asked("running", endless())).await;
    server.until(&running.name, State::Localizing).await;
    let waiting = server.create(asked("waiting", endless())).await;
    assert_eq!(server.refused(asked("new", endless())).await.1, "QUEUE_FULL");
    (server, waiting)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_answers_known_ids_by_every_call() {
    let (server, waiting) = full().await;
    let again = || asked("waiting", endless());
    assert_eq!(server.create(again()).await.name, waiting.name);
    let mut client = server.client.clone();
    let mut events = client.stream_edit(again()).await.unwrap().into_inner();
    assert_eq!(events.message().await.unwrap().unwrap().job, waiting.name);
    let start = tokio_stream::once(EditInput { input: Some(Input::Start(again())) });
    let mut events = client.edit(start).await.unwrap().into_inner();
    assert_eq!(events.message().await.unwrap().unwrap().job, waiting.name);
    // One that asks for something else under that id is told so, and not that the queue is full.
    let other = asked("waiting", spec("another"));
    assert_eq!(server.refused(other).await, (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
    server.cancel(&waiting.name).await.unwrap();
    let status = client.run_edit(again()).await.unwrap_err();
    assert_eq!(reason(&status).1, "CANCELLED_BY_API", "it waited for that job");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_against_a_full_queue_has_an_outcome_for_each() {
    let (server, waiting) = full().await;
    let requests = vec![
        asked("new", endless()),
        asked("waiting", endless()),
        asked("", spec(" ")),
        asked("waiting", spec("another")),
        CreateEditJobRequest { validate_only: true, ..asked("", endless()) },
    ];
    let batch = v1::BatchCreateEditJobsRequest { requests };
    let answer = server.client.clone().batch_create_edit_jobs(batch.clone()).await.unwrap();
    let outcomes: Vec<String> = answer.into_inner().results.into_iter().map(outcome).collect();
    let expected =
        ["QUEUE_FULL", &waiting.name, "INVALID_ARGUMENT", "REQUEST_ID_REUSED", "QUEUE_FULL"];
    assert_eq!(outcomes, expected);
    // Nor does the gate refuse it by its headers.
    let gate = QueueAdmission(Arc::clone(&server.store));
    let path = "/retouch.v1.EditService/BatchCreateEditJobs";
    assert!(gate.refuse(&Caller::local(), path).is_none());
    server.store.drain();
    let answer = server.client.clone().batch_create_edit_jobs(batch).await.unwrap();
    let outcomes: Vec<String> = answer.into_inner().results.into_iter().map(outcome).collect();
    assert_eq!(outcomes[..2], ["DRAINING", &waiting.name]);
}

fn outcome(result: v1::BatchCreateResult) -> String {
    match result.outcome.unwrap() {
        Outcome::Job(job) => job.name,
        Outcome::Error(error) => error.reason,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_knows_the_ids_of_the_callers_own_jobs() {
    let (server, _) = full().await;
    let gate = QueueAdmission(Arc::clone(&server.store));
    let other = Caller { tenant: "another".to_owned(), ..Caller::local() };
    assert!(gate.knows(&Caller::local(), "waiting"));
    assert!(!gate.knows(&Caller::local(), "new") && !gate.knows(&other, "waiting"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_server_answers_known_ids() {
    let server = Harness::new().await;
    let running = server.create(asked("running", endless())).await;
    server.until(&running.name, State::Localizing).await;
    server.store.drain();
    assert_eq!(server.create(asked("running", endless())).await.name, running.name);
    assert_eq!(server.refused(asked("new", endless())).await.1, "DRAINING");
}

#[tokio::test(flavor = "multi_thread")]
async fn known_ids_are_answered_before_the_model_is_loaded_and_on_a_full_disk() {
    let server = Harness::new().await;
    let said = asked("done", EditSpec { seed: None, ..spec("edit") });
    let done = server.client.clone().run_edit(said.clone()).await.unwrap().into_inner();
    let folder = server.stop().await;

    let space = Space { quota: 1, min_free: u64::MAX };
    let store = Store::open(open(&folder, space).await, LIMITS).unwrap();
    let create = |asked: &CreateEditJobRequest| {
        let made = store.create("local", asked.clone(), Attachment::Detached);
        made.map(|it| it.name()).map_err(|it| it.reason.name())
    };
    assert_eq!(create(&said), Ok(done.name.clone()));
    // In other words it is the same once the defaults are known.
    let mut in_full = said.clone();
    in_full.spec.as_mut().unwrap().tau = done.spec.as_ref().unwrap().tau;
    assert_eq!(create(&in_full), Err("MODEL_LOADING"));
    store.set_model(Script::new().model().clone());
    assert_eq!(create(&in_full), Ok(done.name.clone()));
    assert_eq!(create(&said), Ok(done.name.clone()));
    assert_eq!(create(&asked("new", spec("edit"))), Err("DISK_FULL"));
    drop(store);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_one_id_at_once_get_one_job_where_one_place_is_left() {
    let server =
        Harness::with(Limits { queue: QueueLimits { total: 1, tenant: 1 }, ..LIMITS }).await;
    let running = server.create(request(endless())).await;
    server.until(&running.name, State::Localizing).await;
    let calls: Vec<_> = (0..40)
        .map(|_| {
            let mut client = server.client.clone();
            tokio::spawn(async move { client.create_edit_job(asked("once", endless())).await })
        })
        .collect();
    let mut names = std::collections::BTreeSet::new();
    for call in calls {
        names.insert(call.await.unwrap().unwrap().into_inner().name);
    }
    assert_eq!(names.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_review_quota_answers_known_ids() {
    let server = Harness::with(Limits { tenant_awaiting: 1, ..LIMITS }).await;
    let review = || EditSpec { mask_policy: MaskPolicy::Review as i32, ..spec("edit") };
    let first = server.create(asked("first", review())).await;
    server.until(&first.name, State::AwaitingMask).await;
    assert_eq!(server.refused(asked("second", review())).await.1, "TENANT_QUOTA");
    assert_eq!(server.create(asked("first", review())).await.name, first.name);
}

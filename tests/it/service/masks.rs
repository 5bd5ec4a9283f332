//! Mask reviews: who may decide a mask, when, and decisions that come too late.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use retouch::{
    jobs::{clock::Clock, job::Job, timeouts},
    journal::ledger::Revision,
    wire::v1::{
        self, AcceptMask, CreateEditJobRequest, EditSpec, Mask, MaskDecision, MaskPolicy,
        MaskSource, ReviewTimeoutAction, edit_event::Event, edit_input::Input, edit_job::State,
        mask_decision::Decision,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::harness::{Harness, kinds, reason, request, spec, white};

fn review() -> EditSpec {
    EditSpec { mask_policy: MaskPolicy::Review as i32, ..spec("edit") }
}

fn accept() -> MaskDecision {
    MaskDecision { decision: Some(Decision::Accept(AcceptMask::default())), ..Default::default() }
}

fn replace(mask: Mask) -> MaskDecision {
    MaskDecision { decision: Some(Decision::Replace(mask)), ..Default::default() }
}

fn clusters(ids: &[u32]) -> Mask {
    Mask { clusters: Some(v1::ClusterSelection { ids: ids.to_vec() }), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reviewed_job_waits_without_a_slot_and_edits_what_was_chosen() {
    let server = Harness::new().await;
    let job = server.create(request(review())).await;
    let waiting = server.until(&job.name, State::AwaitingMask).await;
    let proposed = waiting.mask.unwrap();
    assert!(proposed.awaiting_decision && proposed.clusters.len() == 2);

    let other = server.client.clone().run_edit(request(spec("meanwhile"))).await.unwrap();
    assert_eq!(other.get_ref().state(), State::Succeeded);

    let decision = MaskDecision { etag: proposed.etag, ..replace(clusters(&[2])) };
    server.decide(&job.name, decision).await.unwrap();
    server.until(&job.name, State::Succeeded).await;
    let events = server.watch(&job.name, 0).await;
    let told = kinds(&events);
    assert_eq!(
        told[6..],
        ["AWAITING_MASK", "MASK_READY", "EDITING", "settled", "result", "SUCCEEDED"]
    );
    let settled = events.iter().find_map(|it| match &it.event {
        Some(Event::MaskSettled(settled)) => Some(settled.source()),
        _ => None,
    });
    assert_eq!(settled, Some(MaskSource::Decision));
    assert!(server.get(&job.name).await.result.unwrap().timings.unwrap().review.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mask_may_be_a_picture_or_boxes() {
    let server = Harness::new().await;
    let image = v1::Image { source: Some(v1::image::Source::Data(white())) };
    let boxes = vec![v1::Rect { x0: 1.0, y0: 2.0, x1: 9.0, y1: 8.0 }];
    for mask in [
        Mask { image: Some(image), ..Default::default() },
        Mask { boxes: Some(v1::BoxSet { boxes }), feather_px: 2, ..Default::default() },
    ] {
        let job = server.create(request(review())).await;
        server.until(&job.name, State::AwaitingMask).await;
        server.decide(&job.name, replace(mask.clone())).await.unwrap_or_else(|it| panic!("{it}"));
        server.until(&job.name, State::Succeeded).await;

        let provided = EditSpec { mask: Some(mask), ..spec("edit") };
        let job = server.client.clone().run_edit(request(provided)).await.unwrap().into_inner();
        let told = kinds(&server.watch(&job.name, 0).await);
        assert_eq!(told, ["QUEUED", "EDITING", "settled", "result", "SUCCEEDED"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_decision_wins_and_its_repetition_is_the_same_answer() {
    let server = Harness::new().await;
    let job = server.create(request(review())).await;
    server.until(&job.name, State::AwaitingMask).await;
    let wrong = MaskDecision { etag: "feed".to_owned(), ..accept() };
    let status = server.decide(&job.name, wrong).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Aborted, "MASK_ETAG_MISMATCH".to_owned()));
    let status = server.decide(&job.name, replace(clusters(&[3]))).await.unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned()));

    let first = MaskDecision { request_id: "mine".to_owned(), ..replace(clusters(&[1])) };
    server.decide(&job.name, first.clone()).await.unwrap();
    server.decide(&job.name, first.clone()).await.unwrap();
    let late = server.decide(&job.name, accept()).await.unwrap_err();
    let reason = reason(&late);
    assert!(reason.1 == "MASK_ALREADY_DECIDED" || reason.1 == "JOB_TERMINAL", "{reason:?}");
    server.until(&job.name, State::Succeeded).await;
    server.decide(&job.name, first).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_may_come_before_the_mask_is_proposed() {
    let server = Harness::new().await;
    let slow = EditSpec { localize_steps: Some(60), ..review() };
    let job = server.create(request(slow)).await;
    let early = server.decide(&job.name, replace(clusters(&[1]))).await.unwrap_err();
    assert_eq!(reason(&early), (Code::FailedPrecondition, "MASK_NOT_PROPOSED".to_owned()));
    server.decide(&job.name, accept()).await.unwrap();
    server.until(&job.name, State::Succeeded).await;
    assert!(!kinds(&server.watch(&job.name, 0).await).contains(&"AWAITING_MASK".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_ends_as_its_caller_chose() {
    let server = Harness::new().await;
    let timeout = Duration::from_secs(600);
    let failing = EditSpec { review_timeout: Some(timeout.try_into().unwrap()), ..review() };
    let job = server.create(request(failing.clone())).await;
    server.until(&job.name, State::AwaitingMask).await;
    server.store.clock.advance(timeout / 2);
    timeouts::look(&server.store);
    assert_eq!(server.get(&job.name).await.state(), State::AwaitingMask);
    server.store.clock.advance(timeout / 2);
    let failed = server.until(&job.name, State::Failed).await;
    assert_eq!(failed.error.unwrap().reason, "REVIEW_TIMEOUT");

    let on_review_timeout = ReviewTimeoutAction::AcceptProposed as i32;
    let job = server.create(request(EditSpec { on_review_timeout, ..failing })).await;
    server.until(&job.name, State::AwaitingMask).await;
    server.store.clock.advance(timeout);
    server.until(&job.name, State::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_of_a_tenant_are_bounded() {
    let server = Harness::new().await;
    for _ in 0..4 {
        let job = server.create(request(review())).await;
        server.until(&job.name, State::AwaitingMask).await;
    }
    let refused = server.refused(request(review())).await;
    assert_eq!(refused, (Code::ResourceExhausted, "TENANT_QUOTA".to_owned()));
    server.create(request(spec("edit"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_that_come_before_any_is_localized_are_bounded_too() {
    let server = Harness::new().await;
    let slow = EditSpec { localize_steps: Some(100), ..review() };
    for _ in 0..4 {
        server.create(request(slow.clone())).await;
    }
    let refused = server.refused(request(slow.clone())).await;
    assert_eq!(refused, (Code::ResourceExhausted, "TENANT_QUOTA".to_owned()));
    // Who decides before the mask is there has nothing left to decide.
    let first = server.client.clone().list_edit_jobs(v1::ListEditJobsRequest::default()).await;
    let first = first.unwrap().into_inner().jobs.pop().unwrap();
    server.decide(&first.name, accept()).await.unwrap();
    server.create(request(slow)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_directions_of_one_stream_decide_and_cancel() {
    let server = Harness::new().await;
    for cancel in [false, true] {
        let (inputs, received) = mpsc::channel(4);
        let say = |input| v1::EditInput { input: Some(input) };
        inputs.send(say(Input::Start(request(review())))).await.unwrap();
        let mut events =
            server.client.clone().edit(ReceiverStream::new(received)).await.unwrap().into_inner();
        let mut told = Vec::new();
        let end = loop {
            match events.message().await {
                Ok(Some(event)) => {
                    if let Some(Event::MaskProposed(_)) = event.event {
                        let input = if cancel {
                            Input::Cancel(v1::CancelInput { reason: "no more".to_owned() })
                        } else {
                            Input::Mask(replace(clusters(&[1, 2])))
                        };
                        inputs.send(say(input)).await.unwrap();
                    }
                    told.push(event);
                }
                Ok(None) => break None,
                Err(status) => break Some(reason(&status)),
            }
        };
        let told = kinds(&told);
        if cancel {
            assert_eq!(end, Some((Code::Cancelled, "CANCELLED_BY_API".to_owned())));
            assert_eq!(told.last().unwrap(), "CANCELLED");
        } else {
            assert_eq!(end, None);
            assert_eq!(told.last().unwrap(), "SUCCEEDED");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_cannot_be_ends_the_stream_and_not_the_job() {
    let server = Harness::new().await;
    let (inputs, received) = mpsc::channel(4);
    let say = |input| v1::EditInput { input: Some(input) };
    let slow = EditSpec { localize_steps: Some(200), ..review() };
    let grace = Some(prost_types::Duration { seconds: 0, nanos: 200_000_000 });
    let start = CreateEditJobRequest { disconnect_grace: grace, ..request(slow) };
    inputs.send(say(Input::Start(start))).await.unwrap();
    let mut events =
        server.client.clone().edit(ReceiverStream::new(received)).await.unwrap().into_inner();
    let job = events.message().await.unwrap().unwrap().job;
    inputs.send(say(Input::Mask(replace(clusters(&[1]))))).await.unwrap();
    let status = loop {
        match events.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended well"),
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&status).1, "MASK_NOT_PROPOSED");
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.until(&job, State::AwaitingMask).await;
}

/// Decision, timeout and cancel at the same moment, many times: one of them wins, and the job says which.
#[tokio::test(flavor = "multi_thread")]
async fn decision_timeout_and_cancel_have_one_winner() {
    let server = Harness::new().await;
    let started = Instant::now();
    let job = server.create(request(review())).await;
    server.until(&job.name, State::AwaitingMask).await;
    let template = server.store.job("local", &job.name).unwrap().live().unwrap();
    let mut wins = [0usize; 3];
    for round in 0u64..2_000 {
        // A job that awaits its mask, without a pass.
        let mut record = (*template).clone();
        let inner = record.job.as_mut().unwrap();
        inner.name = retouch::jobs::store::new_name();
        inner.etag = "1".to_owned();
        record.artifacts.clear();
        let job = Arc::new(Job::new(record, Revision::NONE, Clock::default()));
        let store = &server.store;
        let race: [Box<dyn FnOnce() -> bool + Send>; 3] = {
            let (a, b, c) = (Arc::clone(&job), Arc::clone(&job), Arc::clone(&job));
            let (sa, sb, sc) = (Arc::clone(store), Arc::clone(store), Arc::clone(store));
            [
                Box::new(move || sa.decide(&a, accept()).is_ok()),
                Box::new(move || {
                    let changed = sb.change(&b, |draft| {
                        let waits = draft.state() == State::AwaitingMask;
                        draft.review_timed_out();
                        Ok(waits)
                    });
                    changed.unwrap()
                }),
                Box::new(move || {
                    let changed = sc.change(&c, |draft| {
                        let waits = draft.state() == State::AwaitingMask;
                        if waits {
                            draft.fail(&retouch::jobs::fault::Fault::new(
                                retouch::wire::reason::Reason::CancelledByApi,
                                "as asked",
                            ));
                        }
                        Ok(waits)
                    });
                    changed.unwrap()
                }),
            ]
        };
        let order = [[0, 1, 2], [2, 0, 1], [1, 2, 0], [2, 1, 0]][(round % 4) as usize];
        let mut race: Vec<_> = race.into_iter().map(Some).collect();
        let mut won = [false; 3];
        std::thread::scope(|scope| {
            let runs: Vec<_> = order
                .map(|index| (index, race[index].take().unwrap()))
                .into_iter()
                .map(|(index, run)| (index, scope.spawn(run)))
                .collect();
            for (index, run) in runs {
                won[index] = run.join().unwrap();
            }
        });
        let winners: Vec<usize> = (0..3).filter(|it| won[*it]).collect();
        assert_eq!(winners.len(), 1, "round {round}: {won:?}");
        wins[winners[0]] += 1;
        let state = job.state();
        let expected = [State::MaskReady, State::Failed, State::Cancelled][winners[0]];
        assert_eq!(state, expected, "round {round}");
        if started.elapsed() > Duration::from_secs(20) {
            assert!(round > 200, "only {round} rounds");
            break;
        }
    }
    assert!(wins.iter().all(|it| *it > 0), "{wins:?}");
}

//! Deadlines of callers, and pauses in request bodies, when jobs are created.

use std::time::{Duration, Instant};

use bytes::Bytes;
use retouch::{
    server::config::Config,
    wire::v1::{
        AcceptMask, BatchCreateEditJobsRequest, EditInput, EditSpec, MaskDecision, MaskPolicy,
        edit_input::Input, edit_job::State, mask_decision::Decision,
    },
};
use tonic::Code;

use super::harness::{Harness, request, spec};
use crate::server_edges::raw::{Raw, framed, head};

async fn raw(server: &Harness) -> Raw {
    Raw::connect(server.url.trim_start_matches("http://").parse().unwrap()).await
}

fn passed() -> (Code, String) {
    (Code::DeadlineExceeded, "CLIENT_DEADLINE".to_owned())
}

/// An edit that takes longer than anybody here waits.
fn endless() -> EditSpec {
    EditSpec { localize_steps: Some(1000), ..spec("edit") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_time_is_up_says_so_and_takes_its_job_along() {
    let server = Harness::new().await;
    let started = Instant::now();
    let answer = raw(&server)
        .await
        .call("RunEdit", &[("grpc-timeout", "400m")], framed(&request(endless())))
        .await;
    assert_eq!(answer.reason(), passed());
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    let job = server.store.view(&server.store.all()[0]).unwrap();
    let ended = server.until(&job.name, State::Failed).await;
    assert_eq!(ended.error.unwrap().reason, "CLIENT_DEADLINE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_time_makes_no_job() {
    let server = Harness::new().await;
    let raw = raw(&server).await;
    let one = framed(&request(spec("edit")));
    let batch = framed(&BatchCreateEditJobsRequest { requests: vec![request(spec("edit")); 3] });
    let start = framed(&EditInput { input: Some(Input::Start(request(spec("edit")))) });
    for (time, code) in [
        ("0S", Code::DeadlineExceeded),
        ("1n", Code::DeadlineExceeded),
        ("-5S", Code::InvalidArgument),
        ("5", Code::InvalidArgument),
    ] {
        for (method, body) in [
            ("CreateEditJob", &one),
            ("RunEdit", &one),
            ("StreamEdit", &one),
            ("BatchCreateEditJobs", &batch),
            ("Edit", &start),
        ] {
            let answer = raw.call(method, &[("grpc-timeout", time)], body.clone()).await;
            assert_eq!(answer.reason().0, code, "{method} {time}");
        }
    }
    // Nor does one whose body comes too late.
    let (body, answer) = raw.open("CreateEditJob", &[("grpc-timeout", "100m")]);
    body.send(Bytes::copy_from_slice(&one[..50])).await.unwrap();
    assert_eq!(answer.await.reason(), passed());
    let _ = body.send(Bytes::copy_from_slice(&one[50..])).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.store.all().len(), 0);
    let answer = raw.call("CreateEditJob", &[("grpc-timeout", "99999999H")], one).await;
    assert_eq!(answer.reason().0, Code::Ok);
    assert_eq!(server.store.all().len(), 1);
}

/// A server on which bodies may stop for so long, and a stream on it that awaits its mask.
const STALL: Duration = Duration::from_secs(1);

async fn reviewing() -> (Harness, Raw, Bytes) {
    let mut config = Config::default();
    config.server.stall_timeout = STALL;
    let server = Harness::configured(config).await;
    let raw = raw(&server).await;
    let review = EditSpec { mask_policy: MaskPolicy::Review as i32, ..spec("edit") };
    let start = framed(&EditInput { input: Some(Input::Start(request(review))) });
    (server, raw, start.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_awaits_a_mask_waits_for_as_long_as_it_takes() {
    let (server, raw, start) = reviewing().await;
    let (say, answer) = raw.open("Edit", &[]);
    say.send(start).await.unwrap();
    tokio::time::sleep(4 * STALL).await;
    let job = server.store.view(&server.store.all()[0]).unwrap();
    server.until(&job.name, State::AwaitingMask).await;
    let accept = MaskDecision {
        decision: Some(Decision::Accept(AcceptMask::default())),
        ..Default::default()
    };
    let mask = framed(&EditInput { input: Some(Input::Mask(accept)) });
    // In two parts, the second in time.
    say.send(Bytes::copy_from_slice(&mask[..4])).await.unwrap();
    tokio::time::sleep(STALL / 2).await;
    say.send(Bytes::copy_from_slice(&mask[4..])).await.unwrap();
    assert_eq!(answer.await.reason(), (Code::Ok, String::new()));
    assert_eq!(server.get(&job.name).await.state(), State::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_stops_within_a_message_or_speaks_nonsense_is_told_so_and_its_job_lives() {
    let (server, raw, start) = reviewing().await;
    for (piece, reason) in [
        (head(1000), (Code::DeadlineExceeded, "BODY_STALLED")),
        (
            Bytes::from_static(&[0, 0, 0, 0, 2, 0xff, 0xff]),
            (Code::InvalidArgument, "INVALID_MESSAGE"),
        ),
        (head(u32::MAX), (Code::OutOfRange, "MESSAGE_TOO_LARGE")),
    ] {
        let (say, answer) = raw.open("Edit", &[]);
        let jobs = server.store.all().len();
        say.send(start.clone()).await.unwrap();
        while server.store.all().len() == jobs {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        say.send(piece).await.unwrap();
        assert_eq!(answer.await.reason(), (reason.0, reason.1.to_owned()));
    }
    for job in server.store.all() {
        server.until(&job.name(), State::AwaitingMask).await;
    }
}

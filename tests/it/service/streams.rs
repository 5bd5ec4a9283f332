//! Event streams: replay, broken connections, deadlines, slow readers, health checks, server shutdown.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use retouch::{
    jobs::{follow::Follower, queue::QueueLimits, store::Limits, timeouts},
    server::{admission::QueueAdmission, config::Config, gate::Admission, keys::Caller},
    wire::v1::{
        self, CreateEditJobRequest, EditSpec, EventOptions, MaskPolicy, edit_event::Event,
        edit_job::State, edit_service_client::EditServiceClient,
    },
};
use tonic::{Code, Request, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::harness::{Harness, LIMITS, kinds, numbers, reason, request, spec, until};

fn slow() -> EditSpec {
    EditSpec { localize_steps: Some(200), ..spec("edit") }
}

/// Longer than any test.
fn endless() -> EditSpec {
    EditSpec { localize_steps: Some(1000), ..spec("edit") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_watcher_sees_every_control_event_and_one_from_the_middle_the_rest() {
    let server = Harness::new().await;
    let job = server.client.clone().run_edit(request(spec("edit"))).await.unwrap().into_inner();
    let all = server.watch(&job.name, 0).await;
    assert_eq!(numbers(&all), (1..=10).collect::<Vec<u64>>());
    let rest = server.watch(&job.name, 4).await;
    assert_eq!(numbers(&rest), (5..=10).collect::<Vec<u64>>());
    assert_eq!(all[4..], rest[..]);
    assert!(server.watch(&job.name, 10).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_watchers_of_a_running_job_each_see_it_whole() {
    let server = Harness::new().await;
    let job = server.create(request(slow())).await;
    let watchers: Vec<_> = (0..50)
        .map(|number| {
            let (mut client, name) = (server.client.clone(), job.name.clone());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(number * 20)).await;
                let request = v1::WatchEditJobRequest { name, ..Default::default() };
                let mut stream = client.watch_edit_job(request).await.unwrap().into_inner();
                let mut seen = Vec::new();
                while let Some(event) = stream.message().await.unwrap() {
                    seen.push(event);
                }
                seen
            })
        })
        .collect();
    for watcher in watchers {
        assert_eq!(numbers(&watcher.await.unwrap()), (1..=10).collect::<Vec<u64>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_can_leave_kinds_of_events_out() {
    let server = Harness::new().await;
    let job = server.client.clone().run_edit(request(spec("edit"))).await.unwrap().into_inner();
    let events = EventOptions {
        cluster_map: Some(false),
        heatmaps: Some(false),
        max_inline_bytes: Some(0),
        ..Default::default()
    };
    let request =
        v1::WatchEditJobRequest { name: job.name, after_sequence: 0, events: Some(events) };
    let mut stream = server.client.clone().watch_edit_job(request).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while let Some(event) = stream.message().await.unwrap() {
        seen.push(event);
    }
    let told = kinds(&seen);
    assert!(!told.contains(&"clusters".to_owned()) && !told.contains(&"heatmap".to_owned()));
    let result = seen.iter().find_map(|it| match &it.event {
        Some(Event::Result(result)) => result.image.clone(),
        _ => None,
    });
    assert!(result.unwrap().inline.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_stream_ends_its_job_after_the_grace_and_not_before() {
    let server = Harness::new().await;
    let grace = Duration::from_secs(10);
    let asked = CreateEditJobRequest {
        request_id: "blip".to_owned(),
        disconnect_grace: Some(grace.try_into().unwrap()),
        ..request(endless())
    };
    // 1. A blip: the same request is back in time.
    let mut stream = server.client.clone().stream_edit(asked.clone()).await.unwrap().into_inner();
    let name = stream.message().await.unwrap().unwrap().job;
    drop(stream);
    let job = server.store.job("local", &name).unwrap();
    until("the stream is seen to break", || job.alone_since().is_some()).await;
    server.store.clock.advance(grace / 2);
    let mut stream = server.client.clone().stream_edit(asked.clone()).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().job, name);
    server.store.clock.advance(2 * grace);
    timeouts::look(&server.store);
    assert_eq!(server.get(&name).await.state(), State::Localizing);
    // 2. Gone for good.
    drop(stream);
    until("the stream is seen to break", || job.alone_since().is_some()).await;
    server.store.clock.advance(grace / 2);
    timeouts::look(&server.store);
    assert_eq!(server.get(&name).await.state(), State::Localizing);
    server.store.clock.advance(grace / 2);
    let ended = server.until(&name, State::Cancelled).await;
    assert_eq!(ended.error.unwrap().reason, "CLIENT_GONE");
    // 3. Detached jobs live on.
    let detached = CreateEditJobRequest {
        request_id: String::new(),
        detach: true,
        ..CreateEditJobRequest { spec: Some(spec("edit")), ..asked }
    };
    let mut stream = server.client.clone().stream_edit(detached).await.unwrap().into_inner();
    let name = stream.message().await.unwrap().unwrap().job;
    drop(stream);
    server.until(&name, State::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_stream_broke_is_let_in_again_while_the_queue_is_full() {
    let limits = Limits { queue: QueueLimits { total: 1, tenant: 1 }, ..LIMITS };
    let server = Harness::with(limits).await;
    let asked = CreateEditJobRequest { request_id: "blip".to_owned(), ..request(endless()) };
    let mut stream = server.client.clone().stream_edit(asked.clone()).await.unwrap().into_inner();
    let name = stream.message().await.unwrap().unwrap().job;
    server.until(&name, State::Localizing).await;
    server.create(request(endless())).await;
    let full = (Code::ResourceExhausted, "QUEUE_FULL".to_owned());
    assert_eq!(server.refused(request(endless())).await, full);
    // What the gate says before a body is read: only who waits for a job of theirs is let in.
    let gate = QueueAdmission(Arc::clone(&server.store));
    let is_refused = |tenant: &str| {
        let caller = Caller { tenant: tenant.to_owned(), ..Caller::local() };
        gate.refuse(&caller, "/retouch.v1.EditService/StreamEdit").is_some()
    };
    assert!(is_refused("local"));
    drop(stream);
    until("the stream is seen to break", || !is_refused("local")).await;
    assert!(is_refused("another"));
    assert_eq!(server.refused(request(endless())).await, full);
    let mut stream = server.client.clone().stream_edit(asked).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().job, name);
    assert!(is_refused("local"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_watcher_hears_no_place_in_a_queue_that_was_left_and_has_missed_nothing() {
    let server = Harness::new().await;
    let first = server.create(request(endless())).await;
    let job = server.create(request(endless())).await;
    server.cancel(&first.name).await.unwrap();
    server.until(&job.name, State::Localizing).await;
    let steps = || server.localize_steps.load(Ordering::Relaxed);
    let before = steps();
    until("steps are made", || steps() >= before + 30).await;
    let watch = v1::WatchEditJobRequest { name: job.name, ..Default::default() };
    let mut stream = server.client.clone().watch_edit_job(watch).await.unwrap().into_inner();
    loop {
        let event = stream.message().await.unwrap().unwrap();
        assert!(!matches!(event.event, Some(Event::Queue(_))), "{event:?}");
        if let Some(Event::Step(step)) = event.event {
            // A busy machine misses a few of those to come, none of those that were.
            assert!(step.step > 20 && event.conflated < 10, "{event:?}");
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_stops_the_work_and_not_only_the_waiting() {
    let server = Harness::new().await;
    let mut asked = Request::new(request(slow()));
    asked.set_timeout(Duration::from_millis(400));
    let started = Instant::now();
    let mut stream = server.client.clone().stream_edit(asked).await.unwrap().into_inner();
    let mut job = String::new();
    let status = loop {
        match stream.message().await {
            Ok(Some(event)) => job = event.job,
            Ok(None) => panic!("the stream ended well"),
            Err(status) => break status,
        }
    };
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status}");
    assert!(started.elapsed() < Duration::from_secs(2));
    let ended = server.until(&job, State::Failed).await;
    assert_eq!(ended.error.unwrap().reason, "CLIENT_DEADLINE");
    let free = server.client.clone().run_edit(request(spec("next"))).await.unwrap().into_inner();
    assert_eq!(free.state(), State::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_streams_neither_stop_the_model_nor_another_connection() {
    let server = Harness::new().await;
    let job = server.create(request(slow())).await;
    let mut unread = Vec::new();
    for _ in 0..20 {
        // A reader that takes nothing has room for little: a few events of a job fill it.
        let endpoint = Endpoint::from_shared(server.url.clone()).unwrap();
        let endpoint =
            endpoint.initial_stream_window_size(1024).initial_connection_window_size(1024);
        let mut reader = EditServiceClient::new(endpoint.connect().await.unwrap());
        let request = v1::WatchEditJobRequest { name: job.name.clone(), ..Default::default() };
        unread.push(reader.watch_edit_job(request).await.unwrap());
    }
    let mut other = EditServiceClient::connect(server.url.clone()).await.unwrap();
    let started = Instant::now();
    other.get_server_info(v1::GetServerInfoRequest {}).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(1));
    server.until(&job.name, State::Succeeded).await;
    // They had come to a halt: what is told of the way to the end is not what was made.
    let mut late = unread.pop().unwrap().into_inner();
    let mut steps = 0;
    while let Some(event) = late.message().await.unwrap() {
        steps += usize::from(matches!(event.event, Some(Event::Step(_))));
    }
    assert!(steps < 100, "{steps} of some 200 steps went to a reader that took none");
}

#[tokio::test(flavor = "multi_thread")]
async fn storms_of_cancels_leave_the_neighbor_alone() {
    let server = Harness::new().await;
    let job = server.create(request(EditSpec { localize_steps: Some(600), ..spec("edit") })).await;
    let watch = v1::WatchEditJobRequest { name: job.name.clone(), ..Default::default() };
    let mut neighbor =
        server.client.clone().watch_edit_job(watch.clone()).await.unwrap().into_inner();
    for storm in 0..100 {
        let calls: Vec<_> = (0..30)
            .map(|_| {
                let (mut client, watch) = (server.client.clone(), watch.clone());
                tokio::spawn(async move { drop(client.watch_edit_job(watch).await) })
            })
            .collect();
        calls.iter().for_each(tokio::task::JoinHandle::abort);
        let event = tokio::time::timeout(Duration::from_secs(5), neighbor.message()).await;
        assert!(event.is_ok_and(|it| it.is_ok_and(|it| it.is_some())), "storm {storm}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_the_model() {
    let server = Harness::new().await;
    let channel = Endpoint::from_shared(server.url.clone()).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    for service in ["", "retouch.v1.EditService"] {
        let check = HealthCheckRequest { service: service.to_owned() };
        let mut watch = health.watch(check).await.unwrap().into_inner();
        let mut until = async |status: i32| {
            while watch.message().await.unwrap().unwrap().status != status {}
        };
        until(1).await;
        server.store.set_ready(Err("as asked".to_owned()));
        until(2).await;
        server.store.set_ready(Ok(()));
        until(1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_refuses_new_jobs_finishes_the_running_one_and_cuts_the_waiting() {
    let server = Harness::new().await;
    let running =
        server.create(request(EditSpec { localize_steps: Some(40), ..spec("edit") })).await;
    server.until(&running.name, State::Localizing).await;
    let mut waiting =
        server.client.clone().stream_edit(request(spec("later"))).await.unwrap().into_inner();
    let name = waiting.message().await.unwrap().unwrap().job;
    server.store.drain();
    let status = loop {
        match waiting.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended well"),
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&status), (Code::Unavailable, "DRAINING".to_owned()));
    assert_eq!(server.get(&name).await.state(), State::Queued);
    let refused = server.refused(request(spec("new"))).await;
    assert_eq!(refused, (Code::Unavailable, "DRAINING".to_owned()));
    server.until(&running.name, State::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_events_never_changes_what_is_decided() {
    let server = Harness::new().await;
    let review = EditSpec { mask_policy: MaskPolicy::Review as i32, ..spec("edit") };
    let job = server.create(request(review)).await;
    server.until(&job.name, State::AwaitingMask).await;
    for _ in 0..3 {
        let request = v1::WatchEditJobRequest { name: job.name.clone(), ..Default::default() };
        let mut stream = server.client.clone().watch_edit_job(request).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.get(&job.name).await.state(), State::AwaitingMask);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_outlives_its_connections_age() {
    let mut config = Config::default();
    config.server.connection_age = Duration::from_millis(500);
    let server = Harness::configured(config).await;
    let started = Instant::now();
    let job = server.create(request(slow())).await;
    let events = server.watch(&job.name, 0).await;
    assert!(started.elapsed() > Duration::from_secs(1), "the connection was past its age");
    assert_eq!(numbers(&events), (1..=10).collect::<Vec<u64>>());
    // A new connection serves what comes after.
    let mut client = EditServiceClient::connect(server.url.clone()).await.unwrap();
    client.get_server_info(v1::GetServerInfoRequest {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_is_encoded_once_for_all_who_watch() {
    let server = Harness::new().await;
    let review = EditSpec { mask_policy: MaskPolicy::Review as i32, ..spec("edit") };
    let job = server.create(request(review)).await;
    server.until(&job.name, State::AwaitingMask).await;
    let job = server.store.job("local", &job.name).unwrap();
    let mut shown = Vec::new();
    for _ in 0..2 {
        let mut follower = Follower::new(&server.store, &job, 0, None);
        shown.push(loop {
            if let Some(Event::Preview(preview)) = follower.next().await.unwrap().unwrap().event {
                break preview.image.unwrap();
            }
        });
    }
    assert_eq!(shown[0].size_bytes as usize, shown[0].inline.len());
    // Not equal alone: the same bytes, and the same digest.
    assert_eq!(shown[0].inline.as_ptr(), shown[1].inline.as_ptr());
    assert_eq!(shown[0].sha256.as_ptr(), shown[1].sha256.as_ptr());
}

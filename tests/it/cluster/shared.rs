//! Servers with a scripted model that share their jobs over NATS.

use std::{collections::BTreeSet, time::Duration};

use retouch::{
    nats::{Nats, options::Options},
    wire::{
        reason::Reason,
        v1::{
            self, AcceptMask, EditSpec, MaskDecision, MaskPolicy, edit_event::Event,
            edit_job::State, mask_decision::Decision,
        },
    },
};

use super::nats_server::NatsServer;
use crate::service::harness::{Harness, numbers, request, spec};

pub(crate) async fn servers(nats: &NatsServer, count: usize) -> Vec<Harness> {
    let mut servers = Vec::new();
    for _ in 0..count {
        let options = Options::plain(nats.url(), "rt");
        let ledger = tokio::task::spawn_blocking(move || Nats::open(&options, true).unwrap());
        servers.push(Harness::over_ledger(ledger.await.unwrap()).await);
    }
    servers
}

fn accept() -> MaskDecision {
    let decision = Some(Decision::Accept(AcceptMask::default()));
    MaskDecision { decision, ..MaskDecision::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_read_watched_decided_and_cancelled_at_any_process() {
    let Some(nats) = NatsServer::start() else { return };
    let servers = servers(&nats, 3).await;
    let [one, two, three] = &servers[..] else { unreachable!() };

    // 1. Read at once, at a process that may not have heard of it.
    for _ in 0..10 {
        let job = one.create(request(spec("edit"))).await;
        assert_eq!(two.get(&job.name).await.name, job.name);
        // 2. Watched from beginning to end, without a gap, at each.
        for server in &servers {
            let events = server.watch(&job.name, 0).await;
            let last = server.get(&job.name).await;
            assert_eq!(last.state(), State::Succeeded);
            assert_eq!(numbers(&events), (1..=last.last_sequence).collect::<Vec<_>>());
            let half = server.watch(&job.name, 3).await;
            assert_eq!(numbers(&half), (4..=last.last_sequence).collect::<Vec<_>>());
        }
    }

    // 3. Decided elsewhere.
    let review = EditSpec { mask_policy: MaskPolicy::Review as i32, ..spec("edit") };
    let job = one.create(request(review)).await;
    two.until(&job.name, State::AwaitingMask).await;
    three.decide(&job.name, accept()).await.unwrap();
    let done = one.until(&job.name, State::Succeeded).await;
    assert_eq!(done.state(), State::Succeeded);

    // 4. Cancelled elsewhere, while it runs.
    let long = EditSpec { steps: Some(1000), ..spec("edit") };
    let job = one.create(request(long)).await;
    two.until(&job.name, State::Editing).await;
    three.cancel(&job.name).await.unwrap();
    let done = one.until(&job.name, State::Cancelled).await;
    assert_eq!(done.error.unwrap().reason, Reason::CancelledByApi.name());
    // Its worker is free again.
    let job = one.create(request(spec("edit"))).await;
    three.until(&job.name, State::Succeeded).await;

    // 5. Deleted elsewhere.
    let delete = v1::DeleteEditJobRequest { name: job.name.clone() };
    two.client.clone().delete_edit_job(delete).await.unwrap();
    for server in [one, three] {
        crate::service::harness::until("it is gone", || {
            server.store.job("local", &job.name).is_err()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_and_previews_come_through_another_process() {
    let Some(nats) = NatsServer::start() else { return };
    let servers = servers(&nats, 2).await;
    let long = EditSpec { steps: Some(300), ..spec("edit") };
    let job = servers[0].create(request(long)).await;
    let worker = servers[1].until(&job.name, State::Editing).await.worker;
    let runs_first = worker.starts_with(servers[0].store.process());
    let other = &servers[usize::from(runs_first)];
    let watch = v1::WatchEditJobRequest { name: job.name.clone(), ..Default::default() };
    let mut stream = other.client.clone().watch_edit_job(watch).await.unwrap().into_inner();
    let (mut steps, mut previews) = (BTreeSet::new(), 0);
    while let Some(event) = stream.message().await.unwrap() {
        match event.event.unwrap() {
            Event::Step(step) => drop(steps.insert(step.step)),
            Event::Preview(preview) => {
                assert!(!preview.image.unwrap().inline.is_empty());
                previews += 1;
            }
            _ => {}
        }
    }
    assert!(steps.len() > 20 && previews > 5, "{} steps, {previews} previews", steps.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_go_on_when_the_engine_was_away() {
    let Some(mut nats) = NatsServer::start() else { return };
    let servers = servers(&nats, 2).await;
    let long = EditSpec { steps: Some(500), ..spec("edit") };
    let running = servers[0].create(request(long)).await;
    servers[1].until(&running.name, State::Editing).await;
    nats.kill();
    let mut client = servers[0].client.clone();
    let waits = tokio::spawn(async move { client.create_edit_job(request(spec("edit"))).await });
    tokio::time::sleep(Duration::from_secs(2)).await;
    // What runs is known without the engine.
    let known = servers[1].store.job("local", &running.name).unwrap();
    assert_eq!(known.state(), State::Editing);
    nats.again();
    let waited = waits.await.unwrap().unwrap().into_inner();
    for server in &servers {
        for name in [&running.name, &waited.name] {
            let events = server.watch(name, 0).await;
            let done = server.get(name).await;
            assert_eq!((done.state(), done.attempt), (State::Succeeded, 1));
            assert_eq!(numbers(&events), (1..=done.last_sequence).collect::<Vec<_>>());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_processes_take_what_waits_and_nothing_runs_twice() {
    let Some(nats) = NatsServer::start() else { return };
    let servers = servers(&nats, 3).await;
    let mut names = Vec::new();
    for index in 0..7 {
        let spec = EditSpec { steps: Some(40), ..spec("edit") };
        let asked =
            v1::CreateEditJobRequest { request_id: format!("job {index}"), ..request(spec) };
        names.push(servers[0].create(asked).await.name);
    }
    let mut workers = BTreeSet::new();
    for name in &names {
        let done = servers[1].until(name, State::Succeeded).await;
        assert_eq!(done.attempt, 1);
        let events = servers[2].watch(name, 0).await;
        assert_eq!(numbers(&events), (1..=done.last_sequence).collect::<Vec<_>>());
        let results = events.iter().filter(|it| matches!(it.event, Some(Event::Result(_))));
        assert_eq!(results.count(), 1);
        workers.insert(done.last_sequence);
    }
    let steps: usize =
        servers.iter().map(|it| it.localize_steps.load(std::sync::atomic::Ordering::Relaxed)).sum();
    assert!(steps > 0 || !workers.is_empty());
    // The same request at another process is the same job.
    let spec = EditSpec { steps: Some(40), ..spec("edit") };
    let again = v1::CreateEditJobRequest { request_id: "job 3".to_owned(), ..request(spec) };
    assert_eq!(servers[2].create(again).await.name, names[3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_moves_to_another_process_keeps_the_job() {
    let Some(nats) = NatsServer::start() else { return };
    let servers = servers(&nats, 2).await;
    let long = EditSpec { steps: Some(700), ..spec("edit") };
    let asked = v1::CreateEditJobRequest {
        disconnect_grace: Some(prost_types::Duration { seconds: 2, nanos: 0 }),
        request_id: "moves".to_owned(),
        ..request(long)
    };
    let mut first =
        servers[0].client.clone().stream_edit(asked.clone()).await.unwrap().into_inner();
    let name = first.message().await.unwrap().unwrap().job;
    drop(first);
    let mut second = servers[1].client.clone().stream_edit(asked).await.unwrap().into_inner();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(matches!(servers[0].get(&name).await.state(), State::Localizing | State::Editing));
    let mut last = None;
    while let Some(event) = second.message().await.unwrap() {
        last = Some(event);
    }
    assert!(
        matches!(last.unwrap().event, Some(Event::State(it)) if it.state() == State::Succeeded)
    );

    // One who does not come back anywhere loses it.
    let long = EditSpec { steps: Some(1000), ..spec("edit") };
    let asked = v1::CreateEditJobRequest {
        disconnect_grace: Some(prost_types::Duration { seconds: 2, nanos: 0 }),
        ..request(long)
    };
    let mut gone = servers[0].client.clone().stream_edit(asked).await.unwrap().into_inner();
    let name = gone.message().await.unwrap().unwrap().job;
    drop(gone);
    let job = servers[1].until(&name, State::Cancelled).await;
    assert_eq!(job.error.unwrap().reason, Reason::ClientGone.name());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_says_what_keeps_its_jobs_and_with_whom() {
    let Some(nats) = NatsServer::start() else { return };
    let servers = servers(&nats, 2).await;
    let mut client = servers[0].client.clone();
    let started = std::time::Instant::now();
    let info = loop {
        let info = client.get_server_info(v1::GetServerInfoRequest {}).await.unwrap().into_inner();
        if info.processes == 2 {
            break info;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{info:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(info.engine, "nats");
    assert_ne!(info.process, servers[1].store.process());
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_every_processs_and_a_deleted_one_is_nobodys() {
    let Some(nats) = NatsServer::start() else { return };
    let servers = servers(&nats, 2).await;
    let file = crate::service::harness::picture(77);
    let header = v1::UploadHeader::default();
    let (store, bytes) = (servers[0].store.clone(), file.clone());
    let upload = move || store.upload("local", &header, bytes).unwrap();
    let artifact = tokio::task::spawn_blocking(upload).await.unwrap();
    let source = v1::image::Source::Artifact(artifact.name.clone());
    let image = Some(v1::Image { source: Some(source) });
    let job = servers[1].create(request(EditSpec { image, ..spec("edit") })).await;
    servers[0].until(&job.name, State::Succeeded).await;
    let (store, name) = (servers[1].store.clone(), artifact.name.clone());
    let read = tokio::task::spawn_blocking(move || store.artifacts.read_all(&name).unwrap());
    assert_eq!(read.await.unwrap(), file);
    // It is the job's.
    let (store, name) = (servers[0].store.clone(), artifact.name.clone());
    let delete = tokio::task::spawn_blocking(move || store.artifacts.delete("local", &name));
    assert_eq!(delete.await.unwrap().unwrap_err().reason, Reason::ArtifactPinned);
}

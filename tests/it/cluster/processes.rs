//! `retouch serve --engine nats`: processes that are killed, stopped and gone on with.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use retouch::wire::v1::{self, edit_job::State};

use super::nats_server::NatsServer;
use crate::{
    service::{
        harness::numbers,
        process::{Server, edit, until},
    },
    support,
};

/// A process over NATS, whose workers are given up after the shortest lease.
pub(super) fn process(nats: &NatsServer) -> Server {
    in_role(nats, "all")
}

pub(super) fn in_role(nats: &NatsServer, role: &str) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tempfile::NamedTempFile::new().unwrap();
    write!(config, "[engine]\nlease = \"10s\"\n").unwrap();
    let config = config.into_temp_path();
    let (url, config) = (nats.url(), config.to_str().unwrap().to_owned());
    Server::start_with(
        folder.path(),
        &["--engine", "nats", "--nats-url", &url, "--role", role, "--config", &config],
    )
}

fn picture(job: &v1::EditJob) -> bytes::Bytes {
    job.result.as_ref().unwrap().image.as_ref().unwrap().sha256.clone()
}

/// Run by `make test-cluster`: a minute.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute; `make test-cluster` runs it"]
async fn a_job_survives_the_death_of_its_process_and_ends_once_with_the_same_picture() {
    let Some(nats) = NatsServer::start() else { return };
    let mut servers = vec![process(&nats), process(&nats)];
    let mut rng = StdRng::seed_from_u64(5);
    for (seed, state) in [(7, State::Editing), (8, State::Localizing)] {
        let mut asked = edit(60);
        let spec = asked.spec.as_mut().unwrap();
        (spec.seed, spec.localize_steps) = (Some(seed), Some(60));
        let mut client = servers[0].client().await;
        let job = client.create_edit_job(asked.clone()).await.unwrap().into_inner();
        let running = until(&servers[1], &job.name, state).await;
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..100))).await;
        // Whoever runs it is killed.
        let info = servers[0].client().await.get_server_info(v1::GetServerInfoRequest {}).await;
        let first = running.worker.starts_with(&info.unwrap().into_inner().process);
        let killed = servers.remove(usize::from(!first));
        killed.signal("-KILL");
        drop(killed);
        let done = until(&servers[0], &job.name, State::Succeeded).await;
        let undisturbed = servers[0].client().await.run_edit(asked).await.unwrap().into_inner();
        let expected = (2, picture(&undisturbed));
        assert_eq!((done.attempt, picture(&done)), expected, "killed in {state:?}");
        let watch = v1::WatchEditJobRequest { name: job.name, ..Default::default() };
        let mut events =
            servers[0].client().await.watch_edit_job(watch).await.unwrap().into_inner();
        let mut told = Vec::new();
        while let Some(event) = events.message().await.unwrap() {
            told.push(event);
        }
        assert_eq!(numbers(&told), (1..=done.last_sequence).collect::<Vec<u64>>());
        servers.push(process(&nats));
    }
}

/// Run by `make test-cluster`: a minute.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute; `make test-cluster` runs it"]
async fn a_process_that_is_stopped_for_longer_than_its_lease_changes_nothing_when_it_wakes() {
    let Some(nats) = NatsServer::start() else { return };
    let (one, two) = (process(&nats), process(&nats));
    let mut asked = edit(120);
    asked.spec.as_mut().unwrap().localize_steps = Some(40);
    let job = one.client().await.create_edit_job(asked).await.unwrap().into_inner();
    let running = until(&two, &job.name, State::Editing).await;
    let info = one.client().await.get_server_info(v1::GetServerInfoRequest {}).await.unwrap();
    let (runs, other) = if running.worker.starts_with(&info.into_inner().process) {
        (&one, &two)
    } else {
        (&two, &one)
    };
    runs.signal("-STOP");
    let started = Instant::now();
    let taken = loop {
        let request = v1::GetEditJobRequest { name: job.name.clone() };
        let now = other.client().await.get_edit_job(request).await.unwrap().into_inner();
        if now.attempt == 2 && !now.worker.is_empty() {
            break now;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "nobody takes it: {now:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_ne!(taken.worker, running.worker);
    runs.signal("-CONT");
    let done = until(other, &job.name, State::Succeeded).await;
    assert_eq!(done.attempt, 2);
    let watch = v1::WatchEditJobRequest { name: job.name.clone(), ..Default::default() };
    let mut events = runs.client().await.watch_edit_job(watch).await.unwrap().into_inner();
    let mut told = Vec::new();
    while let Some(event) = events.message().await.unwrap() {
        told.push(event);
    }
    assert_eq!(numbers(&told), (1..=done.last_sequence).collect::<Vec<u64>>());
    let results =
        told.iter().filter(|it| matches!(it.event, Some(v1::edit_event::Event::Result(_))));
    assert_eq!(results.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_runs_no_model_answers_for_one_that_does() {
    let Some(nats) = NatsServer::start() else { return };
    let (answers, runs) = (in_role(&nats, "api"), process(&nats));
    let mut client = answers.client().await;
    let done = client.run_edit(edit(4)).await.unwrap().into_inner();
    assert_eq!(done.state(), State::Succeeded);
    let image = done.result.unwrap().image.unwrap();
    assert!(!image.inline.is_empty());
    let at_the_other = runs.client().await.run_edit(edit(4)).await.unwrap().into_inner();
    assert_eq!(picture(&at_the_other), image.sha256);
    let info = client.get_server_info(v1::GetServerInfoRequest {}).await.unwrap().into_inner();
    assert_eq!((info.load.unwrap().slots, info.devices.len()), (0, 1), "{:?}", info.devices);
    assert_eq!(info.model, "demo-model");
    let alone = support::listening_retouch().args(["serve", "--role", "api"]).output().unwrap();
    assert_eq!(alone.status.code(), Some(2));
}

#[test]
fn the_engine_is_made_and_checked_and_what_is_wrong_with_it_is_said() {
    let Some(nats) = NatsServer::start() else { return };
    let engine = |args: &[&str]| {
        let mut command = support::listening_retouch();
        let output = command.arg("engine").args(args).output().unwrap();
        let text = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let url = nats.url();
    let (code, _, err) = engine(&["check", "--nats-url", &url]);
    assert!(code == 9 && err.contains("there is no stream RT_LOG"), "{code} {err}");
    let (code, out, err) = engine(&["init", "--nats-url", &url]);
    assert!(code == 0 && out.contains("RT_LOG: made"), "{out} {err}");
    let (code, out, _) = engine(&["init", "--nats-url", &url]);
    assert!(code == 0 && out.contains("RT_BLOB: there, and fit"), "{out}");
    let (code, out, _) = engine(&["check", "--nats-url", &url]);
    assert!(code == 0 && out.contains("sync_always: unknown"), "{out}");
    let monitor = nats.monitor_url();
    let (code, out, _) = engine(&["check", "--nats-url", &url, "--monitor-url", &monitor]);
    assert!(code == 0 && out.contains("sync_always: yes"), "{out}");
    let Some(lazy) = NatsServer::configured("# no sync_interval") else { return };
    let (url, monitor) = (lazy.url(), lazy.monitor_url());
    engine(&["init", "--nats-url", &url]);
    let (code, out, _) = engine(&["check", "--nats-url", &url, "--monitor-url", &monitor]);
    assert!(code == 9 && out.contains("sync_always: no") && out.contains("sync_interval: always"));
    let (code, _, err) = engine(&["check", "--nats-url", "nats://u:secret@127.0.0.1:1,http://x"]);
    assert!(code != 0 && !err.contains("secret"), "{err}");
}

#[test]
fn a_wrong_engine_is_refused_and_secrets_are_not_printed() {
    let print = |args: &[&str]| {
        let mut command = support::listening_retouch();
        let output = command.args(["serve", "--print-config"]).args(args).output().unwrap();
        let text = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, _) = print(&["--engine", "nats", "--nats-url", "nats://me:secret@host:4222"]);
    assert!(code == 0 && !out.contains("secret") && out.contains("nats://…@host:4222"), "{out}");
    for (args, said) in [
        (&["--engine", "nats"][..], "engine.nats_url"),
        (&["--engine", "redis"], "redis"),
        (&["--nats-prefix", "a.b"], "engine.nats_prefix"),
        (&["--nats-replicas", "2"], "1, 3 or 5"),
        (&["--nats-tls-cert", "c.pem"], "engine.nats_tls_key"),
    ] {
        let (code, _, err) = print(args);
        assert!(code == 2 && err.contains(said), "{args:?}: {err}");
    }
}

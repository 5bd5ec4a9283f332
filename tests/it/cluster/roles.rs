//! `retouch serve --role`: processes that answer calls, and processes that run jobs.

use std::{io::Write, time::Duration};

use retouch::wire::v1::{self, edit_job::State};
use tonic::transport::Endpoint;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::nats_server::NatsServer;
use crate::{
    server_edges::{collector::Collector, hex},
    service::{
        harness,
        process::{Server, edit, until},
    },
};

fn in_role(nats: &NatsServer, role: &str, more: &[&str]) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tempfile::NamedTempFile::new().unwrap();
    write!(config, "[server]\ndrain_timeout = \"1s\"\n").unwrap();
    let config = config.into_temp_path();
    let (url, config) = (nats.url(), config.to_str().unwrap().to_owned());
    let flags = ["--engine", "nats", "--nats-url", &url, "--role", role, "--config", &config];
    Server::start_with(folder.path(), &[&flags[..], more].concat())
}

fn is_busy(worker: &Server) -> bool {
    worker.get("/metrics").contains("retouch_slots{state=\"busy\"} 1")
}

fn sha256(job: v1::EditJob) -> bytes::Bytes {
    job.result.unwrap().image.unwrap().sha256
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_run_what_others_accept_and_one_that_is_told_to_end_leaves_its_job_to_another() {
    let Some(nats) = NatsServer::start() else { return };
    let answers = in_role(&nats, "api", &[]);
    let mut workers = vec![in_role(&nats, "worker", &[]), in_role(&nats, "worker", &[])];
    for worker in &workers {
        let ops = Endpoint::from_shared(worker.ops_url()).unwrap().connect().await.unwrap();
        let mut health = HealthClient::new(ops);
        let said = health.check(HealthCheckRequest { service: String::new() }).await.unwrap();
        assert_eq!(said.into_inner().status(), ServingStatus::Serving);
        assert!(worker.address_if_any().is_none());
    }
    let mut client = answers.client().await;

    // 1. A job goes on at the other worker, from its checkpoint, long before a lease of 30 s has ended.
    let asked = edit(200);
    let job = client.create_edit_job(asked.clone()).await.unwrap().into_inner();
    let first = until(&answers, &job.name, State::Editing).await;
    let runs = usize::from(is_busy(&workers[1]));
    assert!(is_busy(&workers[runs]) && !is_busy(&workers[1 - runs]));
    let mut ends = workers.remove(runs);
    ends.signal("-TERM");
    assert_eq!(ends.ended(Duration::from_secs(60)), Some(0));
    let done = until(&answers, &job.name, State::Succeeded).await;
    assert_eq!((first.attempt, done.attempt), (1, 2));

    // 2. What is left of the workers does the same undisturbed.
    let undisturbed = client.run_edit(asked).await.unwrap().into_inner();
    assert_eq!(undisturbed.attempt, 1);
    assert_eq!(sha256(done), sha256(undisturbed));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_on_a_job_is_in_the_trace_of_its_caller_in_another_process_too() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let Some(nats) = NatsServer::start() else { return };
    let (collector, endpoint) = Collector::start().await;
    let sent = ["--otlp-endpoint", &endpoint];
    let (answers, worker) = (in_role(&nats, "api", &sent), in_role(&nats, "worker", &sent));
    let mut asked = tonic::Request::new(edit(4));
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    asked.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    let done = answers.client().await.run_edit(asked).await.unwrap().into_inner();
    assert_eq!(done.state(), State::Succeeded);
    // The process that took the call runs no passes.
    for mut process in [answers, worker] {
        process.signal("-TERM");
        assert_eq!(process.ended(Duration::from_secs(60)), Some(0));
    }
    let spans = || {
        let sent = collector.spans.lock().unwrap().clone();
        let resources = sent.into_iter().flat_map(|it| it.resource_spans);
        let spans = resources.flat_map(|it| it.scope_spans).flat_map(|it| it.spans);
        spans.filter(|it| hex(&it.trace_id) == TRACE).collect::<Vec<_>>()
    };
    harness::until("the spans have come", || spans().iter().any(|it| it.name == "pass")).await;
    let spans = spans();
    let named = |name: &str| spans.iter().filter(|it| it.name == name).collect::<Vec<_>>();
    assert_eq!(named("pass").len(), 2);
    let call = named("retouch.v1.EditService/RunEdit");
    let jobs = named("job");
    assert!(jobs.len() == 2 && jobs.iter().all(|it| it.parent_span_id == call[0].span_id));
    let within = |id: &[u8]| jobs.iter().any(|it| it.span_id == id);
    assert!(named("pass").iter().all(|it| within(&it.parent_span_id)));
}

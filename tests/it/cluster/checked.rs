//! What `helm test` and KEDA do, between real processes over NATS.

use retouch::{
    server::scaler::METRIC,
    wire::{
        externalscaler::{
            GetMetricsRequest, ScaledObjectRef, external_scaler_client::ExternalScalerClient,
        },
        v1::ListEditJobsRequest,
    },
};

use super::{
    nats_server::NatsServer,
    processes::{in_role, process},
};
use crate::{
    service::process::{Server, edit},
    support,
};

/// The program of `helm test`: its exit code, output and errors.
fn check(servers: &[&Server], more: &[&str]) -> (i32, String, String) {
    let mut command = support::listening_retouch();
    command.args(["jobs", "check", "--server", "http://localhost:50051"]);
    for server in servers {
        command.args(["--at", server.address()]);
    }
    let output = command.args(more).output().unwrap();
    let text = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_made_at_one_process_is_watched_at_the_other_and_deleted_there() {
    let Some(nats) = NatsServer::start() else { return };
    let servers = [in_role(&nats, "api"), process(&nats)];
    let both = [&servers[0], &servers[1]];
    let (code, out, err) = check(&both, &["--at-least", "2"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("events watched at 2 addresses, without a gap"), "{out}");
    let (code, out, err) = check(&both, &["--json"]);
    assert_eq!(code, 0, "{err}");
    let told: serde_json::Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!(told["processes"].as_array().unwrap().len(), 2, "{told}");
    // Nothing is left behind.
    let left =
        servers[0].client().await.list_edit_jobs(ListEditJobsRequest::default()).await.unwrap();
    assert!(left.into_inner().jobs.is_empty());

    let (code, _, err) = check(&both[..1], &["--at-least", "2"]);
    assert!(code == 1 && err.contains("addresses: 1, and at least 2 are wanted"), "{code} {err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_share_no_jobs_do_not_pass() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let servers = folders.each_ref().map(|it| Server::start(it.path()));
    let (code, out, err) = check(&[&servers[0], &servers[1]], &[]);
    assert!(code == 2 && err.contains("there is no job"), "{code} {out} {err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_runs_nothing_tells_of_the_jobs_of_all() {
    let Some(nats) = NatsServer::start() else { return };
    let (asked, _runs) = (in_role(&nats, "api"), process(&nats));
    let mut client = asked.client().await;
    for _ in 0..3 {
        client.create_edit_job(edit(1000)).await.unwrap();
    }
    let address = format!("http://{}", asked.ops_address());
    let mut scaler = ExternalScalerClient::connect(address).await.unwrap();
    let request = GetMetricsRequest { metric_name: METRIC.to_owned(), ..Default::default() };
    let answer = scaler.get_metrics(request).await.unwrap().into_inner();
    assert_eq!(answer.metric_values[0].metric_value, 3);
    let active = scaler.is_active(ScaledObjectRef::default()).await.unwrap();
    assert!(active.into_inner().result);
}

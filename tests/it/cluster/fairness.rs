//! Many jobs of one tenant beside a few of another, over three processes.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use retouch::{
    server::keys::Scope,
    wire::v1::{self, EditSpec, edit_service_client::EditServiceClient},
};
use tonic::{Request, transport::Channel};

use super::{
    nats_server::NatsServer,
    scripted::{Process, Setting},
};
use crate::{
    server_edges::keys_file,
    service::harness::{request, spec},
};

/// Jobs of the one, and of the other.
const JOBS: (usize, usize) = (1000, 10);
/// Most that the other waits, in times of a job: what a worker takes until it is free, and its turn.
const MOST: f64 = 3.0;

async fn create(mut client: EditServiceClient<Channel>, key: &str) -> v1::EditJob {
    let spec = EditSpec { steps: Some(6), localize_steps: Some(2), ..spec("edit") };
    client.create_edit_job(shown(request(spec), key)).await.unwrap().into_inner()
}

fn shown<T>(message: T, key: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-api-key", key.parse().unwrap());
    request
}

fn seconds(time: Option<prost_types::Duration>) -> f64 {
    time.and_then(|it| Duration::try_from(it).ok()).unwrap_or_default().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute; `make test-cluster` runs it"]
async fn a_tenant_of_a_thousand_jobs_leaves_another_its_turn() {
    let Some(nats) = NatsServer::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.toml");
    keys_file(&keys, &[("many", "many", &[Scope::Edit]), ("few", "few", &[Scope::Edit])]);
    let setting = Setting { slots: 4, step: 100, keys: Some(keys), ..Setting::over(&nats.url()) };
    let processes: Vec<Process> = (0..3).map(|_| Process::start(&setting)).collect();
    let clients: Vec<_> = processes.iter().map(Process::client).collect();
    let all = stream::iter(0..JOBS.0).map(|it| create(clients[it % 3].clone(), "many"));
    let all: Vec<v1::EditJob> = all.buffer_unordered(16).collect().await;
    let few = stream::iter(0..JOBS.1).map(|it| create(clients[it % 3].clone(), "few"));
    let few: Vec<v1::EditJob> = few.buffer_unordered(JOBS.1).collect().await;
    let mut waits = Vec::new();
    for job in few {
        let asked = v1::WatchEditJobRequest { name: job.name.clone(), ..Default::default() };
        let events = clients[0].clone().watch_edit_job(shown(asked, "few")).await;
        let mut events = events.unwrap().into_inner();
        while events.message().await.unwrap().is_some() {}
        let asked = v1::GetEditJobRequest { name: job.name };
        let done = clients[1].clone().get_edit_job(shown(asked, "few")).await.unwrap();
        let timings = done.into_inner().result.unwrap().timings.unwrap();
        let took = seconds(timings.localize) + seconds(timings.edit);
        waits.push(seconds(timings.queued) / took);
    }
    let mut left = 0;
    for job in &all {
        let asked = v1::GetEditJobRequest { name: job.name.clone() };
        let job = clients[2].clone().get_edit_job(shown(asked, "many")).await.unwrap();
        left += usize::from(job.into_inner().state() == v1::edit_job::State::Queued);
    }
    waits.sort_by(f64::total_cmp);
    println!("waits in times of a job: {waits:.2?}; {left} of the other's still waited then");
    assert!(left > JOBS.0 / 2, "there was no queue: {left}");
    assert!(waits.iter().all(|it| *it <= MOST), "{waits:?}");
}

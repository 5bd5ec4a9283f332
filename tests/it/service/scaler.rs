//! What KEDA is told on the ops port, over a server with a scripted model and jobs that wait.

use std::{collections::BTreeMap, sync::Arc};

use retouch::{
    server::scaler::{METRIC, Scaler, TARGET},
    wire::{
        externalscaler::{
            GetMetricsRequest, ScaledObjectRef, external_scaler_client::ExternalScalerClient,
        },
        v1::{self, EditSpec, edit_job::State},
    },
};
use tonic::{Code, transport::Channel};

use super::harness::{Harness, LIMITS, request, spec};
use crate::server_edges::{
    in_time,
    ops::{self, Port},
};

struct Asked {
    client: ExternalScalerClient<Channel>,
    _port: Port,
}

impl Asked {
    async fn of(scaler: Scaler) -> Self {
        let port = ops::port_of(scaler);
        let client = ExternalScalerClient::connect(format!("http://{}", port.addr)).await.unwrap();
        Self { client, _port: port }
    }

    async fn work(&self) -> i64 {
        let request = GetMetricsRequest {
            scaled_object_ref: Some(ScaledObjectRef::default()),
            metric_name: METRIC.to_owned(),
        };
        let answer = self.client.clone().get_metrics(request).await.unwrap().into_inner();
        let [value] = &answer.metric_values[..] else { panic!("{answer:?}") };
        assert_eq!(value.metric_name, METRIC);
        assert_eq!(Some(value.metric_value_float), Some(value.metric_value as f64));
        value.metric_value
    }

    async fn is_active(&self) -> bool {
        let asked = self.client.clone().is_active(ScaledObjectRef::default()).await;
        asked.unwrap().into_inner().result
    }
}

/// The reference of a `ScaledObject` with a target.
fn with_target(target: &str) -> ScaledObjectRef {
    let metadata = BTreeMap::from([(TARGET.to_owned(), target.to_owned())]);
    ScaledObjectRef { scaler_metadata: metadata, ..ScaledObjectRef::default() }
}

#[tokio::test]
async fn jobs_that_wait_or_run_are_counted_and_those_that_need_no_worker_are_not() {
    let server = Harness::new().await;
    let asked = Asked::of(Scaler::of(&server.store)).await;
    assert_eq!((asked.work().await, asked.is_active().await), (0, false));
    let mut client = asked.client.clone();
    let told = client.stream_is_active(ScaledObjectRef::default()).await.unwrap();
    let mut told = told.into_inner();
    let mut next = async || in_time("a change", told.message()).await.unwrap().unwrap().result;
    assert!(!next().await, "the state is told at once");

    let review = v1::MaskPolicy::Review as i32;
    let waits = server.create(request(EditSpec { mask_policy: review, ..spec("edit") })).await.name;
    server.until(&waits, State::AwaitingMask).await;
    assert_eq!(asked.work().await, 0, "a job that waits for a decision needs no worker");
    let slow = EditSpec { steps: Some(1000), ..spec("edit") };
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(server.create(request(slow.clone())).await.name);
    }
    server.until(&jobs[0], State::Editing).await;
    assert_eq!((asked.work().await, asked.is_active().await), (3, true));
    assert!(next().await, "jobs have come");

    for job in &jobs {
        server.cancel(job).await.unwrap();
        server.until(job, State::Cancelled).await;
    }
    assert_eq!((asked.work().await, asked.is_active().await), (0, false));
    assert!(!next().await, "jobs have gone");
}

#[tokio::test]
async fn the_target_is_the_triggers_own_or_as_many_jobs_as_a_process_runs_at_once() {
    let server = Harness::with(retouch::jobs::store::Limits { slots: 3, ..LIMITS }).await;
    let mut client = Asked::of(Scaler::of(&server.store)).await.client;
    for (asked, expected) in [
        (ScaledObjectRef::default(), (3, 3.0)),
        (with_target("8"), (8, 8.0)),
        (with_target("0.25"), (1, 0.25)),
    ] {
        let answer = client.get_metric_spec(asked).await.unwrap().into_inner();
        let [spec] = &answer.metric_specs[..] else { panic!("{answer:?}") };
        assert_eq!(spec.metric_name, METRIC);
        assert_eq!((spec.target_size, spec.target_size_float), expected);
    }
    let refused = client.get_metric_spec(with_target("none")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("jobsPerReplica"), "{refused}");
    let unknown = GetMetricsRequest { metric_name: "cpu".to_owned(), ..Default::default() };
    let refused = client.get_metrics(unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains(METRIC), "{refused}");
}

#[tokio::test]
async fn a_scaler_keeps_no_store_open() {
    let server = Harness::new().await;
    let scaler = Scaler::of(&server.store);
    let store = Arc::downgrade(&server.store);
    let asked = Asked::of(scaler).await;
    server.stop().await;
    super::harness::until("the store is dropped", || store.upgrade().is_none()).await;
    let refused = asked.client.clone().is_active(ScaledObjectRef::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
}

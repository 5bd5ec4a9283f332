//! Authentication, rate limits and quotas in front of the real service.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusHandle;
use prost::Message;
use retouch::{
    server::{
        config::Config,
        gate::{Admission, GateLayer},
        keys::{Caller, Keys, Scope},
        methods,
        refusal::Refusal,
        telemetry,
    },
    wire::{
        FILE_DESCRIPTOR_SET,
        v1::{
            CreateEditJobRequest, EditInput, EditSpec, GetServerInfoRequest, Image,
            ListEditJobsRequest, UploadArtifactRequest, UploadHeader, edit_input::Input,
            edit_service_client::EditServiceClient, image::Source, upload_artifact_request::Data,
        },
    },
};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::{
    StreamExt,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{
    Code, Request, Status,
    body::Body,
    transport::{Channel, Endpoint, Server},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
};
use tonic_types::StatusExt;
use tower::ServiceExt;

use super::{in_time, keys_file, routes, until};

const EDIT: &[Scope] = &[Scope::Edit];

/// An admission that refuses what it is told to, and knows the request `known`.
struct Doorkeeper(Option<&'static str>);

impl Admission for Doorkeeper {
    fn refuse(&self, _caller: &Caller, grpc_path: &str) -> Option<Refusal> {
        (self.0 == Some(grpc_path)).then(|| {
            let said = "the queue is full";
            Refusal::new(Code::ResourceExhausted, "QUEUE_FULL", said)
                .with("limit", &8)
                .retry_after(Duration::from_millis(1500))
        })
    }

    fn knows(&self, _caller: &Caller, request_id: &str) -> bool {
        request_id == "known"
    }
}

struct Gated {
    channel: Channel,
    layer: GateLayer,
    _folder: TempDir,
}

impl Gated {
    /// The service behind a gate with the keys `edit` and `admin`.
    async fn new(change: impl FnOnce(&mut Config), full: Option<&'static str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        keys_file(&path, &[("edit", "a", EDIT), ("admin", "b", &[Scope::Admin])]);
        let keys = Arc::new(Keys::open(Some(&path)).unwrap());
        let mut config = Config::default();
        change(&mut config);
        let layer = GateLayer::new(&config, keys, Arc::new(Doorkeeper(full)));
        let routes = routes(&folder.path().join("data")).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Server::builder().layer(layer.clone()).add_routes(routes);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
        Self { channel, layer, _folder: folder }
    }

    fn client(&self) -> EditServiceClient<Channel> {
        EditServiceClient::new(self.channel.clone())
    }

    async fn info(&self, key: Option<&str>) -> Result<(), Status> {
        let request = keyed(key, GetServerInfoRequest::default());
        in_time("an answer", self.client().get_server_info(request)).await.map(drop)
    }

    /// An upload that stays open; sends pieces of so many bytes as it is told.
    fn upload(&self) -> (mpsc::Sender<usize>, tokio::task::JoinHandle<Result<(), Status>>) {
        let (sender, sizes) = mpsc::channel(8);
        let header = UploadArtifactRequest { data: Some(Data::Header(UploadHeader::default())) };
        let pieces = ReceiverStream::new(sizes).map(|size| UploadArtifactRequest {
            data: Some(Data::Chunk(Bytes::from(vec![7; size]))),
        });
        let request = keyed(Some("edit"), tokio_stream::once(header).chain(pieces));
        let mut client = self.client();
        let call = tokio::spawn(async move { client.upload_artifact(request).await.map(drop) });
        (sender, call)
    }
}

fn keyed<T>(key: Option<&str>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(key) = key {
        request.metadata_mut().insert("x-api-key", key.parse().unwrap());
    }
    request
}

/// Code and reason, of the service's own domain.
fn reason(status: &Status) -> (Code, String) {
    let info = status.get_details_error_info().expect("every refusal has its reason");
    assert_eq!(info.domain, "retouch");
    (status.code(), info.reason)
}

#[tokio::test]
async fn only_health_needs_no_key() {
    let gated = Gated::new(|_| {}, None).await;
    for key in [None, Some("wrong")] {
        let status = gated.info(key).await.unwrap_err();
        assert_eq!(reason(&status), (Code::Unauthenticated, "BAD_KEY".to_owned()));
    }
    gated.info(Some("edit")).await.unwrap();
    let check = HealthCheckRequest { service: String::new() };
    HealthClient::new(gated.channel.clone()).check(check).await.unwrap();

    let ask = |key| {
        let mut client = ServerReflectionClient::new(gated.channel.clone());
        let request = keyed(key, tokio_stream::once(ServerReflectionRequest::default()));
        async move { client.server_reflection_info(request).await.map(drop) }
    };
    let status = ask(None).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unauthenticated, "BAD_KEY".to_owned()));
    ask(Some("admin")).await.unwrap();
}

#[tokio::test]
async fn an_admin_key_alone_reads_the_servers_state_and_no_jobs() {
    let gated = Gated::new(|_| {}, None).await;
    gated.info(Some("admin")).await.unwrap();
    let list = keyed(Some("admin"), ListEditJobsRequest::default());
    let status = gated.client().list_edit_jobs(list).await.unwrap_err();
    assert_eq!(reason(&status), (Code::PermissionDenied, "SCOPE".to_owned()));
    let list = keyed(Some("edit"), ListEditJobsRequest::default());
    gated.client().list_edit_jobs(list).await.unwrap();
}

#[tokio::test]
async fn a_key_that_calls_too_often_is_told_when_to_come_back() {
    let slow = |it: &mut Config| (it.auth.requests_per_second, it.auth.burst) = (1, 2);
    let gated = Gated::new(slow, None).await;
    gated.info(Some("edit")).await.unwrap();
    gated.info(Some("edit")).await.unwrap();
    let status = gated.info(Some("edit")).await.unwrap_err();
    assert_eq!(reason(&status), (Code::ResourceExhausted, "RATE_LIMITED".to_owned()));
    let delay = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(!delay.is_zero() && delay <= Duration::from_secs(1), "{delay:?}");
    let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap();
    let pushback: u128 = pushback.to_str().unwrap().parse().unwrap();
    assert_eq!(pushback, delay.as_nanos().div_ceil(1_000_000));
    // Another key has its own measure.
    gated.info(Some("admin")).await.unwrap();
}

#[tokio::test]
async fn a_full_queue_refuses_before_the_body_is_sent() {
    let full = "/retouch.v1.EditService/UploadArtifact";
    let gated = Gated::new(|_| {}, Some(full)).await;
    let (_open, call) = gated.upload();
    let status = in_time("a refusal", call).await.unwrap().unwrap_err();
    assert_eq!(reason(&status), (Code::ResourceExhausted, "QUEUE_FULL".to_owned()));
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.metadata["limit"], "8");
    let delay = status.get_details_retry_info().unwrap().retry_delay;
    assert_eq!(delay, Some(Duration::from_millis(1500)));
    gated.info(Some("edit")).await.unwrap();
}

/// A request whose picture never ends.
fn endless(id: &str, method: &str) -> (mpsc::Sender<Bytes>, http::Request<Body>) {
    let image = Some(Image { source: Some(Source::Data(vec![7; 1 << 20].into())) });
    let spec = Some(EditSpec { image, ..EditSpec::default() });
    let start = CreateEditJobRequest { request_id: id.to_owned(), spec, ..Default::default() };
    let message = if method == "Edit" {
        EditInput { input: Some(Input::Start(start)) }.encode_to_vec()
    } else {
        start.encode_to_vec()
    };
    let mut start = vec![0];
    start.extend_from_slice(&(message.len() as u32).to_be_bytes());
    start.extend_from_slice(&message[..message.len().min(700)]);
    let (pieces, received) = mpsc::channel(8);
    // In pieces of few bytes, as a slow network has them.
    let pieces_of_start: Vec<Bytes> = start.chunks(9).map(Bytes::copy_from_slice).collect();
    let body = tokio_stream::iter(pieces_of_start).chain(ReceiverStream::new(received));
    let body = axum::body::Body::from_stream(body.map(Ok::<_, Status>));
    let request = http::Request::post(format!("/retouch.v1.EditService/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-api-key", "edit")
        .body(Body::new(body));
    (pieces, request.unwrap())
}

#[tokio::test]
async fn a_full_queue_lets_in_a_request_that_is_known_by_its_first_bytes() {
    for method in ["CreateEditJob", "StreamEdit", "RunEdit", "Edit"] {
        let path: &'static str = format!("/retouch.v1.EditService/{method}").leak();
        let gated = Gated::new(|_| {}, Some(path)).await;
        for id in ["", "unknown"] {
            let (_open, request) = endless(id, method);
            let call = gated.channel.clone().oneshot(request);
            let answer = in_time("a refusal", call).await.unwrap();
            let status = Status::from_header_map(answer.headers()).unwrap();
            assert_eq!(reason(&status).1, "QUEUE_FULL", "{method} `{id}`");
        }
        // The known one is read on: what it asks for is the service's to answer.
        let (open, request) = endless("known", method);
        let call = tokio::spawn(gated.channel.clone().oneshot(request));
        until("its bytes", || gated.layer.budget().held() > 500).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!call.is_finished(), "{method}");
        drop(open);
        in_time("an end", call).await.unwrap().unwrap();
        until("an empty budget", || gated.layer.budget().held() == 0).await;
    }
}

#[tokio::test]
async fn bodies_beyond_the_budget_are_refused_and_others_finish() {
    let small = |it: &mut Config| it.server.body_budget_bytes = 300_000;
    let gated = Gated::new(small, None).await;
    let (first, first_call) = gated.upload();
    first.send(200_000).await.unwrap();
    until("the first body", || gated.layer.budget().held() > 200_000).await;

    let (second, second_call) = gated.upload();
    second.send(200_000).await.unwrap();
    let status = in_time("a refusal", second_call).await.unwrap().unwrap_err();
    assert_eq!(reason(&status), (Code::ResourceExhausted, "BODY_BUDGET".to_owned()));
    assert!(status.get_details_retry_info().is_some());
    assert!(status.metadata().contains_key("grpc-retry-pushback-ms"));

    // What the refused one held is free again.
    first.send(50_000).await.unwrap();
    until("the rest", || gated.layer.budget().held() > 250_000).await;
    drop(first);
    // These bytes are no picture, which only who has read them all can tell.
    let status = in_time("an end", first_call).await.unwrap().unwrap_err();
    assert_eq!(reason(&status).0, Code::InvalidArgument, "{status:?}");
    until("an empty budget", || gated.layer.budget().held() == 0).await;
}

#[tokio::test]
async fn a_dropped_call_gives_its_bytes_back() {
    let gated = Gated::new(|_| {}, None).await;
    let (sender, call) = gated.upload();
    sender.send(100_000).await.unwrap();
    until("the body", || gated.layer.budget().held() > 100_000).await;
    call.abort();
    until("an empty budget", || gated.layer.budget().held() == 0).await;
}

#[tokio::test]
async fn calls_are_counted_by_method_and_code_and_dropped_ones_as_canceled() {
    // This thread's own recorder: all of the server runs on it.
    let (recorder, handle) = telemetry::recorder(None).unwrap();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let gated = Gated::new(|_| {}, None).await;
    gated.info(Some("edit")).await.unwrap();
    gated.info(None).await.unwrap_err();
    let (sender, call) = gated.upload();
    sender.send(10).await.unwrap();
    until("the body", || gated.layer.budget().held() > 10).await;
    call.abort();
    until("an empty budget", || gated.layer.budget().held() == 0).await;
    // One whose handler answers as soon as it hears that no more comes.
    let (_open, request) = endless("", "CreateEditJob");
    let call = tokio::spawn(gated.channel.clone().oneshot(request));
    until("its bytes", || gated.layer.budget().held() > 500).await;
    call.abort();
    for (method, code) in [
        ("GetServerInfo", "OK"),
        ("GetServerInfo", "Unauthenticated"),
        ("UploadArtifact", "Canceled"),
        ("CreateEditJob", "Canceled"),
    ] {
        until(&format!("{method} {code}"), || counted(&handle, method, code) == 1).await;
    }
}

fn counted(handle: &PrometheusHandle, method: &str, code: &str) -> u64 {
    let series = format!(
        r#"grpc_server_handled_total{{method="retouch.v1.EditService/{method}",code="{code}"}} "#
    );
    let text = handle.render();
    let line = text.lines().find_map(|it| it.strip_prefix(&series));
    line.map_or(0, |it| it.parse().unwrap())
}

#[test]
fn every_method_of_the_schema_is_known_to_the_gate() {
    let files = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
    let file = files.iter().find(|it| it.package() == "retouch.v1").unwrap();
    let service = &file.service[0];
    for method in &service.method {
        let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
        assert_eq!(methods::label(&path), &path[1..]);
    }
    assert_eq!(service.method.len(), methods::EDIT_METHODS.len() + 1);
    assert_eq!(methods::label("/made.up/Name"), "other");
}

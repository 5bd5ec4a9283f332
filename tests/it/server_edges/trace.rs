//! Traces: a call's span continues the caller's trace, records the call's status, and reaches a collector.

use std::{collections::HashMap, sync::Arc};

use opentelemetry_proto::tonic::{
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use retouch::{
    server::{
        config::{Config, Log, LogFormat},
        gate::GateLayer,
        keys::Keys,
        telemetry::{self, otlp::Exporters, trace_layer::TraceLayer},
    },
    wire::v1::{GetEditJobRequest, GetServerInfoRequest, edit_service_client::EditServiceClient},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request,
    transport::{Endpoint, Server},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{
    Anyone,
    collector::{self, Collector},
    hex, routes,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn attributes(span: &Span) -> HashMap<&str, String> {
    let text = |value: &Value| match value {
        Value::StringValue(it) => it.clone(),
        Value::IntValue(it) => it.to_string(),
        other => format!("{other:?}"),
    };
    let pair = |it: &'_ opentelemetry_proto::tonic::common::v1::KeyValue| {
        it.value.as_ref().and_then(|it| it.value.as_ref()).map(text)
    };
    span.attributes.iter().filter_map(|it| Some((it.key.as_str(), pair(it)?))).collect()
}

#[tokio::test]
async fn a_span_continues_the_callers_trace_and_is_sent_at_the_end() {
    // 1. A collector, and a server whose log is quiet: that must not silence its traces.
    let (collector, endpoint) = Collector::start().await;
    let exporters = Exporters::to(&endpoint).unwrap();
    let log = Log { format: LogFormat::Text, level: "off".to_owned() };
    let (dispatch, _) = telemetry::subscriber(&log, Some(&exporters)).unwrap();
    // All of the server runs on this thread.
    let logging = tracing::dispatcher::set_default(&dispatch);

    let folder = tempfile::tempdir().unwrap();
    let keys = Arc::new(Keys::open(None).unwrap());
    let gate = GateLayer::new(&Config::default(), keys, Arc::new(Anyone));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server =
        Server::builder().layer(TraceLayer).layer(gate).add_routes(routes(folder.path()).await);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    // 2. A call within a trace, one without that fails, and a probe.
    let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
    let mut client = EditServiceClient::new(channel.clone());
    let mut within = Request::new(GetServerInfoRequest::default());
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    within.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    client.get_server_info(within).await.unwrap();
    let absent = GetEditJobRequest { name: "editJobs/none".to_owned() };
    let status = client.get_edit_job(absent).await.unwrap_err();
    let check = HealthCheckRequest { service: String::new() };
    HealthClient::new(channel).check(check).await.unwrap();

    // 3. The end sends what is left.
    drop(logging);
    collector::end(exporters).await;
    let sent = std::mem::take(&mut *collector.spans.lock().unwrap());
    let resources: Vec<_> = sent.into_iter().flat_map(|it| it.resource_spans).collect();
    let service = resources[0].resource.as_ref().unwrap();
    assert!(service.attributes.iter().any(|it| it.key == "service.name"));
    let spans: Vec<Span> =
        resources.into_iter().flat_map(|it| it.scope_spans).flat_map(|it| it.spans).collect();
    let names: Vec<_> = spans.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(
        names,
        ["retouch.v1.EditService/GetServerInfo", "retouch.v1.EditService/GetEditJob"]
    );

    let [info, job] = &spans[..] else { unreachable!("two, as named above") };
    assert_eq!(
        (hex(&info.trace_id), hex(&info.parent_span_id)),
        (TRACE.to_owned(), PARENT.to_owned())
    );
    assert_eq!(info.kind(), SpanKind::Server);
    let told = attributes(info);
    assert_eq!(told["rpc.service"], "retouch.v1.EditService");
    assert_eq!(told["rpc.method"], "GetServerInfo");
    assert_eq!(told["rpc.grpc.status_code"], "0");
    assert_eq!((told["tenant"].as_str(), told["key_id"].as_str()), ("local", "anonymous"));

    // The client's own mistake is no error of the server's.
    assert_ne!(hex(&job.trace_id), TRACE);
    assert!(job.parent_span_id.is_empty());
    assert_eq!(attributes(job)["rpc.grpc.status_code"], (status.code() as i32).to_string());
    assert_ne!(
        job.status.as_ref().map(opentelemetry_proto::tonic::trace::v1::Status::code),
        Some(StatusCode::Error)
    );
}

#[test]
fn a_collectors_address_that_is_none_is_refused() {
    let error = Exporters::to("http://a b").unwrap_err();
    assert!(error.to_string().contains("http://a b"), "{error}");
}

//! The operations port: health probes, metrics, log level.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use retouch::server::{
    keys::Keys,
    ops::{self, Ops},
    scaler::Scaler,
    serving::HEADER_TIMEOUT,
    telemetry::{self, Handles, log_filter::LogFilter},
};
use tokio::sync::watch;
use tonic::transport::Endpoint;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{MANY, in_time, terms};

pub(crate) struct Port {
    pub(crate) addr: SocketAddr,
    ready: watch::Sender<Result<(), String>>,
    recorder: metrics_util::layers::Fanout,
    // The layer, whose end would end the handle's filter.
    _filter: Box<dyn Send>,
}

fn port() -> Port {
    port_of(Scaler::default())
}

/// A port that tells of a store.
pub(crate) fn port_of(scaler: Scaler) -> Port {
    let (ready, receiver) = watch::channel(Err("the model is loading".to_owned()));
    let (filter, level) = LogFilter::new("info").unwrap();
    let (recorder, metrics) = telemetry::recorder(None).unwrap();
    let ops = Ops {
        ready: receiver,
        model: "demo".to_owned(),
        telemetry: Handles::new(level, metrics),
        keys: Arc::new(Keys::open(None).unwrap()),
        scaler,
    };
    let terms = terms(HEADER_TIMEOUT, MANY);
    let addr = ops::serve("127.0.0.1:0".parse().unwrap(), ops, terms).unwrap();
    Port { addr, ready, recorder, _filter: Box::new(filter) }
}

/// One HTTP/1.1 request: status, headers, body.
fn ask(addr: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(addr).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: ops\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

fn get(addr: SocketAddr, path: &str) -> (u16, String) {
    let (status, _, body) = ask(addr, "GET", path, "");
    (status, body)
}

#[test]
fn it_lives_before_it_is_ready() {
    let port = port();
    assert_eq!(get(port.addr, "/livez"), (200, "ok\n".to_owned()));
    assert_eq!(get(port.addr, "/readyz"), (503, "the model is loading\n".to_owned()));
    port.ready.send(Ok(())).unwrap();
    assert_eq!(get(port.addr, "/readyz"), (200, "ok\n".to_owned()));
    port.ready.send(Err("draining".to_owned())).unwrap();
    assert_eq!(get(port.addr, "/readyz"), (503, "draining\n".to_owned()));
    assert_eq!(get(port.addr, "/livez").0, 200);
    assert_eq!(get(port.addr, "/other").0, 404);
}

#[tokio::test]
async fn grpc_health_on_the_same_port_says_the_same() {
    let port = port();
    let channel = Endpoint::from_shared(format!("http://{}", port.addr)).unwrap();
    let client = HealthClient::new(channel.connect().await.unwrap());
    for service in ["", "retouch.v1.EditService"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let mut watched = client.clone().watch(request).await.unwrap().into_inner();
        for (now, expected) in [
            (Err("loading".to_owned()), ServingStatus::NotServing),
            (Ok(()), ServingStatus::Serving),
            (Err("draining".to_owned()), ServingStatus::NotServing),
        ] {
            port.ready.send(now).unwrap();
            // What was true before may still be on its way.
            let seen =
                async { while watched.message().await.unwrap().unwrap().status() != expected {} };
            in_time("a change of health", seen).await;
        }
    }
}

#[test]
fn metrics_are_told_with_their_help_and_buckets() {
    let port = port();
    metrics::with_local_recorder(&port.recorder, || {
        metrics::histogram!("retouch_step_seconds").record(0.02);
        metrics::gauge!("retouch_streams_open").set(2.0);
    });
    let (status, head, text) = ask(port.addr, "GET", "/metrics", "");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    for line in [
        "# HELP retouch_step_seconds ",
        "# TYPE retouch_step_seconds histogram",
        "retouch_step_seconds_bucket{le=\"0.01\"} 0",
        "retouch_step_seconds_bucket{le=\"0.025\"} 1",
        "retouch_step_seconds_count 1",
        "retouch_streams_open 2",
    ] {
        assert!(text.contains(line), "{line} in:\n{text}");
    }
}

#[test]
fn the_level_of_the_log_is_read_and_set() {
    let port = port();
    assert_eq!(get(port.addr, "/log-level"), (200, "info\n".to_owned()));
    let put = |text| {
        let (status, _, body) = ask(port.addr, "PUT", "/log-level", text);
        (status, body)
    };
    let (status, body) = put("retouch=debug,info\n");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("retouch=debug"), "{body}");
    for bad in ["", "inof", "retouch=loud", "retouch=debug,,", "[span]=info"] {
        let (status, body) = put(bad);
        assert_eq!(status, 400, "{bad}: {body}");
        assert!(get(port.addr, "/log-level").1.contains("retouch=debug"), "{bad} changed it");
    }
    assert_eq!(ask(port.addr, "POST", "/log-level", "info").0, 405);
}

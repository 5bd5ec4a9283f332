//! Calls that are refused before or while their body arrives: keys, rates, queue, limits and the memory for bodies.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body::Frame;
use http_body_util::StreamBody;
use retouch::{
    server::{config::Config, keys::Scope},
    wire::v1::{EditSpec, edit_job::State},
};
use serde_json::json;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::plain::{Form, address, ask, asked, form_type, get, request, send};
use crate::{
    server_edges::keys_file,
    service::harness::{self, Harness, spec},
};

fn error(code: &str) -> impl Fn(&(u16, String, Option<String>)) -> bool + '_ {
    move |error| error.1 == code
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_scopes_and_rates_are_those_of_grpc() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.toml");
    keys_file(&path, &[("edit", "a", &[Scope::Edit]), ("admin", "b", &[Scope::Admin])]);
    let mut config = Config::default();
    config.auth.keys_file = Some(path);
    (config.auth.requests_per_second, config.auth.burst) = (1, 4);
    let server = Harness::configured(config).await;

    let none = ask(&server, &asked(json!({})), &[]).await;
    assert_eq!(none.error(), (401, "BAD_KEY".to_owned(), None));
    assert_eq!(none.headers["www-authenticate"], "Bearer");
    assert_eq!(none.json()["error"]["type"], "authentication_error");
    let wrong = ask(&server, &asked(json!({})), &[("authorization", "Bearer wrong")]).await;
    assert!(error("BAD_KEY")(&wrong.error()));
    let admin = [("authorization", "Bearer admin")];
    assert_eq!(ask(&server, &asked(json!({})), &admin).await.error().0, 403);
    let list = request(Method::GET, "/v1/models", &admin, "");
    assert_eq!(send(address(&server), list).await.status, 200);
    assert_eq!(get(&server, "/v1/models").await.error().0, 401);
    assert_eq!(get(&server, "/v1/openapi.json").await.status, 200);

    let key = [("authorization", "Bearer edit")];
    let answer = ask(&server, &asked(json!({})), &key).await.good();
    let name = answer["data"][0]["retouch"]["job"].as_str().unwrap().to_owned();
    assert!(server.store.job("a", &name).is_ok(), "the job is the tenant's");
    let many = async {
        loop {
            let answer = ask(&server, &asked(json!({"prompt": null})), &key).await;
            if answer.status == 429 {
                break answer;
            }
        }
    };
    let many = many.await;
    assert!(error("RATE_LIMITED")(&many.error()));
    assert_eq!(many.headers["retry-after"], "1");
    assert_eq!(many.json()["error"]["type"], "rate_limit_error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_answers_known_keys_alone_and_before_the_body() {
    let server = Harness::new().await;
    let key = [("idempotency-key", "known")];
    let known = ask(&server, &asked(json!({})), &key).await.good();
    let endless = EditSpec { localize_steps: Some(1000), ..spec("edit") };
    let running = server.create(harness::request(endless.clone())).await;
    server.until(&running.name, State::Localizing).await;
    for _ in 0..8 {
        server.create(harness::request(endless.clone())).await;
    }
    // Its body never comes.
    let (_sender, pieces) = tokio::sync::mpsc::channel::<Bytes>(1);
    let body = StreamBody::new(
        ReceiverStream::new(pieces).map(|it| Ok::<_, std::io::Error>(Frame::data(it))),
    );
    let request = Request::post("/v1/images/edits")
        .header("host", "localhost")
        .header("content-type", form_type())
        .body(body)
        .unwrap();
    let refused = tokio::time::timeout(Duration::from_secs(5), send(address(&server), request));
    let refused = refused.await.expect("the body is not waited for");
    assert_eq!(refused.error(), (429, "QUEUE_FULL".to_owned(), None));
    let again = ask(&server, &asked(json!({})), &key).await.good();
    assert_eq!(again["data"][0]["retouch"]["job"], known["data"][0]["retouch"]["job"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_are_refused_as_soon_as_they_are_known_to_be() {
    let mut config = Config::default();
    config.server.max_request_bytes = 64 << 10;
    config.server.body_budget_bytes = 64 << 10;
    let server = Harness::configured(config).await;
    let large = Form::of_edit().file("mask", &vec![0; 128 << 10]).ask(&server, &[]).await;
    assert_eq!(large.error(), (413, "MESSAGE_TOO_LARGE".to_owned(), None));
    // Without an announced length, as it comes.
    let pieces = tokio_stream::iter(
        (0..64).map(|_| Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![b' '; 64 << 10])))),
    );
    let request = Request::post("/v1/images/edits")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(StreamBody::new(pieces))
        .unwrap();
    let large = send(address(&server), request).await;
    assert_eq!(large.status, 413, "{large:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stalls_ends_its_call() {
    let mut config = Config::default();
    config.server.stall_timeout = Duration::from_secs(1);
    let server = Harness::configured(config).await;
    let (sender, pieces) = tokio::sync::mpsc::channel::<Bytes>(1);
    let body = StreamBody::new(
        ReceiverStream::new(pieces).map(|it| Ok::<_, std::io::Error>(Frame::data(it))),
    );
    let request = Request::post("/v1/images/edits")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(body)
        .unwrap();
    sender.send(Bytes::from_static(b"{")).await.unwrap();
    let stalled = send(address(&server), request).await;
    assert_eq!(stalled.error(), (408, "BODY_STALLED".to_owned(), None));
}

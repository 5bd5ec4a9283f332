//! Pages of other sites, and other names of the server, for HTTP and gRPC-Web alike.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Method, Request};
use http_body::Frame;
use http_body_util::StreamBody;
use retouch::server::{browser::BrowserRules, config::Config};
use serde_json::json;
use tokio::time::timeout;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::plain::{Answer, address, asked, request, send};
use crate::service::harness::Harness;

/// Calls of each kind that a page can make: path and content type.
const CALLS: [(&str, &str); 3] = [
    ("/v1/images/edits", "application/json"),
    ("/v1/images/edits", "multipart/form-data; boundary=x"),
    ("/retouch.v1.EditService/GetServerInfo", "application/grpc-web+proto"),
];

/// A server whose pages are of these origins, and that has these further names.
async fn server(origins: &[&str], hosts: &[&str]) -> Harness {
    let mut config = Config::default();
    config.server.cors_origins = origins.iter().map(|&it| it.to_owned()).collect();
    config.server.hosts = hosts.iter().map(|&it| it.to_owned()).collect();
    Harness::configured(config).await
}

/// Whether a call is refused by a reason of the browser's rules, which is told in the shape of its protocol.
async fn is_refused(
    server: &Harness,
    call: (&str, &str),
    headers: &[(&str, &str)],
    code: &str,
) -> bool {
    let (path, kind) = call;
    let mut all = vec![("content-type", kind)];
    all.extend(headers);
    let body = if path.starts_with("/v1/") {
        asked(json!({})).to_string().into()
    } else {
        Bytes::from_static(&[0; 5])
    };
    let answer: Answer = send(address(server), request(Method::POST, path, &all, body)).await;
    if path.starts_with("/v1/") {
        return answer.status != 200 && answer.json()["error"]["code"] == code;
    }
    let message = answer.headers.get("grpc-message").map(|it| it.to_str().unwrap().to_owned());
    let refused = answer.headers.get("grpc-status").is_some_and(|it| it == "7");
    let word = if code == "FOREIGN_ORIGIN" { "page" } else { "name" };
    refused && message.is_some_and(|it| it.contains(word))
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_may_not_call_unless_they_are_listed() {
    let listed = server(&["https://a.example"], &[]).await;
    let any = server(&["*"], &[]).await;
    let none = server(&[], &[]).await;
    let port = address(&none).port().to_string();
    let own = format!("http://localhost:{port}");
    let host = format!("localhost:{port}");
    for call in CALLS {
        for (origin, site, is_foreign) in [
            (Some("https://a.example"), Some("cross-site"), true),
            (Some("https://b.example"), None, true),
            (Some("null"), None, true),
            (Some("http://localhost:3000"), Some("same-site"), true),
            (Some("http://localhost"), None, true),
            (Some("http://127.0.0.1"), None, true),
            (None, Some("cross-site"), true),
            (None, Some("same-site"), true),
            (None, Some("none"), false),
            (None, None, false),
            (Some(own.as_str()), Some("same-origin"), false),
            (Some(own.as_str()), None, false),
        ] {
            let mut headers = vec![("host", host.as_str())];
            headers.extend(origin.map(|it| ("origin", it)));
            headers.extend(site.map(|it| ("sec-fetch-site", it)));
            let said = format!("{call:?} {headers:?}");
            assert_eq!(
                is_refused(&none, call, &headers, "FOREIGN_ORIGIN").await,
                is_foreign,
                "{said}"
            );
            assert!(!is_refused(&any, call, &headers, "FOREIGN_ORIGIN").await, "{said}");
            if origin == Some("https://a.example") {
                assert!(!is_refused(&listed, call, &headers, "FOREIGN_ORIGIN").await, "{said}");
            }
            if origin == Some("https://b.example") {
                assert!(is_refused(&listed, call, &headers, "FOREIGN_ORIGIN").await, "{said}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_this_machine_answers_to_its_own_names_alone() {
    let own = server(&[], &[]).await;
    let named = server(&[], &["Edit.example.org"]).await;
    for call in CALLS {
        for (host, is_known) in [
            ("localhost", true),
            ("LOCALHOST:50051", true),
            ("localhost.", true),
            ("127.0.0.1", true),
            ("127.0.0.1:1", true),
            ("[::1]:50051", true),
            ("a.example", false),
            ("localhost.a.example", false),
            ("127.0.0.1.a.example", false),
            ("10.0.0.1", false),
            ("edit.example.org", false),
        ] {
            let headers = [("host", host)];
            assert_eq!(
                !is_refused(&own, call, &headers, "UNKNOWN_HOST").await,
                is_known,
                "{call:?} {host}"
            );
            let is_known = is_known || host == "edit.example.org";
            assert_eq!(
                !is_refused(&named, call, &headers, "UNKNOWN_HOST").await,
                is_known,
                "{call:?} {host}"
            );
        }
    }
    let other =
        send(address(&own), request(Method::GET, "/v1/models", &[("host", "a.example")], "")).await;
    assert_eq!(other.error().0, 421);
}

/// The rules of a server that other machines reach: it listens on no test's machine.
#[test]
fn other_servers_answer_to_the_names_that_are_listed() {
    let mut config = Config::default();
    config.server.listen = "0.0.0.0:50051".parse().unwrap();
    let open = BrowserRules::new(&config.server);
    config.server.hosts = vec!["edit.example.org".to_owned()];
    let named = BrowserRules::new(&config.server);
    for (host, is_named) in
        [("edit.example.org:443", true), ("localhost", false), ("10.0.0.1", false)]
    {
        let request = Request::get("/v1/models").header("host", host).body(()).unwrap();
        assert!(open.check(&request).is_ok(), "{host}");
        assert_eq!(named.check(&request).is_ok(), is_named, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_page_is_refused_before_its_body_is_read() {
    let server = server(&[], &[]).await;
    for call in CALLS {
        // Its body never comes.
        let (_sender, pieces) = tokio::sync::mpsc::channel::<Bytes>(1);
        let body = ReceiverStream::new(pieces).map(|it| Ok::<_, Infallible>(Frame::data(it)));
        let request = Request::post(call.0)
            .header("host", "localhost")
            .header("content-type", call.1)
            .header("origin", "https://a.example")
            .body(StreamBody::new(body))
            .unwrap();
        let refused = timeout(Duration::from_secs(5), send(address(&server), request));
        let refused = refused.await.expect("the body is not waited for");
        let is_told = refused.status == 403 || refused.headers["grpc-status"] == "7";
        assert!(is_told, "{call:?}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_sets_a_cookie() {
    let server = server(&["https://a.example"], &[]).await;
    for headers in [vec![], vec![("origin", "https://a.example"), ("cookie", "a=b")]] {
        for path in ["/v1/models", "/v1/openapi.json", "/v1/images/edits"] {
            let answer = send(address(&server), request(Method::GET, path, &headers, "")).await;
            assert!(!answer.headers.contains_key("set-cookie"), "{path}");
        }
    }
}

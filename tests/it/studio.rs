//! The studio's page in front of the calls: what is served, with which headers, and what is passed on.

use std::convert::Infallible;

use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::BodyExt;
use retouch::studio::StudioLayer;
use tonic::body::Body;
use tower::{Layer, ServiceExt, service_fn};

/// Status, headers and body of an answer; what is passed on is answered with 405, as the calls answer a GET.
async fn asked(
    is_on: bool,
    method: Method,
    path: &str,
    accepts: &str,
) -> (u16, HeaderMap, Vec<u8>) {
    // No async closure: rustc 1.95 fails on it where it compiles incrementally.
    let calls = service_fn(|_: Request<Body>| {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = http::StatusCode::METHOD_NOT_ALLOWED;
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let request = Request::builder().method(method).uri(path);
    let request = request.header(header::ACCEPT_ENCODING, accepts).body(Body::empty()).unwrap();
    let answer = StudioLayer::new(is_on).layer(calls).oneshot(request).await.unwrap();
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    (parts.status.as_u16(), parts.headers, body)
}

#[tokio::test]
async fn the_page_and_its_files_come_with_strict_headers() {
    let (_, _, page) = asked(true, Method::GET, "/", "").await;
    let page = String::from_utf8(page).unwrap();
    let files = page.split('"').filter_map(|it| it.strip_prefix("./")).collect::<Vec<_>>();
    assert!(files.len() >= 3, "{page}");
    for path in ["", "index.html", "examples/star.png"].iter().chain(&files) {
        let (status, headers, body) = asked(true, Method::GET, &format!("/{path}"), "").await;
        assert_eq!(status, 200, "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_ne!(headers[header::CONTENT_TYPE], "application/octet-stream", "{path}");
        assert_eq!(headers[header::CONTENT_LENGTH], body.len().to_string());
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        let rules = policy.split("; ").collect::<Vec<_>>();
        for rule in [
            "default-src 'self'",
            "object-src 'none'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
            "img-src 'self' blob: data:",
        ] {
            assert!(rules.contains(&rule), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}

#[tokio::test]
async fn texts_are_compressed_for_who_takes_it() {
    let (_, plain, page) = asked(true, Method::GET, "/", "br, gzip;q=0").await;
    let (_, packed, small) = asked(true, Method::GET, "/", "br, Gzip;q=0.8").await;
    assert!(!plain.contains_key(header::CONTENT_ENCODING));
    for none in ["", "br", "gzip; q=0.000", "GZIP;Q=0"] {
        let (_, plain, _) = asked(true, Method::GET, "/", none).await;
        assert!(!plain.contains_key(header::CONTENT_ENCODING), "{none}");
    }
    assert_eq!(packed[header::CONTENT_ENCODING], "gzip");
    assert!(small.len() < page.len());
    let (_, picture, _) = asked(true, Method::GET, "/examples/star.png", "gzip").await;
    assert!(!picture.contains_key(header::CONTENT_ENCODING));
}

#[tokio::test]
async fn head_is_answered_without_a_body() {
    let (status, headers, body) = asked(true, Method::HEAD, "/", "").await;
    assert_eq!((status, body.len()), (200, 0));
    assert_ne!(headers[header::CONTENT_LENGTH], "0");
}

#[tokio::test]
async fn everything_else_is_passed_on_and_all_of_it_where_the_page_is_off() {
    for (is_on, method, path) in [
        (true, Method::POST, "/"),
        (true, Method::POST, "/retouch.v1.EditService/GetServerInfo"),
        (true, Method::GET, "/retouch.v1.EditService/GetServerInfo"),
        (true, Method::GET, "/assets/"),
        (true, Method::GET, "/../Cargo.toml"),
        (true, Method::GET, "//index.html"),
        (false, Method::GET, "/"),
        (false, Method::HEAD, "/index.html"),
    ] {
        let (status, headers, _) = asked(is_on, method.clone(), path, "").await;
        assert_eq!(status, 405, "{method} {path}");
        assert!(!headers.contains_key(header::CONTENT_SECURITY_POLICY));
    }
}

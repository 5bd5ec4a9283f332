//! Requests that are not gRPC, or use unsupported features of it, and the responses to them.

use std::io::Write;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::Method;
use prost::Message;
use retouch::{
    server::methods,
    wire::v1::{
        CreateEditJobRequest, EditSpec, GetEditJobRequest, GetServerInfoRequest, Image, ServerInfo,
        image::Source,
    },
};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::Code;

use super::{
    MAX_REQUEST,
    bodies::Served,
    in_time,
    raw::{Raw, frame, framed},
};

const INFO: &str = "/retouch.v1.EditService/GetServerInfo";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

fn invalid() -> (Code, String) {
    (Code::InvalidArgument, "INVALID_MESSAGE".to_owned())
}

#[tokio::test]
async fn only_posts_of_grpc_reach_a_method() {
    let served = Served::new(false, |_| {}).await;
    let raw = Raw::connect(served.addr).await;
    let empty = framed(&GetServerInfoRequest {});
    for (method, kind, expected) in [
        (Method::POST, "application/grpc", 200),
        (Method::POST, "application/grpc+proto", 200),
        (Method::POST, "application/grpc;charset=utf-8", 200),
        (Method::POST, "Application/GRPC", 200),
        (Method::POST, "application/grpc-web", 200),
        (Method::POST, "application/grpc-web+proto", 200),
        (Method::POST, "application/grpc-web+proto; charset=utf-8", 200),
        (Method::POST, "text/plain", 415),
        (Method::POST, "text/plain;application/grpc", 415),
        (Method::POST, "application/x-www-form-urlencoded", 415),
        (Method::POST, "multipart/form-data", 415),
        (Method::POST, "application/json", 415),
        (Method::POST, "application/grpc+json", 415),
        (Method::POST, "application/grpcx", 415),
        (Method::POST, "", 415),
        (Method::GET, "application/grpc", 405),
        (Method::PUT, "application/grpc", 405),
        (Method::HEAD, "", 405),
        (Method::DELETE, "application/grpc-web", 405),
    ] {
        let (body, answer) = raw.request(method.clone(), INFO, &[], &[("content-type", kind)]);
        let _ = body.send(empty.clone().into()).await;
        drop(body);
        let answer = answer.await;
        assert_eq!(answer.http, expected, "{method} {kind}: {answer:?}");
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        match expected {
            415 => assert!(said.contains("application/grpc"), "{said}"),
            405 => assert_eq!(answer.headers["allow"], "POST"),
            _ => assert!(answer.body.len() > 5, "{answer:?}"),
        }
    }
    // `te` finds out proxies that lose trailers, and nobody else needs it.
    assert_eq!(raw.call("GetServerInfo", &[("te", "")], empty).await.reason().0, Code::Ok);
}

#[tokio::test]
async fn over_http_1_1_there_is_grpc_web_and_a_word_for_others() {
    let served = Served::new(false, |_| {}).await;
    for (method, kind, body, expected) in [
        ("POST", "application/grpc-web+proto", &[0_u8; 5][..], "HTTP/1.1 200"),
        ("POST", "application/grpc-web-text", b"AAAAAAA=", "HTTP/1.1 200"),
        ("POST", "application/grpc", &[0; 5], "HTTP/1.1 415"),
        ("POST", "text/plain", &[0; 5], "HTTP/1.1 415"),
        ("GET", "application/grpc-web", b"", "HTTP/1.1 405"),
    ] {
        let mut peer = TcpStream::connect(served.addr).await.unwrap();
        let head = format!(
            "{method} {INFO} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        peer.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        let mut answer = Vec::new();
        let _ = in_time("an answer", peer.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with(expected), "{method} {kind}: {answer}");
        if kind == "application/grpc" {
            assert!(answer.contains("needs HTTP/2"), "{answer}");
        }
    }
}

#[tokio::test]
async fn what_is_no_message_is_the_callers_mistake() {
    let served = Served::new(false, |_| {}).await;
    let raw = Raw::connect(served.addr).await;
    let mut latin = CreateEditJobRequest {
        spec: Some(EditSpec { instruction: "xyz".to_owned(), ..EditSpec::default() }),
        ..Default::default()
    }
    .encode_to_vec();
    let at = latin.windows(3).position(|it| it == b"xyz").unwrap();
    latin[at] = 0xe9;
    let whole = framed(&CreateEditJobRequest::default());
    for method in [
        "RunEdit",
        "CreateEditJob",
        "StreamEdit",
        "Edit",
        "UploadArtifact",
        "GetEditJob",
        "/grpc.health.v1.Health/Check",
    ] {
        for (what, body) in [
            ("no protobuf", frame(0, &[0xff; 12])),
            ("a field that is cut", frame(0, &[0x0a, 0x7f, 1])),
            ("nothing", Vec::new()),
            ("half a head", vec![0, 0]),
            ("half a message", [&frame(0, &[7; 100])[..50]].concat()),
            ("an unknown flag", frame(7, b"abc")),
        ] {
            let answer = raw.call(method, &[], body).await;
            assert_eq!(answer.reason(), invalid(), "{method}: {what}");
        }
    }
    assert_eq!(raw.call("CreateEditJob", &[], frame(0, &latin)).await.reason(), invalid());
    assert_eq!(
        raw.call("CreateEditJob", &[], [&whole[..], &[0, 0, 0]].concat()).await.reason(),
        invalid()
    );
    // The protocol asks for this code.
    let flagged = raw.call("CreateEditJob", &[], frame(1, b"abc")).await;
    assert_eq!(flagged.reason(), (Code::Internal, "INVALID_MESSAGE".to_owned()));
    assert!(flagged.status().message().contains("grpc-encoding"));
    // gRPC-Web's base64.
    let (body, answer) =
        raw.request(Method::POST, INFO, &[], &[("content-type", "application/grpc-web-text")]);
    body.send(Bytes::from_static(b"!!!!")).await.unwrap();
    drop(body);
    assert_eq!(answer.await.reason(), invalid());
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_at_its_head() {
    let served = Served::new(false, |_| {}).await;
    let raw = Raw::connect(served.addr).await;
    let (body, answer) = raw.open("RunEdit", &[]);
    body.send(super::raw::head(MAX_REQUEST as u32 + 1)).await.unwrap();
    let answer = answer.await;
    assert_eq!(answer.reason(), (Code::OutOfRange, "MESSAGE_TOO_LARGE".to_owned()));
    assert!(answer.status().message().contains("UploadArtifact"));
    drop(body);
}

#[tokio::test]
async fn compressed_messages_are_understood() {
    let served = Served::new(false, |_| {}).await;
    let raw = Raw::connect(served.addr).await;
    let absent =
        GetEditJobRequest { name: "editJobs/".to_owned() + &"x".repeat(500) }.encode_to_vec();
    let not_found = (Code::NotFound, "JOB_NOT_FOUND".to_owned());
    for (encoding, body) in [
        ("identity", frame(0, &absent)),
        ("gzip", frame(1, &gzip(&absent))),
        ("gzip", frame(0, &absent)),
        ("gzip", frame(1, &[gzip(&absent[..9]), gzip(&absent[9..])].concat())),
        ("zstd", frame(1, &zstd(&absent))),
        ("zstd", frame(0, &absent)),
    ] {
        let answer = raw.call("GetEditJob", &[("grpc-encoding", encoding)], body).await;
        assert_eq!(answer.reason(), not_found, "{encoding}");
        assert_eq!(answer.headers["grpc-accept-encoding"], "identity,gzip,zstd");
        // It came whole.
        assert!(answer.status().message().contains("xxxx"), "{answer:?}");
    }
    for (encoding, packed) in [("gzip", gzip(b"")), ("zstd", zstd(b""))] {
        let answer =
            raw.call("GetServerInfo", &[("grpc-encoding", encoding)], frame(1, &packed)).await;
        assert_eq!(answer.reason().0, Code::Ok, "{encoding}");
        ServerInfo::decode(&answer.body[5..]).unwrap();
    }
    for encoding in ["deflate", "br", "snappy", ""] {
        let answer =
            raw.call("GetServerInfo", &[("grpc-encoding", encoding)], frame(1, b"x")).await;
        if encoding.is_empty() {
            assert_eq!(answer.reason().0, Code::Internal);
            continue;
        }
        assert_eq!(answer.reason(), (Code::Unimplemented, "ENCODING".to_owned()), "{encoding}");
        assert_eq!(answer.headers["grpc-accept-encoding"], "identity,gzip,zstd");
    }
    for encoding in ["gzip", "zstd"] {
        let answer = raw
            .call("GetServerInfo", &[("grpc-encoding", encoding)], frame(1, b"no archive"))
            .await;
        assert_eq!(answer.reason(), invalid(), "{encoding}");
    }
}

#[tokio::test]
async fn what_unpacks_to_more_than_a_message_is_refused_and_takes_no_memory() {
    let served = Served::new(false, |it| it.server.body_budget_bytes = 4 << 20).await;
    let raw = Raw::connect(served.addr).await;
    let zeros = vec![0; 64 << 20];
    // The window that this one declares is all that it needs.
    let wide = [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa0][..], &[0; 64]].concat();
    for (encoding, packed) in [("gzip", gzip(&zeros)), ("zstd", zstd(&zeros))] {
        let answer = raw.call("RunEdit", &[("grpc-encoding", encoding)], frame(1, &packed)).await;
        assert_eq!(
            answer.reason(),
            (Code::OutOfRange, "MESSAGE_TOO_LARGE".to_owned()),
            "{encoding}"
        );
    }
    let answer = raw.call("RunEdit", &[("grpc-encoding", "zstd")], frame(1, &wide)).await;
    assert_eq!(answer.reason(), invalid());
    assert!(answer.status().message().contains("window"), "{answer:?}");
}

#[tokio::test]
async fn a_picture_travels_compressed() {
    let served = Served::new(false, |_| {}).await;
    let raw = Raw::connect(served.addr).await;
    let image = Image { source: Some(Source::Data(vec![9; 2 << 20].into())) };
    let spec = EditSpec { image: Some(image), instruction: "x".to_owned(), ..EditSpec::default() };
    let request = CreateEditJobRequest { spec: Some(spec), ..Default::default() }.encode_to_vec();
    // The model is not loaded, which only who has read the message says.
    for (encoding, packed) in [("gzip", gzip(&request)), ("zstd", zstd(&request))] {
        let answer =
            raw.call("CreateEditJob", &[("grpc-encoding", encoding)], frame(1, &packed)).await;
        assert_eq!(answer.reason().1, "MODEL_LOADING", "{encoding}");
    }
}

#[tokio::test]
async fn metadata_above_the_limit_is_refused_with_a_reason() {
    let served = Served::new(false, |_| {}).await;
    let raw = Raw::connect(served.addr).await;
    let empty = || framed(&GetServerInfoRequest {});
    for (bytes, expected) in [
        (8_000, (Code::Ok, String::new())),
        (20_000, (Code::ResourceExhausted, "METADATA_TOO_LARGE".to_owned())),
        (100_000, (Code::ResourceExhausted, "METADATA_TOO_LARGE".to_owned())),
    ] {
        let long = "x".repeat(bytes);
        let answer = raw.call("GetServerInfo", &[("x-long", &long)], empty()).await;
        assert_eq!(answer.reason(), expected, "{bytes}");
    }
}

#[tokio::test]
async fn a_method_that_there_is_not_is_named() {
    let served = Served::new(false, |_| {}).await;
    let raw = Raw::connect(served.addr).await;
    for path in [
        "/retouch.v1.EditService/Nothing",
        "/other.Service/Method",
        "/grpc.health.v1.Health/Nothing",
        "/",
        "/retouch.v1.EditService",
    ] {
        let answer = raw.call(path, &[], framed(&GetServerInfoRequest {})).await;
        assert_eq!(answer.reason(), (Code::Unimplemented, "NO_SUCH_METHOD".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn every_unary_method_knows_deadlines() {
    let served = Served::new(false, |_| {}).await;
    let raw = Raw::connect(served.addr).await;
    for path in
        methods::EDIT_METHODS.iter().chain([&methods::SERVER_INFO, &"/grpc.health.v1.Health/Check"])
    {
        for (time, expected) in [
            ("0S", (Code::DeadlineExceeded, "CLIENT_DEADLINE")),
            ("1n", (Code::DeadlineExceeded, "CLIENT_DEADLINE")),
            ("-1S", (Code::InvalidArgument, "INVALID_ARGUMENT")),
            ("soon", (Code::InvalidArgument, "INVALID_ARGUMENT")),
            ("123456789S", (Code::InvalidArgument, "INVALID_ARGUMENT")),
        ] {
            let answer = raw.call(path, &[("grpc-timeout", time)], frame(0, b"")).await;
            assert_eq!(answer.reason(), (expected.0, expected.1.to_owned()), "{path} {time}");
        }
        // A body that does not come does not hold the answer up.
        let (body, answer) = raw.open(path, &[("grpc-timeout", "50m")]);
        assert_eq!(answer.await.reason().0, Code::DeadlineExceeded, "{path}");
        drop(body);
    }
    for time in ["99999999H", "5M", "00000009S"] {
        let answer = raw.call("GetServerInfo", &[("grpc-timeout", time)], frame(0, b"")).await;
        assert_eq!(answer.reason().0, Code::Ok, "{time}");
    }
}

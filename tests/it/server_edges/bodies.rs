//! Request bodies that stall, trickle or are too many: which calls are ended, which are not, and in which order they
//! are served.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use retouch::{
    server::{
        browser::BrowserRules,
        config::Config,
        gate::GateLayer,
        keys::{Keys, Scope},
        router,
        serving::{self, HEADER_TIMEOUT},
        tls::Listener,
    },
    wire::v1::{
        CancelInput, CreateEditJobRequest, EditInput, UploadArtifactRequest, UploadHeader,
        edit_input::Input, upload_artifact_request::Data,
    },
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep},
};
use tonic::Code;

use super::{
    Anyone, MANY, in_time, keys_file,
    raw::{Raw, framed, head},
    routes, terms, until,
};

/// How long a body may stop here.
const STALL: Duration = Duration::from_millis(500);
const EDIT: &[Scope] = &[Scope::Edit];
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// The service over an empty store.
pub(super) struct Served {
    pub(super) addr: SocketAddr,
    gate: GateLayer,
    _folder: TempDir,
}

impl Served {
    /// With keys `a` and `b` of tenants of that name, or without any.
    pub(super) async fn new(keyed: bool, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        keys_file(&path, &[("a", "a", EDIT), ("b", "b", EDIT)]);
        let keys = Arc::new(Keys::open(keyed.then_some(path.as_path())).unwrap());
        let mut config = Config::default();
        config.server.max_request_bytes = 4 << 20;
        change(&mut config);
        let gate = GateLayer::new(&config, keys, Arc::new(Anyone));
        let app = router::app(
            routes(&folder.path().join("data")).await,
            axum::Router::new(),
            BrowserRules::new(&config.server),
            gate.clone(),
        );
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), None).await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(serving::serve(
            listener,
            app,
            terms(HEADER_TIMEOUT, MANY),
            std::future::pending(),
        ));
        Self { addr, gate, _folder: folder }
    }

    /// With such a budget and no stalls.
    async fn budgeted(keyed: bool, bytes: u64) -> Self {
        Self::new(keyed, |it| it.server.body_budget_bytes = bytes).await
    }

    /// An upload on a connection of its own, of which so many bytes of a chunk came.
    async fn upload(&self, key: &str, bytes: usize) -> Upload {
        let raw = Raw::connect(self.addr).await;
        let (body, answer) = raw.open("UploadArtifact", &[("x-api-key", key)]);
        body.send(header().into()).await.unwrap();
        body.send(head(3 << 20)).await.unwrap();
        let held = self.gate.budget().held();
        let answer = tokio::spawn(async move { answer.await.reason() });
        let upload = Upload { body, answer };
        upload.send(bytes).await;
        until("the body", || upload.answer.is_finished() || self.gate.budget().held() != held)
            .await;
        upload
    }
}

struct Upload {
    body: mpsc::Sender<Bytes>,
    answer: tokio::task::JoinHandle<(Code, String)>,
}

impl Upload {
    async fn send(&self, bytes: usize) {
        let _ = self.body.send(vec![7; bytes].into()).await;
    }

    async fn reason(self) -> (Code, String) {
        in_time("an answer", self.answer).await.unwrap()
    }
}

fn header() -> Vec<u8> {
    framed(&UploadArtifactRequest { data: Some(Data::Header(UploadHeader::default())) })
}

fn stalled() -> (Code, String) {
    (Code::DeadlineExceeded, "BODY_STALLED".to_owned())
}

fn spent() -> (Code, String) {
    (Code::ResourceExhausted, "BODY_BUDGET".to_owned())
}

#[tokio::test]
async fn a_body_that_stops_ends_its_call() {
    let served = Served::new(false, |it| it.server.stall_timeout = STALL).await;
    let raw = Raw::connect(served.addr).await;
    let piece = || vec![head(1 << 20), Bytes::from(vec![7; 5000])];
    let with_header = |mut pieces: Vec<Bytes>| {
        pieces.insert(0, header().into());
        pieces
    };
    let cases = [
        ("RunEdit", piece()),
        ("RunEdit", Vec::new()),
        ("RunEdit", vec![Bytes::from_static(&[0, 0])]),
        // The message is whole, and the body does not end.
        ("CreateEditJob", vec![framed(&CreateEditJobRequest::default()).into()]),
        ("StreamEdit", piece()),
        ("SubmitMask", piece()),
        ("BatchCreateEditJobs", piece()),
        ("UploadArtifact", Vec::new()),
        ("UploadArtifact", with_header(Vec::new())),
        ("UploadArtifact", with_header(piece())),
        ("Edit", Vec::new()),
        ("Edit", piece()),
    ];
    for (method, pieces) in cases {
        let started = Instant::now();
        let (body, answer) = raw.open(method, &[]);
        for piece in &pieces {
            body.send(piece.clone()).await.unwrap();
        }
        assert_eq!(answer.await.reason(), stalled(), "{method} {}", pieces.len());
        let took = started.elapsed();
        assert!(took >= STALL && took < 10 * STALL, "{method}: {took:?}");
    }
    // It has answered already, and ends.
    for pieces in [Vec::new(), piece()] {
        let (body, answer) = raw.open(REFLECTION, &[]);
        for piece in pieces {
            body.send(piece).await.unwrap();
        }
        answer.await;
    }
    until("an empty budget", || served.gate.budget().held() == 0).await;
}

#[tokio::test]
async fn a_trickle_is_no_progress_and_a_slow_line_is() {
    let served = Served::new(false, |it| it.server.stall_timeout = STALL).await;
    let raw = Raw::connect(served.addr).await;
    for (bytes, expected) in
        [(1, stalled()), (100, (Code::InvalidArgument, "INVALID_MESSAGE".to_owned()))]
    {
        let (body, answer) = raw.open("RunEdit", &[]);
        body.send(head(10_000)).await.unwrap();
        for _ in 0..100 {
            let _ = body.send(vec![0xff; bytes].into()).await;
            sleep(STALL / 25).await;
        }
        drop(body);
        assert_eq!(answer.await.reason(), expected, "{bytes}");
    }
}

#[tokio::test]
async fn a_stream_that_may_pause_is_not_cut_between_its_messages() {
    let served = Served::new(false, |it| it.server.stall_timeout = STALL).await;
    let raw = Raw::connect(served.addr).await;
    let (body, answer) = raw.open(REFLECTION, &[]);
    // `list_services`, twice.
    let ask = [0, 0, 0, 0, 3, 0x3a, 1, b'x'];
    for _ in 0..2 {
        body.send(Bytes::copy_from_slice(&ask)).await.unwrap();
        sleep(3 * STALL).await;
    }
    drop(body);
    let answer = answer.await;
    assert_eq!(answer.status().code(), Code::Ok);
    assert!(answer.body.len() > 200, "{answer:?}");
}

#[tokio::test]
async fn a_body_of_http_1_1_that_stops_ends_its_call() {
    let served = Served::new(false, |it| it.server.stall_timeout = STALL).await;
    let mut peer = TcpStream::connect(served.addr).await.unwrap();
    let head = "POST /retouch.v1.EditService/RunEdit HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                content-type: application/grpc-web+proto\r\ncontent-length: 5000\r\n\r\n";
    peer.write_all(&[head.as_bytes(), &[0, 0, 0, 0x13, 0x83], b"half"].concat()).await.unwrap();
    let mut answer = Vec::new();
    let _ = in_time("an answer", peer.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.contains("grpc-status: 4") || answer.contains("grpc-status:4"), "{answer}");
    assert!(answer.contains("body stalled") || answer.contains("body%20stalled"), "{answer}");
}

#[tokio::test]
async fn who_has_stopped_gives_way_to_who_sends() {
    for keyed in [false, true] {
        let served = Served::budgeted(keyed, 9 * 100_000).await;
        let mut stopped = Vec::new();
        for _ in 0..9 {
            stopped.push(served.upload("a", 99_000).await);
        }
        // Before they count as stopped, everybody here holds the same.
        sleep(Duration::from_millis(2100)).await;
        let sends = served.upload("a", 500_000).await;
        sends.send(200_000).await;
        let gone = |it: &Vec<Upload>| it.iter().filter(|it| it.answer.is_finished()).count();
        until("room", || gone(&stopped) >= 6).await;
        assert!(!sends.answer.is_finished());
        for upload in stopped.into_iter().filter(|it| it.answer.is_finished()) {
            assert_eq!(upload.reason().await, spent());
        }
    }
}

#[tokio::test]
async fn who_holds_the_most_gives_way_to_who_holds_less() {
    // Tenants, then connections of one address.
    for (keyed, other) in [(true, "b"), (false, "")] {
        let served = Served::budgeted(keyed, 1_000_000).await;
        let large = served.upload("a", 600_000).await;
        let small = served.upload("a", 300_000).await;
        let mut others = served.upload(other, 200_000).await;
        assert_eq!(large.reason().await, spent(), "{keyed}");
        assert!(!small.answer.is_finished() && !others.answer.is_finished());
        // Beyond what the others hold, there is nothing to be had.
        others.send(900_000).await;
        assert_eq!((&mut others.answer).await.unwrap(), spent());
        assert!(!small.answer.is_finished());
    }
}

#[tokio::test]
async fn a_body_that_can_never_fit_is_not_told_to_come_back() {
    let served = Served::budgeted(false, 1_000_000).await;
    let upload = served.upload("", 900_000).await;
    upload.send(200_000).await;
    assert_eq!(upload.reason().await, (Code::OutOfRange, "MESSAGE_TOO_LARGE".to_owned()));
}

#[tokio::test]
async fn an_upload_declared_above_the_limit_is_refused_at_its_first_message() {
    let served = Served::new(false, |_| {}).await;
    let raw = Raw::connect(served.addr).await;
    let declared = UploadHeader { size_bytes: (4 << 20) + 1, ..UploadHeader::default() };
    let (body, answer) = raw.open("UploadArtifact", &[]);
    body.send(framed(&UploadArtifactRequest { data: Some(Data::Header(declared)) }).into())
        .await
        .unwrap();
    let answer = answer.await;
    assert_eq!(answer.reason(), (Code::InvalidArgument, "IMAGE_TOO_LARGE".to_owned()));
    assert!(answer.status().message().contains("4194304"), "{answer:?}");
}

#[tokio::test]
async fn an_edit_that_begins_with_something_else_is_told_so() {
    let served = Served::new(false, |_| {}).await;
    let raw = Raw::connect(served.addr).await;
    let cancel = EditInput { input: Some(Input::Cancel(CancelInput::default())) };
    let answer = raw.call("Edit", &[], framed(&cancel)).await;
    assert_eq!(answer.reason(), (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned()));
}

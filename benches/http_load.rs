//! Load test of the images API beside gRPC, on loopback and in one run: requests per second, memory, and how soon the
//! first partial image is there.
//!
//! `make bench-http` starts `retouch serve` with the demo model as a separate process, and prints a table.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

mod served;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use retouch::wire::v1::{
    self, CreateEditJobRequest, EditSpec, Image, edit_event::Event,
    edit_service_client::EditServiceClient, image::Source,
};
use serde_json::json;
use tokio::net::TcpStream;
use tonic::transport::Channel;

use crate::served::Server;

/// Connections, each with one request at a time.
const CONNECTIONS: usize = 8;
/// How long each kind of request is made, and how often in turn.
const ROUNDS: (Duration, usize) = (Duration::from_secs(5), 3);
/// Edits whose first partial image is waited for.
const EDITS: usize = 20;
/// The key of an edit that has ended, and whose repeats are answered from disk.
const KEY: &str = "known";

/// A connection of HTTP/1.1.
struct Plain {
    sender: SendRequest<Full<Bytes>>,
    /// The body of an edit, without a seed of its own.
    body: serde_json::Value,
}

impl Plain {
    async fn connect(server: &Server) -> Self {
        let address = server.url.strip_prefix("http://").unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let uri = format!("data:image/png;base64,{}", STANDARD.encode(picture()));
        let body = json!({
            "prompt": "change the black tree to blue", "images": [{"image_url": uri}],
        });
        Self { sender, body }
    }

    async fn send(&mut self, request: http::request::Builder, body: String) -> Response<Incoming> {
        let request = request.header("host", "localhost").body(Full::from(body)).unwrap();
        self.sender.ready().await.unwrap();
        let answer = self.sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer
    }

    async fn models(&mut self) {
        let answer = self.send(Request::get("/v1/models"), String::new()).await;
        answer.into_body().collect().await.unwrap();
    }

    fn edit(
        stream: bool,
        steps: u32,
        seed: u64,
        body: &serde_json::Value,
    ) -> (http::request::Builder, String) {
        let mut body = body.clone();
        body["retouch"] = json!({"steps": steps, "seed": seed});
        if stream {
            body["stream"] = true.into();
            body["partial_images"] = 3.into();
        }
        let request = Request::post("/v1/images/edits").header("content-type", "application/json");
        (request, body.to_string())
    }

    /// An edit that has ended.
    async fn known(&mut self) {
        let (request, body) = Self::edit(false, 8, 1, &self.body);
        let answer = self.send(request.header("idempotency-key", KEY), body).await;
        answer.into_body().collect().await.unwrap();
    }

    /// Seconds until the first partial image of a new edit.
    async fn first_partial(&mut self, seed: u64) -> f64 {
        let (request, body) = Self::edit(true, 20, seed, &self.body);
        let started = Instant::now();
        let mut answer = self.send(request, body).await.into_body();
        let (mut text, mut first) = (String::new(), None);
        while let Some(frame) = answer.frame().await {
            text.push_str(&String::from_utf8_lossy(frame.unwrap().data_ref().unwrap()));
            if text.contains("image_edit.partial_image") {
                first.get_or_insert_with(|| started.elapsed().as_secs_f64());
            }
        }
        first.unwrap()
    }
}

/// The same calls by gRPC.
struct Grpc(EditServiceClient<Channel>);

impl Grpc {
    fn edit(steps: u32, seed: u64) -> CreateEditJobRequest {
        let spec = EditSpec {
            image: Some(Image { source: Some(Source::Data(picture().into())) }),
            instruction: "change the black tree to blue".to_owned(),
            seed: Some(seed),
            steps: Some(steps),
            ..EditSpec::default()
        };
        CreateEditJobRequest { spec: Some(spec), ..CreateEditJobRequest::default() }
    }

    async fn info(&mut self) {
        self.0.get_server_info(v1::GetServerInfoRequest {}).await.unwrap();
    }

    async fn known(&mut self) {
        let request =
            CreateEditJobRequest { request_id: format!("{KEY} by gRPC"), ..Self::edit(8, 1) };
        self.0.run_edit(request).await.unwrap();
    }

    /// Seconds until the first preview of the second pass.
    async fn first_preview(&mut self, seed: u64) -> f64 {
        let started = Instant::now();
        let mut events = self.0.stream_edit(Self::edit(20, seed)).await.unwrap().into_inner();
        let mut first = None;
        while let Some(event) = events.message().await.unwrap() {
            if let Some(Event::Preview(preview)) = event.event
                && preview.pass() == v1::Pass::Edit
                // The step of the first of three partial images.
                && preview.step >= 5
            {
                first.get_or_insert_with(|| started.elapsed().as_secs_f64());
            }
        }
        first.unwrap()
    }
}

fn picture() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read(root.join("assets/example.png")).unwrap()
}

#[tokio::main]
async fn main() {
    println!("| what | HTTP | gRPC |\n|---|---|---|");
    let server = Server::start(&[]);
    let (mut plain, mut grpc) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        plain.push(Plain::connect(&server).await);
        grpc.push(Grpc(server.client().await));
    }
    plain[0].known().await;
    grpc[0].known().await;

    // 1. Requests per second, in turn.
    let mut rates = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS.1 {
        rates[0].push(rate(&mut plain, async |it| it.models().await).await);
        rates[1].push(rate(&mut grpc, async |it| it.info().await).await);
        rates[2].push(rate(&mut plain, async |it| it.known().await).await);
        rates[3].push(rate(&mut grpc, async |it| it.known().await).await);
    }
    let [models, info, plain_known, grpc_known] = rates.map(median);
    println!("| `GET /v1/models`, `GetServerInfo`: a second | {models:.0} | {info:.0} |");
    println!(
        "| an edit that is known, its picture sent and its result answered: a second | {plain_known:.0} | {grpc_known:.0} |"
    );

    // 2. The first partial image of an edit, in turn.
    let mut firsts = [const { Vec::new() }; 2];
    for edit in 0..EDITS as u64 {
        firsts[0].push(plain[0].first_partial(100 + edit).await);
        firsts[1].push(grpc[0].first_preview(200 + edit).await);
    }
    let [partial, preview] = firsts.map(|it| median(it) * 1e3);
    println!(
        "| the first of three partial images of 20 steps, median of {EDITS} | {partial:.0} ms | {preview:.0} ms |"
    );
    drop(server);

    // 3. Memory, each at a server of its own.
    let mut memory = Vec::new();
    for is_plain in [true, false] {
        let server = Server::start(&[]);
        let before = server.memory().0;
        if is_plain {
            let mut all = Vec::new();
            for _ in 0..CONNECTIONS {
                all.push(Plain::connect(&server).await);
            }
            rate(&mut all, async |it| it.known().await).await;
        } else {
            let mut all = Vec::new();
            for _ in 0..CONNECTIONS {
                all.push(Grpc(server.client().await));
            }
            rate(&mut all, async |it| it.known().await).await;
        }
        memory.push(format!("{before} / {} MiB", server.memory().1));
    }
    println!("| the server's memory before, and at its highest | {} | {} |", memory[0], memory[1]);
}

/// Calls a second over all connections.
async fn rate<C>(connections: &mut [C], call: impl AsyncFn(&mut C)) -> f64 {
    let started = Instant::now();
    let calls = connections.iter_mut().map(|connection| async {
        let mut count = 0;
        while started.elapsed() < ROUNDS.0 {
            call(connection).await;
            count += 1;
        }
        count
    });
    let counts: Vec<usize> = futures_util::future::join_all(calls).await;
    counts.iter().sum::<usize>() as f64 / started.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

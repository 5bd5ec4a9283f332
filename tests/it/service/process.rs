//! `retouch serve` as a process: start, metrics scrape, shutdown, and calls by gRPC-Web.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use retouch::{
    server::telemetry::series,
    wire::v1::{
        self, CreateEditJobRequest, EditSpec, GetEditJobRequest, Image, edit_job::State,
        edit_service_client::EditServiceClient, image::Source,
    },
};
use tonic::transport::Channel;

use crate::server_edges::collector::{self, Collector};
use crate::support;

pub(crate) struct Server {
    child: Child,
    url: String,
    ops: String,
}

fn command(folder: &Path) -> Command {
    let mut command = support::listening_retouch();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--threads", "1"])
        .args(["--dtype", "fp32", "--data-dir"])
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    /// As [`Self::start`], with further flags.
    pub(crate) fn start_with(folder: &Path, flags: &[&str]) -> Self {
        let mut command = command(folder);
        command.args(flags);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.contains("listening on"))
            .expect("it says where it listens");
        let url = |mark: &str| {
            let rest = line.split(mark).nth(1).unwrap();
            rest.split([',', ' ']).next().unwrap().to_owned()
        };
        let server = Self { child, url: url("listening on "), ops: url("ops on http://") };
        // What it says further must go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        let started = Instant::now();
        while !server.get("/readyz").starts_with("HTTP/1.1 200") {
            assert!(started.elapsed() < Duration::from_secs(60), "it is never ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// An answer of the ops port.
    pub(crate) fn get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nhost: ops\r\nconnection: close\r\n\r\n");
        exchange(&self.ops, request.as_bytes())
    }

    /// An answer of the port of gRPC.
    pub(crate) fn ask(&self, path: &str) -> String {
        let head = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n", self.address());
        exchange(self.address(), format!("{head}connection: close\r\n\r\n").as_bytes())
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) async fn client(&self) -> EditServiceClient<Channel> {
        EditServiceClient::connect(self.url.clone()).await.unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// The exit code, within a time.
    fn ended(&mut self, within: Duration) -> Option<i32> {
        let started = Instant::now();
        while started.elapsed() < within {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it did not end within {within:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn exchange(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_studio_is_a_server_that_says_where_its_page_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = support::listening_retouch();
    command
        .args(["studio", "--no-browser", "--listen", "127.0.0.1:0", "--threads", "1", "--data-dir"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.strip_prefix("the studio: http://").unwrap().trim_end_matches("/\n");
    let page = exchange(address, b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("<title>retouch studio"), "{page}");
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));

    let refused = support::listening_retouch().args(["studio", "--no-studio"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("switched off"));
}

pub(crate) fn edit(steps: u32) -> CreateEditJobRequest {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let picture = std::fs::read(root.join("assets/example.png")).unwrap();
    let spec = EditSpec {
        image: Some(Image { source: Some(Source::Data(picture.into())) }),
        instruction: "change the black tree to blue".to_owned(),
        seed: Some(7),
        steps: Some(steps),
        localize_steps: Some(4),
        ..EditSpec::default()
    };
    CreateEditJobRequest { spec: Some(spec), ..CreateEditJobRequest::default() }
}

pub(crate) async fn until(server: &Server, name: &str, state: State) -> v1::EditJob {
    let mut client = server.client().await;
    let started = Instant::now();
    loop {
        let request = GetEditJobRequest { name: name.to_owned() };
        let job = client.get_edit_job(request).await.unwrap().into_inner();
        if job.state() == state {
            return job;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", job.state());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_end_does_so_whatever_its_peers_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path());
    // A peer that says nothing, and one that watches a job which waits for its mask.
    let _silent = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    let mut client = server.client().await;
    let mut review = edit(4);
    review.spec.as_mut().unwrap().mask_policy = v1::MaskPolicy::Review as i32;
    let job = client.create_edit_job(review).await.unwrap().into_inner();
    until(&server, &job.name, State::AwaitingMask).await;
    let watch = v1::WatchEditJobRequest { name: job.name.clone(), ..Default::default() };
    let mut events = client.watch_edit_job(watch).await.unwrap().into_inner();
    server.signal("-TERM");
    let status = loop {
        match events.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the watch ended well"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert_eq!(server.ended(Duration::from_secs(15)), Some(0));

    let server = Server::start(folder.path());
    until(&server, &job.name, State::AwaitingMask).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_request_to_end_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path());
    let mut client = server.client().await;
    let job = client.create_edit_job(edit(1000)).await.unwrap().into_inner();
    until(&server, &job.name, State::Editing).await;
    server.signal("-TERM");
    std::thread::sleep(Duration::from_millis(300));
    assert!(server.child.try_wait().unwrap().is_none(), "it lets the running job finish");
    assert!(server.get("/readyz").starts_with("HTTP/1.1 503"));
    server.signal("-TERM");
    assert_eq!(server.ended(Duration::from_secs(3)), Some(143));
}

#[test]
fn a_folder_has_one_server_and_a_wrong_configuration_none() {
    let folder = tempfile::tempdir().unwrap();
    let _server = Server::start(folder.path());
    let refused = |args: &[&str]| {
        let output = command(folder.path()).args(args).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = refused(&[]);
    assert!(code == 9 && said.contains("in use by another process"), "{code}: {said}");
    let toml = folder.path().join("wrong.toml");
    std::fs::write(&toml, "[server]\nlisten_on = \"127.0.0.1:1\"\n").unwrap();
    let (code, said) = refused(&["--config", toml.to_str().unwrap()]);
    assert!(
        code == 2 && said.contains("listen_on") && said.contains("wrong.toml"),
        "{code}: {said}"
    );
    let output = command(folder.path())
        .env("RETOUCH__JOBS__QUEUE_LIMIT", "7")
        .args(["--print-config", "--drain-timeout", "3s"])
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        printed.contains("queue_limit = 7") && printed.contains("drain_timeout = \"3s\""),
        "{printed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_say_nothing_keep_nobody_out_where_files_are_few() {
    let folder = tempfile::tempdir().unwrap();
    let plain = command(folder.path());
    let mut few = Command::new("sh");
    few.args(["-c", "ulimit -n 128 && exec \"$0\" \"$@\""]).arg(plain.get_program());
    few.args(plain.get_args()).stdout(Stdio::null()).stderr(Stdio::piped());
    let server = Server::spawn(few);
    let mut silent = Vec::new();
    for _ in 0..110 {
        for address in [server.url.trim_start_matches("http://"), &server.ops] {
            silent.push(TcpStream::connect(address).unwrap());
        }
    }
    assert!(server.get("/livez").starts_with("HTTP/1.1 200"));
    let mut client = server.client().await;
    client.get_server_info(v1::GetServerInfoRequest {}).await.unwrap();
    assert_eq!(client.run_edit(edit(2)).await.unwrap().into_inner().state(), State::Succeeded);
    assert!(server.get("/livez").starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_calls_by_grpc_web() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let head = "POST /retouch.v1.EditService/GetServerInfo HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                content-type: application/grpc-web+proto\r\nx-grpc-web: 1\r\ncontent-length: 5\r\n\r\n";
    let mut request = head.as_bytes().to_vec();
    request.extend([0; 5]);
    let answer = exchange(server.url.trim_start_matches("http://"), &request);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains("application/grpc-web+proto") && answer.contains("demo-model"),
        "{answer}"
    );
    assert!(answer.contains("grpc-status:0") || answer.contains("grpc-status: 0"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_scraped_has_the_labels_that_are_declared() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    server.client().await.run_edit(edit(4)).await.unwrap();
    let models = server.ask("/v1/models");
    assert!(models.starts_with("HTTP/1.1 200"), "{models}");
    // Whoever waits for a job hears of its end a moment before it is counted.
    let passes = "retouch_pass_seconds_count{pass=\"edit\"}";
    let mut text = String::new();
    let started = Instant::now();
    while ![passes, "retouch_jobs_total{"].iter().all(|it| text.contains(it)) {
        assert!(started.elapsed() < Duration::from_secs(20), "the job is never counted:\n{text}");
        text = server.get("/metrics");
    }
    let mut seen = std::collections::BTreeSet::new();
    for line in text.lines().filter(|it| it.starts_with("retouch_") || it.starts_with("grpc_")) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let declared = series::ALL.iter().find(|it| {
            let rest = name.strip_prefix(it.name);
            rest.is_some_and(|it| ["", "_bucket", "_sum", "_count"].contains(&it))
        });
        let declared = declared.unwrap_or_else(|| panic!("{name} is not declared"));
        let mut told: Vec<&str> =
            labels.split("\",").filter_map(|it| Some(it.split_once('=')?.0)).collect();
        told.retain(|it| *it != "le");
        let (mut told, mut labels) = (told, declared.labels.to_vec());
        told.sort_unstable();
        labels.sort_unstable();
        assert_eq!(told, labels, "{line}");
        seen.insert(declared.name);
    }
    let rare = [
        "retouch_redeliveries_total",
        "retouch_cancel_latency_seconds",
        // Of a model that jobs share.
        "retouch_unet_calls_total",
        "retouch_unet_samples_total",
    ];
    // Those of an engine that several processes share are in `cluster`.
    let expected = series::ALL.iter().map(|it| it.name);
    let expected = expected.filter(|it| !rare.contains(it) && !it.starts_with("retouch_engine_"));
    assert_eq!(seen, expected.collect());
    for line in [
        "retouch_model_ready{model=\"demo-model\"} 1",
        "retouch_queue_depth{priority=\"batch\"} 0",
        "retouch_jobs_total{state=\"succeeded\",reason=\"\",priority=\"interactive\"} 1",
    ] {
        assert!(text.contains(line), "{line} in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_is_sent_metrics_while_the_server_runs_and_at_its_end() {
    let (collector, endpoint) = Collector::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut often = command(folder.path());
    often.args(["--otlp-endpoint", &endpoint]).env("OTEL_METRIC_EXPORT_INTERVAL", "100");
    let server = Server::spawn(often);
    let started = Instant::now();
    while !collector::names(&collector).contains("retouch_model_ready") {
        assert!(started.elapsed() < Duration::from_secs(20), "nothing came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(server);

    let mut seldom = command(folder.path());
    seldom.args(["--otlp-endpoint", &endpoint]).env("OTEL_METRIC_EXPORT_INTERVAL", "3600000");
    let mut server = Server::spawn(seldom);
    server.client().await.run_edit(edit(4)).await.unwrap();
    assert!(!collector::names(&collector).contains("retouch_jobs_total"), "it was too early");
    server.signal("-TERM");
    assert_eq!(server.ended(Duration::from_secs(15)), Some(0));
    let came = collector::names(&collector);
    assert!(
        came.contains("retouch_jobs_total") && came.contains("retouch_pass_seconds"),
        "{came:?}"
    );
}

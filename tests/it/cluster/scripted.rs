//! Processes of the service with a scripted model: this test binary, run again.
#![expect(clippy::print_stdout, reason = "a process says where it serves")]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::Ipv4Addr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use retouch::{
    jobs::{
        queue::QueueLimits,
        runner::Runner,
        store::{Limits, Store},
    },
    nats::{Nats, options::Options},
    server::{config::Config, keys::Keys},
    serving::{service::Service, workers::Workers},
    wire::v1::edit_service_client::EditServiceClient,
};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tonic::transport::{Channel, Endpoint};

use crate::{
    server_edges::MANY,
    service::{harness::LIMITS, script::Script},
};

/// Environment variable of what such a process is asked for.
const ASKED: &str = "RETOUCH_SCRIPTED";
/// The test that is such a process.
const NAME: &str = "cluster::scripted::process";
/// What it says once it can be called.
const SERVES: &str = "serves ";

/// What such a process is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Setting {
    /// URLs of the NATS servers.
    pub(crate) nats: String,
    /// NATS servers that hold each message.
    pub(crate) replicas: usize,
    /// Whether it takes no calls.
    pub(crate) is_worker: bool,
    /// Jobs at once.
    pub(crate) slots: usize,
    /// Milliseconds of a step.
    pub(crate) step: u64,
    /// Seconds of a worker's lease.
    pub(crate) lease: u64,
    /// Keys of its callers.
    pub(crate) keys: Option<PathBuf>,
}

impl Setting {
    /// Two jobs at once, with short steps and the shortest lease that is renewed in time.
    pub(crate) fn over(nats: &str) -> Self {
        let nats = nats.to_owned();
        Self { nats, replicas: 1, is_worker: false, slots: 2, step: 20, lease: 4, keys: None }
    }
}

/// Such a process.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
    /// Its name among those that share the log, with which those of its workers begin.
    pub(crate) name: String,
}

impl Process {
    pub(crate) fn start(setting: &Setting) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let log = format!("scripted-{}-{number}.log", std::process::id());
        let log = fs::File::create(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(log)).unwrap();
        let mut child = Command::new(env::current_exe().unwrap())
            .args([NAME, "--exact", "--ignored", "--nocapture"])
            .env(ASKED, serde_json::to_string(setting).unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = lines
            .by_ref()
            .map(Result::unwrap)
            .find_map(|it| it.split_once(SERVES).map(|it| it.1.to_owned()));
        let said = said.expect("it says where it serves");
        std::thread::spawn(move || lines.for_each(drop));
        let (name, url) = said.split_once(' ').unwrap();
        Self { child, url: url.to_owned(), name: name.to_owned() }
    }

    /// A client that connects when it is first used.
    pub(crate) fn client(&self) -> EditServiceClient<Channel> {
        let endpoint = Endpoint::from_shared(self.url.clone()).unwrap();
        EditServiceClient::new(endpoint.timeout(Duration::from_secs(6)).connect_lazy())
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Kills it, as a crash does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "a process of other tests; it says nothing by itself"]
fn process() {
    let Ok(asked) = env::var(ASKED) else { return };
    let setting: Setting = serde_json::from_str(&asked).unwrap();
    let lines = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false);
    lines.with_max_level(tracing::Level::INFO).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(serve(setting));
    // libtest's last words are nobody's.
    std::process::exit(0);
}

/// Says to the test that started this process where it serves.
fn say(what: &str) {
    println!("{SERVES}{what}");
}

async fn serve(setting: Setting) {
    let options = Options { replicas: setting.replicas, ..Options::plain(&setting.nats, "rt") };
    let limits = Limits {
        slots: setting.slots as u32,
        queue: QueueLimits { total: 20_000, tenant: 20_000 },
        tenant_awaiting: 1000,
        queue_timeout: Duration::from_secs(3600),
        // A job is not given up for what a test does to its workers.
        max_attempts: 1_000_000,
        lease: Duration::from_secs(setting.lease),
        ..LIMITS
    };
    let open = move || Store::open(Nats::open(&options, true).unwrap(), limits).unwrap();
    let store = tokio::task::spawn_blocking(open).await.unwrap();
    let step = Duration::from_millis(setting.step);
    let runner = |_| Box::new(Script::with_steps_of(step)) as Box<dyn Runner + Send>;
    let runners = vec![(0..setting.slots).map(runner).collect()];
    let mut told = signal(SignalKind::terminate()).unwrap();
    let ready = store.clone();
    if setting.is_worker {
        let workers = Workers::start(Arc::clone(&store), || Ok(runners)).unwrap();
        say(&format!("{} nowhere", store.process()));
        told.recv().await;
        store.drain();
        assert!(workers.stop().await);
        return;
    }
    let mut config = Config::default();
    config.server.listen = (Ipv4Addr::LOCALHOST, 0).into();
    config.auth.keys_file = setting.keys;
    config.auth.requests_per_second = 1_000_000;
    config.auth.burst = 1_000_000;
    let keys = Arc::new(Keys::open(config.auth.keys_file.as_deref()).unwrap());
    let load = || Ok(runners);
    let service = Service::start(&config, Arc::clone(&store), keys, MANY, load).await.unwrap();
    while ready.model().is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    say(&format!("{} http://{}", store.process(), service.address));
    told.recv().await;
    store.drain();
    assert!(service.stop().await);
}

//! A process of the service with a scripted model: this program, run again.

use std::{
    env,
    io::{BufRead, BufReader},
    net::Ipv4Addr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use retouch::{
    jobs::{
        queue::QueueLimits,
        runner::Runner,
        store::{Limits, Store},
    },
    journal::{Journal, space::Space},
    nats::{Nats, options::Options},
    server::{config::Config, connections::ConnectionLimits, keys::Keys},
    serving::service::Service,
    wire::v1::edit_service_client::EditServiceClient,
};
use serde::{Deserialize, Serialize};
use tonic::transport::Channel;

use crate::script::Script;

/// Environment variable of what such a process is asked for.
const ASKED: &str = "RETOUCH_BENCH_PROCESS";

/// What such a process is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Setting {
    /// URL of the NATS server.
    pub(crate) nats: Option<String>,
    /// Instead: the folder of an embedded store.
    pub(crate) folder: PathBuf,
    /// Jobs at once; 0 of one that answers calls alone.
    pub(crate) slots: usize,
    /// Milliseconds of a step.
    pub(crate) step: u64,
}

/// Such a process.
pub(crate) struct Process {
    child: Child,
    url: String,
    /// Its name among those that share an engine.
    pub(crate) name: String,
}

impl Process {
    pub(crate) fn start(setting: &Setting) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .env(ASKED, serde_json::to_string(setting).unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (name, url) = line.trim().split_once(' ').expect("it says where it serves");
        Self { child, url: url.to_owned(), name: name.to_owned() }
    }

    pub(crate) async fn client(&self) -> EditServiceClient<Channel> {
        EditServiceClient::connect(self.url.clone()).await.unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Seconds of CPU that a process has used.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    // Ticks of 10 ms, in user and in system mode.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Memory of a process, in MiB.
pub(crate) fn memory(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|it| it.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Is such a process, and ends with it, if that is what this one is run for.
pub(crate) fn run_if_asked() {
    let Ok(asked) = env::var(ASKED) else { return };
    let setting: Setting = serde_json::from_str(&asked).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(serve(setting));
    std::process::exit(0);
}

async fn serve(setting: Setting) {
    let limits = Limits {
        slots: setting.slots as u32,
        queue: QueueLimits { total: 100_000, tenant: 100_000 },
        tenant_awaiting: 1000,
        queue_timeout: Duration::from_secs(3600),
        run_timeout: Duration::from_secs(3600),
        default_ttl: Duration::from_secs(3600),
        max_ttl: Duration::from_secs(7200),
        max_pixels: 1 << 20,
        max_artifact_bytes: 4 << 20,
        max_attempts: 3,
        lease: Duration::from_secs(30),
    };
    let open = move || match setting.nats {
        Some(url) => Store::open(Nats::open(&Options::plain(url, "rt"), true).unwrap(), limits),
        None => {
            let space = Space { quota: 1 << 34, min_free: 0 };
            Store::open(Journal::open(&setting.folder, space).unwrap(), limits)
        }
    };
    let store = tokio::task::spawn_blocking(|| open().unwrap()).await.unwrap();
    let step = Duration::from_millis(setting.step);
    let runner = |_| Box::new(Script::with_steps_of(step)) as Box<dyn Runner + Send>;
    let runners: Vec<_> = (0..setting.slots).map(runner).collect();
    if runners.is_empty() {
        store.set_model(Script::new().model().clone());
    }
    let mut config = Config::default();
    config.server.listen = (Ipv4Addr::LOCALHOST, 0).into();
    config.auth.requests_per_second = 1_000_000;
    config.auth.burst = 1_000_000;
    let keys = Arc::new(Keys::open(None).unwrap());
    let many = ConnectionLimits { total: 10_000, per_address: 10_000 };
    let load = || Ok(vec![runners]);
    let service = Service::start(&config, Arc::clone(&store), keys, many, load).await.unwrap();
    while store.model().is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("p{} http://{}", store.process(), service.address);
    std::future::pending::<()>().await;
}

//! Configuration of the server, by sections, with defaults. `docs/operations.md` has the table of keys.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::sampling::lora::LoraChoice;
use crate::server::{engine_config::Engine, listen_address};

/// One mebibyte, in bytes.
const MIB: u64 = 1024 * 1024;
/// One hour, in seconds.
const HOUR: u64 = 60 * 60;

/// The whole configuration. Secrets are only referred to by file name, so that it may be printed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Listen addresses, limits and timeouts.
    pub server: Server,
    /// TLS certificates; all unset is plaintext.
    pub tls: Tls,
    /// Authentication and rate limits.
    pub auth: Auth,
    /// Model and devices.
    pub model: Model,
    /// Job queue and storage.
    pub jobs: Jobs,
    /// What keeps jobs.
    pub engine: Engine,
    /// Log on standard error.
    pub log: Log,
    /// Export of traces and metrics.
    pub otlp: Otlp,
}

/// Listen addresses, limits and timeouts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Listen address of gRPC, gRPC-Web and HTTP; port 0 takes a free port, and a name is resolved.
    #[serde(deserialize_with = "listen_address::deserialize")]
    pub listen: SocketAddr,
    /// Listen address of probes, metrics and the log level, in plaintext.
    #[serde(deserialize_with = "listen_address::deserialize")]
    pub ops_listen: SocketAddr,
    /// Largest message of a request, in bytes.
    pub max_request_bytes: u64,
    /// Memory for the request bodies of all calls together, in bytes.
    pub body_budget_bytes: u64,
    /// Longest time that a request body may arrive at less than 1 KiB/s.
    #[serde(with = "humantime_serde")]
    pub stall_timeout: Duration,
    /// Most open connections; lowered to what the file descriptor limit allows.
    pub max_connections: u32,
    /// Most connections from one address; unset is half of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections_per_address: Option<u32>,
    /// Longest time that a shutdown waits for running jobs.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
    /// Age at which a connection gets a GOAWAY, so that clients reconnect and replicas share the load.
    #[serde(with = "humantime_serde")]
    pub connection_age: Duration,
    /// Origins of web pages that may call (CORS); `*` is any.
    pub cors_origins: Vec<String>,
    /// Names under which the server answers (the header `Host`); empty is any. On loopback they come beside
    /// localhost.
    pub hosts: Vec<String>,
    /// Whether to serve other machines without a keys file.
    pub allow_anonymous: bool,
    /// Whether to serve the studio, a page for browsers.
    pub studio: bool,
}

/// TLS certificates, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The server's certificate, followed by its chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// Private key of the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// CA certificates of clients; if set, every client must present a certificate (mutual TLS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
}

/// Authentication and rate limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// File of API key hashes; unset admits everyone as tenant `local`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_file: Option<PathBuf>,
    /// Sustained calls per second for each key (token bucket).
    pub requests_per_second: u32,
    /// Burst of calls for each key (token bucket size).
    pub burst: u32,
}

/// Model and devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    /// A diffusers folder or a checkpoint file; unset is the demo model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// LoRAs to merge into the model, `FILE` or `FILE:WEIGHT` each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<LoraChoice>,
    /// A tiny decoder for previews, a folder or file; unset is the model's own, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview_decoder: Option<PathBuf>,
    /// Devices that run the model.
    pub devices: Devices,
    /// Number format of the weights.
    pub dtype: Dtype,
    /// CPU threads for inference; unset is one per core, within the container's CPU limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
    /// Jobs that run at once on a device, batched in the model's steps; unset is 1 on a CPU and 8 on a GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_batch: Option<u32>,
    /// Whether a text encoder stays in memory that is freed otherwise once a text is read (FLUX.2-klein's).
    pub keep_text_encoder: bool,
}

impl Model {
    /// Jobs that run at once on a device.
    ///
    /// 1 on a CPU, since a batch of two takes twice as long there: two batched jobs of duration T both end at 2T
    /// instead of at T and 2T.
    pub fn max_batch(&self) -> u32 {
        self.max_batch.unwrap_or(if self.devices == Devices::Cpu { 1 } else { 8 })
    }
}

/// Devices that each load the model.
///
/// Written `cpu`, `cuda` or as a list such as `cuda:0,cuda:1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Devices {
    /// The CPU.
    Cpu,
    /// Every visible GPU.
    AllGpus,
    /// Some GPUs by index, each once.
    Gpus(Vec<u16>),
}

/// The text names no devices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no devices; expected cpu, cuda for every GPU, or a list such as cuda:0,cuda:1"
)]
pub struct NoDevices(String);

impl TryFrom<String> for Devices {
    type Error = NoDevices;

    fn try_from(text: String) -> Result<Self, NoDevices> {
        match text.as_str() {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::AllGpus),
            list => {
                let index = |it: &str| it.trim().strip_prefix("cuda:")?.parse().ok();
                let gpus = list.split(',').map(index).collect::<Option<Vec<u16>>>();
                let is_a_set = |it: &Vec<u16>| it.iter().collect::<BTreeSet<_>>().len() == it.len();
                let gpus = gpus.filter(is_a_set);
                gpus.map(Self::Gpus).ok_or(NoDevices(text))
            }
        }
    }
}

impl From<Devices> for String {
    fn from(devices: Devices) -> Self {
        match devices {
            Devices::Cpu => "cpu".to_owned(),
            Devices::AllGpus => "cuda".to_owned(),
            Devices::Gpus(gpus) => {
                let names: Vec<String> = gpus.iter().map(|index| format!("cuda:{index}")).collect();
                names.join(",")
            }
        }
    }
}

/// Number format of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// The best for the device.
    Auto,
    /// 32-bit floating point.
    Fp32,
    /// bfloat16.
    Bf16,
    /// 16-bit floating point.
    Fp16,
}

/// Job queue and storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jobs {
    /// Folder of the journal and artifacts; unset is the user's data folder, which the command line fills in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// Most waiting jobs.
    pub queue_limit: u32,
    /// Most waiting jobs of one tenant.
    pub tenant_queue_limit: u32,
    /// Most jobs of one tenant whose mask awaits a decision.
    pub tenant_awaiting_limit: u32,
    /// Longest wait of a job in the queue.
    #[serde(with = "humantime_serde")]
    pub queue_timeout: Duration,
    /// Longest run of one pass.
    #[serde(with = "humantime_serde")]
    pub run_timeout: Duration,
    /// Time to live of a finished job unless its caller sets one.
    #[serde(with = "humantime_serde")]
    pub default_ttl: Duration,
    /// Longest time to live that a caller may set.
    #[serde(with = "humantime_serde")]
    pub max_ttl: Duration,
    /// Disk quota of jobs, their events and artifacts together, in bytes.
    pub disk_quota_bytes: u64,
    /// Free disk space that new data must leave, in bytes.
    pub min_free_bytes: u64,
}

/// Log on standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Text or JSON.
    pub format: LogFormat,
    /// Filter, such as `info` or `retouch=debug,info`.
    pub level: String,
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Human-readable text.
    Text,
    /// One JSON object per line.
    Json,
}

/// Export of traces and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Otlp {
    /// Endpoint of an OTLP/gRPC collector, such as `http://127.0.0.1:4317`; unset exports nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// Certificate files of a server with TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate and chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// CA certificates of clients, PEM.
    pub client_ca: Option<PathBuf>,
}

impl TlsFiles {
    /// Paths of all files.
    pub fn paths(&self) -> Vec<&Path> {
        let mut paths = vec![self.cert.as_path(), self.key.as_path()];
        paths.extend(self.client_ca.as_deref());
        paths
    }
}

impl Tls {
    /// The files if TLS is on; a certificate without its key is reported by [`Config::check`].
    pub fn files(&self) -> Option<TlsFiles> {
        let (cert, key) = (self.cert.clone()?, self.key.clone()?);
        Some(TlsFiles { cert, key, client_ca: self.client_ca.clone() })
    }
}

impl Default for Server {
    fn default() -> Self {
        let local = |port| SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
        Self {
            listen: local(50051),
            ops_listen: local(9090),
            max_request_bytes: 32 * MIB,
            body_budget_bytes: 256 * MIB,
            stall_timeout: Duration::from_secs(30),
            max_connections: 1024,
            max_connections_per_address: None,
            drain_timeout: Duration::from_secs(25),
            connection_age: Duration::from_secs(10 * 60),
            cors_origins: Vec::new(),
            hosts: Vec::new(),
            allow_anonymous: false,
            studio: true,
        }
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self { keys_file: None, requests_per_second: 50, burst: 100 }
    }
}

impl Default for Model {
    fn default() -> Self {
        Self {
            path: None,
            loras: Vec::new(),
            preview_decoder: None,
            devices: Devices::Cpu,
            dtype: Dtype::Auto,
            threads: None,
            max_batch: None,
            keep_text_encoder: false,
        }
    }
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            data_dir: None,
            queue_limit: 256,
            tenant_queue_limit: 64,
            tenant_awaiting_limit: 64,
            queue_timeout: Duration::from_secs(10 * 60),
            run_timeout: Duration::from_secs(30 * 60),
            default_ttl: Duration::from_secs(24 * HOUR),
            max_ttl: Duration::from_secs(7 * 24 * HOUR),
            disk_quota_bytes: 10 * 1024 * MIB,
            min_free_bytes: 512 * MIB,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

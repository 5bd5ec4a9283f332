//! What a server is told: one section a part, each key with its default. `docs/operations.md` holds the table.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::server::address;

/// One mebibyte, in bytes.
const MIB: u64 = 1024 * 1024;
/// One hour, in seconds.
const HOUR: u64 = 60 * 60;

/// The whole configuration. It names files of secrets, and holds none, so that it may be printed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Ports, sizes, times.
    pub server: Server,
    /// Certificates; all unset is plaintext.
    pub tls: Tls,
    /// Who may call, and how often.
    pub auth: Auth,
    /// What is loaded.
    pub model: Model,
    /// The queue, and what is kept.
    pub jobs: Jobs,
    /// The log on standard error.
    pub log: Log,
    /// Where traces and metrics go.
    pub otlp: Otlp,
}

/// Ports, sizes, times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where gRPC and gRPC-Web are served; port 0 takes a free one, and a name is resolved.
    #[serde(deserialize_with = "address::deserialize")]
    pub listen: SocketAddr,
    /// Where probes, metrics and the log level are served, in plaintext.
    #[serde(deserialize_with = "address::deserialize")]
    pub ops_listen: SocketAddr,
    /// The largest message of a request, in bytes.
    pub max_request_bytes: u64,
    /// Bytes of request bodies that all calls together may hold.
    pub body_budget_bytes: u64,
    /// How long a request's body may bring next to nothing.
    #[serde(with = "humantime_serde")]
    pub stall_timeout: Duration,
    /// Connections that may be open, as far as the process may open files.
    pub max_connections: u32,
    /// Connections from one address; unset is half of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections_per_address: Option<u32>,
    /// How long a shutdown waits for running jobs.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
    /// When a connection is asked to go and come back, so that replicas share the load.
    #[serde(with = "humantime_serde")]
    pub connection_age: Duration,
    /// Origins of pages that may call by gRPC-Web; `*` is any.
    pub cors_origins: Vec<String>,
    /// Serve other machines without a keys file.
    pub allow_anonymous: bool,
}

/// Certificates, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The server's certificate, then the chain to its root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// The certificate's private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Roots of client certificates; when set, every peer must show one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
}

/// Who may call, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Hashes of the keys; unset lets everyone in as tenant `local`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_file: Option<PathBuf>,
    /// Calls per second that a key may make in the long run.
    pub requests_per_second: u32,
    /// Calls that a rested key may make at once.
    pub burst: u32,
}

/// What is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    /// A diffusers folder or a checkpoint; unset is the demo model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Where to compute.
    pub devices: Devices,
    /// Precision of the networks.
    pub dtype: Dtype,
    /// Threads of the networks; unset is one per core, within the container's CPU limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
    /// Jobs that run at once on a device and share the model's steps; unset is 1 on a CPU and 8 on a GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_batch: Option<u32>,
}

impl Model {
    /// Jobs that run at once on a device.
    ///
    /// On a CPU two jobs side by side end at 2T and 2T instead of at T and 2T: a step of two takes twice as long.
    pub fn max_batch(&self) -> u32 {
        self.max_batch.unwrap_or(if self.devices == Devices::Cpu { 1 } else { 8 })
    }
}

/// The devices that each hold the model.
///
/// Written `cpu`, `cuda` or as a list such as `cuda:0,cuda:1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Devices {
    /// The processor.
    Cpu,
    /// Every GPU that the process sees.
    AllGpus,
    /// Some of them, each once.
    Gpus(Vec<u16>),
}

/// No devices.
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

/// Precision of the networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// The device's best.
    Auto,
    /// 32 bits.
    Fp32,
    /// bfloat16.
    Bf16,
    /// 16 bits.
    Fp16,
}

/// The queue, and what is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jobs {
    /// Where jobs and artifacts are kept; unset: the user's data folder, which the command line fills in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// Jobs that may wait.
    pub queue_limit: u32,
    /// Jobs of one tenant that may wait.
    pub tenant_queue_limit: u32,
    /// Jobs of one tenant that may await a mask.
    pub tenant_awaiting_limit: u32,
    /// How long a job may wait to be run.
    #[serde(with = "humantime_serde")]
    pub queue_timeout: Duration,
    /// How long a job may run.
    #[serde(with = "humantime_serde")]
    pub run_timeout: Duration,
    /// How long a finished job is kept when it does not say.
    #[serde(with = "humantime_serde")]
    pub default_ttl: Duration,
    /// How long a finished job may ask to be kept.
    #[serde(with = "humantime_serde")]
    pub max_ttl: Duration,
    /// Bytes that jobs, their events and artifacts may take together.
    pub disk_quota_bytes: u64,
    /// Bytes of the disk that are left free.
    pub min_free_bytes: u64,
}

/// The log on standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// Such as `info` or `retouch=debug,info`.
    pub level: String,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where traces and metrics go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Otlp {
    /// An OTLP collector that speaks gRPC, such as `http://127.0.0.1:4317`; unset sends nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// The files of a server that speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and its chain, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Roots of client certificates, PEM.
    pub client_ca: Option<PathBuf>,
}

impl TlsFiles {
    /// All of them.
    pub fn paths(&self) -> Vec<&Path> {
        let mut paths = vec![self.cert.as_path(), self.key.as_path()];
        paths.extend(self.client_ca.as_deref());
        paths
    }
}

impl Tls {
    /// The files, if TLS is on; a certificate without its key is caught by [`Config::check`].
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
            allow_anonymous: false,
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
            devices: Devices::Cpu,
            dtype: Dtype::Auto,
            threads: None,
            max_batch: None,
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

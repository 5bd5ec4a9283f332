//! Configuration of what keeps jobs: the data folder of this process, or NATS servers that several processes share.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize, Serializer};

use crate::address::masked;

/// What keeps jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// The kind of engine.
    pub kind: EngineKind,
    /// URLs of the NATS servers, with commas between them. Printed without user names and passwords.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "without_secrets")]
    pub nats_url: Option<String>,
    /// First token of all subjects on NATS; in capitals, of the streams' names.
    pub nats_prefix: String,
    /// Servers that hold each message.
    pub nats_replicas: u32,
    /// Most bytes of the stream of jobs and of that of artifacts, each; 0 is no limit.
    pub nats_max_bytes: u64,
    /// File of credentials (a JWT and its key).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nats_credentials: Option<PathBuf>,
    /// File of an nkey's seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nats_nkey: Option<PathBuf>,
    /// CA certificates of the servers; if set, only TLS is spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nats_tls_ca: Option<PathBuf>,
    /// Certificate that this client presents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nats_tls_cert: Option<PathBuf>,
    /// Private key of that certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nats_tls_key: Option<PathBuf>,
    /// What this process does.
    pub role: Role,
    /// How long a worker may complete no step before another process takes its job.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
}

/// The kind of engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// A store in the data folder, for one process.
    Embedded,
    /// NATS JetStream, for several processes.
    Nats,
}

/// What a process that shares an engine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It answers calls and runs jobs.
    All,
    /// It answers calls; its jobs run elsewhere.
    Api,
    /// It runs jobs; others answer calls.
    Worker,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            kind: EngineKind::Embedded,
            nats_url: None,
            nats_prefix: "rt".to_owned(),
            nats_replicas: 1,
            nats_max_bytes: 0,
            nats_credentials: None,
            nats_nkey: None,
            nats_tls_ca: None,
            nats_tls_cert: None,
            nats_tls_key: None,
            role: Role::All,
            lease: Duration::from_secs(30),
        }
    }
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn without_secrets<S: Serializer>(urls: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    let masked = |urls: &String| urls.split(',').map(masked).collect::<Vec<_>>().join(",");
    urls.as_ref().map(masked).serialize(to)
}

//! Where the NATS servers are, how this process is let in, and what is stored under which names.

use std::path::PathBuf;

/// How to reach the NATS servers, and what to keep there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// URLs of the servers, with commas between them.
    pub urls: String,
    /// First token of every subject, and of the streams' names in capitals.
    pub prefix: String,
    /// Servers that hold each message: 1, 3 or 5.
    pub replicas: usize,
    /// Most bytes of the streams of jobs and of artifacts, each; 0 is no limit.
    pub max_bytes: u64,
    /// A file of credentials (a JWT and its key).
    pub credentials: Option<PathBuf>,
    /// A file of an nkey's seed.
    pub nkey: Option<PathBuf>,
    /// Certificates of the authorities that sign the servers', PEM.
    pub tls_ca: Option<PathBuf>,
    /// The client's own certificate and its key, PEM.
    pub tls_client: Option<(PathBuf, PathBuf)>,
}

impl Options {
    /// Servers without TLS or credentials, such as `nats://localhost:4222`.
    pub fn plain(urls: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self {
            urls: urls.into(),
            prefix: prefix.into(),
            replicas: 1,
            max_bytes: 0,
            credentials: None,
            nkey: None,
            tls_ca: None,
            tls_client: None,
        }
    }
}

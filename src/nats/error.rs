//! Why a NATS server can't be used.

use crate::address::masked;

/// Why a NATS server can't be used as the ledger.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// The URL is none of a NATS server.
    #[error("{} is no NATS URL, such as nats://HOST:4222 ({why})", masked(url))]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file of credentials can't be used.
    #[error("{path} can't be used as {what}: {why}")]
    File {
        /// The file.
        path: String,
        /// What it should be.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// No server can be reached.
    #[error("no NATS server can be reached at {}: {why}", masked_all(urls))]
    Connect {
        /// The URLs that were tried, with commas between them.
        urls: String,
        /// The last error.
        why: String,
    },
    /// The server is too old.
    #[error("the NATS server has version {found}; retouch needs {needed} or newer")]
    Old {
        /// Its version.
        found: String,
        /// The oldest that will do.
        needed: &'static str,
    },
    /// A stream is missing.
    #[error("there is no stream {stream}; `retouch engine init` makes what is missing")]
    Missing {
        /// The stream.
        stream: String,
    },
    /// A stream has other settings than are needed.
    #[error("the stream {stream} has {setting} {found}, and retouch needs {needed}")]
    Unfit {
        /// The stream.
        stream: String,
        /// The setting, as NATS calls it.
        setting: &'static str,
        /// Its value.
        found: String,
        /// The value that is needed.
        needed: String,
    },
    /// The server refuses a request, or does not answer it.
    #[error("the NATS server can't {what}: {why}")]
    Request {
        /// What was asked for.
        what: String,
        /// The answer.
        why: String,
    },
}

/// URLs without their secrets.
pub fn masked_all(urls: &str) -> String {
    urls.split(',').map(|it| masked(it.trim())).collect::<Vec<_>>().join(",")
}

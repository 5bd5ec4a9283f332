//! Validation of the configuration: value ranges, and keys that require each other.

use std::{
    fmt::{Debug, Display},
    ops::RangeInclusive,
    time::Duration,
};

use crate::address::{self, UrlError, masked};
use crate::server::{
    config::{Auth, Config, Jobs, Server, Tls},
    engine_config::{Engine, EngineKind, Role},
    telemetry::log_filter,
};

/// An invalid configuration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value out of its range.
    #[error("{key} is {found}; expected {expected}")]
    Value {
        /// The key, such as `server.drain_timeout`.
        key: &'static str,
        /// The value.
        found: String,
        /// The accepted values.
        expected: String,
    },
    /// A URL that can't be used.
    #[error("{key} is {found}, which {error}")]
    Url {
        /// The key, such as `otlp.endpoint`.
        key: &'static str,
        /// The URL, without secrets.
        found: String,
        /// Why it is refused.
        error: UrlError,
    },
    /// An invalid log filter.
    #[error("log.level: {0}")]
    LogLevel(String),
    /// A key without another one that it requires.
    #[error("{key} is set, but {needs} is not")]
    Alone {
        /// The key that is set.
        key: &'static str,
        /// The key that is missing.
        needs: &'static str,
    },
    /// The server would accept calls from other machines without keys.
    #[error(
        "server.listen is {listen}, which is reachable from other machines, and no API keys are configured: \
         set auth.keys_file, or server.allow_anonymous if everyone may edit"
    )]
    Open {
        /// The listen address.
        listen: std::net::SocketAddr,
    },
}

/// Range of the message size, in bytes: 64 KiB holds any request without pictures, and a gRPC message has at most 2
/// GiB.
const REQUEST_BYTES: RangeInclusive<u64> = 64 * 1024..=2 * 1024 * 1024 * 1024 - 1;
/// Shortest lease of a worker: longer than its renewals are apart.
const LEASE: Duration = Duration::from_secs(10);
/// Longest timeout.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest time to live of a job.
const YEAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// One second.
const SECOND: Duration = Duration::from_secs(1);
/// Largest value of any count.
const MANY: u32 = 1_000_000;

impl Config {
    /// Checks what the types don't enforce.
    ///
    /// # Errors
    /// [`ConfigError`], for the first invalid key.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.server.check()?;
        self.tls.check()?;
        self.auth.check()?;
        if let Some(threads) = self.model.threads {
            within("model.threads", threads, 1..=1024)?;
        }
        if let Some(max_batch) = self.model.max_batch {
            within("model.max_batch", max_batch, 1..=64)?;
        }
        self.jobs.check()?;
        self.engine.check()?;
        if let Err(error) = log_filter::parse(&self.log.level) {
            return Err(ConfigError::LogLevel(error.to_string()));
        }
        if let Some(endpoint) = &self.otlp.endpoint {
            let fault =
                |error| ConfigError::Url { key: "otlp.endpoint", found: masked(endpoint), error };
            address::url(endpoint).map_err(fault)?;
        }
        let open = !self.server.listen.ip().is_loopback();
        if open && self.auth.keys_file.is_none() && !self.server.allow_anonymous {
            return Err(ConfigError::Open { listen: self.server.listen });
        }
        Ok(())
    }
}

impl Server {
    fn check(&self) -> Result<(), ConfigError> {
        within("server.max_request_bytes", self.max_request_bytes, REQUEST_BYTES)?;
        within(
            "server.body_budget_bytes",
            self.body_budget_bytes,
            self.max_request_bytes..=1 << 40,
        )?;
        spans("server.stall_timeout", self.stall_timeout, SECOND..=DAY)?;
        within("server.max_connections", self.max_connections, 1..=MANY)?;
        if let Some(of_address) = self.max_connections_per_address {
            within("server.max_connections_per_address", of_address, 1..=self.max_connections)?;
        }
        spans("server.drain_timeout", self.drain_timeout, SECOND..=DAY)?;
        spans("server.connection_age", self.connection_age, SECOND..=DAY)?;
        if self.listen == self.ops_listen && self.listen.port() != 0 {
            return Err(wrong(
                "server.ops_listen",
                self.ops_listen,
                "another port than server.listen",
            ));
        }
        for origin in &self.cors_origins {
            let host = origin.strip_prefix("http://").or(origin.strip_prefix("https://"));
            let named =
                host.is_some_and(|it| !it.is_empty() && !it.contains(['/', '*', ' ', '@', '?']));
            if !(named || origin == "*" && self.cors_origins.len() == 1) {
                let expected = "origins such as https://example.org, without a path, or * alone";
                return Err(wrong(
                    "server.cors_origins",
                    format!("`{}`", masked(origin)),
                    expected,
                ));
            }
        }
        for host in &self.hosts {
            let is_name = !host.is_empty() && !host.contains(['/', '*', ' ', '@', '?', ':']);
            let is_address = host.starts_with('[') && host.ends_with(']');
            if !is_name && !is_address {
                let expected = "names such as edit.example.org, without scheme, port or path";
                return Err(wrong("server.hosts", format!("`{}`", masked(host)), expected));
            }
        }
        Ok(())
    }
}

impl Tls {
    fn check(&self) -> Result<(), ConfigError> {
        let alone = |key, needs| Err(ConfigError::Alone { key, needs });
        match (&self.cert, &self.key, &self.client_ca) {
            (Some(_), None, _) => alone("tls.cert", "tls.key"),
            (None, Some(_), _) => alone("tls.key", "tls.cert"),
            (None, None, Some(_)) => alone("tls.client_ca", "tls.cert"),
            (Some(_), Some(_), _) | (None, None, None) => Ok(()),
        }
    }
}

impl Auth {
    fn check(&self) -> Result<(), ConfigError> {
        within("auth.requests_per_second", self.requests_per_second, 1..=MANY)?;
        within("auth.burst", self.burst, 1..=MANY)
    }
}

impl Jobs {
    fn check(&self) -> Result<(), ConfigError> {
        within("jobs.queue_limit", self.queue_limit, 1..=MANY)?;
        within("jobs.tenant_queue_limit", self.tenant_queue_limit, 1..=MANY)?;
        within("jobs.tenant_awaiting_limit", self.tenant_awaiting_limit, 1..=MANY)?;
        spans("jobs.queue_timeout", self.queue_timeout, SECOND..=DAY)?;
        spans("jobs.run_timeout", self.run_timeout, SECOND..=DAY)?;
        spans("jobs.max_ttl", self.max_ttl, SECOND..=YEAR)?;
        spans("jobs.default_ttl", self.default_ttl, SECOND..=self.max_ttl)?;
        within("jobs.disk_quota_bytes", self.disk_quota_bytes, 1 << 20..=1 << 50)?;
        within("jobs.min_free_bytes", self.min_free_bytes, 0..=1 << 50)
    }
}

impl Engine {
    fn check(&self) -> Result<(), ConfigError> {
        if self.kind == EngineKind::Nats && self.nats_url.is_none() {
            return Err(ConfigError::Alone { key: "engine.kind", needs: "engine.nats_url" });
        }
        if self.kind == EngineKind::Embedded && self.role != Role::All {
            let found = if self.role == Role::Api { "api" } else { "worker" };
            return Err(wrong("engine.role", found, "all, where engine.kind is embedded"));
        }
        let is_plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '_' | '-');
        if !(1..=32).contains(&self.nats_prefix.len()) || !self.nats_prefix.chars().all(is_plain) {
            let found = format!("`{}`", self.nats_prefix);
            return Err(wrong("engine.nats_prefix", found, "1 to 32 letters, digits, - or _"));
        }
        if ![1, 3, 5].contains(&self.nats_replicas) {
            return Err(wrong("engine.nats_replicas", self.nats_replicas, "1, 3 or 5"));
        }
        within("engine.nats_max_bytes", self.nats_max_bytes, 0..=1 << 50)?;
        let alone = |key, needs| Err(ConfigError::Alone { key, needs });
        match (&self.nats_tls_cert, &self.nats_tls_key) {
            (Some(_), None) => return alone("engine.nats_tls_cert", "engine.nats_tls_key"),
            (None, Some(_)) => return alone("engine.nats_tls_key", "engine.nats_tls_cert"),
            _ => {}
        }
        spans("engine.lease", self.lease, LEASE..=DAY)
    }
}

fn within<T: PartialOrd + Display>(
    key: &'static str,
    found: T,
    range: RangeInclusive<T>,
) -> Result<(), ConfigError> {
    if range.contains(&found) {
        return Ok(());
    }
    Err(wrong(key, found, format!("{} to {}", range.start(), range.end())))
}

fn spans(
    key: &'static str,
    found: Duration,
    range: RangeInclusive<Duration>,
) -> Result<(), ConfigError> {
    if range.contains(&found) {
        return Ok(());
    }
    Err(wrong(
        key,
        Spoken(found),
        format!("{} to {}", Spoken(*range.start()), Spoken(*range.end())),
    ))
}

fn wrong(key: &'static str, found: impl Display, expected: impl Display) -> ConfigError {
    ConfigError::Value { key, found: found.to_string(), expected: expected.to_string() }
}

/// A duration shown in whole units, as it is written in a configuration file.
struct Spoken(Duration);

impl Display for Spoken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0 if !self.0.is_zero() => self.0.fmt(f),
            _ if seconds > 0 && seconds.is_multiple_of(24 * 60 * 60) => {
                write!(f, "{}d", seconds / (24 * 60 * 60))
            }
            _ => write!(f, "{seconds}s"),
        }
    }
}

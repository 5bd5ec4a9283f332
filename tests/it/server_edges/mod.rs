//! The server around the service: configuration, API keys, TLS, the operations port, traces, metrics. No model is
//! needed.

mod bodies;
pub(crate) mod collector;
mod composed;
mod config;
mod connections;
mod gate;
mod keys;
mod metrics;
pub(crate) mod ops;
mod panics;
mod protocol;
pub(crate) mod raw;
mod tls;
mod trace;

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use retouch::{
    jobs::{
        queue::QueueLimits,
        store::{Limits, Store},
    },
    journal::{Journal, space::Space},
    server::{
        connections::{ConnectionLimits, Connections},
        gate::Admission,
        keys::{Caller, KeyRecord, KeyRecords, Scope, hash},
        refusal::Refusal,
        router,
        serving::PortLimits,
    },
};
use tonic::service::Routes;

/// How long anything here may take before the test has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The largest message of a request.
const MAX_REQUEST: usize = 4 << 20;

/// An admission that refuses nothing.
struct Anyone;

impl Admission for Anyone {
    fn refuse(&self, _caller: &Caller, _grpc_path: &str) -> Option<Refusal> {
        None
    }
}

/// How a port treats its connections: many, with so much patience.
fn terms(header_timeout: Duration, limits: ConnectionLimits) -> PortLimits {
    PortLimits { connections: Connections::new(limits), header_timeout, age: None }
}

/// As many connections as anybody here makes.
pub(crate) const MANY: ConnectionLimits = ConnectionLimits { total: 1000, per_address: 1000 };

/// The service over an empty store; its model stays away.
async fn routes(folder: &Path) -> Routes {
    let limits = Limits {
        slots: 1,
        queue: QueueLimits { total: 8, tenant: 8 },
        tenant_awaiting: 4,
        queue_timeout: Duration::from_secs(60),
        run_timeout: Duration::from_secs(60),
        default_ttl: Duration::from_secs(3600),
        max_ttl: Duration::from_secs(7200),
        max_pixels: 1 << 20,
        max_artifact_bytes: 4 << 20,
        max_attempts: 3,
        lease: Duration::from_secs(30),
    };
    let journal = Journal::open(folder, Space { quota: 1 << 30, min_free: 0 }).unwrap();
    let store: Arc<Store> = Store::open(journal, limits).unwrap();
    router::routes(&store, MAX_REQUEST).await
}

/// A keys file of these keys, each named by its tenant.
pub(crate) fn keys_file(path: &Path, entries: &[(&str, &str, &[Scope])]) {
    let record = |(key, tenant, scopes): &(&str, &str, &[Scope])| KeyRecord {
        id: format!("key-of-{tenant}"),
        tenant: (*tenant).to_owned(),
        sha256: hex(&hash(key.as_bytes())),
        scopes: scopes.to_vec(),
    };
    let records = KeyRecords { key: entries.iter().map(record).collect() };
    std::fs::write(path, toml::to_string(&records).unwrap()).unwrap();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, it| text + &format!("{it:02x}"))
}

/// Waits for what comes by itself; there is nothing to be told by.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    in_time(what, wait).await;
}

pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(output) = tokio::time::timeout(PATIENCE, future).await else {
        panic!("{what} took too long");
    };
    output
}

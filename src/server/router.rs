//! The services on one port: edits, health, reflection, and grpc-web over the same.

use std::{sync::Arc, time::Duration};

use tonic::{
    service::{Routes, RoutesBuilder},
    transport::Server,
};

use crate::jobs::store::Store;
use crate::server::{
    edit_service::{
        Edits,
        run_edit::{EarlyHeaders, HEADERS_AFTER},
    },
    ops,
};
use crate::wire::FILE_DESCRIPTOR_SET;

/// Room for an answer's names and numbers beside its inline bytes.
const MAX_ANSWER: usize = 4 << 20;
/// HTTP/2 pings to peers that are silent, and how long they may take to answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));
/// Streams that a client may open and reset before they are taken; a storm of cancels must not cost its neighbors their
/// connection (measured by `tests/it/service`).
const PENDING_RESETS: usize = 1024;

/// How the port behaves.
#[derive(Debug, Clone)]
pub struct Port {
    /// Largest message that is read, in bytes.
    pub max_request_bytes: usize,
    /// How long a connection lives.
    pub connection_age: Duration,
}

/// HTTP as a server in production speaks it.
pub fn http(port: &Port) -> Server {
    let (every, within) = KEEPALIVE;
    Server::builder()
        .accept_http1(true)
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(every))
        .http2_keepalive_timeout(Some(within))
        .http2_adaptive_window(Some(true))
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS))
        .max_connection_age(port.connection_age)
}

/// The services of a store, with a reporter that tells the health of `retouch.v1.EditService` and of the server as a whole.
pub async fn routes(store: &Arc<Store>, port: &Port) -> Routes {
    let edits = Edits::new(Arc::clone(store), port.max_request_bytes as u64);
    let edits = EarlyHeaders::new(edits, port.max_request_bytes, MAX_ANSWER, HEADERS_AFTER);
    let (health, health_service) = tonic_health::server::health_reporter();
    ops::report(&health, false).await;
    tokio::spawn(ops::follow(health, store.ready()));
    let mut routes = RoutesBuilder::default();
    routes.add_service(edits).add_service(health_service);
    routes.add_service(reflection().build_v1().expect("the schema's descriptors are sound"));
    routes.add_service(reflection().build_v1alpha().expect("the schema's descriptors are sound"));
    routes.routes()
}

/// The schema, and google.rpc's details, so that grpcurl prints why a call failed.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

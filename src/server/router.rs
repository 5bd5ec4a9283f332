//! Services of the gRPC port: edits, health, reflection, each also by gRPC-Web.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use tonic::{
    Status,
    body::Body,
    service::{Routes, RoutesBuilder},
};
use tonic_web::GrpcWebLayer;
use tower::{Service, ServiceBuilder};

use crate::jobs::store::Store;
use crate::server::{
    cors,
    edit_service::{
        Edits,
        run_edit::{EarlyHeaders, HEADERS_AFTER},
    },
    gate::GateLayer,
    http_rules::HttpRulesLayer,
    ops,
    telemetry::trace_layer::TraceLayer,
};
use crate::wire::FILE_DESCRIPTOR_SET;

/// Room in a response beside its inline bytes, in bytes.
const MAX_ANSWER: usize = 4 << 20;
/// The gRPC services with all their layers, as each connection is served.
pub fn app(
    routes: Routes,
    cors_origins: &[String],
    gate: GateLayer,
) -> impl Service<
    Request<Body>,
    Response = Response<impl http_body::Body<Data = Bytes, Error = Status> + Send + Unpin + use<>>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ Sync
+ use<> {
    ServiceBuilder::new()
        .layer(cors::layer(cors_origins))
        .layer(HttpRulesLayer)
        .layer(GrpcWebLayer::new())
        .layer(TraceLayer)
        .layer(gate)
        .service(routes.prepare())
}

/// The services over a store, with a reporter for the health of `retouch.v1.EditService` and of the server as a whole.
pub async fn routes(store: &Arc<Store>, max_request_bytes: usize) -> Routes {
    let edits = Edits::new(Arc::clone(store), max_request_bytes as u64);
    let edits = EarlyHeaders::new(edits, max_request_bytes, MAX_ANSWER, HEADERS_AFTER);
    let (health, health_service) = tonic_health::server::health_reporter();
    ops::report(&health, false).await;
    tokio::spawn(ops::follow(health, store.ready()));
    let mut routes = RoutesBuilder::default();
    routes.add_service(edits).add_service(health_service);
    routes.add_service(reflection().build_v1().expect("the schema's descriptors are sound"));
    routes.add_service(reflection().build_v1alpha().expect("the schema's descriptors are sound"));
    routes.routes()
}

/// Reflection of the schema and of google.rpc's error details, which lets grpcurl print them.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

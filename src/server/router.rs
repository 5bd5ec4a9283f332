//! Services of the port: edits, health, reflection, each by gRPC and gRPC-Web, and routes of plain HTTP beside them.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::Router;
use http::{Request, Response};
use tonic::{
    body::Body,
    service::{Routes, RoutesBuilder},
};
use tonic_web::GrpcWebLayer;
use tower::{Service, ServiceBuilder};

use crate::jobs::store::Store;
use crate::server::{
    browser::{BrowserLayer, BrowserRules},
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
/// Path of plain HTTP, and of what lies below it; all others are methods of gRPC.
const PLAIN: &str = "/v1";

/// The port's services with all their layers, as each connection is served: gRPC, and beside it the routes of plain
/// HTTP.
pub fn app(
    routes: Routes,
    plain: Router,
    rules: BrowserRules,
    gate: GateLayer,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync
+ use<> {
    let grpc = ServiceBuilder::new()
        .layer(HttpRulesLayer)
        .layer(GrpcWebLayer::new())
        .layer(TraceLayer)
        .layer(gate)
        .service(routes.prepare());
    let cors = cors::layer(rules.origins());
    ServiceBuilder::new().layer(BrowserLayer::new(rules)).layer(cors).service(Fork { grpc, plain })
}

/// Two services of one port, told apart by the path.
#[derive(Debug, Clone)]
struct Fork<G> {
    grpc: G,
    plain: Router,
}

impl<G> Service<Request<Body>> for Fork<G>
where
    G: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    G::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // A router of plain routes is always ready.
        self.grpc.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let below = request.uri().path().strip_prefix(PLAIN);
        if below.is_some_and(|it| it.is_empty() || it.starts_with('/')) {
            let answer = self.plain.call(request);
            return Box::pin(async move { Ok(answer.await?.map(Body::new)) });
        }
        Box::pin(self.grpc.call(request))
    }
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

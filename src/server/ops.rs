//! Ops port: probes, Prometheus metrics, log level, gRPC health and KEDA's scaler, on its own thread and runtime.
//!
//! Plaintext, meant to be reachable only in the cluster or on the machine. The liveness probe tests only this thread: a
//! server that is loading or busy must not be restarted for it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    thread,
    time::Duration,
};

use axum::{
    Extension, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::sync::watch;
use tonic::service::Routes;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::server::{
    keys::{Keys, Scope},
    scaler::{self, Scaler},
    serving::{self, Peer, PortLimits},
    telemetry::Handles,
    tls::Listener,
};
use crate::wire::v1::edit_service_server::SERVICE_NAME;

/// Interval at which recorded histogram values are aggregated, to bound memory if nothing scrapes.
const FOLD: Duration = Duration::from_secs(5);
/// Content type of `/metrics`.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether the service is ready, or why not.
pub type Ready = watch::Receiver<Result<(), String>>;

/// State that the ops port exposes.
#[derive(Debug, Clone)]
pub struct Ops {
    /// Whether the service is ready.
    pub ready: Ready,
    /// Name of the model that is, or is being, loaded.
    pub model: String,
    /// Log level and metrics.
    pub telemetry: Handles,
    /// API keys for setting the log level from another machine.
    pub keys: Arc<Keys>,
    /// How much work there is.
    pub scaler: Scaler,
}

/// Opens the port and serves it until the process ends; returns the bound address.
///
/// # Errors
/// If the address can't be bound.
pub fn serve(listen: SocketAddr, ops: Ops, terms: PortLimits) -> io::Result<SocketAddr> {
    let socket = std::net::TcpListener::bind(listen)?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("retouch-ops".to_owned()).spawn(move || {
        if let Err(error) = runtime.block_on(run(socket, ops, terms)) {
            tracing::error!(%error, "the ops port failed");
        }
    })?;
    Ok(address)
}

async fn run(socket: std::net::TcpListener, ops: Ops, terms: PortLimits) -> io::Result<()> {
    let listener = Listener::plain(socket)?;
    let (health, service) = tonic_health::server::health_reporter();
    report(&health, false).await;
    tokio::spawn(follow(health, ops.ready.clone()));
    tokio::spawn(tell(ops.model.clone(), ops.ready.clone()));
    let telemetry = ops.telemetry.clone();
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(FOLD);
        loop {
            tick.tick().await;
            telemetry.fold();
        }
    });
    let scaler = scaler::service(ops.scaler.clone());
    let app = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/log-level", get(level).put(set_level))
        .with_state(ops);
    let app = Routes::from(app).add_service(service).add_service(scaler).into_axum_router();
    serving::serve(listener, app, terms, std::future::pending()).await;
    Ok(())
}

async fn readyz(State(ops): State<Ops>) -> (StatusCode, String) {
    match &*ops.ready.borrow() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn metrics(State(ops): State<Ops>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, PROMETHEUS)], ops.telemetry.metrics())
}

async fn level(State(ops): State<Ops>) -> String {
    format!("{}\n", ops.telemetry.level())
}

/// Sets the log level, the only write: from this machine, or with a key of scope `admin`.
async fn set_level(
    State(ops): State<Ops>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    level: String,
) -> (StatusCode, String) {
    if !is_local(peer.socket.ip()) && !ops.keys.shows(&headers, Scope::Admin) {
        let said = "the level can be changed from this machine, or with a key of the scope admin\n";
        return (StatusCode::FORBIDDEN, said.to_owned());
    }
    match ops.telemetry.set_level(level.trim()) {
        Ok(()) => (StatusCode::OK, format!("{}\n", ops.telemetry.level())),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

fn is_local(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Keeps the gRPC health service in step with readiness.
pub async fn follow(health: HealthReporter, mut ready: Ready) {
    loop {
        let is_ready = ready.borrow_and_update().is_ok();
        report(&health, is_ready).await;
        if ready.changed().await.is_err() {
            return;
        }
    }
}

/// Publishes the metric of the model's readiness, from the start, so that a model that never loads is visible.
async fn tell(model: String, mut ready: Ready) {
    loop {
        let is_ready = ready.borrow_and_update().is_ok();
        metrics::gauge!("retouch_model_ready", "model" => model.clone())
            .set(f64::from(u8::from(is_ready)));
        if ready.changed().await.is_err() {
            return;
        }
    }
}

/// Sets the health of the service and of the server as a whole, which tonic-health reports as SERVING by default.
pub async fn report(health: &HealthReporter, is_ready: bool) {
    let status = if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in ["", SERVICE_NAME] {
        health.set_service_status(service, status).await;
    }
}

//! OpenAI's images API over plain HTTP, on the port and on the jobs of the gRPC service.
//!
//! `edits` is `POST /v1/images/edits`: `body` takes the request in, as a form or as JSON; `fields` reads its
//! fields, and refuses unknown ones; `plan` makes them the create requests of jobs, one a variant. `watch` follows
//! the jobs as gRPC's streams do; `answer` and `events` are what the caller gets of them.

mod answer;
mod asked;
mod body;
mod counted;
mod edits;
mod events;
mod fields;
mod form;
mod json;
mod models;
mod parts;
mod picture;
mod plan;
mod said;
mod watch;

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::Request,
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::header;

use crate::jobs::store::Store;
use crate::server::{gate::GateLayer, work::Work};

/// The API's description, as it is served.
const OPENAPI: &str = include_str!("openapi.json");

/// What every call of the API needs.
#[derive(Debug)]
struct Door {
    store: Arc<Store>,
    work: Work,
    gate: GateLayer,
    /// Largest request in bytes, apart from what base64 adds.
    max_request_bytes: u64,
    /// When the server was started.
    started: SystemTime,
}

/// The API's routes over a store, behind a gate.
pub fn router(store: &Arc<Store>, gate: GateLayer, max_request_bytes: u64) -> Router {
    let door = Door {
        store: Arc::clone(store),
        work: Work::new(Arc::clone(store)),
        gate,
        max_request_bytes,
        started: SystemTime::now(),
    };
    Router::new()
        .route("/v1/images/edits", post(edits::edit))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{id}", get(models::get))
        .route("/v1/openapi.json", get(openapi))
        .fallback(unknown)
        .method_not_allowed_fallback(not_allowed)
        .layer(middleware::from_fn(counted::counted))
        .with_state(Arc::new(door))
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

async fn unknown(request: Request) -> Response {
    said::no_such_path(request.uri().path())
}

async fn not_allowed(request: Request) -> Response {
    said::not_allowed(request.method(), request.uri().path())
}

/// Seconds since 1970.
fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs())
}

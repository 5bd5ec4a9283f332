//! A span and a count for every call of the API, as gRPC's calls have them.

use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderMap, Method, StatusCode};
use tracing::{Instrument, Span, field::Empty};

use crate::server::telemetry::trace_layer;

/// Status of a call whose caller has gone before its answer, as other servers log it.
const CLIENT_GONE: u16 = 499;

/// Runs a call in its span, and counts it with its status.
pub(super) async fn counted(request: Request, next: Next) -> Response {
    let route = route(request.uri().path());
    let span = span(request.method(), route, request.headers());
    let mut call = Call { route, span: span.clone(), status: CLIENT_GONE };
    let answer = next.run(request).instrument(span).await;
    call.status = answer.status().as_u16();
    answer
}

/// The route of a path, for labels: callers can't create series.
fn route(path: &str) -> &'static str {
    match path {
        "/v1/images/edits" => "/v1/images/edits",
        "/v1/models" => "/v1/models",
        "/v1/openapi.json" => "/v1/openapi.json",
        _ if path.starts_with("/v1/models/") => "/v1/models/{id}",
        _ => "other",
    }
}

fn span(method: &Method, route: &'static str, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        "call",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method.as_str(),
        http.route = route,
        http.response.status_code = Empty,
        tenant = Empty,
        key_id = Empty,
    );
    trace_layer::continue_trace(&span, headers);
    span
}

/// A call, recorded when it ends.
struct Call {
    route: &'static str,
    span: Span,
    status: u16,
}

impl Drop for Call {
    fn drop(&mut self) {
        let status = self.status;
        self.span.record("http.response.status_code", status);
        if StatusCode::from_u16(status).is_ok_and(|it| it.is_server_error()) {
            self.span.record("otel.status_code", "ERROR");
        }
        self.span.in_scope(|| tracing::debug!(status, "call ended"));
        metrics::counter!(
            "retouch_http_requests_total", "route" => self.route, "code" => status.to_string()
        )
        .increment(1);
    }
}

//! The caller's trace, from the W3C headers of a call.

use http::{HeaderMap, Request};
use opentelemetry::propagation::Extractor;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The span of a call, a child of the caller's if it tells of one.
pub fn span(request: &Request<()>) -> Span {
    let method = request.uri().path().trim_start_matches('/');
    let span =
        tracing::info_span!("rpc", otel.name = method, otel.kind = "server", rpc.system = "grpc");
    let parent = opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.extract(&Headers(request.headers()))
    });
    // A span that nobody exports has no parent to take.
    let _ = span.set_parent(parent);
    span
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|it| it.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

//! The trace of who asked for a job, which its record carries, so that every process that works on it continues the
//! trace.

use std::collections::HashMap;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

/// The header of W3C's trace context.
const TRACEPARENT: &str = "traceparent";

/// The current span, as a `traceparent`; empty if no spans are exported.
pub(super) fn current() -> String {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut carrier);
    carrier.remove(TRACEPARENT).unwrap_or_default()
}

/// A span for the work on a job, in the trace of a `traceparent`.
pub(super) fn span(job: Uuid, traceparent: &str) -> Span {
    let span = tracing::info_span!("job", id = %job);
    if !traceparent.is_empty() {
        let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
        // Fails if no spans are exported, and then there is no trace to continue.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
    }
    span
}

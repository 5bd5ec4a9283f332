//! A span for every call, which continues the caller's trace (W3C `traceparent` in the metadata).
//!
//! tower-http's trace layer would not do: it has no callback for a response that is dropped before its end, which is
//! status CANCELLED here.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::{Code, body::Body};
use tower::{Layer, Service};
use tracing::{Instrument, Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::server::{
    methods,
    outcome::{Ending, Watch, code_name},
};

/// Layer that puts [`Traced`] in front of a service; outside the gate, which records `tenant` and `key_id` in the span.
#[derive(Debug, Clone, Copy, Default)]
pub struct TraceLayer;

impl<S> Layer<S> for TraceLayer {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Traced<S> {
        Traced { inner }
    }
}

/// A service whose calls run in spans.
#[derive(Debug, Clone)]
pub struct Traced<S> {
    inner: S,
}

impl<S, B> Service<Request<Body>> for Traced<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let span = span(request.uri().path(), request.headers());
        let call = {
            let _entered = span.enter();
            self.inner.call(request)
        };
        let watch = Watch::new(CallSpan { span: span.clone() });
        let within = span.clone();
        let answer = async move {
            let watch = watch;
            Ok(watch.answer(call.await?, within).map(Body::new))
        };
        Box::pin(answer.instrument(span))
    }
}

/// The span of a call, named by its method; probes have none, since they would be most of the spans.
fn span(path: &str, headers: &HeaderMap) -> Span {
    let name = methods::label(path);
    if name.starts_with("grpc.health.") {
        return Span::none();
    }
    let (service, method) = name.split_once('/').unwrap_or((name, name));
    let span = tracing::info_span!(
        "call",
        otel.name = name,
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = Empty,
        tenant = Empty,
        key_id = Empty,
    );
    continue_trace(&span, headers);
    span
}

/// Makes a call's span part of the caller's trace.
pub(crate) fn continue_trace(span: &Span, headers: &HeaderMap) {
    if headers.contains_key("traceparent") {
        let parent = TraceContextPropagator::new().extract(&MetadataCarrier(headers));
        // Fails if no spans are exported, and then there is no trace to continue.
        let _ = span.set_parent(parent);
    }
}

/// Records the final status of a call in its span.
struct CallSpan {
    span: Span,
}

impl Ending for CallSpan {
    fn ended(&mut self, code: Code) {
        self.span.record("rpc.grpc.status_code", code as i32);
        // Codes that are server errors by OpenTelemetry's conventions for server spans.
        if matches!(
            code,
            Code::Unknown
                | Code::DeadlineExceeded
                | Code::Unimplemented
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss
        ) {
            self.span.record("otel.status_code", "ERROR");
        }
        self.span.in_scope(|| tracing::debug!(code = code_name(code), "call ended"));
    }
}

/// gRPC metadata as a carrier for the trace context propagator.
struct MetadataCarrier<'a>(&'a HeaderMap);

impl Extractor for MetadataCarrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

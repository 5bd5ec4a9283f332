//! CORS: origins that may call by gRPC-Web or HTTP, and response headers that their scripts may read.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::server::{keys::API_KEY, refusal::PUSHBACK};

/// Time for which a browser may cache a preflight response.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// Headers that OpenAI's client for scripts sends with every request.
const STAINLESS: [&str; 8] = [
    "x-stainless-arch",
    "x-stainless-lang",
    "x-stainless-os",
    "x-stainless-package-version",
    "x-stainless-retry-count",
    "x-stainless-runtime",
    "x-stainless-runtime-version",
    "x-stainless-timeout",
];

/// CORS layer for origins that were [checked](crate::server::config::Config::check); without origins it allows none.
///
/// Layer order, outermost first: the browser's rules, CORS, tonic-web, the gate.
pub fn layer(origins: &[String]) -> CorsLayer {
    if origins.is_empty() {
        return CorsLayer::new();
    }
    let origin = if origins.iter().any(|it| it == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|it| HeaderValue::from_str(it).ok()))
    };
    let name = HeaderName::from_static;
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(
            STAINLESS
                .map(name)
                .into_iter()
                .chain([
                    header::CONTENT_TYPE,
                    header::AUTHORIZATION,
                    name(API_KEY),
                    name("x-grpc-web"),
                    name("x-user-agent"),
                    name("grpc-timeout"),
                    name("traceparent"),
                    name("tracestate"),
                    name("idempotency-key"),
                ])
                .collect::<Vec<_>>(),
        )
        .expose_headers([
            name("grpc-status"),
            name("grpc-message"),
            name("grpc-status-details-bin"),
            name(PUSHBACK),
            header::RETRY_AFTER,
            name("x-should-retry"),
        ])
        .max_age(MAX_AGE)
}

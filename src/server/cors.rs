//! CORS for gRPC-Web: origins that may call, and response headers that their scripts may read.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::server::{keys::API_KEY, refusal::PUSHBACK};

/// Time for which a browser may cache a preflight response.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// CORS layer for origins that were [checked](crate::server::config::Config::check); without origins it allows none.
///
/// Layer order, outermost first: CORS, tonic-web, the gate.
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
        .allow_methods([Method::POST])
        .allow_headers([
            header::CONTENT_TYPE,
            header::AUTHORIZATION,
            name(API_KEY),
            name("x-grpc-web"),
            name("x-user-agent"),
            name("grpc-timeout"),
            name("traceparent"),
            name("tracestate"),
        ])
        .expose_headers([
            name("grpc-status"),
            name("grpc-message"),
            name("grpc-status-details-bin"),
            name(PUSHBACK),
        ])
        .max_age(MAX_AGE)
}

//! HTTP rules in front of gRPC: method, content type and protocol version; other requests get plain HTTP errors.
//!
//! Browsers send POSTs of a few content types to other origins without a CORS preflight; none of these may reach a
//! method.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use tonic::body::Body;
use tower::{Layer, Service};

/// Content types accepted over HTTP/2.
const GRPC: [&str; 2] = ["application/grpc", "application/grpc+proto"];
/// Content types accepted over HTTP/1.1 and HTTP/2.
const GRPC_WEB: [&str; 4] = [
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/grpc-web-text+proto",
];

/// Layer that puts [`HttpRules`] in front of a service; outside tonic-web's layer.
#[derive(Debug, Clone, Copy, Default)]
pub struct HttpRulesLayer;

impl<S> Layer<S> for HttpRulesLayer {
    type Service = HttpRules<S>;

    fn layer(&self, inner: S) -> HttpRules<S> {
        HttpRules { inner }
    }
}

/// A service that only gets gRPC and gRPC-Web requests.
#[derive(Debug, Clone)]
pub struct HttpRules<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for HttpRules<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if request.method() != Method::POST {
            let answer =
                refuse(StatusCode::METHOD_NOT_ALLOWED, "this is a gRPC server: calls are POSTs");
            return Box::pin(async move { Ok(answer) });
        }
        let kind = content_type(request.headers());
        let is_one_of = |kinds: &[&'static str]| kinds.iter().copied().find(|it| *it == kind);
        let has_http2 = request.version() == Version::HTTP_2;
        let Some(kind) = is_one_of(&GRPC_WEB).or(is_one_of(&GRPC).filter(|_| has_http2)) else {
            let said = match is_one_of(&GRPC) {
                Some(_) => {
                    "gRPC needs HTTP/2; over HTTP/1.1 send gRPC-Web, content-type application/grpc-web+proto"
                }
                None => {
                    "expected content-type application/grpc over HTTP/2, or application/grpc-web+proto"
                }
            };
            let answer = refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, said);
            return Box::pin(async move { Ok(answer) });
        };
        // Without parameters, as tonic-web expects it.
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        Box::pin(self.inner.call(request))
    }
}

/// Content type in lower case without parameters; empty if there is none.
fn content_type(headers: &HeaderMap) -> String {
    let text =
        headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn refuse(status: StatusCode, said: &str) -> Response<Body> {
    let mut answer = Response::new(Body::new(format!("{said}\n")));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    answer
}

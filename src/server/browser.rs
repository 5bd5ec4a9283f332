//! Safety beside a browser: which web pages may call, and under which names the server answers.
//!
//! A page of any site can make a browser send requests to a server that only this machine reaches: by itself, or, with a
//! name of its own that resolves to this machine (DNS rebinding), as if they were of one origin. Both are refused on the
//! headers alone, for every call of the port.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderValue, Request, Response, header, uri::Authority};
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use crate::server::{config, http_error, refusal::Refusal};

/// Header in which browsers say how the origin of a request relates to the server's (Fetch Metadata).
const FETCH_SITE: &str = "sec-fetch-site";

/// Which pages may call, and under which names the server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowserRules {
    /// Origins of pages that may call; `*` is any.
    origins: Vec<String>,
    hosts: Hosts,
}

/// The names under which a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    /// Any.
    Any,
    /// These, and this machine's own if the server listens there alone.
    Named { names: Vec<String>, and_loopback: bool },
}

impl BrowserRules {
    /// The rules of a [checked](config::Config::check) configuration.
    pub fn new(server: &config::Server) -> Self {
        let and_loopback = server.listen.ip().is_loopback();
        let hosts = if server.hosts.is_empty() && !and_loopback {
            Hosts::Any
        } else {
            Hosts::Named { names: server.hosts.clone(), and_loopback }
        };
        Self { origins: server.cors_origins.clone(), hosts }
    }

    /// Origins of pages that may call.
    pub(crate) fn origins(&self) -> &[String] {
        &self.origins
    }

    /// Checks a request by its headers.
    ///
    /// # Errors
    /// `UNKNOWN_HOST`, `FOREIGN_ORIGIN`.
    pub fn check<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let host = host(request);
        self.check_host(host.as_ref())?;
        self.check_origin(request.headers(), host.as_ref())
    }

    fn check_host(&self, host: Option<&Authority>) -> Result<(), Refusal> {
        let Hosts::Named { names, and_loopback } = &self.hosts else { return Ok(()) };
        let name = host.map(|it| it.host().trim_end_matches('.'));
        let is_known = name.is_some_and(|name| {
            (*and_loopback && is_loopback(name))
                || names.iter().any(|it| it.eq_ignore_ascii_case(name))
        });
        if is_known {
            return Ok(());
        }
        let name = name.unwrap_or_default();
        let said = format!(
            "the server does not answer to the name `{name}`; server.hosts lists further names"
        );
        Err(Refusal::new(Code::PermissionDenied, "UNKNOWN_HOST", said).with("host", &name))
    }

    fn check_origin(&self, headers: &HeaderMap, host: Option<&Authority>) -> Result<(), Refusal> {
        let any = self.origins.iter().any(|it| it == "*");
        let origin = headers.get(header::ORIGIN);
        let is_listed = || {
            let origin = origin.and_then(|it| it.to_str().ok());
            origin.is_some_and(|it| self.origins.iter().any(|listed| listed == it))
        };
        let is_own = match origin {
            Some(origin) => origin.to_str().is_ok_and(|it| is_of(it, host)),
            None => true,
        };
        // A request that one page sends to another server has no `Origin` if it only reads.
        let site = headers.get(FETCH_SITE).map(HeaderValue::as_bytes);
        let is_foreign = site.is_some_and(|it| it != b"same-origin" && it != b"none");
        if any || is_listed() || (is_own && !is_foreign) {
            return Ok(());
        }
        let origin = origin.map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
        let origin = origin.unwrap_or_else(|| "another site".to_owned());
        let said =
            format!("a page of {origin} may not call; server.cors_origins lists those that may");
        Err(Refusal::new(Code::PermissionDenied, "FOREIGN_ORIGIN", said).with("origin", &origin))
    }
}

/// The name and port that a request is for.
fn host<B>(request: &Request<B>) -> Option<Authority> {
    let of_uri = request.uri().authority().cloned();
    of_uri.or_else(|| {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let host = hosts.next().filter(|_| hosts.next().is_none());
        host.and_then(|it| it.as_bytes().try_into().ok())
    })
}

/// Whether a name is this machine's for every resolver.
fn is_loopback(name: &str) -> bool {
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|it| it.is_loopback())
}

/// Whether an origin is the server's own: a page that it served. The scheme may be that of a proxy.
fn is_of(origin: &str, host: Option<&Authority>) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let usual = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let (Ok(authority), Some(host)) = (authority.parse::<Authority>(), host) else { return false };
    let port = |it: &Authority| it.port_u16().unwrap_or(usual);
    authority.host().eq_ignore_ascii_case(host.host()) && port(&authority) == port(host)
}

/// Layer that puts [`Guarded`] in front of a service.
#[derive(Debug, Clone)]
pub struct BrowserLayer(Arc<BrowserRules>);

impl BrowserLayer {
    /// A layer of these rules.
    pub fn new(rules: BrowserRules) -> Self {
        Self(Arc::new(rules))
    }
}

impl<S> Layer<S> for BrowserLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, rules: Arc::clone(&self.0) }
    }
}

/// A service that only gets requests that the rules allow.
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    inner: S,
    rules: Arc<BrowserRules>,
}

impl<S, B> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if let Err(refusal) = self.rules.check(&request) {
            tracing::debug!(reason = refusal.reason, "refused");
            let kind = request.headers().get(header::CONTENT_TYPE);
            let is_grpc = kind.is_some_and(|it| it.as_bytes().starts_with(b"application/grpc"));
            let answer = if is_grpc {
                Status::from(refusal).into_http()
            } else {
                http_error::answer(&refusal)
            };
            return Box::pin(async move { Ok(answer) });
        }
        let answer = self.inner.call(request);
        Box::pin(async move { Ok(answer.await?.map(Body::new)) })
    }
}

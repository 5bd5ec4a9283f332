//! Gate in front of every call: authentication, rate limits, queue admission and memory; refuses on the headers alone.
//!
//! [`Gate`] stands in front of gRPC; `plain` admits the calls of plain HTTP by the same keys, rates and budget.

pub(crate) mod plain;

use std::{
    future::poll_fn,
    num::NonZeroU32,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use tokio::time;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};
use tracing::Span;

use crate::server::{
    body::{BodyLimits, Framing, RequestBody},
    budget::{BodyBudget, BodyHold, Owner},
    config::Config,
    deadline,
    keys::{ANONYMOUS, API_KEY, Caller, Keys},
    messages::Encoding,
    methods::{self, Needs},
    outcome::{Ending, Watch, code_name},
    peek::{self, Peeked, Shape},
    refusal::Refusal,
    serving::Peer,
    status,
};

/// Header with the compression of the request's messages.
const GRPC_ENCODING: &str = "grpc-encoding";
/// Header with the compressions that a peer accepts.
const GRPC_ACCEPT_ENCODING: &str = "grpc-accept-encoding";
/// Largest header list of a call, in bytes, counted as HTTP/2 does (RFC 9113, 6.5.2); usual for gRPC servers.
const MAX_METADATA: usize = 16 * 1024;

/// Admission check on a call's headers, implemented by the job queue.
pub trait Admission: Send + Sync {
    /// The refusal of a call that must not be admitted. Must not block.
    fn refuse(&self, caller: &Caller, path: &str) -> Option<Refusal>;

    /// Whether a request of this id was accepted before, so that the call is admitted nonetheless. Must not block.
    fn knows(&self, _caller: &Caller, _request_id: &str) -> bool {
        false
    }
}

/// Layer that puts a [`Gate`] in front of a service, such as tonic's router.
#[derive(Clone)]
pub struct GateLayer(Arc<Shared>);

struct Shared {
    keys: Arc<Keys>,
    rates: DefaultKeyedRateLimiter<String>,
    clock: DefaultClock,
    admission: Arc<dyn Admission>,
    budget: Arc<BodyBudget>,
    max_message: usize,
    stall_timeout: Duration,
}

/// A call's state after its headers were checked.
struct Entry {
    owner: Owner,
    encoding: Option<Encoding>,
    deadline: Option<Instant>,
    /// The queue's refusal, which applies unless the body begins with a known request id.
    full: Option<(Refusal, Shape)>,
}

impl GateLayer {
    /// A gate with the rates, limits and memory budget of a [checked](Config::check) configuration.
    pub fn new(config: &Config, keys: Arc<Keys>, admission: Arc<dyn Admission>) -> Self {
        let at_least_one = |it| NonZeroU32::new(it).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(config.auth.requests_per_second))
            .allow_burst(at_least_one(config.auth.burst));
        Self(Arc::new(Shared {
            keys,
            rates: RateLimiter::keyed(quota),
            clock: DefaultClock::default(),
            admission,
            budget: BodyBudget::new(config.server.body_budget_bytes),
            max_message: config.server.max_request_bytes as usize,
            stall_timeout: config.server.stall_timeout,
        }))
    }

    /// The memory budget shared by all calls through this gate.
    pub fn budget(&self) -> &BodyBudget {
        &self.0.budget
    }
}

impl std::fmt::Debug for GateLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GateLayer").field("budget", &self.0.budget).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { inner, shared: Arc::clone(&self.0) }
    }
}

/// A service behind the gate. An admitted call carries its [`Caller`] and [`BodyHold`] in its extensions, and no API
/// key.
#[derive(Clone)]
pub struct Gate<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S: std::fmt::Debug> std::fmt::Debug for Gate<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, B> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let (method, may_pause) = (methods::label(path), methods::MAY_PAUSE.contains(&path));
        let entry = match self.shared.pass(&mut request) {
            Ok(entry) => entry,
            Err(refusal) => {
                tracing::debug!(method, reason = refusal.reason, "refused");
                Watch::new(Handled { method, hold: None }).tell(refusal.code);
                return Box::pin(async move { Ok(answer(refusal)) });
            }
        };
        let Entry { owner, encoding, deadline, full } = entry;
        let hold = BodyHold::new(&self.shared.budget, owner);
        let mut watch = Watch::new(Handled { method, hold: Some(hold.clone()) });
        request.extensions_mut().insert(hold.clone());
        // The body is decompressed here.
        request.headers_mut().remove(GRPC_ENCODING);
        let max = self.shared.max_message;
        let terms = BodyLimits {
            framing: Framing::Messages { max, encoding, may_pause },
            stall_timeout: self.shared.stall_timeout,
        };
        let (parts, body) = request.into_parts();
        let mut body = Peeked::new(RequestBody::new(body, hold.clone(), terms));
        // Only the service that was polled ready may be called; the clone takes its place.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            if let Some((refusal, shape)) = full {
                let id = body.request_id(shape).await;
                if !id.is_some_and(|id| shared.knows(&parts.extensions, &id)) {
                    let refusal = hold.refusal().unwrap_or(refusal);
                    watch.tell(refusal.code);
                    return Ok(answer(refusal));
                }
            }
            let call = inner.call(Request::from_parts(parts, Body::new(body)));
            let answered = {
                let mut call = pin!(call);
                let call = poll_fn(|context| match call.as_mut().poll(context) {
                    Poll::Ready(answered) => Poll::Ready(Ok(answered)),
                    Poll::Pending => {
                        hold.refusal().map_or(Poll::Pending, |it| Poll::Ready(Err(it)))
                    }
                });
                match deadline {
                    Some(at) => time::timeout_at(at.into(), call)
                        .await
                        .unwrap_or_else(|_| Err(deadline::passed())),
                    None => call.await,
                }
            };
            // Nothing of the response has been sent, so the refusal replaces the handler's result for an incomplete
            // body.
            let refusal = hold.refusal();
            let outcome = match (refusal, answered) {
                (Some(refusal), _) | (None, Err(refusal)) => Err(refusal),
                (None, Ok(answered)) => {
                    let answered = answered?;
                    let said = answered.extensions().get().and_then(status::undecodable);
                    said.map_or(Ok(answered), Err)
                }
            };
            let mut answered = match outcome {
                Ok(answered) => answered,
                Err(refusal) => {
                    watch.tell(refusal.code);
                    return Ok(answer(refusal));
                }
            };
            hold.answered();
            answered.headers_mut().insert(GRPC_ACCEPT_ENCODING, ACCEPTED);
            Ok(watch.answer(answered, Span::none()).map(Body::new))
        })
    }
}

/// Accepted compressions.
const ACCEPTED: HeaderValue = HeaderValue::from_static(Encoding::ACCEPTED);

/// A refusal as an HTTP response.
fn answer(refusal: Refusal) -> Response<Body> {
    let mut answer = Status::from(refusal).into_http();
    answer.headers_mut().insert(GRPC_ACCEPT_ENCODING, ACCEPTED);
    answer
}

/// Size of headers in bytes, as HTTP/2 counts it.
fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}

fn check_metadata(headers: &HeaderMap) -> Result<(), Refusal> {
    let found = size(headers);
    if found <= MAX_METADATA {
        return Ok(());
    }
    let said =
        format!("the call's metadata has {found} bytes, more than the limit of {MAX_METADATA}");
    Err(Refusal::new(Code::ResourceExhausted, "METADATA_TOO_LARGE", said)
        .with("limit_bytes", &MAX_METADATA))
}

fn encoding(headers: &HeaderMap) -> Result<Option<Encoding>, Refusal> {
    let Some(name) = headers.get(GRPC_ENCODING) else { return Ok(None) };
    Encoding::named(name.as_bytes()).map_err(|()| {
        let name = String::from_utf8_lossy(name.as_bytes()).into_owned();
        let accepted = Encoding::ACCEPTED;
        let said = format!("messages are compressed with `{name}`; expected one of {accepted}");
        Refusal::new(Code::Unimplemented, "ENCODING", said).with("accepted", &accepted)
    })
}

impl Shared {
    /// Admits a request on behalf of its caller; health probes need none.
    fn pass(&self, request: &mut Request<Body>) -> Result<Entry, Refusal> {
        check_metadata(request.headers())?;
        self.authenticate(request)?;
        let headers = request.headers();
        let encoding = encoding(headers)?;
        let deadline = deadline::of(headers)?;
        if deadline.is_some_and(|it| it <= Instant::now()) {
            return Err(deadline::passed());
        }
        let owner = owner(request.extensions());
        let full = self.full(request)?;
        Ok(Entry { owner, encoding, deadline, full })
    }

    /// The queue's refusal of an authenticated call; returned as an error if its body can't name an existing job.
    fn full(&self, request: &Request<Body>) -> Result<Option<(Refusal, Shape)>, Refusal> {
        let Some(caller) = request.extensions().get::<Caller>() else { return Ok(None) };
        let path = request.uri().path();
        let Some(refusal) = self.admission.refuse(caller, path) else { return Ok(None) };
        peek::shape(path).map_or(Err(refusal.clone()), |shape| Ok(Some((refusal, shape))))
    }

    /// Whether a caller's request of this id was accepted before.
    fn knows(&self, call: &http::Extensions, request_id: &str) -> bool {
        call.get::<Caller>().is_some_and(|it| self.admission.knows(it, request_id))
    }

    /// Authenticates and authorizes a gRPC call, whose path must be known.
    fn authenticate(&self, request: &mut Request<Body>) -> Result<(), Refusal> {
        let path = request.uri().path();
        let needs = methods::needs(path);
        let unknown = (methods::label(path) == methods::OTHER).then(|| {
            let said = format!("unknown method `{path}`; server reflection lists the methods");
            Refusal::new(Code::Unimplemented, "NO_SUCH_METHOD", said)
        });
        if let Needs::Key | Needs::OneOf(_) = needs {
            let caller = self.enter(request.headers_mut(), needs)?;
            request.extensions_mut().insert(caller);
        }
        unknown.map_or(Ok(()), Err)
    }

    /// Authenticates and authorizes a call, and charges it to the rate of its key.
    fn enter(&self, headers: &mut HeaderMap, needs: Needs) -> Result<Caller, Refusal> {
        let caller = self.keys.caller(headers)?;
        let span = Span::current();
        span.record("tenant", &caller.tenant);
        span.record("key_id", &caller.key_id);
        if let Needs::OneOf(scopes) = needs
            && !scopes.iter().any(|it| caller.may(*it))
        {
            let said = "the key does not permit this method";
            return Err(
                Refusal::new(Code::PermissionDenied, "SCOPE", said).with("key_id", &caller.key_id)
            );
        }
        if caller.key_id != ANONYMOUS
            && let Err(early) = self.rates.check_key(&caller.key_id)
        {
            let wait = early.wait_time_from(self.clock.now());
            let said = "the key calls more often than it may";
            return Err(Refusal::new(Code::ResourceExhausted, "RATE_LIMITED", said)
                .with("key_id", &caller.key_id)
                .retry_after(wait));
        }
        // Removed so that nothing behind the gate can log it.
        headers.remove(API_KEY);
        headers.remove(header::AUTHORIZATION);
        Ok(caller)
    }
}

/// Who a call's body is charged to: the tenant of its key, else the client's address.
fn owner(call: &http::Extensions) -> Owner {
    let peer = call.get::<Peer>();
    let tenant = call.get::<Caller>().filter(|it| it.key_id != ANONYMOUS);
    let name = tenant.map(|it| it.tenant.clone());
    let name = name.or(peer.map(|it| it.address().to_string())).unwrap_or_default();
    Owner { name, connection: peer.map_or(0, |it| it.connection) }
}

/// Counts a call in the metrics and releases its budget when it ends.
struct Handled {
    method: &'static str,
    hold: Option<BodyHold>,
}

impl Ending for Handled {
    fn ended(&mut self, code: Code) {
        if let Some(hold) = &self.hold {
            hold.release();
        }
        metrics::counter!("grpc_server_handled_total", "method" => self.method, "code" => code_name(code))
            .increment(1);
    }
}

//! The gate before every call: who calls, how often, whether there is room; refusals go out before the body is read.

use std::{
    future::poll_fn,
    num::NonZeroU32,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use http::{Request, Response, header};
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};
use tracing::Span;

use crate::server::{
    budget::{BodyBudget, BodyHold, CountedBody},
    config::Config,
    keys::{ANONYMOUS, API_KEY, Caller, Keys},
    methods::{self, Needs},
    outcome::{Ending, Watch, code_name},
    refusal::Refusal,
};

/// Whether there is room for a call, asked on its headers; by the one who knows the queue.
pub trait Admission: Send + Sync {
    /// Why the call must not come in, if so. It must not block.
    fn refuse(&self, caller: &Caller, grpc_path: &str) -> Option<Refusal>;
}

/// Puts a [`Gate`] around a service, such as tonic's router.
#[derive(Clone)]
pub struct GateLayer(Arc<Shared>);

struct Shared {
    keys: Arc<Keys>,
    rates: DefaultKeyedRateLimiter<String>,
    clock: DefaultClock,
    admission: Arc<dyn Admission>,
    budget: Arc<BodyBudget>,
}

impl GateLayer {
    /// A gate with the rates and the budget of a configuration that was [checked](Config::check).
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
        }))
    }

    /// The budget that all calls through this gate share.
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

/// A service behind the gate. A call that passes has its [`Caller`] and its [`BodyHold`] in its extensions, and no key.
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
        let hold = BodyHold::new(&self.shared.budget);
        let method = methods::label(request.uri().path());
        let mut watch = Watch::new(Handled { method, hold: hold.clone() });
        if let Err(refusal) = self.shared.pass(&mut request) {
            tracing::debug!(method, reason = refusal.reason, "refused");
            watch.tell(refusal.code);
            let answer = Status::from(refusal).into_http();
            return Box::pin(async move { Ok(answer) });
        }
        request.extensions_mut().insert(hold.clone());
        let request = request.map(|body| Body::new(CountedBody::new(body, hold.clone())));
        // The clone has not been polled ready; what has been is what is called.
        let clone = self.inner.clone();
        let call = std::mem::replace(&mut self.inner, clone).call(request);
        Box::pin(async move {
            let answer = {
                let mut call = pin!(call);
                poll_fn(|context| match call.as_mut().poll(context) {
                    Poll::Ready(answer) => Poll::Ready(Some(answer)),
                    Poll::Pending if hold.refusal().is_some() => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                })
                .await
            };
            // Nothing of the answer has been sent, so whatever the handler made of half a body does not count.
            if let Some(refusal) = hold.refusal() {
                watch.tell(refusal.code);
                return Ok(Status::from(refusal).into_http());
            }
            let answer = answer.expect("a call is dropped unanswered only where it is refused")?;
            hold.answering();
            Ok(watch.answer(answer, Span::none()).map(Body::new))
        })
    }
}

impl Shared {
    /// Lets a request in, as its caller's; health probes as nobody's.
    fn pass(&self, request: &mut Request<Body>) -> Result<(), Refusal> {
        let needs = methods::needs(request.uri().path());
        if needs == Needs::Nothing {
            return Ok(());
        }
        let caller = self.keys.caller(request.headers())?;
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
        if let Some(refusal) = self.admission.refuse(&caller, request.uri().path()) {
            return Err(refusal);
        }
        // Nothing behind the gate needs the key, so nothing behind it can log one.
        request.headers_mut().remove(API_KEY);
        request.headers_mut().remove(header::AUTHORIZATION);
        request.extensions_mut().insert(caller);
        Ok(())
    }
}

/// Counts a call when it is over, and gives back what it holds.
struct Handled {
    method: &'static str,
    hold: BodyHold,
}

impl Ending for Handled {
    fn ended(&mut self, code: Code) {
        self.hold.release();
        metrics::counter!("grpc_server_handled_total", "method" => self.method, "code" => code_name(code))
            .increment(1);
    }
}

//! Admission of calls of plain HTTP, by the keys, rates, queue and memory budget of the gRPC calls beside them.

use axum::{body::Body, extract::Request};
use http::header;

use crate::server::{
    body::{self, BodyLimits, Framing, RequestBody},
    budget::BodyHold,
    gate::{GateLayer, check_metadata, owner},
    keys::Caller,
    linger::Lingering,
    methods::Needs,
    refusal::Refusal,
};

/// What a call of plain HTTP may do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlainCall<'a> {
    /// Credentials that it requires.
    pub(crate) needs: Needs,
    /// The job that it creates.
    pub(crate) creates: Option<Creates<'a>>,
    /// Largest body in bytes.
    pub(crate) max_body: u64,
}

/// The job that a call creates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Creates<'a> {
    /// Its request id, under which it may have been created before.
    pub(crate) request_id: &'a str,
}

/// An admitted call.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Who calls.
    pub(crate) caller: Caller,
    /// Its share of the memory budget; dropped or released once the body is no longer needed.
    pub(crate) hold: BodyHold,
    /// Its body, charged to the budget as it arrives.
    pub(crate) body: Body,
}

impl GateLayer {
    /// Admits a call by its headers alone.
    ///
    /// # Errors
    /// The refusals of keys, scopes, rates and the queue, and of a body whose announced length is above the limit.
    pub(crate) fn admit(&self, request: Request, call: PlainCall<'_>) -> Result<Admitted, Refusal> {
        let shared = &self.0;
        let (mut parts, body) = request.into_parts();
        let body = tonic::body::Body::new(body);
        let body = Lingering::new(body, parts.version, &parts.headers);
        check_metadata(&parts.headers)?;
        let caller = shared.enter(&mut parts.headers, call.needs)?;
        if let Some(Creates { request_id }) = call.creates
            && let Some(refusal) = shared.admission.refuse(&caller, parts.uri.path())
            && (request_id.is_empty() || !shared.admission.knows(&caller, request_id))
        {
            return Err(refusal);
        }
        let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok());
        if length.and_then(|it| it.parse::<u64>().ok()).is_some_and(|it| it > call.max_body) {
            return Err(body::too_large(call.max_body));
        }
        parts.extensions.insert(caller.clone());
        let hold = BodyHold::new(&shared.budget, owner(&parts.extensions));
        let framing = Framing::Plain { max: call.max_body };
        let limits = BodyLimits { framing, stall_timeout: shared.stall_timeout };
        let body = RequestBody::new(body, hold.clone(), limits);
        Ok(Admitted { caller, hold, body: Body::new(body) })
    }
}

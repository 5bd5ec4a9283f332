//! `RunEdit`, a unary call that sends its response headers before the edit ends: proxies cut calls whose server is
//! silent for too long.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::FutureExt;
use http::{Request, Response};
use tokio::time;
use tonic::{
    Status,
    body::Body,
    server::{Grpc, NamedService, ServerStreamingService},
};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::server::edit_service::{Edits, answers::Answers};
use crate::wire::v1::{
    CreateEditJobRequest, EditJob,
    edit_service_server::{EditService, EditServiceServer},
};

/// Time after which the response headers are sent before the edit has ended.
///
/// Until then an error is a trailers-only response, which a client's retry policy may retry (gRFC A6).
pub const HEADERS_AFTER: Duration = Duration::from_secs(15);

const RUN_EDIT: &str = "/retouch.v1.EditService/RunEdit";

/// The service with `RunEdit` served as a stream of one message: the same bytes on the wire, but headers may be sent
/// first.
#[derive(Debug, Clone)]
pub struct EarlyHeaders {
    edits: Edits,
    others: EditServiceServer<Edits>,
    max_request_bytes: usize,
    max_answer_bytes: usize,
    after: Duration,
}

impl EarlyHeaders {
    /// The service with limits on message sizes, in bytes, and the time after which headers are sent.
    pub fn new(
        edits: Edits,
        max_request_bytes: usize,
        max_answer_bytes: usize,
        after: Duration,
    ) -> Self {
        let others = EditServiceServer::new(edits.clone())
            .max_decoding_message_size(max_request_bytes)
            .max_encoding_message_size(max_answer_bytes);
        Self { edits, others, max_request_bytes, max_answer_bytes, after }
    }
}

impl NamedService for EarlyHeaders {
    const NAME: &'static str = <EditServiceServer<Edits> as NamedService>::NAME;
}

impl Service<Request<Body>> for EarlyHeaders {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        <EditServiceServer<Edits> as Service<Request<Body>>>::poll_ready(&mut self.others, context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path() != RUN_EDIT {
            return self.others.call(request);
        }
        let method = RunEdit { edits: self.edits.clone(), after: self.after };
        let limits = (Some(self.max_request_bytes), Some(self.max_answer_bytes));
        Box::pin(async move {
            let codec = ProstCodec::default();
            let mut grpc = Grpc::new(codec).apply_max_message_size_config(limits.0, limits.1);
            Ok(grpc.server_streaming(method, request).await)
        })
    }
}

/// `RunEdit` as a streaming method.
struct RunEdit {
    edits: Edits,
    after: Duration,
}

impl ServerStreamingService<CreateEditJobRequest> for RunEdit {
    type Response = EditJob;
    type ResponseStream = Answers<EditJob>;
    type Future =
        Pin<Box<dyn Future<Output = Result<tonic::Response<Self::ResponseStream>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<CreateEditJobRequest>) -> Self::Future {
        let (edits, after) = (self.edits.clone(), self.after);
        Box::pin(async move {
            let mut answer = Box::pin(async move { edits.run_edit(request).await });
            let stream: Answers<EditJob> = match time::timeout(after, &mut answer).await {
                Ok(answer) => Box::pin(tokio_stream::once(Ok(answer?.into_inner()))),
                Err(_) => {
                    Box::pin(answer.map(|it| it.map(tonic::Response::into_inner)).into_stream())
                }
            };
            Ok(tonic::Response::new(stream))
        })
    }
}

//! Final status of a call, reported exactly once: from its trailers, or as CANCELLED if the response was dropped.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use tonic::Code;
use tracing::Span;

/// Receiver of a call's final status.
pub(crate) trait Ending: Send + Unpin + 'static {
    /// Called with the status code; CANCELLED if the response was dropped before its end.
    fn ended(&mut self, code: Code);
}

/// Reports to an [`Ending`] exactly once, CANCELLED on drop.
#[derive(Debug)]
pub(crate) struct Watch<E: Ending>(Option<E>);

impl<E: Ending> Watch<E> {
    pub(crate) fn new(ending: E) -> Self {
        Self(Some(ending))
    }

    pub(crate) fn tell(&mut self, code: Code) {
        if let Some(mut ending) = self.0.take() {
            ending.ended(code);
        }
    }

    /// Watches the rest of a response, whose frames are produced within a span.
    pub(crate) fn answer<B>(
        mut self,
        answer: Response<B>,
        span: Span,
    ) -> Response<WatchedBody<B, E>>
    where
        B: Body,
    {
        if let Some(code) = code_in(answer.headers()) {
            self.tell(code);
        } else if answer.body().is_end_stream() {
            self.tell(Code::Unknown);
        }
        answer.map(|body| WatchedBody { body, watch: self, span })
    }
}

impl<E: Ending> Drop for Watch<E> {
    fn drop(&mut self) {
        self.tell(Code::Cancelled);
    }
}

/// A response body that reads the status from its trailers.
#[derive(Debug)]
pub(crate) struct WatchedBody<B, E: Ending> {
    body: B,
    watch: Watch<E>,
    span: Span,
}

impl<B, E> Body for WatchedBody<B, E>
where
    B: Body<Data = Bytes> + Unpin,
    E: Ending,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let _entered = this.span.enter();
        let next = Pin::new(&mut this.body).poll_frame(context);
        match &next {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.watch.tell(code_in(trailers).unwrap_or(Code::Unknown));
                }
            }
            Poll::Ready(Some(Err(_)) | None) => this.watch.tell(Code::Unknown),
            Poll::Pending => {}
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Status code in trailers, or in the headers of a trailers-only response.
fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|it| Code::from_bytes(it.as_bytes()))
}

/// Name of a code in metrics and spans, as used by other gRPC servers.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

//! The rest of a body that nobody reads: thrown away as it comes, so that the caller gets the answer.
//!
//! A connection of HTTP/1.1 that is closed while its caller still sends is reset, and the answer may be lost with it.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Version, header};
use http_body::{Body, Frame, SizeHint};
use tokio::{runtime::Handle, time};

/// Longest time for the rest of a body.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of it.
const MOST: usize = 64 << 20;

/// A body whose rest is thrown away if it is dropped before its end.
#[derive(Debug)]
pub(crate) struct Lingering<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    body: Option<B>,
    /// Whether a caller may still be sending who would lose the answer.
    lingers: bool,
}

impl<B> Lingering<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    /// The body of a request of this version with these headers.
    pub(crate) fn new(body: B, version: Version, headers: &HeaderMap) -> Self {
        // With `expect` a caller sends only when it is asked to, and streams of HTTP/2 end one by one.
        let lingers = version < Version::HTTP_2 && !headers.contains_key(header::EXPECT);
        Self { body: Some(body), lingers }
    }
}

impl<B> Body for Lingering<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let next = Pin::new(body).poll_frame(context);
        if matches!(next, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B> Drop for Lingering<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|it| self.lingers && !it.is_end_stream()) else {
            return;
        };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(time::timeout(PATIENCE, thrown_away(body)));
        }
    }
}

async fn thrown_away<B: Body<Data = Bytes> + Unpin>(body: B) {
    let (mut body, mut bytes) = (pin!(body), 0);
    while let Some(Ok(frame)) =
        std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await
    {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > MOST {
            return;
        }
    }
}

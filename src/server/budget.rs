//! The bytes of request bodies that all calls together hold, and the body that counts them.
//!
//! A unary request is decoded whole before its handler can say no, so what bounds memory must sit in front of it.

use std::{
    error::Error,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tonic::{Code, Status};

use crate::server::refusal::Refusal;

/// When a call that found the budget spent may come back: about the time that one large body takes to arrive.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How many bytes of bodies are held, and may be.
#[derive(Debug)]
pub struct BodyBudget {
    limit: u64,
    held: AtomicU64,
}

impl BodyBudget {
    /// A budget of so many bytes.
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, held: AtomicU64::new(0) })
    }

    /// Bytes that are held now.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Acquire)
    }

    fn take(&self, bytes: u64) -> bool {
        let more = |held: u64| held.checked_add(bytes).filter(|it| *it <= self.limit);
        self.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    /// What a call is told for which there is no room.
    fn refusal(&self) -> Refusal {
        let said = "the request bodies of all calls together are too large now";
        Refusal::new(Code::ResourceExhausted, "BODY_BUDGET", said)
            .with("limit_bytes", &self.limit)
            .retry_after(RETRY_AFTER)
    }
}

/// What one call holds of the budget; a request's extensions carry it.
///
/// It is given back when the call has read its whole body and begun to answer, at the latest when the call is over. A
/// handler that answers late or reads on for long, and keeps the bytes elsewhere, gives them back by
/// [`BodyHold::release`].
#[derive(Debug, Clone)]
pub struct BodyHold(Arc<Hold>);

#[derive(Debug)]
struct Hold {
    budget: Arc<BodyBudget>,
    bytes: AtomicU64,
    read: AtomicBool,
    answering: AtomicBool,
    refused: AtomicBool,
}

impl BodyHold {
    pub(crate) fn new(budget: &Arc<BodyBudget>) -> Self {
        Self(Arc::new(Hold {
            budget: Arc::clone(budget),
            bytes: AtomicU64::new(0),
            read: AtomicBool::new(false),
            answering: AtomicBool::new(false),
            refused: AtomicBool::new(false),
        }))
    }

    /// Gives back what has arrived so far.
    pub fn release(&self) {
        let bytes = self.0.bytes.swap(0, Ordering::AcqRel);
        self.0.budget.held.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// The answer has begun, so a body that has ended is in the handler's hands.
    pub(crate) fn answering(&self) {
        self.0.answering.store(true, Ordering::Release);
        self.release_if_done();
    }

    /// The refusal, if a frame found no room.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.0.refused.load(Ordering::Acquire).then(|| self.0.budget.refusal())
    }

    fn take(&self, bytes: u64) -> Result<(), Status> {
        if self.0.budget.take(bytes) {
            self.0.bytes.fetch_add(bytes, Ordering::AcqRel);
            return Ok(());
        }
        self.0.refused.store(true, Ordering::Release);
        Err(self.0.budget.refusal().into())
    }

    fn read(&self) {
        self.0.read.store(true, Ordering::Release);
        self.release_if_done();
    }

    fn release_if_done(&self) {
        if self.0.read.load(Ordering::Acquire) && self.0.answering.load(Ordering::Acquire) {
            self.release();
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(*self.bytes.get_mut(), Ordering::AcqRel);
    }
}

/// A request's body that takes each frame from the budget as it arrives.
#[derive(Debug)]
pub(crate) struct CountedBody<B> {
    body: B,
    hold: BodyHold,
}

impl<B> CountedBody<B> {
    pub(crate) fn new(body: B, hold: BodyHold) -> Self {
        Self { body, hold }
    }
}

impl<B> Body for CountedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Poll::Ready(next) = Pin::new(&mut self.body).poll_frame(context) else {
            return Poll::Pending;
        };
        Poll::Ready(match next {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                Some(self.hold.take(bytes).map(|()| frame))
            }
            Some(Err(error)) => Some(Err(Status::from_error(error.into()))),
            None => {
                self.hold.read();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for CountedBody<B> {
    fn drop(&mut self) {
        // What is not read any more is as good as read.
        self.hold.read();
    }
}

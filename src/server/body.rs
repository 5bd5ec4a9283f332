//! Request bodies on arrival: charged to the memory budget, checked for stalls, split into messages, and decompressed.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use tonic::{Code, Status};

use crate::server::{
    budget::BodyHold,
    messages::{Encoding, Messages},
    refusal::Refusal,
};

/// Slowest accepted transfer rate, in bytes per second; below it a body counts as stalled.
const SLOWEST: u64 = 1024;

/// Limits on a request body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    /// Largest message in bytes, both compressed and decompressed.
    pub(crate) max_message: usize,
    /// Compression of messages with the compressed flag.
    pub(crate) encoding: Option<Encoding>,
    /// Longest time below the rate of [`SLOWEST`].
    pub(crate) stall_timeout: Duration,
    /// Whether the caller may pause between messages, such as while a person decides on a mask.
    pub(crate) may_pause: bool,
}

/// A request body that charges each frame to the budget as it arrives, and ends with an error if it stalls.
#[derive(Debug)]
pub(crate) struct RequestBody<B> {
    body: B,
    hold: BodyHold,
    messages: Messages,
    terms: BodyLimits,
    /// Deadline for the remaining `owed` bytes.
    due: Pin<Box<Sleep>>,
    owed: u64,
}

impl<B> RequestBody<B> {
    pub(crate) fn new(body: B, hold: BodyHold, terms: BodyLimits) -> Self {
        let messages = Messages::new(terms.max_message, terms.encoding);
        let due = Box::pin(sleep(terms.stall_timeout));
        Self { body, hold, messages, terms, due, owed: owed(terms.stall_timeout) }
    }

    /// Counts received bytes, and restarts the stall timer where due.
    fn came(&mut self, bytes: u64, was_paused: bool) {
        self.owed = self.owed.saturating_sub(bytes);
        if self.owed == 0 || was_paused || self.is_paused() {
            self.owed = owed(self.terms.stall_timeout);
            let due = Instant::now() + self.terms.stall_timeout;
            self.due.as_mut().reset(due);
        }
    }

    /// Whether the body is in a permitted pause.
    fn is_paused(&self) -> bool {
        self.terms.may_pause && self.messages.is_between()
    }

    fn stalled(&self) -> Refusal {
        let within = self.terms.stall_timeout.as_secs_f64();
        let said = format!(
            "the request body stalled: fewer than {} bytes arrived within {within} s",
            owed(self.terms.stall_timeout)
        );
        Refusal::new(Code::DeadlineExceeded, "BODY_STALLED", said)
            .with("stall_timeout_seconds", &within)
    }
}

/// Bytes that a body must deliver within a time.
fn owed(within: Duration) -> u64 {
    ((SLOWEST as f64 * within.as_secs_f64()) as u64).max(1)
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes, Error = Status> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let end = |hold: &BodyHold, refusal: Refusal| {
            hold.refuse(refusal.clone());
            Poll::Ready(Some(Err(refusal.into())))
        };
        loop {
            if let Some(refusal) = this.hold.refusal() {
                return Poll::Ready(Some(Err(refusal.into())));
            }
            let Poll::Ready(next) = Pin::new(&mut this.body).poll_frame(context) else {
                this.hold.wakes(context.waker());
                if !this.is_paused() && this.due.as_mut().poll(context).is_ready() {
                    return end(&this.hold, this.stalled());
                }
                return Poll::Pending;
            };
            let data = match next {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                // tonic-web's error for a body that is not valid base64, for example.
                Some(Err(status)) if status.message().starts_with("tonic-web") => {
                    let said = format!("the request's body can't be read: {}", status.message());
                    return end(&this.hold, Refusal::invalid_message(said));
                }
                // tonic reads a cancelled body as one that has ended, as if what came were the whole.
                Some(Err(status)) if status.code() == Code::Cancelled => {
                    let said = "the caller cancelled the call before the body's end";
                    return end(&this.hold, Refusal::new(Code::Cancelled, "CLIENT_GONE", said));
                }
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => {
                    return match this.messages.end() {
                        Ok(()) => {
                            this.hold.read();
                            Poll::Ready(None)
                        }
                        Err(refusal) => end(&this.hold, refusal),
                    };
                }
            };
            let (bytes, was_paused) = (data.len() as u64, this.is_paused());
            let taken = this.hold.take(bytes).and_then(|()| this.messages.unpack(data, &this.hold));
            match taken {
                Ok(data) => {
                    this.came(bytes, was_paused);
                    if !data.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                Err(refusal) => return end(&this.hold, refusal),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // The end of a body is always read from its last frame, so that a truncated message is reported.
        false
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl<B> Drop for RequestBody<B> {
    fn drop(&mut self) {
        // A body that is dropped unread counts as read.
        self.hold.read();
    }
}

//! Request bodies on arrival: charged to the memory budget, checked for stalls, and, if they are gRPC's, split into
//! messages and decompressed.

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
    /// What the body consists of.
    pub(crate) framing: Framing,
    /// Longest time below the rate of [`SLOWEST`].
    pub(crate) stall_timeout: Duration,
}

/// What a body consists of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Framing {
    /// gRPC messages.
    Messages {
        /// Largest message in bytes, both compressed and decompressed.
        max: usize,
        /// Compression of messages with the compressed flag.
        encoding: Option<Encoding>,
        /// Whether the caller may pause between messages, such as while a person decides on a mask.
        may_pause: bool,
    },
    /// Bytes, at most so many.
    Plain {
        /// Their limit.
        max: u64,
    },
}

/// A body's content so far.
#[derive(Debug)]
enum Content {
    Messages { messages: Messages, may_pause: bool },
    Plain { max: u64, came: u64 },
}

impl Content {
    fn new(framing: Framing) -> Self {
        match framing {
            Framing::Messages { max, encoding, may_pause } => {
                Self::Messages { messages: Messages::new(max, encoding), may_pause }
            }
            Framing::Plain { max } => Self::Plain { max, came: 0 },
        }
    }

    /// Takes in bytes; returns what to pass on.
    fn take(&mut self, data: Bytes, hold: &BodyHold) -> Result<Bytes, Refusal> {
        match self {
            Self::Messages { messages, .. } => messages.unpack(data, hold),
            Self::Plain { max, came } => {
                *came += data.len() as u64;
                if came > max { Err(too_large(*max)) } else { Ok(data) }
            }
        }
    }

    /// Checks that the body may end here.
    fn end(&self) -> Result<(), Refusal> {
        match self {
            Self::Messages { messages, .. } => messages.end(),
            Self::Plain { .. } => Ok(()),
        }
    }

    /// Whether the body is in a permitted pause.
    fn is_paused(&self) -> bool {
        matches!(self, Self::Messages { messages, may_pause: true } if messages.is_between())
    }
}

/// The refusal of a body of more than so many bytes.
pub(crate) fn too_large(limit: u64) -> Refusal {
    let said = format!("the request's body is larger than the limit of {limit} bytes");
    Refusal::new(Code::OutOfRange, "MESSAGE_TOO_LARGE", said).with("limit_bytes", &limit)
}

/// A request body that charges each frame to the budget as it arrives, and ends with an error if it stalls.
#[derive(Debug)]
pub(crate) struct RequestBody<B> {
    body: B,
    hold: BodyHold,
    content: Content,
    stall_timeout: Duration,
    /// Deadline for the remaining `owed` bytes.
    due: Pin<Box<Sleep>>,
    owed: u64,
}

impl<B> RequestBody<B> {
    pub(crate) fn new(body: B, hold: BodyHold, terms: BodyLimits) -> Self {
        let BodyLimits { framing, stall_timeout } = terms;
        let due = Box::pin(sleep(stall_timeout));
        let content = Content::new(framing);
        Self { body, hold, content, stall_timeout, due, owed: owed(stall_timeout) }
    }

    /// Counts received bytes, and restarts the stall timer where due.
    fn came(&mut self, bytes: u64, was_paused: bool) {
        self.owed = self.owed.saturating_sub(bytes);
        if self.owed == 0 || was_paused || self.content.is_paused() {
            self.owed = owed(self.stall_timeout);
            let due = Instant::now() + self.stall_timeout;
            self.due.as_mut().reset(due);
        }
    }

    fn stalled(&self) -> Refusal {
        let within = self.stall_timeout.as_secs_f64();
        let said = format!(
            "the request body stalled: fewer than {} bytes arrived within {within} s",
            owed(self.stall_timeout)
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
                if !this.content.is_paused() && this.due.as_mut().poll(context).is_ready() {
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
                    return match this.content.end() {
                        Ok(()) => {
                            this.hold.read();
                            Poll::Ready(None)
                        }
                        Err(refusal) => end(&this.hold, refusal),
                    };
                }
            };
            let (bytes, was_paused) = (data.len() as u64, this.content.is_paused());
            let taken = this.hold.take(bytes).and_then(|()| this.content.take(data, &this.hold));
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

//! Reads the request id of a create call from the first bytes of its body.
//!
//! A full queue refuses such a call before its picture has arrived, unless its request id is known. Protobuf libraries
//! serialize fields in the order of their numbers, and `request_id` is field 1, so it precedes the picture.

use std::{
    collections::VecDeque,
    error::Error,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time;

/// Longest wait for the first bytes of a body.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest request id in bytes: 128 characters of four bytes.
const MAX_ID: usize = 512;
/// Tag of field 1 with wire type 2 (length-delimited).
const FIRST_FIELD: u8 = 0x0a;
/// Bytes of a message's prefix, flag and length (the gRPC protocol over HTTP/2, "Length-Prefixed-Message").
const PREFIX: usize = 5;

/// Where the create request is in a method's first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The message itself.
    Request,
    /// Field 1 of the message.
    Within,
}

/// The shape of a method's messages; `None` if it doesn't create a single job.
pub(crate) fn shape(grpc_path: &str) -> Option<Shape> {
    Some(match grpc_path.strip_prefix("/retouch.v1.EditService/")? {
        "StreamEdit" | "RunEdit" | "CreateEditJob" => Shape::Request,
        "Edit" => Shape::Within,
        _ => return None,
    })
}

/// Result of parsing the first bytes of a body.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Id(String),
    NoId,
    /// Too few bytes to tell.
    More,
}

/// A body whose first frames may have been read already; they are returned again.
#[derive(Debug)]
pub(crate) struct Peeked<B> {
    read: VecDeque<Frame<Bytes>>,
    body: B,
}

impl<B> Peeked<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(crate) fn new(body: B) -> Self {
        Self { read: VecDeque::new(), body }
    }

    /// The request id; `None` if there is none, or it doesn't arrive in time.
    pub(crate) async fn request_id(&mut self, shape: Shape) -> Option<String> {
        time::timeout(PATIENCE, self.find(shape)).await.ok().flatten()
    }

    async fn find(&mut self, shape: Shape) -> Option<String> {
        let mut start = Vec::new();
        loop {
            let frame = poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await;
            // The reader of the body gets the same end or error.
            let frame = frame?.ok()?;
            let data = frame.data_ref().cloned();
            self.read.push_back(frame);
            let room = (2 * MAX_ID).saturating_sub(start.len());
            let data = data?;
            start.extend_from_slice(&data[..data.len().min(room)]);
            match said(&start, shape) {
                Said::Id(id) => return Some(id),
                Said::NoId => return None,
                Said::More => {}
            }
        }
    }
}

impl<B> Body for Peeked<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.read.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Pin::new(&mut self.body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // The body's own size hint doesn't include frames that were read.
        if self.read.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}

/// Parses the first bytes of a body.
fn said(start: &[u8], shape: Shape) -> Said {
    let Some((prefix, mut rest)) = start.split_at_checked(PREFIX) else { return Said::More };
    // A compressed message can't be parsed, an empty one has no id.
    if prefix[0] != 0 || prefix[1..] == [0; 4] {
        return Said::NoId;
    }
    let mut length = 0;
    for _ in 0..if shape == Shape::Within { 2 } else { 1 } {
        let Some((tag, behind)) = rest.split_first() else { return Said::More };
        if *tag != FIRST_FIELD {
            return Said::NoId;
        }
        let Some(read) = varint(behind) else { return Said::More };
        (length, rest) = read;
        if length == 0 {
            return Said::NoId;
        }
    }
    if length > MAX_ID {
        return Said::NoId;
    }
    let Some(id) = rest.get(..length) else { return Said::More };
    std::str::from_utf8(id).map_or(Said::NoId, |it| Said::Id(it.to_owned()))
}

/// Decodes a protobuf varint; returns it with the bytes after it, `None` if incomplete.
fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let end = bytes.iter().position(|it| it & 0x80 == 0)?;
    let digits = bytes[..=end].iter().rev();
    let number = digits.fold(0_usize, |sum, it| sum.saturating_mul(128) | usize::from(it & 0x7f));
    Some((number, &bytes[end + 1..]))
}

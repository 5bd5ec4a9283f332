//! Framing of messages in a body: compressed flag, length, data (the gRPC protocol over HTTP/2,
//! "Length-Prefixed-Message").
//!
//! Messages are decompressed here rather than by tonic, so that the memory budget bounds the decompressed bytes as they
//! grow, and a small message that decompresses to a large one can take no more memory than a large one.

use std::io::{self, Read};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;
use tonic::Code;

use crate::server::{budget::BodyHold, refusal::Refusal};

/// Bytes of the prefix: a flag and a length of four bytes.
const HEAD: usize = 5;
/// Bytes decompressed at a time.
const PIECE: usize = 64 * 1024;

/// Largest zstd window, in bytes: what RFC 8878 (3.1.1.1.2) recommends every decoder to support.
const MAX_WINDOW: u64 = 8 << 20;

/// Compression of messages with the compressed flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Encoding {
    /// Value of the header `grpc-accept-encoding`.
    pub(crate) const ACCEPTED: &'static str = "identity,gzip,zstd";

    /// Parses the header `grpc-encoding`; `Ok(None)` for identity, `Err` if unsupported.
    pub(crate) fn named(name: &[u8]) -> Result<Option<Self>, ()> {
        match name {
            b"identity" => Ok(None),
            b"gzip" => Ok(Some(Self::Gzip)),
            b"zstd" => Ok(Some(Self::Zstd)),
            _ => Err(()),
        }
    }
}

/// Splits a body into messages.
#[derive(Debug)]
pub(crate) struct Messages {
    max: usize,
    encoding: Option<Encoding>,
    /// Bytes of the current prefix so far.
    head: BytesMut,
    /// Bytes of the current message still to come.
    left: usize,
    /// The current message so far, if it is compressed.
    packed: Option<BytesMut>,
    /// Number of complete messages.
    count: u64,
}

impl Messages {
    pub(crate) fn new(max: usize, encoding: Option<Encoding>) -> Self {
        Self { max, encoding, head: BytesMut::with_capacity(HEAD), left: 0, packed: None, count: 0 }
    }

    /// Whether the position is between two messages, after at least one.
    pub(crate) fn is_between(&self) -> bool {
        self.count > 0 && self.head.is_empty()
    }

    /// Checks that the body may end here.
    pub(crate) fn end(&self) -> Result<(), Refusal> {
        if !self.head.is_empty() {
            return Err(Refusal::invalid_message("the request's body ends within a message"));
        }
        if self.count == 0 {
            return Err(Refusal::invalid_message("the request's body has no message"));
        }
        Ok(())
    }

    /// Returns the messages decompressed; bytes beyond those received are charged to the budget.
    pub(crate) fn unpack(&mut self, data: Bytes, hold: &BodyHold) -> Result<Bytes, Refusal> {
        if self.encoding.is_none() {
            let mut rest = data.clone();
            while rest.has_remaining() {
                self.step(&mut rest)?;
                self.finish(hold)?;
            }
            return Ok(data);
        }
        let (mut rest, mut plain) = (data, BytesMut::new());
        while rest.has_remaining() {
            let piece = self.step(&mut rest)?;
            match &mut self.packed {
                Some(packed) => packed.extend_from_slice(&piece),
                None => plain.extend_from_slice(&piece),
            }
            if let Some(message) = self.finish(hold)? {
                plain.put_u8(0);
                plain.put_u32(message.len() as u32);
                plain.unsplit(message);
            }
        }
        Ok(plain.freeze())
    }

    /// Consumes part of a prefix or message; returns the bytes to pass on.
    fn step(&mut self, rest: &mut Bytes) -> Result<Bytes, Refusal> {
        if self.head.len() == HEAD {
            let piece = rest.split_to(self.left.min(rest.len()));
            self.left -= piece.len();
            return Ok(piece);
        }
        let part = rest.split_to((HEAD - self.head.len()).min(rest.len()));
        self.head.extend_from_slice(&part);
        if self.head.len() < HEAD {
            return Ok(Bytes::new());
        }
        let mut head = &self.head[..];
        let (flag, length) = (head.get_u8(), head.get_u32() as usize);
        if length > self.max {
            return Err(self.too_large());
        }
        self.left = length;
        match flag {
            0 => Ok(Bytes::copy_from_slice(&self.head)),
            1 if self.encoding.is_some() => {
                self.packed = Some(BytesMut::new());
                Ok(Bytes::new())
            }
            // Status code required by the gRPC protocol.
            1 => Err(Refusal::new(
                Code::Internal,
                "INVALID_MESSAGE",
                "a message has the compressed flag set, but the call has no grpc-encoding header",
            )),
            other => {
                let said = format!(
                    "a message has the compressed flag {other}, expected 0 or 1; the body may not be gRPC"
                );
                Err(Refusal::invalid_message(said))
            }
        }
    }

    /// Ends the current message if it is complete; returns its decompressed bytes if it was compressed.
    fn finish(&mut self, hold: &BodyHold) -> Result<Option<BytesMut>, Refusal> {
        if self.head.len() < HEAD || self.left > 0 {
            return Ok(None);
        }
        self.head.clear();
        self.count += 1;
        let (Some(packed), Some(encoding)) = (self.packed.take(), self.encoding) else {
            return Ok(None);
        };
        let broken = |error: io::Error| {
            Refusal::invalid_message(format!("a message can't be decompressed: {error}"))
        };
        let plain = match encoding {
            Encoding::Gzip => self.grow(MultiGzDecoder::new(&packed[..]), hold),
            Encoding::Zstd if window(&packed) > MAX_WINDOW => {
                Ok(Err(io::Error::other("its zstd window is larger than 8 MiB")))
            }
            Encoding::Zstd => match StreamingDecoder::new(&packed[..]) {
                Ok(decoder) if decoder.decoder.content_size() > self.max as u64 => {
                    Err(self.too_large())
                }
                Ok(decoder) => self.grow(decoder, hold),
                Err(error) => Ok(Err(io::Error::other(error))),
            },
        };
        let plain = plain?.map_err(broken)?;
        hold.give(packed.len() as u64);
        Ok(Some(plain))
    }

    /// Reads a decompressor to its end, charging the budget piece by piece.
    fn grow(&self, mut from: impl Read, hold: &BodyHold) -> Result<io::Result<BytesMut>, Refusal> {
        let mut plain = BytesMut::new();
        let mut piece = vec![0; PIECE];
        loop {
            let read = match from.read(&mut piece) {
                Ok(0) => return Ok(Ok(plain)),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Err(error)),
            };
            if plain.len() + read > self.max {
                return Err(self.too_large());
            }
            hold.take(read as u64)?;
            plain.extend_from_slice(&piece[..read]);
        }
    }

    fn too_large(&self) -> Refusal {
        let said = format!(
            "a message exceeds the limit of {} bytes; upload large pictures with UploadArtifact",
            self.max
        );
        Refusal::new(Code::OutOfRange, "MESSAGE_TOO_LARGE", said).with("limit_bytes", &self.max)
    }
}

/// Window size of a zstd frame, in bytes (RFC 8878, 3.1.1.1.2); 0 for a single-segment frame.
fn window(frame: &[u8]) -> u64 {
    match frame {
        [_, _, _, _, descriptor, window, ..] if descriptor & 0x20 == 0 => {
            let base = 1_u64 << (10 + (window >> 3));
            base + base / 8 * u64::from(window & 7)
        }
        _ => 0,
    }
}

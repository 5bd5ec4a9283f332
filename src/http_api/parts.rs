//! Answers in pieces: texts, and files in base64 that are read as they are sent, so that an answer of many large
//! pictures takes no memory.

use std::collections::VecDeque;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{Stream, stream};
use serde::Serialize;

use crate::jobs::fault::Fault;
use crate::server::work::Work;
use crate::wire::v1::Artifact;

/// Bytes of a file that are read at once; a multiple of three, so that pieces of base64 join without padding.
const PIECE: usize = 192 << 10;

/// An answer, or a part of one.
#[derive(Debug, Default)]
pub(super) struct Parts(VecDeque<Part>);

#[derive(Debug)]
enum Part {
    Text(Bytes),
    /// A file, from an offset on.
    File {
        name: String,
        size: u64,
        offset: u64,
    },
}

impl Parts {
    /// A text.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self(VecDeque::from([Part::Text(Bytes::from(text.into()))]))
    }

    /// The object of some fields, and of further ones in base64 and in parts.
    pub(super) fn object(
        fields: &impl Serialize,
        files: impl IntoIterator<Item = (&'static str, Artifact)>,
        parts: impl IntoIterator<Item = (&'static str, Self)>,
    ) -> Self {
        let mut text = serde_json::to_string(fields).expect("texts and numbers become JSON");
        text.pop();
        let mut all = Self::text(text);
        for (name, file) in files {
            let Artifact { name: file, size_bytes: size, .. } = file;
            all.push(Self::text(format!(r#","{name}":""#)));
            all.0.push_back(Part::File { name: file, size, offset: 0 });
            all.push(Self::text("\""));
        }
        for (name, parts) in parts {
            all.push(Self::text(format!(r#","{name}":"#)));
            all.push(parts);
        }
        all.push(Self::text("}"));
        all
    }

    /// A list.
    pub(super) fn list(items: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::text("[");
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                all.push(Self::text(","));
            }
            all.push(item);
        }
        all.push(Self::text("]"));
        all
    }

    /// Appends parts.
    pub(super) fn push(&mut self, parts: Self) {
        self.0.extend(parts.0);
    }

    /// Number of bytes.
    pub(super) fn length(&self) -> u64 {
        let length = |part: &Part| match part {
            Part::Text(text) => text.len() as u64,
            Part::File { size, .. } => size.div_ceil(3) * 4,
        };
        self.0.iter().map(length).sum()
    }

    /// The bytes.
    pub(super) fn bytes(self, work: Work) -> impl Stream<Item = Result<Bytes, Fault>> + Send {
        stream::try_unfold((self.0, work), |(mut parts, work)| async move {
            let piece = match parts.pop_front() {
                None => return Ok(None),
                Some(Part::Text(text)) => text,
                Some(Part::File { name, size, offset }) => {
                    let file = name.clone();
                    let read =
                        work.reading(move |store| store.artifacts.read(&file, offset, PIECE));
                    let read = read.await?;
                    let next = offset + read.len() as u64;
                    if next < size {
                        parts.push_front(Part::File { name, size, offset: next });
                    }
                    Bytes::from(STANDARD.encode(&read))
                }
            };
            Ok(Some((piece, (parts, work))))
        })
    }
}

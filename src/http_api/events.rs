//! The answer of a call as server-sent events: partial images, the image, or the error that ends them.

use std::{sync::Arc, time::SystemTime};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::{Stream, StreamExt, stream};
use http::header;
use serde::Serialize;

use crate::http_api::{
    answer::{self, Item, Usage},
    asked::Asked,
    parts::Parts,
    said, unix,
    watch::{Told, Watched},
};
use crate::server::{http_error, refusal::Refusal, work::Work};
use crate::wire::v1::Artifact;

/// What every event says, with the settings that this API leaves to the server.
#[derive(Debug, Serialize)]
struct Event<'a> {
    r#type: &'static str,
    created_at: u64,
    size: &'static str,
    quality: &'static str,
    background: &'static str,
    output_format: &'static str,
    #[serde(flatten)]
    of: Of<'a>,
}

/// What an event says beside that.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Of<'a> {
    Partial { partial_image_index: u32, b64_json: &'a str },
    Completed { usage: Usage },
}

/// An event that ends the stream with an error.
#[derive(Debug, Serialize)]
struct Failed<'a> {
    r#type: &'static str,
    #[serde(flatten)]
    error: http_error::ErrorBody<'a>,
}

/// A job of the stream.
struct Line {
    watched: Watched,
    /// Partial images so far.
    shown: u32,
    asked: Arc<Asked>,
    work: Work,
}

/// The stream of jobs.
pub(super) fn answer(jobs: Vec<Watched>, asked: Asked, work: &Work) -> Response {
    let asked = Arc::new(asked);
    let line = |watched| Line { watched, shown: 0, asked: Arc::clone(&asked), work: work.clone() };
    let lines = jobs.into_iter().map(|it| Box::pin(line(it).events()));
    let events = until_failed(stream::select_all(lines));
    let bytes = work.clone();
    let bytes = events.flat_map(move |event| event.bytes(bytes.clone()).boxed());
    let headers = [
        (header::CONTENT_TYPE.as_str(), "text/event-stream"),
        (header::CACHE_CONTROL.as_str(), "no-cache"),
        // nginx would keep events back.
        ("x-accel-buffering", "no"),
    ];
    (headers, Body::from_stream(bytes)).into_response()
}

/// Events up to the first that is an error.
fn until_failed(
    events: impl Stream<Item = Result<Parts, Parts>> + Send + Unpin,
) -> impl Stream<Item = Parts> + Send {
    stream::unfold(Some(events), |events| async move {
        let mut events = events?;
        match events.next().await? {
            Ok(event) => Some((event, Some(events))),
            Err(failed) => Some((failed, None)),
        }
    })
}

impl Line {
    /// The events of a job, the last of which is its image or its error.
    fn events(self) -> impl Stream<Item = Result<Parts, Parts>> + Send {
        stream::unfold(Some(self), |line| async move {
            let mut line = line?;
            match line.next().await {
                Ok((event, true)) => Some((Ok(event), None)),
                Ok((event, false)) => Some((Ok(event), Some(line))),
                Err(refusal) => Some((Err(failed(&refusal)), None)),
            }
        })
    }

    /// The next event, and whether it is the last.
    async fn next(&mut self) -> Result<(Parts, bool), Refusal> {
        match self.watched.next().await? {
            Told::Heartbeat => Ok((Parts::text(": the server is still there\n\n"), false)),
            Told::Partial(image) => {
                let index = self.shown;
                self.shown += 1;
                Ok((Self::partial(&image, index), false))
            }
            Told::End => {
                let job = Arc::clone(self.watched.job());
                let warnings = std::mem::take(&mut self.watched.warnings);
                let asked = Arc::clone(&self.asked);
                let made =
                    self.work.reading(move |store| answer::item(store, &job, warnings, &asked));
                let item = made.await.map_err(|fault| said::refusal(&fault))?;
                Ok((self.completed(item), true))
            }
        }
    }

    fn partial(image: &Artifact, index: u32) -> Parts {
        let b64_json = STANDARD.encode(&image.inline);
        let of = Of::Partial { partial_image_index: index, b64_json: &b64_json };
        // A preview is a PNG whatever the result will be.
        let event = Self::event("image_edit.partial_image", "png", of);
        framed("image_edit.partial_image", Parts::object(&event, None, None))
    }

    fn completed(&self, Item { image, retouch }: Item) -> Parts {
        let format = answer::format_name(self.asked.format);
        let of = Of::Completed { usage: Usage::default() };
        let event = Self::event("image_edit.completed", format, of);
        let image = image.map(|it| ("b64_json", it));
        framed("image_edit.completed", Parts::object(&event, image, [("retouch", retouch)]))
    }

    fn event<'a>(kind: &'static str, output_format: &'static str, of: Of<'a>) -> Event<'a> {
        Event {
            r#type: kind,
            created_at: unix(SystemTime::now()),
            size: "auto",
            quality: "auto",
            background: "auto",
            output_format,
            of,
        }
    }
}

fn failed(refusal: &Refusal) -> Parts {
    let event = Failed { r#type: "error", error: http_error::body(refusal) };
    framed("error", Parts::object(&event, None, None))
}

/// An event's data in its frame.
fn framed(kind: &str, data: Parts) -> Parts {
    let mut frame = Parts::text(format!("event: {kind}\ndata: "));
    frame.push(data);
    frame.push(Parts::text("\n\n"));
    frame
}

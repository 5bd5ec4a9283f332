//! `POST /v1/images/edits`: a picture and an instruction in, edited pictures out.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, header};
use tonic::Code;

use crate::http_api::{
    Door, answer,
    asked::Asked,
    body::{Kind, Received},
    events, plan,
    said::{self, wrong},
    watch::{Told, Watched},
};
use crate::jobs::{admission::Attachment, job::Job, store::Store};
use crate::server::{
    gate::plain::{Admitted, Creates, PlainCall},
    keys::Scope,
    methods::Needs,
    refusal::Refusal,
};

/// Header with the caller's key of a request, under which a repeat gets the same jobs.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Longest key, in characters; the ids of further variants are longer.
const MAX_KEY: usize = 120;

/// Edits a picture.
pub(super) async fn edit(State(door): State<Arc<Door>>, request: Request) -> Response {
    door.edit(request).await.unwrap_or_else(|refusal| said::answer(&refusal))
}

impl Door {
    async fn edit(&self, request: Request) -> Result<Response, Refusal> {
        // 1. Admit the call by its headers.
        let headers = request.headers();
        let key = key(headers)?;
        let kind = Kind::of(headers);
        let length = length(headers);
        let call = PlainCall {
            needs: Needs::OneOf(&[Scope::Edit]),
            creates: Some(Creates { request_id: &key }),
            max_body: kind
                .as_ref()
                .map_or(self.max_request_bytes, |it| it.most(self.max_request_bytes)),
        };
        let Admitted { caller, hold, body } = self.gate.admit(request, call)?;
        let Some(kind) = kind else { return Err(unsupported()) };

        // 2. Take the body in.
        let received = kind.receive(body, length).await;
        let received = received.map_err(|refusal| hold.refusal().unwrap_or(refusal))?;

        // 3. Create its jobs.
        let tenant = caller.tenant;
        let made = self.work.changing(move |store| {
            let made = create(store, &tenant, &key, received);
            hold.release();
            Ok(made)
        });
        let (asked, jobs) = made.await.map_err(|fault| said::refusal(&fault))??;

        // 4. Wait for them, or let them be watched.
        let mut watched: Vec<Watched> =
            jobs.iter().map(|job| Watched::new(&self.store, job, &asked)).collect();
        if asked.stream {
            return Ok(events::answer(watched, asked, &self.work));
        }
        let mut done = Vec::new();
        for watched in &mut watched {
            while !matches!(watched.next().await?, Told::End) {}
            done.push((Arc::clone(watched.job()), std::mem::take(&mut watched.warnings)));
        }
        let made = self.work.reading(move |store| {
            let item = |(job, warnings)| answer::item(store, &job, warnings, &asked);
            let items = done.into_iter().map(item).collect::<Result<Vec<_>, _>>()?;
            Ok((items, asked))
        });
        let (items, asked) = made.await.map_err(|fault| said::refusal(&fault))?;
        Ok(answer::answer(items, &asked, self.work.clone()))
    }
}

/// Creates the jobs of a request. Blocking: decodes pictures and writes files.
fn create(
    store: &Arc<Store>,
    tenant: &str,
    key: &str,
    received: Received,
) -> Result<(Asked, Vec<Arc<Job>>), Refusal> {
    let image = received.image_field();
    let mut asked = received.asked()?;
    let mask = if asked.pictures.retouch_mask.is_some() { "retouch_mask" } else { "mask" };
    let requests = plan::requests(store, tenant, &mut asked, key)?;
    let jobs = store.create_variants(tenant, requests, Attachment::Waiting);
    Ok((asked, jobs.map_err(|fault| said::refusal_of(&fault, image, mask))?))
}

/// The caller's key of a request; empty if there is none.
fn key(headers: &HeaderMap) -> Result<String, Refusal> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(String::new()) };
    let key = key.to_str().unwrap_or_default();
    if (1..=MAX_KEY).contains(&key.len()) {
        return Ok(key.to_owned());
    }
    Err(wrong("Idempotency-Key", format!("is expected to have 1 to {MAX_KEY} plain characters")))
}

/// The announced length of a body; 0 without one.
fn length(headers: &HeaderMap) -> usize {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok());
    length.and_then(|it| it.parse().ok()).unwrap_or_default()
}

fn unsupported() -> Refusal {
    let said =
        "expected a body of content-type application/json, or multipart/form-data with a boundary";
    Refusal::new(Code::InvalidArgument, "UNSUPPORTED_MEDIA_TYPE", said)
}

//! `GET /v1/models` and `/v1/models/{id}`: the loaded model, as OpenAI's API describes models.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, Request, State, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use http::header;
use serde::Serialize;
use tonic::Code;

use crate::http_api::{Door, said, unix};
use crate::server::{gate::plain::PlainCall, keys::Scope, methods::Needs, refusal::Refusal};

/// Any key may ask for the models; a body is not read.
const CALL: PlainCall<'static> = PlainCall {
    needs: Needs::OneOf(&[Scope::Edit, Scope::Admin]),
    creates: None,
    max_body: u64::MAX,
};

/// A model.
#[derive(Debug, Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
    /// LoRAs in its weights; OpenAI's models have no such key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    loras: Vec<ModelLora<'a>>,
}

/// A LoRA in a model's weights.
#[derive(Debug, Serialize)]
struct ModelLora<'a> {
    name: &'a str,
    sha256: &'a str,
    weight: f64,
}

/// All models.
#[derive(Debug, Serialize)]
struct Models<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
}

/// The models that are loaded: one, or none yet.
pub(super) async fn list(State(door): State<Arc<Door>>, request: Request) -> Response {
    if let Err(refusal) = door.gate.admit(request, CALL) {
        return said::answer(&refusal);
    }
    json(&Models { object: "list", data: door.model().into_iter().collect() })
}

/// A model by its name.
pub(super) async fn get(
    State(door): State<Arc<Door>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    if let Err(refusal) = door.gate.admit(request, CALL) {
        return said::answer(&refusal);
    }
    // A name that is no UTF-8 is none of a model.
    let id = id.map(|Path(id)| id).unwrap_or_default();
    match door.model().filter(|it| it.id == id) {
        Some(model) => json(&model),
        None => said::answer(&no_model(&id)),
    }
}

/// The refusal of a model that is not loaded.
pub(super) fn no_model(id: &str) -> Refusal {
    let said = format!("there is no model `{id}`; GET /v1/models lists the one that is loaded");
    Refusal::new(Code::NotFound, "model_not_found", said).field("model", "is not loaded")
}

impl Door {
    fn model(&self) -> Option<Model<'_>> {
        let model = self.store.model()?;
        let created = unix(self.started);
        let loras = model.loras.iter();
        let loras =
            loras.map(|it| ModelLora { name: &it.name, sha256: &it.sha256, weight: it.scale.0 });
        let loras = loras.collect();
        Some(Model { id: &model.name, object: "model", created, owned_by: "retouch", loras })
    }
}

fn json(answer: &impl Serialize) -> Response {
    let text = serde_json::to_string(answer).expect("texts and numbers become JSON");
    ([(header::CONTENT_TYPE, "application/json")], Body::from(text)).into_response()
}

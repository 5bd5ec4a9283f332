//! `GetServerInfo`: version, model, limits and load of the server.

use crate::jobs::{
    runner::ModelInfo,
    store::{Limits, Store},
};
use crate::wire::{
    edit_record::Lora,
    spec::{self, duration},
    v1::{self, edit_job::State},
};

/// Supported image formats.
const MIME_TYPES: [&str; 3] = ["image/png", "image/jpeg", "image/webp"];

pub(super) fn info(store: &Store, max_request_bytes: u64, tenant: &str) -> v1::ServerInfo {
    let Limits { slots, queue, tenant_awaiting, max_ttl, max_pixels, max_artifact_bytes, .. } =
        store.limits;
    let model = store.model();
    let counts = store.counts(tenant);
    let count = |state: State| counts.get(&(state as i32)).copied().unwrap_or_default();
    let ready = store.ready();
    let not_ready_reason = ready.borrow().as_ref().err().cloned().unwrap_or_default();
    let types = || MIME_TYPES.map(str::to_owned).to_vec();
    v1::ServerInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        model: model.map(|it| it.name.clone()).unwrap_or_default(),
        not_ready_reason,
        defaults: store.terms().ok().map(|terms| spec::defaults(&terms)),
        limits: Some(v1::Limits {
            max_request_bytes,
            max_artifact_bytes,
            max_pixels,
            max_queued_jobs: queue.tenant as u32,
            max_awaiting_jobs: tenant_awaiting as u32,
            max_ttl: Some(duration(max_ttl)),
        }),
        load: Some(v1::Load {
            slots,
            free_slots: slots.saturating_sub(store.running() as u32),
            queued: store.queue.len() as u32,
            queue_limit: store.queue.limit() as u32,
        }),
        usage: Some(v1::Usage {
            queued: count(State::Queued) + count(State::MaskReady),
            running: count(State::Localizing) + count(State::Editing),
            awaiting: count(State::AwaitingMask),
            artifact_bytes: store.artifacts.bytes_of(tenant),
        }),
        devices: store.devices(),
        dtype: model.map(|it| it.dtype.clone()).unwrap_or_default(),
        input_mime_types: types(),
        output_mime_types: types(),
        loras: model.map(loras).unwrap_or_default(),
        preview_decoder: model.is_some_and(|it| it.preview_decoder),
        engine: if store.is_shared() { "nats" } else { "embedded" }.to_owned(),
        process: store.process().to_owned(),
        processes: store.processes(),
    }
}

fn loras(model: &ModelInfo) -> Vec<v1::Lora> {
    let lora = |it: &Lora| v1::Lora {
        name: it.name.clone(),
        sha256: it.sha256.clone(),
        weight: it.scale.0,
    };
    model.loras.iter().map(lora).collect()
}

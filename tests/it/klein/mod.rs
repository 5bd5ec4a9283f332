//! FLUX.2-klein against diffusers with the same weights (`tests/record/klein.py`), and edits with it from end to end.

// What no trained weights decide: noise levels, noise, sizes of pictures.
mod schedule;
// Each network, block by block.
mod stages;
// Whole edits as diffusers makes them.
mod edits;
// Both passes, jobs that share the model, recorded calls, the text encoder's memory.
mod passes;
// What the configurations must not say.
mod configs;

use std::path::{Path, PathBuf};

use retouch::{
    models::snapshot::Snapshot,
    pipelines::{flux2_klein::Flux2KleinPipeline, load},
};
use tch::{Device, Kind, Tensor};

use crate::support::Recorded;

/// The distilled model, and the base model with guidance.
const SNAPSHOTS: [&str; 2] = ["klein", "klein_base"];
/// What the edits were asked for.
const INSTRUCTION: &str = "change the red circle to a blue star";
/// Of a recorded stage, every seventh value is kept (`STAGE_STRIDE` of the recording script).
const STAGE_STRIDE: i64 = 7;

pub(crate) fn snapshot(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models").join(name)
}

pub(crate) fn pipeline(name: &str) -> Flux2KleinPipeline {
    let snapshot = Snapshot::open(&snapshot(name)).unwrap();
    load::flux2_klein(&snapshot, Kind::Float, Device::Cpu).unwrap()
}

fn recorded(name: &str) -> Recorded {
    Recorded::open(&snapshot(&format!("{name}.safetensors")))
}

/// What is kept of a stage.
fn strided(stage: &Tensor) -> Tensor {
    stage.flatten(0, -1).slice(0, None, None, STAGE_STRIDE)
}

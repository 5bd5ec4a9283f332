//! U-Net and VAE against diffusers with the same weights (`tests/record/models.py`).

mod configs;
mod parity;
mod sites;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use retouch::models::{
    stable_diffusion::{
        autoencoder_kl::{AutoencoderKl, AutoencoderKlConfig},
        unet_2d_condition::UNet2DConditionModel,
        unet_2d_condition_config::UNet2DConditionConfig,
    },
    weights::Checkpoint,
};
use tch::{Device, Kind, Tensor};

/// The recorded snapshots: Stable Diffusion 1.x as published, and 2.x with whatever else a configuration may say.
const SNAPSHOTS: [&str; 2] = ["sd1", "linear"];
/// The recorded sizes: multiples of the strides, and not; neither is square.
const SIZES: [&str; 2] = ["even", "odd"];

fn snapshot(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models").join(name)
}

fn config_text(name: &str, part: &str) -> String {
    std::fs::read_to_string(snapshot(name).join(part).join("config.json")).unwrap()
}

fn unet(name: &str, kind: Kind) -> UNet2DConditionModel {
    unet_with(name, kind, |_| {})
}

/// The U-Net of a snapshot under a changed configuration.
fn unet_with(
    name: &str,
    kind: Kind,
    change: fn(&mut UNet2DConditionConfig),
) -> UNet2DConditionModel {
    let mut config = UNet2DConditionConfig::from_json(&config_text(name, "unet")).unwrap();
    change(&mut config);
    let checkpoint = Checkpoint::open(&snapshot(name).join("unet")).unwrap();
    let unet = UNet2DConditionModel::new(&checkpoint.root(kind, Device::Cpu), &config);
    checkpoint.finish().unwrap();
    unet
}

fn vae(name: &str, kind: Kind) -> AutoencoderKl {
    let config = AutoencoderKlConfig::from_json(&config_text(name, "vae")).unwrap();
    let checkpoint = Checkpoint::open(&snapshot(name).join("vae")).unwrap();
    let vae = AutoencoderKl::new(&checkpoint.root(kind, Device::Cpu), &config);
    checkpoint.finish().unwrap();
    vae
}

/// What diffusers computed, by the recording script's names.
struct Record(HashMap<String, Tensor>);

impl Record {
    fn of(name: &str) -> Self {
        let path = snapshot(&format!("{name}.record.safetensors"));
        Self(Tensor::read_safetensors(path).unwrap().into_iter().collect())
    }

    fn get(&self, size: &str, key: &str) -> &Tensor {
        &self.0[&format!("{size}.{key}")]
    }

    fn prompts(&self) -> &Tensor {
        &self.0["text.last_hidden_state"]
    }
}

/// Largest difference over the largest expected value.
fn error(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size());
    let difference = (found.to_kind(Kind::Double) - expected.to_kind(Kind::Double)).abs().max();
    f64::try_from(difference / expected.to_kind(Kind::Double).abs().max()).unwrap()
}

/// Length of the difference over the length of what is expected.
fn relative_l2(found: &Tensor, expected: &Tensor) -> f64 {
    let difference = (found.to_kind(Kind::Double) - expected.to_kind(Kind::Double)).norm();
    f64::try_from(difference / expected.to_kind(Kind::Double).norm()).unwrap()
}

//! LoRAs against what diffusers and PEFT merge (`tests/record/lora.py`), and files that are refused.

mod refused;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use retouch::{
    attention::{processor::Unwatched, role::Role},
    models::{
        snapshot::{Snapshot, part::Part},
        stable_diffusion::{
            clip::text_model::{ClipTextConfig, ClipTextModel},
            unet_2d_condition::UNet2DConditionModel,
            unet_2d_condition_config::UNet2DConditionConfig,
        },
    },
    pipelines::{load, lora},
    sampling::lora::LoraChoice,
};
use serde_json::json;
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

use crate::flux2_files::{copy_of_klein, set};

/// fp32, as for the networks without LoRAs.
const TOLERANCE: f64 = 1e-5;
const MODELS: [&str; 2] = ["sd1", "linear"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn file(name: &str) -> PathBuf {
    fixtures().join("lora").join(format!("{name}.safetensors"))
}

fn model(name: &str) -> PathBuf {
    fixtures().join("models").join(name)
}

fn choice(name: &str, weight: f64) -> LoraChoice {
    LoraChoice { path: file(name), weight: weight.try_into().unwrap() }
}

fn tensors(path: PathBuf) -> HashMap<String, Tensor> {
    Tensor::read_safetensors(path).unwrap().into_iter().collect()
}

fn error(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size());
    let most = |it: &Tensor| it.abs().max().double_value(&[]);
    most(&(found - expected)) / most(expected)
}

/// Noise and text of a model's networks with these LoRAs.
fn outputs(name: &str, loras: &[LoraChoice], kind: Kind) -> [Tensor; 2] {
    let mut snapshot = Snapshot::open(&model(name)).unwrap();
    lora::apply(&mut snapshot, loras).unwrap();
    let inputs = tensors(fixtures().join(format!("models/{name}.record.safetensors")));
    let config = UNet2DConditionConfig::from_json(&snapshot.config("unet").to_string()).unwrap();
    let weights = snapshot.weights(Part::UNet).unwrap();
    let unet = UNet2DConditionModel::new(&weights.root(kind, Device::Cpu), &config);
    weights.finish().unwrap();
    let noise = unet.forward(
        &inputs["even.sample"].to_kind(kind),
        &inputs["even.timesteps"],
        &inputs["text.last_hidden_state"].to_kind(kind),
        &Role::TRIPLE,
        &mut Unwatched,
    );
    let config = ClipTextConfig::from_json(&snapshot.config("text_encoder").to_string()).unwrap();
    let weights = snapshot.weights(Part::TextEncoder).unwrap();
    let text = ClipTextModel::new(&weights.root(kind, Device::Cpu), &config);
    weights.finish().unwrap();
    let ids = inputs["text.input_ids"].narrow(0, 0, 1);
    [noise, text.forward(&ids).last_hidden_state]
}

#[test]
fn every_layout_is_merged_as_diffusers_merges_it() {
    let record = tensors(file("record"));
    for name in MODELS {
        let [bare, _] = outputs(name, &[], Kind::Float);
        let one = |layout: &str| vec![choice(&format!("{name}-{layout}"), 1.0)];
        let two =
            vec![choice(&format!("{name}-kohya"), 0.8), choice(&format!("{name}-older"), -0.5)];
        for (layout, loras) in [
            ("kohya", one("kohya")),
            ("blocks", one("blocks")),
            ("peft", one("peft")),
            ("older", one("older")),
            ("lokr", one("lokr")),
            ("two", two),
        ] {
            let [noise, text] = outputs(name, &loras, Kind::Float);
            let expected = |what: &str| &record[&format!("{name}.{layout}.{what}")];
            let (of_noise, of_text) =
                (error(&noise, expected("noise")), error(&text, expected("text")));
            assert!(
                of_noise < TOLERANCE && of_text < TOLERANCE,
                "{name} {layout}: {of_noise:e}, {of_text:e}"
            );
            // Else nothing would be shown.
            assert!(error(&noise, &bare) > 0.01, "{name} {layout} changes nothing");
        }
    }
}

#[test]
fn modules_have_ranks_and_alphas_of_their_own_or_none() {
    let record = tensors(file("record"));
    for layout in ["bare", "pattern", "factors"] {
        let [noise, text] = outputs("sd1", &[choice(&format!("sd1-{layout}"), 1.0)], Kind::Float);
        let expected = |what: &str| &record[&format!("sd1.{layout}.{what}")];
        let errors = [error(&noise, expected("noise")), error(&text, expected("text"))];
        assert!(errors.iter().all(|it| *it < TOLERANCE), "{layout}: {errors:?}");
    }
}

#[test]
fn a_weight_of_nothing_changes_nothing() {
    let found = outputs("sd1", &[choice("sd1-kohya", 0.0)], Kind::Float);
    assert_eq!(found, outputs("sd1", &[], Kind::Float));
}

#[test]
fn a_lora_is_merged_before_weights_are_rounded() {
    let kohya = [choice("sd1-kohya", 1.0)];
    let [exact, _] = outputs("sd1", &kohya, Kind::Float);
    let [rounded, _] = outputs("sd1", &kohya, Kind::BFloat16);
    let distance = (rounded.to_kind(Kind::Float) - &exact).norm() / exact.norm();
    // As far as without a LoRA, whose bound tests/it/models has.
    assert!(distance.double_value(&[]) < 0.06);
}

/// FLUX.2-klein with the transformer that LoRAs were merged into.
fn klein() -> TempDir {
    let folder = copy_of_klein();
    for (key, value) in [
        ("in_channels", json!(8)),
        ("num_single_layers", json!(2)),
        ("attention_head_dim", json!(8)),
        ("num_attention_heads", json!(2)),
        ("joint_attention_dim", json!(12)),
        ("timestep_guidance_channels", json!(16)),
        ("axes_dims_rope", json!([2, 2, 2, 2])),
    ] {
        set(folder.path(), "transformer/config.json", key, value);
    }
    let weights = folder.path().join("transformer/diffusion_pytorch_model.safetensors");
    fs::copy(file("flux2"), weights).unwrap();
    folder
}

#[test]
fn a_klein_transformer_takes_every_layout_that_diffusers_takes() {
    let record = tensors(file("record"));
    let before = tensors(file("flux2"));
    let klein = klein();
    for layout in ["bfl", "kohya", "peft", "lokr", "lokr-bfl"] {
        let mut snapshot = Snapshot::open(klein.path()).unwrap();
        lora::apply(&mut snapshot, &[choice(&format!("flux2-{layout}"), 1.0)]).unwrap();
        let weights = snapshot.weights(Part::Transformer).unwrap();
        let root = weights.root(Kind::Float, Device::Cpu);
        let mut changed = 0;
        for (key, before) in &before {
            let found = root.tensor(key, &before.size());
            match record.get(&format!("flux2.{layout}.{key}")) {
                Some(expected) => {
                    let error = error(&found, expected);
                    assert!(error < 1e-6, "{layout} {key}: {error:e}");
                    changed += 1;
                }
                None => assert_eq!(found, *before, "{layout} {key}"),
            }
        }
        weights.finish().unwrap();
        let merged = format!("flux2.{layout}.");
        assert_eq!(changed, record.keys().filter(|it| it.starts_with(&merged)).count(), "{layout}");
    }
}

#[test]
fn a_model_with_a_lora_is_another_model() {
    let digest = |loras: &[LoraChoice]| {
        let mut snapshot = Snapshot::open(&model("sd1")).unwrap();
        lora::apply(&mut snapshot, loras).unwrap();
        snapshot.digest().unwrap()
    };
    let all = [
        digest(&[]),
        digest(&[choice("sd1-kohya", 0.0)]),
        digest(&[choice("sd1-kohya", 1.0)]),
        digest(&[choice("sd1-kohya", 0.5)]),
        digest(&[choice("sd1-older", 1.0)]),
        digest(&[choice("sd1-kohya", 1.0), choice("sd1-older", 1.0)]),
    ];
    for (index, digest) in all.iter().enumerate() {
        assert_eq!(all.iter().position(|it| it == digest), Some(index));
    }
    // And one without stays what it was.
    assert_eq!(all[0], Snapshot::open(&model("sd1")).unwrap().digest().unwrap());
}

#[test]
fn a_pipeline_is_loaded_with_them() {
    let mut snapshot = Snapshot::open(&model("sd1")).unwrap();
    let applied = lora::apply(&mut snapshot, &[choice("sd1-peft", 0.7)]).unwrap();
    assert_eq!(applied[0].name, "sd1-peft.safetensors");
    assert_eq!((applied[0].weight, applied[0].sha256.len()), (0.7, 64));
    let pipeline = load::instruct_pix2pix(&snapshot, Kind::Float, Device::Cpu).unwrap();
    assert_eq!(pipeline.digest, snapshot.digest().unwrap());
}

#[test]
fn what_a_file_is_for_and_changes_is_told() {
    let kohya = lora::summary(&file("sd1-kohya")).unwrap();
    assert_eq!((kohya.method, kohya.ranks, kohya.scales), ("LoRA", Some((2, 2)), (0.5, 0.5)));
    assert_eq!(kohya.metadata["ss_network_dim"], "2");
    assert!(kohya.touched["text encoder attention"] > 0, "{:?}", kohya.touched);
    assert!(kohya.touched["denoiser cross-attention"] > 0, "{:?}", kohya.touched);
    assert!(kohya.touched["denoiser convolutions"] > 0, "{:?}", kohya.touched);
    let peft = lora::summary(&file("sd1-peft")).unwrap();
    assert!((peft.scales.0 - 0.5).abs() < 1e-12, "{:?}", peft.scales);
    assert!((peft.scales.1 - 2f64.sqrt()).abs() < 1e-12, "{:?}", peft.scales);
    assert_eq!(lora::summary(&file("sd1-lokr")).unwrap().method, "LoKr");
    let uneven = lora::summary(&file("sd1-ranks")).unwrap();
    assert_eq!((uneven.ranks, uneven.scales), (Some((1, 3)), (0.5 / 3.0, 4.0)));
    assert_eq!(uneven.dtypes.iter().collect::<Vec<_>>(), ["BF16"]);
    for layout in ["bfl", "kohya", "peft", "lokr", "lokr-bfl"] {
        let found = lora::summary(&file(&format!("flux2-{layout}"))).unwrap();
        assert!(found.family.is_some_and(|it| it.contains("FLUX.2")), "{layout}: {found:?}");
    }
}

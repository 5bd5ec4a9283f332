//! Outputs of each stage of the networks.

use std::collections::BTreeSet;

use retouch::{
    attention::{processor::Unwatched, role::Role},
    models::{
        flux2::{
            transformer_flux2::{Flux2Call, Flux2Transformer2DModel},
            transformer_flux2_config::Flux2Transformer2DConfig,
        },
        weights::Checkpoint,
    },
    pipelines::EditPipeline,
};
use tch::{Device, Kind, Tensor};

use super::{SNAPSHOTS, pipeline, recorded, strided};
use crate::support::{Recorded, relative_error};

/// fp32 through a handful of blocks.
const TOLERANCE: f64 = 1e-5;

/// Runs a recorded call, and compares each block's output and the prediction.
fn compare(model: &Flux2Transformer2DModel, recorded: &Recorded, prefix: &str, blocks: usize) {
    let tensor = |name: &str| recorded.tensor(&format!("{prefix}{name}"));
    let [latents, references, timesteps, prompts] =
        ["latents", "pictures", "timesteps", "prompts"].map(tensor);
    let call = Flux2Call {
        latents: &latents,
        references: &references,
        timesteps: &timesteps,
        prompts: &prompts,
        shared: 1,
    };
    let roles = vec![Role::Text; latents.size()[0] as usize];
    let mut seen = BTreeSet::new();
    let noise = model.forward_told(&call, &roles, &mut Unwatched, &mut |name, streams| {
        let expected = tensor(&format!("stages.{name}"));
        let error = relative_error(&strided(&Tensor::cat(streams, 1)), &expected);
        assert!(error < TOLERANCE, "{prefix}{name}: {error:e}");
        seen.insert(name.to_owned());
    });
    assert_eq!(seen.len(), blocks);
    let error = relative_error(&noise, &tensor("noise"));
    assert!(error < TOLERANCE, "{prefix}noise: {error:e}");
}

#[test]
fn the_transformer_matches_diffusers_block_by_block() {
    for name in SNAPSHOTS {
        let (model, recorded) = (pipeline(name), recorded(&format!("{name}.stages")));
        let config = model.transformer.config();
        let blocks = config.num_layers + config.num_single_layers;
        for case in ["one.", "two."] {
            compare(&model.transformer, &recorded, case, blocks);
        }
    }
}

/// Weights from whole numbers alone, as the recording script makes them.
fn recipe(seed: i64, key: &str, shape: &[i64]) -> Tensor {
    const PRIME: i64 = 65521;
    let count: i64 = shape.iter().product();
    let mut value = Tensor::arange(count, (Kind::Int64, Device::Cpu)) + 1000 * seed;
    for step in [3, 7, 11] {
        let root = value.remainder(PRIME);
        value = (&root * &root + value * step + (seed + step)).remainder(PRIME * 32768);
    }
    let value = value.remainder(PRIME).to_kind(Kind::Double) / PRIME as f64 * 2.0 - 1.0;
    let value = if key.ends_with("bias") || shape.len() > 1 {
        let inputs: i64 = shape[1..].iter().product();
        value * 1.4 / (inputs as f64).sqrt()
    } else {
        value * 0.4 + 1.2
    };
    value.view(shape).to_kind(Kind::Float)
}

#[test]
fn blocks_with_heads_of_the_published_size_match_diffusers() {
    // 1. The weights of one block of each kind, by their keys.
    let (inner, mlp, joint, channels) = (256, 768, 24, 16);
    let mut shapes: Vec<(String, Vec<i64>)> = vec![
        ("context_embedder.weight".to_owned(), vec![inner, joint]),
        ("x_embedder.weight".to_owned(), vec![inner, channels]),
        ("proj_out.weight".to_owned(), vec![channels, inner]),
        ("norm_out.linear.weight".to_owned(), vec![2 * inner, inner]),
        ("single_stream_modulation.linear.weight".to_owned(), vec![3 * inner, inner]),
        ("double_stream_modulation_img.linear.weight".to_owned(), vec![6 * inner, inner]),
        ("double_stream_modulation_txt.linear.weight".to_owned(), vec![6 * inner, inner]),
        ("time_guidance_embed.timestep_embedder.linear_1.weight".to_owned(), vec![inner, 256]),
        ("time_guidance_embed.timestep_embedder.linear_2.weight".to_owned(), vec![inner, inner]),
    ];
    let mut add = |block: &str, names: &[&str], shape: &[i64]| {
        shapes.extend(names.iter().map(|it| (format!("{block}.{it}.weight"), shape.to_vec())));
    };
    let double = "transformer_blocks.0";
    let square = [
        "to_q",
        "to_k",
        "to_v",
        "add_q_proj",
        "add_k_proj",
        "add_v_proj",
        "to_add_out",
        "to_out.0",
    ];
    add(&format!("{double}.attn"), &square, &[inner, inner]);
    add(&format!("{double}.attn"), &["norm_q", "norm_k", "norm_added_q", "norm_added_k"], &[128]);
    add(double, &["ff.linear_in", "ff_context.linear_in"], &[2 * mlp, inner]);
    add(double, &["ff.linear_out", "ff_context.linear_out"], &[inner, mlp]);
    let single = "single_transformer_blocks.0.attn";
    add(single, &["to_qkv_mlp_proj"], &[3 * inner + 2 * mlp, inner]);
    add(single, &["to_out"], &[inner, inner + mlp]);
    add(single, &["norm_q", "norm_k"], &[128]);
    shapes.sort();
    let weights = (0i64..).zip(&shapes);
    let weights: Vec<(&str, Tensor)> =
        weights.map(|(seed, (key, shape))| (key.as_str(), recipe(seed, key, shape))).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("diffusion_pytorch_model.safetensors");
    Tensor::write_safetensors(&weights, &file).unwrap();

    // 2. The model over them.
    let config = serde_json::json!({
        "in_channels": channels, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 128,
        "num_attention_heads": 2, "joint_attention_dim": joint, "guidance_embeds": false,
    });
    let config = Flux2Transformer2DConfig::from_json(&config.to_string()).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let model = Flux2Transformer2DModel::new(&checkpoint.root(Kind::Float, Device::Cpu), &config);
    checkpoint.finish().unwrap();
    compare(&model, &recorded("klein_heads"), "", 2);
}

#[test]
fn the_autoencoder_matches_diffusers_both_ways() {
    for name in SNAPSHOTS {
        let (model, recorded) = (pipeline(name), recorded(&format!("{name}.stages")));
        for case in ["even", "square"] {
            let tensor = |it: &str| recorded.tensor(&format!("vae.{case}.{it}"));
            let latents = model.vae.encode(&tensor("images"));
            let error = relative_error(&latents, &tensor("latents"));
            assert!(error < TOLERANCE, "{name} {case} latents: {error:e}");
            let stages = 0..model.decode_stages();
            let pixels =
                stages.fold(tensor("latents"), |hidden, stage| model.decode_stage(stage, &hidden));
            let error = relative_error(&pixels, &tensor("decoded"));
            assert!(error < TOLERANCE, "{name} {case} decoded: {error:e}");
        }
    }
}

#[test]
fn half_precision_stays_near() {
    let recorded = recorded("klein.stages");
    let tensor = |name: &str| recorded.tensor(&format!("one.{name}"));
    for (kind, tolerance) in [(Kind::BFloat16, 0.1), (Kind::Half, 0.02)] {
        let folder = super::snapshot("klein").join("transformer");
        let config = std::fs::read_to_string(folder.join("config.json")).unwrap();
        let config = Flux2Transformer2DConfig::from_json(&config).unwrap();
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let model = Flux2Transformer2DModel::new(&checkpoint.root(kind, Device::Cpu), &config);
        checkpoint.finish().unwrap();
        let [latents, references, prompts] =
            ["latents", "pictures", "prompts"].map(|it| tensor(it).to_kind(kind));
        let call = Flux2Call {
            latents: &latents,
            references: &references,
            timesteps: &tensor("timesteps"),
            prompts: &prompts,
            shared: 1,
        };
        let noise = model.forward(&call, &[Role::Text; 2], &mut Unwatched);
        assert_eq!(noise.kind(), kind);
        let error = relative_error(&noise, &tensor("noise"));
        assert!(error < tolerance, "{kind:?}: {error:e}");
    }
}

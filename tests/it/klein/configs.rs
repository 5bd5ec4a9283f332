//! Configurations of other architectures, and of parts of several models.

use retouch::{
    models::flux2::{
        autoencoder_kl_flux2::AutoencoderKlFlux2Config,
        transformer_flux2_config::Flux2Transformer2DConfig,
    },
    models::snapshot::Snapshot,
    pipelines::load,
};
use serde_json::{Value, json};
use tch::{Device, Kind};

use super::snapshot;

fn changed(part: &str, changes: &[(&str, Value)]) -> String {
    let path = snapshot("klein").join(part).join("config.json");
    let mut json: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for (key, value) in changes {
        json[*key] = value.clone();
    }
    json.to_string()
}

#[test]
fn a_configuration_without_keys_is_that_of_flux2_dev_but_for_its_guidance() {
    let config = Flux2Transformer2DConfig::from_json(r#"{"guidance_embeds": false}"#).unwrap();
    assert_eq!((config.num_layers, config.num_single_layers), (8, 48));
    assert_eq!((config.inner_dim(), config.mlp_hidden_dim()), (6144, 18432));
    let vae = AutoencoderKlFlux2Config::from_json("{}").unwrap();
    assert_eq!((vae.scale_factor(), vae.cell_channels(), vae.sample_size), (16, 128, 1024));
}

#[test]
fn what_is_not_supported_is_refused_by_key() {
    for (key, value) in [
        ("guidance_embeds", json!(true)),
        ("patch_size", json!(2)),
        ("out_channels", json!(4)),
        ("axes_dims_rope", json!([4, 4, 8])),
        ("axes_dims_rope", json!([4, 4, 4, 8])),
        ("axes_dims_rope", json!([3, 5, 4, 4])),
        ("timestep_guidance_channels", json!(3)),
        ("num_layers", json!(0)),
        ("mlp_ratio", json!(0)),
        ("_class_name", json!("FluxTransformer2DModel")),
    ] {
        let text = changed("transformer", &[(key, value)]);
        let error = Flux2Transformer2DConfig::from_json(&text).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
    for (key, value) in [
        ("patch_size", json!([1, 1])),
        ("act_fn", json!("gelu")),
        ("block_out_channels", json!([8, 12, 18])),
        ("decoder_block_out_channels", json!([8, 12])),
        ("decoder_block_out_channels", json!([8, 12, 18])),
        ("down_block_types", json!(["DownEncoderBlock2D"])),
        ("batch_norm_eps", json!(0)),
        ("latent_channels", json!(0)),
        ("_class_name", json!("AutoencoderKL")),
    ] {
        let text = changed("vae", &[(key, value)]);
        let error = AutoencoderKlFlux2Config::from_json(&text).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn parts_of_several_models_are_refused_by_key() {
    for (part, key) in [("vae", "in_channels"), ("text_encoder", "joint_attention_dim")] {
        let folder = tempfile::tempdir().unwrap();
        copy(&snapshot("klein"), folder.path());
        std::fs::remove_dir_all(folder.path().join(part)).unwrap();
        copy(&snapshot("klein_base").join(part), &folder.path().join(part));
        if part == "text_encoder" {
            // As many layers are read.
            let said = r#"{"text_encoder_out_layers": [0, 1, 2], "max_sequence_length": 48}"#;
            std::fs::write(folder.path().join("retouch.json"), said).unwrap();
        }
        let opened = Snapshot::open(folder.path()).unwrap();
        let error = load::load(&opened, Kind::Float, Device::Cpu).err().unwrap().to_string();
        assert!(error.contains(key) && error.contains("of transformer"), "{error}");
        assert!(error.contains(part), "{error}");
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let path = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &path);
        } else {
            std::fs::copy(entry.path(), path).unwrap();
        }
    }
}

//! The tensors of the published models, by name and shape, without their weights.

use std::{collections::BTreeMap, fs};

use retouch::models::{
    flux2::{
        autoencoder_kl_flux2::{AutoencoderKlFlux2, AutoencoderKlFlux2Config},
        transformer_flux2::Flux2Transformer2DModel,
        transformer_flux2_config::Flux2Transformer2DConfig,
    },
    qwen3::{config::Qwen3Config, prompt::PromptConfig, text_encoder::Qwen3TextEncoder},
    weights::Checkpoint,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{flux2_files::write_header, support::fixtures};

/// A network as it is published.
struct Published {
    name: String,
    config: String,
    /// Number of its tensors.
    count: usize,
    shapes: BTreeMap<String, Vec<i64>>,
}

#[test]
fn a_configuration_gives_the_published_models_tensors_and_no_other() {
    let published = published();
    assert_eq!(published.len(), 5);
    for Published { name, config, count, shapes } in published {
        assert_eq!(shapes.len(), count, "{name}");
        let folder = TempDir::new().unwrap();
        // Zeros that take no room on the disk: the largest has 18 GB.
        let tensors = shapes.iter().map(|(key, shape)| (key.clone(), (shape.clone(), 0))).collect();
        write_header(&folder.path().join("model.safetensors"), &tensors, "F32");
        let weights = Checkpoint::open(folder.path()).unwrap();
        let vs = weights.outline();
        match name.as_str() {
            "transformer" => {
                let config = Flux2Transformer2DConfig::from_json(&config).unwrap();
                drop(Flux2Transformer2DModel::new(&vs, &config));
            }
            "vae" => {
                let config = AutoencoderKlFlux2Config::from_json(&config).unwrap();
                drop(AutoencoderKlFlux2::new(&vs, &config));
            }
            "text_encoder" => {
                let config = Qwen3Config::from_json(&config).unwrap();
                let prompt = PromptConfig::from_retouch_json(None, &config).unwrap();
                drop(Qwen3TextEncoder::new(&vs, &config, &prompt));
            }
            other => panic!("{other}"),
        }
        weights.finish().unwrap();
    }
}

#[test]
fn the_text_encoder_fits_the_transformer_of_its_model() {
    let published = published();
    let configs = |name: &str| -> Vec<&str> {
        published.iter().filter(|it| it.name == name).map(|it| it.config.as_str()).collect()
    };
    for (encoder, transformer) in configs("text_encoder").into_iter().zip(configs("transformer")) {
        let encoder = Qwen3Config::from_json(encoder).unwrap();
        let prompt = PromptConfig::from_retouch_json(None, &encoder).unwrap();
        let transformer: Value = serde_json::from_str(transformer).unwrap();
        assert_eq!(transformer["joint_attention_dim"], prompt.channels(&encoder));
        assert_eq!(prompt.depth(), 27);
    }
}

/// What `tests/record/bfl.py` recorded, with a line for each tensor of each block.
fn published() -> Vec<Published> {
    let text = fs::read_to_string(fixtures().join("flux2/published.txt")).unwrap();
    let mut found: Vec<Published> = Vec::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# ") {
            let mut head = head.splitn(3, ' ').map(str::to_owned);
            let mut next = || head.next().unwrap();
            let (name, count, config) = (next(), next().parse().unwrap(), next());
            found.push(Published { name, config, count, shapes: BTreeMap::new() });
            continue;
        }
        let (key, shape) = line.split_once(' ').unwrap();
        let shape: Vec<i64> = serde_json::from_str(shape).unwrap();
        let shapes = &mut found.last_mut().unwrap().shapes;
        match key.split_once('*') {
            None => drop(shapes.insert(key.to_owned(), shape)),
            Some((before, rest)) => {
                let (last, after) = rest.split_once('.').unwrap();
                for number in 0..=last.parse().unwrap() {
                    let _: usize = number;
                    shapes.insert(format!("{before}{number}.{after}"), shape.clone());
                }
            }
        }
    }
    found
}

//! The tensors of the published models, by name and shape, without their weights.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use retouch::{
    models::{
        flux2::{
            autoencoder_kl_flux2::{AutoencoderKlFlux2, AutoencoderKlFlux2Config},
            transformer_flux2::Flux2Transformer2DModel,
            transformer_flux2_config::Flux2Transformer2DConfig,
        },
        qwen3::{config::Qwen3Config, prompt::PromptConfig, text_encoder::Qwen3TextEncoder},
        weights::Checkpoint,
    },
    pipelines::inspect::inspect,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    flux2_files::{copy_of_klein, write_header, write_json},
    support::fixtures,
};

/// A network as it is published.
pub(crate) struct Published {
    pub(crate) name: String,
    pub(crate) config: String,
    /// Number of its tensors.
    count: usize,
    pub(crate) shapes: BTreeMap<String, Vec<i64>>,
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

#[test]
fn the_published_4b_is_told_as_what_it_is_without_its_weights() {
    let folder = copy_of_klein();
    fs::remove_file(folder.path().join("retouch.json")).unwrap();
    for Published { name, config, shapes, .. } in first_of_each() {
        let place = folder.path().join(&name);
        for file in fs::read_dir(&place).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        let mut config: Value = serde_json::from_str(&config).unwrap();
        if name != "text_encoder" {
            config["sample_size"] = 1024.into();
        }
        write_json(&place, "config.json", &config);
        let file = if name == "text_encoder" { "model" } else { "diffusion_pytorch_model" };
        let tensors = shapes.into_iter().map(|(key, shape)| (key, (shape, 0))).collect();
        write_header(&place.join(format!("{file}.safetensors")), &tensors, "BF16");
    }
    let found = inspect(folder.path()).unwrap();
    assert_eq!(found.fault(), None);
    assert_eq!((found.sample_size, found.stride, found.latent_channels), (1024, 16, 128));
    assert_eq!((found.max_tokens, found.sampler_fault.is_none()), (512, true));
    let joint = found.joint_attention.unwrap();
    assert_eq!((joint.double_blocks, joint.single_blocks, joint.heads), (5, 20, 24));
    assert_eq!(joint.grid, (64, 64));
    let millions: Vec<u64> =
        found.parts.iter().map(|it| it.loaded_parameters / 1_000_000).collect();
    // 27 of 36 layers, and no head; the transformer is what gives the model its name.
    assert_eq!(millions, [3114, 3875, 84]);
}

/// The networks of the 4B model.
pub(crate) fn first_of_each() -> Vec<Published> {
    let mut all = published();
    let mut seen = BTreeSet::new();
    all.retain(|it| seen.insert(it.name.clone()));
    all
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

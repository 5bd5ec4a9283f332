//! Hidden states, and configurations.

use std::{fs, path::Path};

use retouch::{
    config_json::ConfigJsonError,
    models::{
        qwen3::{
            config::Qwen3Config, prompt::PromptConfig, text_encoder::Qwen3TextEncoder,
            tokenizer::Qwen2Tokenizer,
        },
        weights::Checkpoint,
    },
};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

use crate::{
    qwen3::{klein, qwen},
    support::fixtures,
};

#[test]
fn the_states_that_are_read_are_those_of_transformers() {
    for name in ["klein", "klein_base"] {
        let (config, prompt) = configs(name);
        let checkpoint = Checkpoint::open(&klein(name).join("text_encoder")).unwrap();
        let encoder =
            Qwen3TextEncoder::new(&checkpoint.root(Kind::Float, Device::Cpu), &config, &prompt);
        checkpoint.finish().unwrap();
        let tokenizer =
            Qwen2Tokenizer::open(&klein(name).join("tokenizer"), prompt.max_sequence_length)
                .unwrap();
        let recorded = read(&fixtures().join(format!("models/{name}.text.safetensors")));
        let prompts = prompts(&fixtures().join(format!("models/{name}.text.safetensors")));
        assert!(prompts.len() >= 3);
        let mut all = Vec::new();
        for (index, text) in prompts.iter().enumerate() {
            let tokens = tokenizer.encode(text).unwrap();
            let ids = Tensor::from_slice(&tokens.ids);
            assert_eq!(ids, recorded(&format!("{index}.ids")), "{name} {text:?}");
            let length = recorded(&format!("{index}.mask")).sum(Kind::Int64).int64_value(&[]);
            assert_eq!(tokens.length as i64, length, "{name} {text:?}");
            let hidden = encoder.forward(&ids.unsqueeze(0), &[tokens.length]);
            close(&hidden, &recorded(&format!("{index}.hidden")), 1e-4, name);
            all.push((ids, tokens.length, hidden));
        }
        // Prompts of several jobs in one batch, each with its own padding.
        let ids = Tensor::stack(&all.iter().map(|it| &it.0).collect::<Vec<_>>(), 0);
        let lengths: Vec<usize> = all.iter().map(|it| it.1).collect();
        let alone = Tensor::cat(&all.iter().map(|it| &it.2).collect::<Vec<_>>(), 0);
        close(&encoder.forward(&ids, &lengths), &alone, 1e-4, name);
    }
}

#[test]
fn heads_of_the_published_size_turn_as_those_of_transformers() {
    let config = Qwen3Config::from_json(
        r#"{"vocab_size": 64, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 128, "rope_theta": 1000000}"#,
    )
    .unwrap();
    let prompt = PromptConfig { out_layers: vec![1, 2], max_sequence_length: 512 };
    let folder = TempDir::new().unwrap();
    write_recipe(&folder.path().join("model.safetensors"));
    let encode = |kind| {
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        let encoder = Qwen3TextEncoder::new(&checkpoint.root(kind, Device::Cpu), &config, &prompt);
        checkpoint.finish().unwrap();
        let ids = (Tensor::arange(1024, (Kind::Int64, Device::Cpu)) * 7).remainder(61);
        encoder.forward(&ids.view([2, 512]), &[512, 37])
    };
    let thin = |it: &Tensor| it.flatten(0, -1).slice(0, None, None, 7);
    let expected = read(&qwen().join("head_size.safetensors"))("hidden");
    let exact = encode(Kind::Float);
    close(&thin(&exact), &expected, 1e-4, "fp32");
    for (kind, bound) in [(Kind::BFloat16, 5e-2), (Kind::Half, 5e-3)] {
        let found = encode(kind);
        assert_eq!(found.kind(), kind);
        // Two layers of roundings to 8 or 11 bits.
        close(&found.to_kind(Kind::Float), &exact, bound, &format!("{kind:?}"));
    }
}

#[test]
fn layers_above_the_last_that_is_read_are_not_loaded() {
    let (config, prompt) = configs("klein");
    assert_eq!((prompt.depth(), config.num_hidden_layers), (3, 4));
    let folder = TempDir::new().unwrap();
    let source = klein("klein").join("text_encoder/model.safetensors");
    let tensors = Tensor::read_safetensors(&source).unwrap();
    let below = |key: &str| !key.contains("layers.3.") && key != "model.norm.weight";
    // The same without the last layer and the norm, and without the prefix of the class with a head.
    let bare: Vec<(&str, Tensor)> = tensors
        .iter()
        .filter(|it| below(&it.0))
        .map(|(key, it)| (key.strip_prefix("model.").unwrap(), it.shallow_clone()))
        .collect();
    Tensor::write_safetensors(&bare, folder.path().join("model.safetensors")).unwrap();
    let encode = |folder: &Path| {
        let checkpoint = Checkpoint::open(folder).unwrap();
        let vs = checkpoint.root(Kind::Float, Device::Cpu);
        let encoder = Qwen3TextEncoder::new(&vs, &config, &prompt);
        checkpoint.finish().unwrap();
        encoder.forward(&Tensor::from_slice(&[1i64, 2, 3]).unsqueeze(0), &[3])
    };
    let (whole, cut) = (encode(source.parent().unwrap()), encode(folder.path()));
    assert_eq!(whole, cut);
    assert_eq!(whole.size(), [1, 3, prompt.channels(&config)]);
}

#[test]
fn configurations_that_are_not_computed_are_refused_by_key_and_value() {
    for (text, expected) in [
        (r#"{"model_type": "mistral3"}"#, "`model_type` is \"mistral3\""),
        (r#"{"attention_bias": true}"#, "`attention_bias` is true"),
        (r#"{"use_sliding_window": true}"#, "`use_sliding_window` is true"),
        (r#"{"hidden_act": "gelu"}"#, "`hidden_act` is \"gelu\""),
        (r#"{"layer_types": ["full_attention", "sliding_attention"]}"#, "`layer_types` is"),
        (r#"{"rope_scaling": {"rope_type": "yarn", "factor": 4}}"#, "`rope_scaling` is"),
        (r#"{"rope_parameters": {"rope_type": "linear"}}"#, "`rope_parameters` is"),
        (r#"{"num_attention_heads": 6, "num_key_value_heads": 4}"#, "`num_key_value_heads` is 4"),
        (r#"{"head_dim": 33}"#, "`head_dim` is 33 in config.json, expected an even number"),
        (r#"{"hidden_size": 0}"#, "`hidden_size` is 0"),
        (r#"{"rms_norm_eps": 0}"#, "`rms_norm_eps` is 0"),
        ("[]", "expected an object"),
    ] {
        let error = Qwen3Config::from_json(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let old = Qwen3Config::from_json(r#"{"rope_theta": 5000, "rope_scaling": null}"#).unwrap();
    let new = r#"{"rope_parameters": {"rope_type": "default", "rope_theta": 5000}}"#;
    assert_eq!(old, Qwen3Config::from_json(new).unwrap());
}

#[test]
fn what_is_read_of_a_prompt_comes_from_the_models_own_file_or_is_that_of_the_published_model() {
    let published = Qwen3Config::from_json(r#"{"num_hidden_layers": 36}"#).unwrap();
    let read = |text: Option<&str>| PromptConfig::from_retouch_json(text, &published);
    for text in [None, Some("{}"), Some(r#"{"steps": 4, "max_sequence_length": null}"#)] {
        let found = read(text).unwrap();
        assert_eq!((found.out_layers, found.max_sequence_length), (vec![9, 18, 27], 512));
    }
    for (text, expected) in [
        (r#"{"text_encoder_out_layers": [9, 36]}"#, "ascending layers below the text encoder's 36"),
        (r#"{"text_encoder_out_layers": [9, 9]}"#, "ascending layers"),
        (r#"{"text_encoder_out_layers": []}"#, "a list of whole numbers from 0"),
        (r#"{"text_encoder_out_layers": [-1]}"#, "a list of whole numbers from 0"),
        (r#"{"max_sequence_length": 15}"#, "`max_sequence_length` is 15 in retouch.json"),
        (r#"{"max_sequence_length": 513}"#, "a whole number from 16 to 512"),
        ("{", "retouch.json is not readable as JSON"),
    ] {
        let error: ConfigJsonError = read(Some(text)).unwrap_err();
        assert!(error.to_string().contains(expected), "{text}: {error}");
    }
    // An encoder that has no 27 layers needs the key.
    let shallow = Qwen3Config::from_json(r#"{"num_hidden_layers": 4}"#).unwrap();
    let error = PromptConfig::from_retouch_json(None, &shallow).unwrap_err().to_string();
    assert!(error.contains("below the text encoder's 4 ([9, 18, 27] where none"), "{error}");
}

/// The encoder of two layers with heads of 128 channels whose weights are a formula's (`tests/record/qwen.py`).
fn write_recipe(path: &Path) {
    let mut tensors = Vec::new();
    let mut add = |key: String, shape: &[i64]| {
        let count = shape.iter().product::<i64>();
        let wave =
            (Tensor::arange(count, (Kind::Double, Device::Cpu)) * 12.9898 + key.len() as f64).sin()
                * 43758.5453;
        let noise = (&wave - wave.floor()) * 2.0 - 1.0;
        let value = match shape {
            [_] => noise * 0.3 + 1.0,
            _ if key.contains("embed_tokens") => noise,
            [_, from, ..] => noise * 1.4 / (*from as f64).sqrt(),
            [] => unreachable!(),
        };
        tensors.push((key, value.to_kind(Kind::Float).view(shape)));
    };
    add("embed_tokens.weight".to_owned(), &[64, 16]);
    for layer in 0..2 {
        for (name, shape) in [
            ("self_attn.q_proj", &[512, 16][..]),
            ("self_attn.k_proj", &[256, 16]),
            ("self_attn.v_proj", &[256, 16]),
            ("self_attn.o_proj", &[16, 512]),
            ("self_attn.q_norm", &[128]),
            ("self_attn.k_norm", &[128]),
            ("mlp.gate_proj", &[24, 16]),
            ("mlp.up_proj", &[24, 16]),
            ("mlp.down_proj", &[16, 24]),
            ("input_layernorm", &[16]),
            ("post_attention_layernorm", &[16]),
        ] {
            add(format!("layers.{layer}.{name}.weight"), shape);
        }
    }
    Tensor::write_safetensors(&tensors, path).unwrap();
}

fn configs(name: &str) -> (Qwen3Config, PromptConfig) {
    let read = |file: &str| fs::read_to_string(klein(name).join(file)).unwrap();
    let config = Qwen3Config::from_json(&read("text_encoder/config.json")).unwrap();
    let prompt = PromptConfig::from_retouch_json(Some(&read("retouch.json")), &config).unwrap();
    (config, prompt)
}

/// Within a share of the largest value.
fn close(found: &Tensor, expected: &Tensor, bound: f64, what: &str) {
    assert_eq!(found.size(), expected.size(), "{what}");
    let error = ((found - expected).abs().max() / expected.abs().max()).double_value(&[]);
    assert!(error < bound, "{what}: relative error {error:e}");
}

fn read(path: &Path) -> impl Fn(&str) -> Tensor + use<> {
    let tensors = Tensor::read_safetensors(path).unwrap();
    move |key| tensors.iter().find(|it| it.0 == key).unwrap().1.shallow_clone()
}

/// The prompts that a record names in its header.
fn prompts(path: &Path) -> Vec<String> {
    let bytes = fs::read(path).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    serde_json::from_str(&header.metadata().as_ref().unwrap()["prompts"]).unwrap()
}

//! Folders of diffusers.

use std::{fs, path::Path};

use retouch::models::snapshot::{Snapshot, error::SnapshotError, family::Family, part::Part};
use serde_json::{Map, Value, json};
use tch::Tensor;
use tempfile::TempDir;

use crate::{
    flux2_files::{copy_of_klein, klein, layouts, refused, root, set, write_json, write_original},
    support::fixtures,
};

#[test]
fn a_folder_names_every_file_that_is_missing() {
    let folder = TempDir::new().unwrap();
    write_json(folder.path(), "model_index.json", &index("Flux2KleinPipeline"));
    let missing = |path: &Path| match Snapshot::open(path).unwrap_err() {
        SnapshotError::Missing { files, .. } => files,
        error => panic!("{error}"),
    };
    assert_eq!(
        missing(folder.path()),
        [
            "transformer/config.json",
            "vae/config.json",
            "text_encoder/config.json",
            "scheduler/scheduler_config.json",
            "text_encoder/model.safetensors",
            "transformer/diffusion_pytorch_model.safetensors",
            "vae/diffusion_pytorch_model.safetensors",
            "tokenizer/vocab.json",
            "tokenizer/merges.txt",
        ]
    );
    // Of an encoder in shards each that is missing.
    let folder = copy_of_klein();
    let encoder = folder.path().join("text_encoder");
    shard(&encoder, 3);
    fs::remove_file(encoder.join("model-00001-of-00003.safetensors")).unwrap();
    fs::remove_file(encoder.join("model-00003-of-00003.safetensors")).unwrap();
    fs::remove_file(folder.path().join("tokenizer/tokenizer.json")).unwrap();
    assert_eq!(
        missing(folder.path()),
        [
            "text_encoder/model-00001-of-00003.safetensors",
            "text_encoder/model-00003-of-00003.safetensors",
            "tokenizer/vocab.json",
            "tokenizer/merges.txt",
        ]
    );
}

#[test]
fn an_encoder_in_shards_is_the_same_as_in_one_file() {
    let whole = Snapshot::open(&klein()).unwrap();
    let folder = copy_of_klein();
    shard(&folder.path().join("text_encoder"), 2);
    let sharded = Snapshot::open(folder.path()).unwrap();
    assert_eq!(sharded.digest().unwrap(), whole.digest().unwrap());
    let [one, other] = [&whole, &sharded].map(|it| it.weights(Part::TextEncoder).unwrap());
    let (key, shape) = ("model.layers.1.self_attn.q_proj.weight", [64, 32]);
    assert_eq!(root(&one).tensor(key, &shape), root(&other).tensor(key, &shape));
}

#[test]
fn a_folder_says_whether_it_is_distilled() {
    assert!(Snapshot::open(&klein()).unwrap().is_distilled());
    let base = Snapshot::open(&fixtures().join("models/klein_base")).unwrap();
    assert!(!base.is_distilled());
    assert_eq!((base.family(), base.class()), (Family::Flux2Klein, "Flux2KleinPipeline"));
    let folder = copy_of_klein();
    set(folder.path(), "model_index.json", "is_distilled", "yes".into());
    let error = Snapshot::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("`is_distilled` is \"yes\" in model_index.json"), "{error}");
    // What is said where the file was published counts for it, too.
    let file = folder.path().join("flux-2-klein-4b.safetensors");
    write_original(&file, "", &layouts("transformer"));
    set(folder.path(), "model_index.json", "is_distilled", false.into());
    let snapshot = Snapshot::open(&file).unwrap();
    assert!(!snapshot.is_distilled() && snapshot.notes().is_empty());
}

#[test]
fn the_digest_names_a_model_with_all_that_decides_its_edits() {
    let digest = |path: &Path| Snapshot::open(path).unwrap().digest().unwrap();
    let first = digest(&klein());
    let changed = |change: &dyn Fn(&Path)| {
        let folder = copy_of_klein();
        assert_eq!(digest(folder.path()), first);
        change(folder.path());
        digest(folder.path())
    };
    let changes: [&dyn Fn(&Path); 6] = [
        &|it| set(it, "model_index.json", "is_distilled", false.into()),
        &|it| set(it, "retouch.json", "text_encoder_out_layers", json!([0, 1, 2])),
        &|it| set(it, "scheduler/scheduler_config.json", "shift", 2.0.into()),
        &|it| set(it, "tokenizer/tokenizer_config.json", "pad_token", "<|im_end|>".into()),
        &|it| set(it, "text_encoder/config.json", "rope_theta", 5000.into()),
        &|it| {
            let path = it.join("transformer/diffusion_pytorch_model.safetensors");
            let mut bytes = fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(path, bytes).unwrap();
        },
    ];
    let mut digests: Vec<String> = changes.iter().map(|it| changed(*it)).collect();
    digests.push(first.clone());
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), changes.len() + 1);
}

#[test]
fn other_models_of_flux_are_called_by_their_name_with_what_to_take_instead() {
    let mut dev = index("Flux2Pipeline");
    dev["text_encoder"] = json!(["transformers", "Mistral3ForConditionalGeneration"]);
    let kv = index("Flux2KleinKVPipeline");
    let mut kontext = index("FluxKontextPipeline");
    kontext["transformer"] = json!(["diffusers", "FluxTransformer2DModel"]);
    kontext["text_encoder_2"] = json!(["transformers", "T5EncoderModel"]);
    for (index, expected) in [
        (dev, "Flux2Pipeline, FLUX.2 [dev] with a Mistral text encoder"),
        (kv, "Flux2KleinKVPipeline, FLUX.2 [klein] trained for cached keys and values"),
        (kontext, "FluxKontextPipeline, FLUX.1 with CLIP and T5"),
    ] {
        let folder = TempDir::new().unwrap();
        write_json(folder.path(), "model_index.json", &index);
        refused(folder.path(), expected);
    }
    let folder = copy_of_klein();
    set(folder.path(), "transformer/config.json", "guidance_embeds", true.into());
    refused(folder.path(), "Flux2KleinPipeline, FLUX.2 [dev], whose transformer embeds a guidance");
    // A pipeline of another name that is made of the same.
    set(folder.path(), "transformer/config.json", "guidance_embeds", false.into());
    set(folder.path(), "model_index.json", "_class_name", "Flux2KleinInpaintPipeline".into());
    assert_eq!(Snapshot::open(folder.path()).unwrap().family(), Family::Flux2Klein);
    // One whose parts are others'.
    set(folder.path(), "model_index.json", "vae", json!(["diffusers", "AutoencoderKL"]));
    let error = Snapshot::open(folder.path()).unwrap_err();
    assert!(matches!(error, SnapshotError::WrongArchitecture { .. }), "{error}");
    assert!(error.to_string().contains("whose vae is AutoencoderKL;"), "{error}");
    assert!(error.to_string().contains("(Flux2KleinPipeline)"), "{error}");
}

#[test]
fn a_tokenizer_with_more_tokens_than_the_text_encoder_knows_is_refused() {
    let folder = copy_of_klein();
    set(folder.path(), "text_encoder/config.json", "vocab_size", 387.into());
    let error = Snapshot::open(folder.path()).unwrap().qwen2_tokenizer(48).unwrap_err();
    assert!(matches!(error, SnapshotError::Vocabulary { tokens: 388, known: 387 }), "{error}");
}

/// Splits the weights of a folder into shards with an index, as transformers does.
fn shard(folder: &Path, shards: usize) {
    let whole = folder.join("model.safetensors");
    let tensors = Tensor::read_safetensors(&whole).unwrap();
    let mut map = Map::new();
    for (number, chunk) in tensors.chunks(tensors.len().div_ceil(shards)).enumerate() {
        let name = format!("model-{:05}-of-{shards:05}.safetensors", number + 1);
        Tensor::write_safetensors(chunk, folder.join(&name)).unwrap();
        map.extend(chunk.iter().map(|(key, _)| (key.clone(), name.clone().into())));
    }
    fs::remove_file(whole).unwrap();
    write_json(folder, "model.safetensors.index.json", &json!({"metadata": {}, "weight_map": map}));
}

fn index(class: &str) -> Value {
    json!({
        "_class_name": class,
        "is_distilled": true,
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "Qwen3ForCausalLM"],
        "tokenizer": ["transformers", "Qwen2TokenizerFast"],
        "transformer": ["diffusers", "Flux2Transformer2DModel"],
        "vae": ["diffusers", "AutoencoderKLFlux2"],
    })
}

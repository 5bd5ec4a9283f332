//! Model folders and single-file checkpoints: recognition, and equality of one model in both layouts.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::Path,
};

use retouch::models::{
    snapshot::{Snapshot, error::SnapshotError, family::Family, note::Note, part::Part},
    stable_diffusion::{
        autoencoder_kl::{AutoencoderKl, AutoencoderKlConfig},
        clip::text_model::{ClipTextConfig, ClipTextModel},
        unet_2d_condition::UNet2DConditionModel,
        unet_2d_condition_config::UNet2DConditionConfig,
    },
    weights::{Checkpoint, VarPath, error::WeightsError},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tch::{Device, Kind};
use tempfile::TempDir;

use crate::support::fixtures;

/// A model in both layouts, as `tests/record/ldm.py` recorded it.
#[derive(Deserialize)]
struct Layouts {
    /// The configurations by part.
    configs: Map<String, Value>,
    tensors: Vec<Row>,
}

/// A tensor of the original layout: its key and shape there, its part, its keys and shapes in a snapshot.
#[derive(Deserialize)]
struct Row(String, Vec<i64>, String, Vec<(String, Vec<i64>)>);

/// A tensor to be written: its shape, and the number that its values start from.
type Tensors = BTreeMap<String, (Vec<i64>, i64)>;

#[test]
fn both_layouts_of_a_model_give_the_same_tensors() {
    for name in ["tiny1", "tiny2"] {
        let layouts = layouts(name);
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("model.safetensors");
        write(&file, &original(&layouts));
        let ldm = Snapshot::open(&file).unwrap();
        write_folder(folder.path(), &layouts, &ldm);
        let diffusers = Snapshot::open(folder.path()).unwrap();
        for &part in Family::InstructPix2Pix.parts() {
            let (one, other) = (ldm.weights(part).unwrap(), diffusers.weights(part).unwrap());
            let rows = layouts.tensors.iter().filter(|it| it.2 == part.folder());
            let parameters: i64 = rows.clone().map(|it| it.1.iter().product::<i64>()).sum();
            assert_eq!(other.parameters(), parameters as u64, "{name} {part}");
            for (key, shape) in rows.flat_map(|it| &it.3) {
                let (one, other) = (take(&one, key, shape), take(&other, key, shape));
                assert_eq!(one, other, "{name}: {key}");
            }
            one.finish().unwrap();
            other.finish().unwrap();
        }
    }
}

#[test]
fn configurations_follow_from_the_shapes_of_a_single_file() {
    for name in ["sd1", "tiny1", "tiny2"] {
        let layouts = layouts(name);
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("model.safetensors");
        // Zeros that take no room on the disk: the full model has 4 GB.
        write_header(&file, &original(&layouts));
        let snapshot = Snapshot::open(&file).unwrap();
        for (part, found) in [
            ("unet", snapshot.config("unet")),
            ("vae", snapshot.config("vae")),
            ("text_encoder", snapshot.config("text_encoder")),
        ] {
            for (key, expected) in layouts.configs[part].as_object().unwrap() {
                assert_eq!(found.get(key), Some(expected), "{name}: {part} {key}");
            }
        }
        let scheduler = snapshot.config("scheduler");
        assert_eq!(scheduler["_class_name"], "EulerAncestralDiscreteScheduler");
        assert_eq!(scheduler["timestep_spacing"], "linspace");
        for &part in Family::InstructPix2Pix.parts() {
            let checkpoint = snapshot.weights(part).unwrap();
            let root = root(&checkpoint);
            let rows = layouts.tensors.iter().filter(|it| it.2 == part.folder());
            for (key, _) in rows.flat_map(|it| &it.3) {
                assert!(
                    root.contains(key) || (&root / "text_model").contains(key),
                    "{name}: {key}"
                );
            }
        }
        assert_eq!(snapshot.tokenizer().unwrap().max_length(), 77);
    }
}

#[test]
fn the_networks_of_a_single_file_take_every_tensor() {
    for name in ["tiny1", "tiny2"] {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("model.safetensors");
        write_header(&file, &original(&layouts(name)));
        let snapshot = Snapshot::open(&file).unwrap();
        let checkpoint = snapshot.weights(Part::UNet).unwrap();
        let config =
            UNet2DConditionConfig::from_json(&snapshot.config("unet").to_string()).unwrap();
        let _ = UNet2DConditionModel::new(&root(&checkpoint), &config);
        checkpoint.finish().unwrap();
        let checkpoint = snapshot.weights(Part::Vae).unwrap();
        let config = AutoencoderKlConfig::from_json(&snapshot.config("vae").to_string()).unwrap();
        let _ = AutoencoderKl::new(&root(&checkpoint), &config);
        checkpoint.finish().unwrap();
        let checkpoint = snapshot.weights(Part::TextEncoder).unwrap();
        let config =
            ClipTextConfig::from_json(&snapshot.config("text_encoder").to_string()).unwrap();
        let _ = ClipTextModel::new(&root(&checkpoint), &config);
        checkpoint.finish().unwrap();
    }
}

#[test]
fn what_a_single_file_holds_beside_the_model_is_said() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("model.safetensors");
    let mut tensors = original(&layouts("tiny2"));
    for key in ["model_ema.a", "model_ema.b", "betas"] {
        tensors.insert(key.to_owned(), (vec![1], 0));
    }
    tensors.insert("model.diffusion_model.label_emb.0.0.weight".to_owned(), (vec![1], 0));
    write_header(&file, &tensors);
    let snapshot = Snapshot::open(&file).unwrap();
    assert_eq!(
        snapshot.notes(),
        [
            Note::EmaSkipped { tensors: 2 },
            Note::OthersSkipped { keys: vec!["betas".to_owned()] },
            Note::VelocityAssumed,
        ]
    );
    // A tensor within a part that no layer asks for is named as it is in the file.
    let error = snapshot.weights(Part::UNet).unwrap().finish().unwrap_err().to_string();
    assert!(error.contains("unused"), "{error}");
    let checkpoint = snapshot.weights(Part::UNet).unwrap();
    let config = UNet2DConditionConfig::from_json(&snapshot.config("unet").to_string()).unwrap();
    let _ = UNet2DConditionModel::new(&root(&checkpoint), &config);
    let error = checkpoint.finish().unwrap_err().to_string();
    assert!(error.ends_with("1 unused: `model.diffusion_model.label_emb.0.0.weight`"), "{error}");
}

#[test]
fn a_folder_names_every_file_that_is_missing() {
    let folder = TempDir::new().unwrap();
    let missing = |path: &Path| match Snapshot::open(path).unwrap_err() {
        SnapshotError::Missing { files, .. } => files,
        error => panic!("{error}"),
    };
    assert_eq!(missing(folder.path()), ["model_index.json"]);
    write_json(folder.path(), "model_index.json", &index());
    assert_eq!(
        missing(folder.path()),
        [
            "unet/config.json",
            "vae/config.json",
            "text_encoder/config.json",
            "scheduler/scheduler_config.json",
            "text_encoder/model.safetensors",
            "unet/diffusion_pytorch_model.safetensors",
            "vae/diffusion_pytorch_model.safetensors",
            "tokenizer/vocab.json",
            "tokenizer/merges.txt",
        ]
    );
    assert!(matches!(
        Snapshot::open(&folder.path().join("absent")),
        Err(SnapshotError::NotFound { .. })
    ));
}

#[test]
fn models_of_another_kind_are_called_by_their_name() {
    let mut sdxl = index();
    sdxl["_class_name"] = "StableDiffusionXLInstructPix2PixPipeline".into();
    sdxl["text_encoder_2"] = json!(["transformers", "CLIPTextModelWithProjection"]);
    let sd3 = json!({"_class_name": "SD3", "transformer": ["diffusers", "SD3Transformer2DModel"]});
    let mut kandinsky = index();
    kandinsky["vae"] = json!(["diffusers", "VQModel"]);
    let cases = [
        (sdxl, 8, "as Stable Diffusion XL has"),
        (sd3, 8, "SD3, a diffusion transformer"),
        (kandinsky, 8, "whose vae is VQModel"),
        (json!({"_class_name": "DDPMPipeline"}), 8, "DDPMPipeline, without a unet"),
        (index(), 4, "a text-to-image model: its U-Net has 4 input channels"),
        (index(), 9, "an inpainting model: its U-Net has 9 input channels"),
    ];
    for (index, channels, expected) in cases {
        let folder = TempDir::new().unwrap();
        write_json(folder.path(), "model_index.json", &index);
        write_json(folder.path(), "unet/config.json", &json!({"in_channels": channels}));
        let error = Snapshot::open(folder.path()).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, SnapshotError::WrongArchitecture { .. }), "{text}");
        let needed =
            ["expected an InstructPix2Pix model", "(StableDiffusionInstructPix2PixPipeline)"];
        assert!(text.contains(expected) && needed.iter().all(|it| text.contains(it)), "{text}");
    }
}

#[test]
fn files_of_another_kind_are_called_by_their_name() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("model.safetensors");
    let mut text_to_image = original(&layouts("tiny1"));
    text_to_image.get_mut("model.diffusion_model.input_blocks.0.0.weight").unwrap().0[1] = 4;
    let one = |key: &str| Tensors::from([(key.to_owned(), (vec![1], 0))]);
    for (tensors, expected) in [
        (text_to_image, "a text-to-image model"),
        (one("conditioner.embedders.0.x"), "a Stable Diffusion XL checkpoint"),
        (one("model.diffusion_model.double_blocks.0.x"), "a FLUX.1 checkpoint"),
        (one("lora_unet_x"), "a LoRA"),
        (one("down_blocks.0.resnets.0.conv1.weight"), "one part of a diffusers snapshot"),
        (one("x"), "not a checkpoint of Stable Diffusion or FLUX.2"),
        (Tensors::new(), "not a checkpoint of Stable Diffusion or FLUX.2"),
    ] {
        write_header(&file, &tensors);
        let error = Snapshot::open(&file).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_single_file_without_a_part_is_refused() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("model.safetensors");
    for prefix in ["first_stage_model.", "cond_stage_model.", "model.diffusion_model.out."] {
        let mut tensors = original(&layouts("tiny1"));
        tensors.retain(|key, _| !key.starts_with(prefix));
        write_header(&file, &tensors);
        let error = Snapshot::open(&file).unwrap_err();
        assert!(matches!(error, SnapshotError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains(&format!("no tensor `{prefix}")), "{error}");
    }
}

#[test]
fn pickled_models_are_refused() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("v1-5.ckpt");
    fs::write(&file, "").unwrap();
    let error = Snapshot::open(&file).unwrap_err();
    assert!(matches!(error, SnapshotError::Weights(WeightsError::Pickle { .. })), "{error}");
}

#[test]
fn the_digest_names_a_model_and_its_settings() {
    let layouts = layouts("tiny2");
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("model.safetensors");
    let mut tensors = original(&layouts);
    write(&file, &tensors);
    let snapshot = Snapshot::open(&file).unwrap();
    write_folder(folder.path(), &layouts, &snapshot);
    let digest = |path: &Path| Snapshot::open(path).unwrap().digest().unwrap();
    let first = digest(&file);
    assert_eq!((first.len(), &first), (64, &digest(&file)));
    // Other values of one tensor in 532.
    tensors.get_mut("first_stage_model.quant_conv.bias").unwrap().1 += 1;
    write(&file, &tensors);
    assert_ne!(digest(&file), first);
    let second = digest(folder.path());
    write_json(folder.path(), "retouch.json", &json!({"steps": 20}));
    assert_ne!(digest(folder.path()), second);
    assert_eq!(Snapshot::open(folder.path()).unwrap().retouch_json(), Some("{\"steps\":20}"));
}

#[test]
fn a_tokenizer_with_more_tokens_than_the_text_encoder_knows_is_refused() {
    let layouts = layouts("tiny2");
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("model.safetensors");
    let mut tensors = original(&layouts);
    tensors.get_mut("cond_stage_model.model.token_embedding.weight").unwrap().0[0] = 49_407;
    write_header(&file, &tensors);
    let error = Snapshot::open(&file).unwrap().tokenizer().unwrap_err();
    let expected = matches!(error, SnapshotError::Vocabulary { tokens: 49_408, known: 49_407 });
    assert!(expected, "{error}");
}

/// The tensors of the original layout. `OpenCLIP` has a layer more than is used, and what else its file holds.
fn original(layouts: &Layouts) -> Tensors {
    let mut tensors = Tensors::new();
    for (number, Row(key, shape, ..)) in layouts.tensors.iter().enumerate() {
        tensors.insert(key.clone(), (shape.clone(), number as i64));
        if let Some(rest) = key.strip_prefix("cond_stage_model.model.transformer.resblocks.1.") {
            let last = format!("cond_stage_model.model.transformer.resblocks.2.{rest}");
            tensors.insert(last, (shape.clone(), 0));
            for unused in ["text_projection", "logit_scale"] {
                tensors.insert(format!("cond_stage_model.model.{unused}"), (vec![1], 0));
            }
        } else if key.contains("text_model.encoder.layers.0.mlp.fc1.bias") {
            let ids = "cond_stage_model.transformer.text_model.embeddings.position_ids";
            tensors.insert(ids.to_owned(), (vec![1, 77], 0));
        }
    }
    tensors
}

/// Writes the same model as a snapshot of diffusers.
fn write_folder(folder: &Path, layouts: &Layouts, snapshot: &Snapshot) {
    write_json(folder, "model_index.json", &index());
    write_json(folder, "unet/config.json", snapshot.config("unet"));
    write_json(folder, "vae/config.json", snapshot.config("vae"));
    write_json(folder, "text_encoder/config.json", snapshot.config("text_encoder"));
    write_json(folder, "scheduler/scheduler_config.json", snapshot.config("scheduler"));
    let source = fixtures().join("text/tokenizer/tokenizer.json");
    fs::create_dir_all(folder.join("tokenizer")).unwrap();
    fs::copy(source, folder.join("tokenizer/tokenizer.json")).unwrap();
    for &part in Family::InstructPix2Pix.parts() {
        let mut tensors = Tensors::new();
        for (number, Row(.., rows)) in
            layouts.tensors.iter().enumerate().filter(|it| it.1.2 == part.folder())
        {
            let mut start = number as i64;
            for (key, shape) in rows {
                tensors.insert(key.clone(), (shape.clone(), start));
                start += shape.iter().product::<i64>();
            }
        }
        let name = if part == Part::TextEncoder { "model" } else { "diffusion_pytorch_model" };
        write(&folder.join(part.folder()).join(format!("{name}.safetensors")), &tensors);
    }
}

/// Writes tensors whose values count up, in fp32.
fn write(path: &Path, tensors: &Tensors) {
    let mut file = write_header(path, tensors);
    for (shape, start) in tensors.values() {
        let count = shape.iter().product::<i64>();
        let values: Vec<u8> =
            (*start..start + count).flat_map(|it| (it as f32).to_le_bytes()).collect();
        file.write_all(&values).unwrap();
    }
}

/// Writes the header alone, and makes the file as long as it says.
fn write_header(path: &Path, tensors: &Tensors) -> File {
    let mut header = Map::new();
    let mut end = 0;
    for (key, (shape, _)) in tensors {
        let start = end;
        end += shape.iter().product::<i64>() * 4;
        header.insert(
            key.clone(),
            json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]}),
        );
    }
    let header = Value::Object(header).to_string();
    let mut file = File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + end as u64).unwrap();
    file
}

fn write_json(folder: &Path, name: &str, value: &Value) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, value.to_string()).unwrap();
}

fn index() -> Value {
    json!({
        "_class_name": "StableDiffusionInstructPix2PixPipeline",
        "text_encoder": ["transformers", "CLIPTextModel"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    })
}

/// A tensor by its key in a snapshot; the text encoder's may have a prefix.
fn take(checkpoint: &Checkpoint, key: &str, shape: &[i64]) -> tch::Tensor {
    let root = root(checkpoint);
    let text_model = &root / "text_model";
    text_model.ignore("embeddings.position_ids");
    if text_model.contains(key) { text_model.tensor(key, shape) } else { root.tensor(key, shape) }
}

fn root(checkpoint: &Checkpoint) -> VarPath<'_> {
    checkpoint.root(Kind::Float, Device::Cpu)
}

fn layouts(name: &str) -> Layouts {
    serde_json::from_slice(&fs::read(fixtures().join(format!("ldm/{name}.json"))).unwrap()).unwrap()
}

//! The file that the transformer was published as, with its neighbours.

use std::{collections::BTreeMap, fs};

use retouch::models::{
    snapshot::{Snapshot, error::SnapshotError, family::Family, note::Note, part::Part},
    weights::Checkpoint,
};
use serde_json::json;
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

use crate::flux2_files::{
    Layouts, copy_of_klein, klein, layouts, refused, root, tensors, write_header, write_json,
    write_original,
};

#[test]
fn the_published_file_gives_the_tensors_that_diffusers_converts_it_to() {
    let layouts = layouts("transformer");
    for prefix in ["", "model.diffusion_model."] {
        let folder = neighbours();
        let file = folder.path().join("flux-2-klein-4b.safetensors");
        write_original(&file, prefix, &layouts);
        let snapshot = Snapshot::open(&file).unwrap();
        assert_eq!((snapshot.family(), snapshot.is_distilled()), (Family::Flux2Klein, true));
        check(&snapshot.weights(Part::Transformer).unwrap(), &layouts);
        let config = snapshot.config("transformer");
        for (key, expected) in &layouts.config {
            assert_eq!(config.get(key), Some(expected), "{key}");
        }
        // Its neighbours are those of a folder.
        let whole = Snapshot::open(&klein()).unwrap();
        for part in [Part::Vae, Part::TextEncoder] {
            assert_eq!(snapshot.config(part.folder()), whole.config(part.folder()));
            let [one, other] = [&snapshot, &whole].map(|it| it.weights(part).unwrap().parameters());
            assert_eq!(one, other);
        }
        assert_eq!(snapshot.retouch_json(), whole.retouch_json());
        let ids =
            |it: &Snapshot| it.qwen2_tokenizer(48).unwrap().encode("a blue star").unwrap().ids;
        assert_eq!(ids(&snapshot), ids(&whole));
        assert_eq!(snapshot.notes(), [Note::DistilledByName { is_distilled: true }]);
    }
}

#[test]
fn the_published_vae_gives_the_tensors_that_diffusers_converts_it_to() {
    let (transformer, vae) = (layouts("transformer"), layouts("vae"));
    for name in ["ae.safetensors", "flux2-vae.safetensors", "flux2-vae.sft"] {
        let folder = neighbours();
        fs::remove_dir_all(folder.path().join("vae")).unwrap();
        let file = folder.path().join("flux-2-klein-base-4b.safetensors");
        write_original(&file, "", &transformer);
        write_original(&folder.path().join(name), "", &vae);
        let snapshot = Snapshot::open(&file).unwrap();
        check(&snapshot.weights(Part::Vae).unwrap(), &vae);
        let config = snapshot.config("vae");
        // The groups of its norms are those of the published model, which shapes do not show.
        for (key, expected) in vae.config.iter().filter(|it| it.0 != "norm_num_groups") {
            assert_eq!(config.get(key), Some(expected), "{key}");
        }
        assert_eq!(config["use_quant_conv"], true);
        assert_eq!(snapshot.notes(), [Note::DistilledByName { is_distilled: false }]);
        assert!(!snapshot.is_distilled());
    }
}

#[test]
fn the_published_file_names_everything_that_is_missing_beside_it() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("flux-2-klein-4b.safetensors");
    write_original(&file, "", &layouts("transformer"));
    let SnapshotError::Missing { path, files, hint } = Snapshot::open(&file).unwrap_err() else {
        panic!("a file alone is no model");
    };
    assert_eq!(path, folder.path());
    assert_eq!(
        files,
        [
            "vae/config.json",
            "text_encoder/config.json",
            "text_encoder/model.safetensors",
            "vae/diffusion_pytorch_model.safetensors",
            "tokenizer/vocab.json",
            "tokenizer/merges.txt",
        ]
    );
    assert!(hint.contains("the file holds the transformer alone"), "{hint}");
}

#[test]
fn the_parts_of_a_published_file_may_be_where_its_retouch_json_says() {
    let (folder, elsewhere) = (TempDir::new().unwrap(), neighbours());
    let file = folder.path().join("flux-2-klein-4b.safetensors");
    write_original(&file, "", &layouts("transformer"));
    write_original(&elsewhere.path().join("small.safetensors"), "", &layouts("vae"));
    let place = |name: &str| elsewhere.path().join(name).display().to_string();
    let mut said = json!({
        "vae": place("small.safetensors"), "text_encoder": place("text_encoder"), "tokenizer": place("tokenizer"),
        "text_encoder_out_layers": [1, 2, 3], "max_sequence_length": 48,
    });
    write_json(folder.path(), "retouch.json", &said);
    let snapshot = Snapshot::open(&file).unwrap();
    check(&snapshot.weights(Part::Vae).unwrap(), &layouts("vae"));
    assert_eq!(snapshot.qwen2_tokenizer(48).unwrap().vocab_size(), 388);
    // Where its parts are is nothing of what the model is.
    let first = snapshot.digest().unwrap();
    fs::rename(elsewhere.path().join("tokenizer"), folder.path().join("words")).unwrap();
    said["tokenizer"] = "words".into();
    write_json(folder.path(), "retouch.json", &said);
    assert_eq!(Snapshot::open(&file).unwrap().digest().unwrap(), first);
    // What is missing there is named in full.
    fs::remove_file(folder.path().join("words/tokenizer.json")).unwrap();
    fs::remove_file(elsewhere.path().join("text_encoder/config.json")).unwrap();
    let SnapshotError::Missing { files, .. } = Snapshot::open(&file).unwrap_err() else {
        panic!("files are missing");
    };
    let config = place("text_encoder/config.json");
    assert_eq!(files, [config.as_str(), "words/vocab.json", "words/merges.txt"]);
    // A folder has its own.
    let whole = copy_of_klein();
    write_json(whole.path(), "retouch.json", &said);
    let error = Snapshot::open(whole.path()).unwrap_err().to_string();
    assert!(error.contains("in retouch.json, expected nothing"), "{error}");
}

#[test]
fn other_files_of_flux_are_called_by_their_name_with_what_to_take_instead() {
    let folder = neighbours();
    let layouts = layouts("transformer");
    let mut dev = tensors("", &layouts);
    dev.insert("guidance_in.in_layer.weight".to_owned(), (vec![32, 32], 0));
    let one = |key: &str| BTreeMap::from([(key.to_owned(), (vec![2, 2], 0))]);
    for (name, tensors, dtype, expected) in [
        ("flux2-dev", dev, "F32", "FLUX.2 [dev], whose transformer embeds"),
        ("flux-2-klein-9b-kv", tensors("", &layouts), "F32", "trained for cached keys and values"),
        ("flux1-dev", one("double_blocks.0.img_mod.lin.weight"), "F32", "a FLUX.1 checkpoint"),
        (
            "flux-2-klein-4b-fp8",
            tensors("", &layouts),
            "F8_E4M3",
            "an fp8 checkpoint (with tensors of F8_E4M3)",
        ),
        (
            "flux-2-klein-4b-nvfp4",
            tensors("", &layouts),
            "U8",
            "a quantized checkpoint (with tensors of U8)",
        ),
    ] {
        let file = folder.path().join(format!("{name}.safetensors"));
        write_header(&file, &tensors, dtype);
        refused(&file, expected);
    }
    // The transformer's file of a snapshot is a part.
    let part = klein().join("transformer/diffusion_pytorch_model.safetensors");
    let error = Snapshot::open(&part).unwrap_err().to_string();
    assert!(error.contains("one part of a diffusers snapshot"), "{error}");
}

#[test]
fn a_published_file_without_a_tensor_is_refused_by_the_name_of_the_tensor() {
    let layouts = layouts("transformer");
    let folder = neighbours();
    let file = folder.path().join("flux-2-klein-4b.safetensors");
    for key in ["img_in.weight", "txt_in.weight", "double_blocks.0.img_mlp.2.weight"] {
        let mut tensors = tensors("", &layouts);
        tensors.remove(key);
        write_header(&file, &tensors, "F32");
        let error = Snapshot::open(&file).unwrap_err();
        assert!(matches!(error, SnapshotError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains(&format!("no tensor `{key}`")), "{error}");
    }
    // One that no layer asks for is named as it is in the file.
    let mut tensors = tensors("", &layouts);
    tensors.insert("double_blocks.0.img_attn.extra.weight".to_owned(), (vec![2], 0));
    write_header(&file, &tensors, "F32");
    let error = Snapshot::open(&file).unwrap().weights(Part::Transformer).unwrap().finish();
    let error = error.unwrap_err().to_string();
    assert!(error.contains("unused"), "{error}");
}

/// Every tensor of a network has the values that diffusers' converter put there, and there is no other.
fn check(weights: &Checkpoint, layouts: &Layouts) {
    for (key, (shape, runs)) in &layouts.diffusers {
        let found = root(weights).tensor(key, shape).to_kind(Kind::Int64).flatten(0, -1);
        let runs: Vec<Tensor> = runs
            .iter()
            .map(|(start, count)| {
                Tensor::arange_start(*start, start + count, (Kind::Int64, Device::Cpu))
            })
            .collect();
        assert_eq!(found, Tensor::cat(&runs, 0), "{key}");
    }
    weights.finish().unwrap();
}

/// A folder with all that the published file needs beside it.
fn neighbours() -> TempDir {
    let folder = copy_of_klein();
    for name in ["transformer", "scheduler"] {
        fs::remove_dir_all(folder.path().join(name)).unwrap();
    }
    fs::remove_file(folder.path().join("model_index.json")).unwrap();
    folder
}

//! Model folders as Python libraries save them, and folders assembled from several models.

use std::{
    fs,
    path::{Path, PathBuf},
};

use retouch::{
    models::snapshot::Snapshot,
    pipelines::{
        EditPipeline,
        conditioning::LatentSize,
        inspect::inspect,
        load::{self, LoadError},
    },
    sampling::Steps,
};
use serde_json::{Value, json};
use tch::{Device, Kind};
use tempfile::TempDir;

use crate::support::{fixtures, load_pipeline};

/// A `scheduler_config.json` of diffusers, with all that Python writes and JSON does not have.
const SAVED_BY_PYTHON: &str = r#"{
  "_class_name": "DPMSolverMultistepScheduler",
  "_note": "-Infinity, \"NaN\", \\",
  "beta_end": 0.012,
  "beta_schedule": "scaled_linear",
  "beta_start": 0.00085,
  "lambda_min_clipped": -Infinity,
  "trained_betas": null,
  "unread": [NaN, Infinity]
}"#;

#[test]
fn a_folder_saved_by_python_may_hold_infinities_and_nan() {
    let folder = TempDir::new().unwrap();
    copy(&model("sd1"), folder.path());
    fs::write(folder.path().join("scheduler/scheduler_config.json"), SAVED_BY_PYTHON).unwrap();
    let snapshot = Snapshot::open(folder.path()).unwrap();
    let config = snapshot.config("scheduler");
    assert_eq!(config["lambda_min_clipped"], "-Infinity");
    assert_eq!(config["unread"], json!(["NaN", "Infinity"]));
    assert_eq!(config["_note"], r#"-Infinity, "NaN", \"#);
    let pipeline = load_pipeline(folder.path(), Kind::Float);
    let size = LatentSize::own(pipeline.geometry());
    assert!(pipeline.scheduler(None, Steps::try_from(10).unwrap(), size).is_ok());
}

#[test]
fn parts_of_different_models_are_refused_by_key_and_value() {
    let set = |folder: &Path, part: &str, key: &str, value: i64| {
        let path = folder.join(part).join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config[key] = value.into();
        fs::write(path, config.to_string()).unwrap();
    };
    let refused = |change: &dyn Fn(&Path)| {
        let folder = TempDir::new().unwrap();
        copy(&model("sd1"), folder.path());
        change(folder.path());
        let snapshot = Snapshot::open(folder.path()).unwrap();
        let error = load::load(&snapshot, Kind::Float, Device::Cpu).err().unwrap();
        assert!(matches!(error, LoadError::Parts { .. }), "{error}");
        error.to_string()
    };
    assert_eq!(
        refused(&mix),
        "`cross_attention_dim` of unet is 24, expected 16, since `hidden_size` of text_encoder is 16; take all parts \
         from one model"
    );
    assert_eq!(
        refused(&|it| set(it, "vae", "latent_channels", 8)),
        "`in_channels` of unet is 8, expected 16, since `latent_channels` of vae is 8; take all parts from one model"
    );
    assert_eq!(
        refused(&|it| set(it, "unet", "out_channels", 8)),
        "`out_channels` of unet is 8, expected 4, since `latent_channels` of vae is 4; take all parts from one model"
    );
}

#[test]
fn sound_parts_that_do_not_fit_each_other_are_a_fault_of_the_whole() {
    assert_eq!(inspect(&model("sd1")).unwrap().fault(), None);
    let folder = TempDir::new().unwrap();
    copy(&model("sd1"), folder.path());
    mix(folder.path());
    let found = inspect(folder.path()).unwrap();
    assert!(found.parts.iter().all(|part| part.fault.is_none()), "{found:?}");
    let fault = found.fault().unwrap();
    assert!(fault.starts_with("`cross_attention_dim` of unet is 24"), "{fault}");
}

/// Puts another model's text encoder in the place of a folder's own.
fn mix(folder: &Path) {
    copy(&model("linear").join("text_encoder"), &folder.join("text_encoder"));
}

/// A recorded snapshot.
fn model(name: &str) -> PathBuf {
    fixtures().join("models").join(name)
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

//! What the single file of FLUX.2 \[klein\] needs beside it: VAE, text encoder and tokenizer, each in a folder as
//! diffusers has them or where the `retouch.json` beside the file says; the VAE may be a file in its original layout.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::config_json::{ConfigJson, ConfigJsonError};
use crate::models::{
    snapshot::{
        bfl::VaeFile,
        bfl_config,
        error::SnapshotError,
        family::Family,
        files::{Gaps, config},
        part::Part,
    },
    weights::{Checkpoint, error::WeightsError},
};

/// The components that may be elsewhere, and the keys that say where.
const NAMED: [&str; 3] = ["vae", "text_encoder", "tokenizer"];

/// Names under which the VAE is published as one file.
const VAE_FILES: [&str; 3] = ["ae.safetensors", "flux2-vae.safetensors", "flux2-vae.sft"];

/// What to do where something is missing.
const ADVICE: &str = "the file holds the transformer alone: put the folders vae, text_encoder and tokenizer of the \
                      diffusers model beside it, or say in a retouch.json beside it where they are";

/// The places of a single file's other parts.
#[derive(Debug)]
pub(super) struct Neighbours {
    folder: PathBuf,
    places: BTreeMap<&'static str, PathBuf>,
    /// The VAE, if it is a file.
    vae: Option<VaeFile>,
}

// === impl Neighbours ===

impl Neighbours {
    /// Finds them, given the folder of the file and its `retouch.json`.
    pub(super) fn of(folder: &Path, retouch: Option<&str>) -> Result<Self, SnapshotError> {
        let invalid = |error: ConfigJsonError| invalid(folder, &error);
        let json = parse(retouch).map_err(invalid)?;
        let mut places = BTreeMap::new();
        for name in NAMED {
            places.insert(name, folder.join(json.text(name, name).map_err(invalid)?));
        }
        let named = &places["vae"];
        // A folder goes first, as in the published repository, which has the file beside it.
        let file = if named.is_file() {
            Some(named.clone())
        } else if named.is_dir() {
            None
        } else {
            VAE_FILES.map(|it| folder.join(it)).into_iter().find(|it| it.is_file())
        };
        let vae = file.map(|it| VaeFile::open(&it)).transpose()?;
        Ok(Self { folder: folder.to_owned(), places, vae })
    }

    /// The folder of a component.
    pub(super) fn place(&self, name: &str) -> PathBuf {
        self.places.get(name).cloned().unwrap_or_else(|| self.folder.join(name))
    }

    /// Opens the VAE's weights, under diffusers' keys.
    pub(super) fn vae_weights(&self) -> Result<Checkpoint, WeightsError> {
        match &self.vae {
            Some(file) => file.weights(),
            None => Checkpoint::open(&self.place("vae")),
        }
    }

    /// The configurations of all components but the transformer; refused if a file is missing.
    pub(super) fn configs(&self) -> Result<BTreeMap<&'static str, Value>, SnapshotError> {
        let mut configs = BTreeMap::from([("scheduler", bfl_config::scheduler())]);
        let mut gaps = Gaps::new(&self.folder);
        for component in Family::Flux2Klein.components() {
            let place = self.place(component.name);
            match (component.name, &self.vae) {
                ("transformer", _) => continue,
                ("vae", Some(file)) => {
                    let malformed =
                        |reason| SnapshotError::Malformed { path: file.path().to_owned(), reason };
                    configs.insert("vae", bfl_config::vae(file).map_err(malformed)?);
                    continue;
                }
                // That of the published models will do where there is none.
                ("scheduler", _) => {}
                _ => gaps.config(&place, component),
            }
            if let Some(config) = config(&place, component.file)? {
                configs.insert(component.name, config);
            }
        }
        gaps.weights(&self.place("text_encoder"), Part::TextEncoder)?;
        if self.vae.is_none() {
            gaps.weights(&self.place("vae"), Part::Vae)?;
        }
        gaps.tokenizer(&self.place("tokenizer"));
        gaps.check(Some(ADVICE))?;
        Ok(configs)
    }
}

/// Refuses a folder whose `retouch.json` says that its parts are elsewhere, which only a single file's may be.
pub(super) fn refuse(folder: &Path, retouch: Option<&str>) -> Result<(), SnapshotError> {
    let Some(retouch) = retouch else { return Ok(()) };
    // One that is no JSON is refused where its settings are read.
    let Ok(json) = parse(Some(retouch)) else { return Ok(()) };
    for name in NAMED {
        json.read(name, "nothing: the model's folder has its own", |_| None::<()>)
            .map_err(|error| invalid(folder, &error))?;
    }
    Ok(())
}

fn parse(retouch: Option<&str>) -> Result<ConfigJson, ConfigJsonError> {
    ConfigJson::parse("retouch.json", retouch.unwrap_or("{}"))
}

fn invalid(folder: &Path, error: &ConfigJsonError) -> SnapshotError {
    SnapshotError::Malformed { path: folder.join("retouch.json"), reason: error.to_string() }
}

//! A model: a diffusers snapshot folder (`model_index.json`), or a single-file checkpoint in the original key layout;
//! its configurations, and access to its weights and tokenizer.

pub mod error;
pub mod family;
pub mod part;

mod elsewhere;
mod files;
mod foreign;
mod identity;
mod ldm;
mod ldm_config;
mod loras;

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    path::{Path, PathBuf},
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::models::{
    lora::{error::LoraError, file::LoraFile},
    stable_diffusion::clip::tokenizer::ClipTokenizer,
    weights::{Checkpoint, error::WeightsError, find},
};
use error::SnapshotError;
use family::Family;
use files::{read, read_json};
use identity::identity;
use ldm::LdmLayout;
use loras::Loras;
use part::Part;

/// Files of a tokenizer, any of which indicates that there is one.
const TOKENIZER: [&str; 5] = [
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
];

/// Folder of a tiny decoder that a model brings for its previews.
const PREVIEW_DECODER: &str = "preview_decoder";

/// A model whose files are all there, and which is of a family that can be loaded.
///
/// No weights are read before [`Snapshot::weights`] is called.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    layout: Layout,
    family: Family,
    /// The configurations of its components, by their names.
    configs: BTreeMap<&'static str, Value>,
    retouch: Option<String>,
    notes: Vec<Note>,
    loras: Loras,
    preview_decoder: Option<PathBuf>,
}

/// A remark on a usable model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The file's EMA U-Net is not used.
    EmaSkipped {
        /// Its number of tensors.
        tensors: usize,
    },
    /// Tensors that belong to no network are ignored.
    OthersSkipped {
        /// Their keys.
        keys: Vec<String>,
    },
    /// The file does not state the prediction type of its U-Net.
    VelocityAssumed,
}

#[derive(Debug)]
enum Layout {
    /// A folder, with the class named in its `model_index.json`.
    Diffusers {
        class: String,
    },
    Ldm(LdmLayout),
}

// === impl Snapshot ===

impl Snapshot {
    /// Opens a model folder or a single-file checkpoint.
    ///
    /// # Errors
    /// [`SnapshotError`], naming every missing file, or the kind of model if it is not for instruction-based editing.
    pub fn open(path: &Path) -> Result<Self, SnapshotError> {
        if path.is_dir() {
            Self::open_folder(path)
        } else if path.is_file() {
            Self::open_file(path)
        } else {
            Err(SnapshotError::NotFound { path: path.to_owned() })
        }
    }

    /// The folder or file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The pipeline's class in diffusers, or the layout of the file.
    pub fn class(&self) -> &str {
        match &self.layout {
            Layout::Diffusers { class } => class,
            Layout::Ldm(_) => "single-file checkpoint in the original layout",
        }
    }

    /// How it is loaded.
    pub fn family(&self) -> Family {
        self.family
    }

    /// The configuration of a component of its family, such as `unet` or `scheduler`.
    ///
    /// # Panics
    /// If the family has no such component.
    pub fn config(&self, component: &str) -> &Value {
        &self.configs[component]
    }

    /// The text of `retouch.json`, if the folder has one.
    pub fn retouch_json(&self) -> Option<&str> {
        self.retouch.as_deref()
    }

    /// Remarks on the model.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Opens the weights of a network; only headers are read.
    ///
    /// # Errors
    /// [`WeightsError`] if files are truncated, have invalid headers or are pickles.
    pub fn weights(&self, part: Part) -> Result<Checkpoint, WeightsError> {
        let mut weights = match &self.layout {
            Layout::Diffusers { .. } => Checkpoint::open(&self.path.join(part.folder()))?,
            Layout::Ldm(layout) => layout.weights(&self.path, part)?,
        };
        weights.change(self.loras.of(part));
        Ok(weights)
    }

    /// Merges a LoRA at a weight into all weights that are read from now on.
    ///
    /// # Errors
    /// [`LoraError`] if it is for another model.
    pub fn apply(&mut self, lora: LoraFile, weight: f64) -> Result<(), LoraError> {
        let (architecture, parts) = self.family.changed(&self.configs);
        let networks = parts.iter().map(|part| Ok((*part, self.weights(*part)?)));
        let networks = networks.collect::<Result<Vec<_>, WeightsError>>()?;
        self.loras.add(architecture, &networks, lora, weight)
    }

    /// The folder or file of a tiny decoder for previews: the given one, else the model's own.
    pub fn preview_decoder(&self) -> Option<&Path> {
        self.preview_decoder.as_deref()
    }

    /// Takes another tiny decoder for previews than the model's own.
    pub fn set_preview_decoder(&mut self, path: PathBuf) {
        self.preview_decoder = Some(path);
    }

    /// Loads the tokenizer; for a single-file checkpoint CLIP's own.
    ///
    /// # Errors
    /// [`SnapshotError`] if its files are invalid, or if its vocabulary exceeds the text encoder's.
    pub fn tokenizer(&self) -> Result<ClipTokenizer, SnapshotError> {
        let text = self.config("text_encoder");
        let positions =
            text.get("max_position_embeddings").and_then(Value::as_u64).unwrap_or(77) as usize;
        let tokenizer = match &self.layout {
            Layout::Diffusers { .. } => {
                ClipTokenizer::open(&self.path.join("tokenizer"), positions)?
            }
            // OpenCLIP pads with the token of id 0.
            Layout::Ldm(layout) if layout.is_open_clip() => ClipTokenizer::clip("!", positions)?,
            Layout::Ldm(_) => ClipTokenizer::clip(ClipTokenizer::EOS, positions)?,
        };
        let tokens = tokenizer.vocab_size();
        match text.get("vocab_size").and_then(Value::as_u64) {
            Some(known) if known < tokens as u64 => {
                Err(SnapshotError::Vocabulary { tokens, known })
            }
            _ => Ok(tokenizer),
        }
    }

    /// A digest of the model in hexadecimal: SHA-256 over its configurations, its tokenizer's files, keys, shapes and
    /// samples of its weights, and digests and weights of its LoRAs. It takes milliseconds; see
    /// [`Checkpoint::digest`].
    ///
    /// # Errors
    /// [`SnapshotError`] if a file cannot be read.
    pub fn digest(&self) -> Result<String, SnapshotError> {
        let mut digest = Sha256::new();
        for component in self.family.components() {
            digest.update(self.config(component.name).to_string());
        }
        digest.update(identity(self.retouch.as_deref().unwrap_or_default()));
        for path in TOKENIZER
            .map(|it| self.path.join("tokenizer").join(it))
            .iter()
            .filter(|it| it.is_file())
        {
            digest.update(read(path)?);
        }
        for part in Part::ALL {
            self.weights(part)?.digest(&mut digest)?;
        }
        self.loras.digest(&mut digest);
        Ok(format!("{:x}", digest.finalize()))
    }

    fn open_folder(path: &Path) -> Result<Self, SnapshotError> {
        let index_path = path.join("model_index.json");
        if !index_path.is_file() {
            let files = vec!["model_index.json".to_owned()];
            let hint = elsewhere::of_folder(path);
            return Err(SnapshotError::Missing { path: path.to_owned(), files, hint });
        }
        // 1. What it is, so that a model of another kind is not asked for files that it never has.
        let index = read_json(&index_path)?;
        let class =
            index.get("_class_name").and_then(Value::as_str).unwrap_or("unnamed").to_owned();
        let wrong = |found| SnapshotError::WrongArchitecture { path: path.to_owned(), found };
        let family = foreign::family(&index, &class).map_err(wrong)?;
        let mut configs = BTreeMap::new();
        for component in family.components() {
            let Some(config) = config(path, &component.path())? else { continue };
            if component.name == "unet"
                && let Some(found) = foreign::unet(&config)
            {
                return Err(wrong(format!("{class}, {found}")));
            }
            let is_text = component.name == "text_encoder";
            configs.insert(component.name, if is_text { text_config(config) } else { config });
        }
        // 2. Whether it is whole.
        let (files, hint) = missing(path, family)?;
        if !files.is_empty() {
            return Err(SnapshotError::Missing { path: path.to_owned(), files, hint });
        }
        let retouch = path.join("retouch.json");
        let retouch = if retouch.is_file() { Some(read(&retouch)?) } else { None };
        let layout = Layout::Diffusers { class };
        let preview_decoder = Some(path.join(PREVIEW_DECODER)).filter(|it| it.is_dir());
        let (path, notes, loras) = (path.to_owned(), Vec::new(), Loras::default());
        Ok(Self { path, layout, family, configs, retouch, notes, loras, preview_decoder })
    }

    fn open_file(path: &Path) -> Result<Self, SnapshotError> {
        if find::is_pickle(path) {
            return Err(WeightsError::Pickle { path: path.to_owned() }.into());
        }
        let layout = LdmLayout::open(path)?;
        if let Some(found) = foreign::file(&layout) {
            return Err(SnapshotError::WrongArchitecture { path: path.to_owned(), found });
        }
        let configs = ldm_config::infer(&layout)
            .map_err(|reason| SnapshotError::Malformed { path: path.to_owned(), reason })?;
        if let Some(found) = foreign::unet(&configs["unet"]) {
            return Err(SnapshotError::WrongArchitecture { path: path.to_owned(), found });
        }
        let mut notes = Vec::new();
        let (tensors, keys) = (layout.ema_tensors(), layout.others());
        if tensors > 0 {
            notes.push(Note::EmaSkipped { tensors });
        }
        if !keys.is_empty() {
            notes.push(Note::OthersSkipped { keys });
        }
        if layout.is_open_clip() {
            notes.push(Note::VelocityAssumed);
        }
        Ok(Self {
            path: path.to_owned(),
            layout: Layout::Ldm(layout),
            family: Family::InstructPix2Pix,
            configs,
            retouch: None,
            notes,
            loras: Loras::default(),
            preview_decoder: None,
        })
    }
}

// === impl Note ===

impl Display for Note {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmaSkipped { tensors } => {
                write!(f, "{tensors} tensors of averaged weights (model_ema) are skipped")
            }
            Self::OthersSkipped { keys } => {
                let first: Vec<&str> = keys.iter().take(3).map(String::as_str).collect();
                write!(
                    f,
                    "{} tensors of no part are skipped: `{}`",
                    keys.len(),
                    first.join("`, `")
                )?;
                if keys.len() > first.len() { write!(f, " and others") } else { Ok(()) }
            }
            Self::VelocityAssumed => {
                f.write_str("the file does not say what it predicts; velocity is assumed")
            }
        }
    }
}

/// The file names that a snapshot folder lacks, all of them, and what to do about it.
fn missing(path: &Path, family: Family) -> Result<(Vec<String>, String), SnapshotError> {
    let configs = family.components().iter().map(family::Component::path);
    let mut files: Vec<String> = configs.filter(|it| !path.join(it).is_file()).collect();
    let mut hints = Vec::new();
    for part in Part::ALL {
        match find::find(&path.join(part.folder())) {
            Ok(_) => {}
            Err(WeightsError::NoWeights { expected, hint, .. }) => {
                hints.extend(hint.map(|it| format!("in {part}, {it}")));
                let name =
                    if part == Part::TextEncoder { expected.last() } else { expected.first() };
                files.extend(name.map(|it| format!("{part}/{it}")));
            }
            Err(WeightsError::NoShards { missing, .. }) => {
                files.extend(missing.iter().map(|it| format!("{part}/{it}")));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let has = |name: &str| path.join("tokenizer").join(name).is_file();
    if !has("tokenizer.json") {
        let names = ["vocab.json", "merges.txt"];
        files.extend(names.iter().filter(|it| !has(it)).map(|it| format!("tokenizer/{it}")));
    }
    let hint = if hints.is_empty() { elsewhere::of_gaps(path) } else { hints.join("; ") };
    Ok((files, hint))
}

/// The text encoder's configuration; in the configuration of a complete CLIP it is nested (transformers:
/// `CLIPTextConfig.from_pretrained`).
fn text_config(mut config: Value) -> Value {
    let is_whole = config.get("model_type").and_then(Value::as_str) == Some("clip");
    match config.get_mut("text_config") {
        Some(text) if is_whole && text.is_object() => text.take(),
        _ => config,
    }
}

/// A configuration file of a folder, if it exists.
fn config(folder: &Path, name: &str) -> Result<Option<Value>, SnapshotError> {
    let path = folder.join(name);
    if path.is_file() { read_json(&path).map(Some) } else { Ok(None) }
}

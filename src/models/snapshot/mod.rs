//! A model: a diffusers snapshot folder (`model_index.json`), or a single-file checkpoint in the original key layout;
//! its configurations, and access to its weights and tokenizer.

pub mod error;
pub mod family;
pub mod note;
pub mod part;

mod bfl;
mod bfl_config;
mod elsewhere;
mod files;
mod foreign;
mod identity;
mod ldm;
mod ldm_config;
mod loras;
mod neighbours;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::config_json::ConfigJson;
use crate::models::{
    lora::{error::LoraError, file::LoraFile},
    qwen3::tokenizer::Qwen2Tokenizer,
    stable_diffusion::clip::tokenizer::ClipTokenizer,
    weights::{
        Checkpoint,
        error::WeightsError,
        file::{Stored, WeightsFile},
        find,
    },
};
use bfl::BflLayout;
use error::SnapshotError;
use family::Family;
use files::{Gaps, config, read, read_json, text_config};
use identity::identity;
use ldm::LdmLayout;
use loras::Loras;
use neighbours::Neighbours;
use note::Note;
use part::Part;

/// Files of a tokenizer, any of which indicates that there is one.
const TOKENIZER: [&str; 6] = [
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
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
    /// Of FLUX.2 \[klein\]: whether few steps suffice, without guidance.
    is_distilled: bool,
    retouch: Option<String>,
    notes: Vec<Note>,
    loras: Loras,
    preview_decoder: Option<PathBuf>,
}

#[derive(Debug)]
enum Layout {
    /// A folder, with the class named in its `model_index.json`.
    Diffusers {
        class: String,
    },
    /// A file of the transformer, and the places of its other parts.
    Bfl(Neighbours),
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
            Layout::Bfl(_) => "single-file checkpoint of FLUX.2 [klein]",
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

    /// Whether a FLUX.2 \[klein\] is distilled to few steps without guidance (diffusers: `is_distilled` of
    /// `model_index.json`); false for other families.
    pub fn is_distilled(&self) -> bool {
        self.is_distilled
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
            Layout::Ldm(layout) => layout.weights(&self.path, part)?,
            Layout::Bfl(_) if part == Part::Transformer => BflLayout::weights(&self.path)?,
            Layout::Bfl(neighbours) if part == Part::Vae => neighbours.vae_weights()?,
            _ => Checkpoint::open(&self.place(part.folder()))?,
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

    /// Loads CLIP's tokenizer; for a single-file checkpoint CLIP's own.
    ///
    /// # Errors
    /// [`SnapshotError`] if its files are invalid, or if its vocabulary exceeds the text encoder's.
    pub fn tokenizer(&self) -> Result<ClipTokenizer, SnapshotError> {
        let text = self.config("text_encoder");
        let positions =
            text.get("max_position_embeddings").and_then(Value::as_u64).unwrap_or(77) as usize;
        let tokenizer = match &self.layout {
            // OpenCLIP pads with the token of id 0.
            Layout::Ldm(layout) if layout.is_open_clip() => ClipTokenizer::clip("!", positions)?,
            Layout::Ldm(_) => ClipTokenizer::clip(ClipTokenizer::EOS, positions)?,
            _ => ClipTokenizer::open(&self.place("tokenizer"), positions)?,
        };
        self.check_vocabulary(tokenizer.vocab_size())?;
        Ok(tokenizer)
    }

    /// Loads Qwen2's tokenizer, which pads prompts to a length.
    ///
    /// # Errors
    /// [`SnapshotError`] if its files are invalid, or if its vocabulary exceeds the text encoder's.
    pub fn qwen2_tokenizer(&self, max_length: usize) -> Result<Qwen2Tokenizer, SnapshotError> {
        let tokenizer = Qwen2Tokenizer::open(&self.place("tokenizer"), max_length)?;
        self.check_vocabulary(tokenizer.vocab_size())?;
        Ok(tokenizer)
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
        if self.is_distilled {
            digest.update("is_distilled");
        }
        digest.update(identity(self.retouch.as_deref().unwrap_or_default()));
        // A single file in the layout of Stable Diffusion brings its tokenizer.
        let is_beside = !matches!(self.layout, Layout::Ldm(_));
        let tokenizer = TOKENIZER.map(|it| self.place("tokenizer").join(it));
        for path in tokenizer.iter().filter(|it| is_beside && it.is_file()) {
            digest.update(read(path)?);
        }
        for part in self.family.parts() {
            self.weights(*part)?.digest(&mut digest)?;
        }
        self.loras.digest(&mut digest);
        Ok(format!("{:x}", digest.finalize()))
    }

    /// The folder of a component.
    fn place(&self, name: &str) -> PathBuf {
        match &self.layout {
            Layout::Bfl(neighbours) => neighbours.place(name),
            _ => self.path.join(name),
        }
    }

    fn check_vocabulary(&self, tokens: usize) -> Result<(), SnapshotError> {
        match self.config("text_encoder").get("vocab_size").and_then(Value::as_u64) {
            Some(known) if known < tokens as u64 => {
                Err(SnapshotError::Vocabulary { tokens, known })
            }
            _ => Ok(()),
        }
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
        let family = foreign::family(&index, &class).map_err(|it| it.at(path))?;
        let mut configs = BTreeMap::new();
        for component in family.components() {
            let Some(config) = config(path, &component.path())? else { continue };
            if let Some(found) = foreign::component(component.name, &config) {
                return Err(found.of(&class).at(path));
            }
            let is_text = component.name == "text_encoder";
            configs.insert(component.name, if is_text { text_config(config) } else { config });
        }
        let is_distilled = family == Family::Flux2Klein && is_distilled(&index, &index_path)?;
        // 2. Whether it is whole.
        Gaps::of(path, family)?.check(None)?;
        let (layout, retouch) = (Layout::Diffusers { class }, retouch(path)?);
        neighbours::refuse(path, retouch.as_deref())?;
        let preview_decoder = Some(path.join(PREVIEW_DECODER)).filter(|it| it.is_dir());
        let plain = Self::plain(path, layout, family, configs);
        Ok(Self { is_distilled, retouch, preview_decoder, ..plain })
    }

    fn open_file(path: &Path) -> Result<Self, SnapshotError> {
        if find::is_pickle(path) {
            return Err(WeightsError::Pickle { path: path.to_owned() }.into());
        }
        let (_, stored) = WeightsFile::open(path)?;
        if let Some(found) = foreign::quantized(&stored) {
            return Err(found.at(path));
        }
        match BflLayout::of(&stored) {
            Some(layout) => Self::open_bfl(path, &layout),
            None => Self::open_ldm(path, stored),
        }
    }

    fn open_bfl(path: &Path, layout: &BflLayout) -> Result<Self, SnapshotError> {
        let transformer = bfl_config::transformer(layout)
            .map_err(|reason| SnapshotError::Malformed { path: path.to_owned(), reason })?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
        if let Some(found) = foreign::bfl(&transformer, &name) {
            return Err(found.at(path));
        }
        let folder = beside(path);
        let retouch = retouch(folder)?;
        let neighbours = Neighbours::of(folder, retouch.as_deref())?;
        let mut configs = neighbours.configs()?;
        configs.insert("transformer", transformer);
        // The folder that it was published in says whether it is distilled, else its name.
        let index_path = folder.join("model_index.json");
        let index = config(folder, "model_index.json")?;
        let said = index.map(|it| is_distilled(&it, &index_path)).transpose()?;
        let is_distilled = said.unwrap_or(!name.contains("base"));
        let notes =
            if said.is_some() { Vec::new() } else { vec![Note::DistilledByName { is_distilled }] };
        let plain = Self::plain(path, Layout::Bfl(neighbours), Family::Flux2Klein, configs);
        Ok(Self { is_distilled, retouch, notes, ..plain })
    }

    fn open_ldm(path: &Path, stored: Vec<Stored>) -> Result<Self, SnapshotError> {
        let layout = LdmLayout::of(stored);
        if let Some(found) = foreign::file(&layout) {
            return Err(found.at(path));
        }
        let configs = ldm_config::infer(&layout)
            .map_err(|reason| SnapshotError::Malformed { path: path.to_owned(), reason })?;
        if let Some(found) = foreign::component("unet", &configs["unet"]) {
            return Err(found.at(path));
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
        let plain = Self::plain(path, Layout::Ldm(layout), Family::InstructPix2Pix, configs);
        Ok(Self { notes, ..plain })
    }

    /// One of which nothing further is to be said.
    fn plain(
        path: &Path,
        layout: Layout,
        family: Family,
        configs: BTreeMap<&'static str, Value>,
    ) -> Self {
        Self {
            path: path.to_owned(),
            layout,
            family,
            configs,
            is_distilled: false,
            retouch: None,
            notes: Vec::new(),
            loras: Loras::default(),
            preview_decoder: None,
        }
    }
}

/// The folder of a file.
fn beside(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The text of a folder's `retouch.json`, if it has one.
fn retouch(folder: &Path) -> Result<Option<String>, SnapshotError> {
    let path = folder.join("retouch.json");
    if path.is_file() { read(&path).map(Some) } else { Ok(None) }
}

/// What a `model_index.json` says of distillation; without a word it is none.
fn is_distilled(index: &Value, path: &Path) -> Result<bool, SnapshotError> {
    let json = ConfigJson::parse("model_index.json", &index.to_string());
    json.and_then(|it| it.without_nulls().flag("is_distilled", false)).map_err(|error| {
        SnapshotError::Malformed { path: path.to_owned(), reason: error.to_string() }
    })
}

//! A LoRA file: its changes by module, its scale, and what it says of itself. Opening it reads all of it,
//! to check its numbers and for its digest.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tch::Tensor;

use crate::models::{
    lora::{
        change::{self, Change},
        error::LoraError,
        keys::{self, Factor, Key, Module, Net, flat},
    },
    weights::{
        error::WeightsError,
        file::{Stored, WeightsFile},
        find,
    },
};

/// Key of diffusers' own metadata: PEFT's configuration, as JSON.
const ADAPTER: &str = "lora_adapter_metadata";

/// PEFT's file, and its configuration beside it.
const PEFT: [&str; 2] = ["adapter_model.safetensors", "adapter_config.json"];

/// Names of LoRAs in folders, those of pickles last.
const IN_FOLDERS: [&str; 4] =
    ["pytorch_lora_weights.safetensors", PEFT[0], "pytorch_lora_weights.bin", "adapter_model.bin"];

/// Number of layers from which on a file is taken for the weights of a network.
const LAYERS: usize = 20;

/// An opened LoRA file.
#[derive(Debug)]
pub struct LoraFile {
    path: PathBuf,
    file: WeightsFile,
    pub(super) changes: Vec<(Module, Change)>,
    /// Keys of no known layout.
    pub(super) unknown: Vec<String>,
    adapter: Option<Value>,
    sha256: String,
}

impl LoraFile {
    /// Opens a file, or the one in a folder: diffusers' `pytorch_lora_weights.safetensors`, PEFT's
    /// `adapter_model.safetensors` with its configuration, or the only one there.
    ///
    /// # Errors
    /// [`LoraError`] for a pickle, a truncated file, a method that is not merged, a file without any change, and
    /// values that are no numbers.
    pub fn open(path: &Path) -> Result<Self, LoraError> {
        let path = &place(path)?;
        if find::is_pickle(path) {
            return Err(WeightsError::Pickle { path: path.to_owned() }.into());
        }
        let (file, stored) = WeightsFile::open(path)?;
        let mut changes: BTreeMap<Module, Change> = BTreeMap::new();
        let mut unknown = Vec::new();
        for it in stored {
            match keys::read(&it.key) {
                Key::Other(method) => {
                    return Err(LoraError::Method { path: path.to_owned(), method });
                }
                Key::Unknown => unknown.push(it.key),
                Key::Factor(module, factor) => {
                    changes.entry(module).or_default().factors.insert(factor, it);
                }
            }
        }
        if changes.values().all(|it| it.factors.keys().all(|it| *it == Factor::Alpha)) {
            let is_model = unknown.iter().filter(|it| it.ends_with(".weight")).count() >= LAYERS;
            return Err(LoraError::NotALora { path: path.to_owned(), keys: unknown, is_model });
        }
        for change in changes.values_mut() {
            change.alpha = alpha(&file, change).map_err(|source| faulty(path, &source))?;
            change.check(&file).map_err(|source| faulty(path, &source))?;
        }
        let unreadable = |source| WeightsError::Unreadable { path: path.to_owned(), source };
        let config = path.with_file_name(PEFT[1]);
        let is_peft = path.file_name().is_some_and(|it| it == PEFT[0]) && config.is_file();
        let (adapter, beside) = if is_peft {
            let text = fs::read_to_string(&config).map_err(unreadable)?;
            let config = serde_json::from_str(&text)
                .map_err(|error| LoraError::Faulty { path: config, reason: error.to_string() })?;
            (Some(config), text)
        } else {
            let said = file.metadata.get(ADAPTER).and_then(|it| serde_json::from_str(it).ok());
            (said, String::new())
        };
        let sha256 = sha256(path, &beside).map_err(unreadable)?;
        let changes = changes.into_iter().collect();
        let opened = Self { path: path.to_owned(), file, changes, unknown, adapter, sha256 };
        if [Net::Denoiser, Net::TextEncoder].iter().any(|it| opened.flag(*it, "use_dora")) {
            return Err(LoraError::Method { path: path.to_owned(), method: "DoRA" });
        }
        Ok(opened)
    }

    /// The path that it was opened at.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name of the file, without its folders.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// SHA-256 of the file, and of PEFT's configuration behind it, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// What its trainer wrote into the header.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.file.metadata
    }

    /// Keys of tensors, as stored.
    pub(super) fn stored(&self) -> impl Iterator<Item = &Stored> {
        self.changes.iter().flat_map(|(_, change)| change.factors.values())
    }

    /// The matrix of a change; see [`Change::delta`].
    pub(super) fn delta(&self, change: usize, cells: i64) -> io::Result<Tensor> {
        self.changes[change].1.delta(&self.file, cells)
    }

    /// The factor that a change's matrix has by itself: alpha over rank, 1 where no alpha is given.
    ///
    /// Differs: diffusers 0.42.1 loses kohya's alphas of attention layers where a file's alphas are not all the same,
    /// since it keeps them under names of attention processors.
    pub(super) fn scale(&self, module: &Module, change: &Change) -> f64 {
        let Some(rank) = change.shape().and_then(|it| it.rank) else { return 1.0 };
        let rank = rank as f64;
        let alpha = change.alpha.or_else(|| self.adapter_alpha(module)).unwrap_or(rank);
        let by_root = change.alpha.is_none() && self.flag(module.net, "use_rslora");
        alpha / if by_root { rank.sqrt() } else { rank }
    }

    /// The alpha that diffusers' metadata gives a module.
    fn adapter_alpha(&self, module: &Module) -> Option<f64> {
        let patterns = self.setting(module.net, "alpha_pattern").and_then(Value::as_object);
        let named = patterns.into_iter().flatten().find(|(pattern, _)| {
            let pattern = flat(pattern);
            module.name == pattern || module.name.ends_with(&format!("_{pattern}"))
        });
        let alpha =
            named.map(|(_, alpha)| alpha).or_else(|| self.setting(module.net, "lora_alpha"));
        alpha?.as_f64()
    }

    fn flag(&self, net: Net, key: &str) -> bool {
        self.setting(net, key).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A value of PEFT's configuration for a network.
    fn setting(&self, net: Net, key: &str) -> Option<&Value> {
        let prefixes: &[&str] = match net {
            Net::Denoiser => &["unet", "transformer"],
            Net::TextEncoder => &["text_encoder"],
            Net::OtherTextEncoder => &["text_encoder_2"],
        };
        let adapter = self.adapter.as_ref()?;
        let named = prefixes.iter().find_map(|prefix| adapter.get(format!("{prefix}.{key}")));
        // PEFT's own file is of one network, and names none.
        named.or_else(|| adapter.get(key)).filter(|it| !it.is_null())
    }
}

/// The file at a path, which may be its folder.
fn place(path: &Path) -> Result<PathBuf, LoraError> {
    if path.is_file() {
        return Ok(path.to_owned());
    }
    if !path.is_dir() {
        return Err(LoraError::NotFound { path: path.to_owned() });
    }
    if let Some(found) = IN_FOLDERS.map(|it| path.join(it)).into_iter().find(|it| it.is_file()) {
        return Ok(found);
    }
    let entries = fs::read_dir(path)
        .map_err(|source| WeightsError::Unreadable { path: path.to_owned(), source })?;
    let files = entries.flatten().map(|it| it.path()).filter(|it| it.is_file());
    let mut found: Vec<PathBuf> =
        files.filter(|it| it.extension().is_some_and(|it| it == "safetensors")).collect();
    found.sort();
    match &found[..] {
        [only] => Ok(only.clone()),
        all => Err(LoraError::Folder { path: path.to_owned(), found: names_of(all) }),
    }
}

fn names_of(paths: &[PathBuf]) -> Vec<String> {
    let names = paths.iter().filter_map(|it| it.file_name());
    names.map(|it| it.to_string_lossy().into_owned()).collect()
}

/// A file whose tensors can't be used.
fn faulty(path: &Path, source: &io::Error) -> LoraError {
    LoraError::Faulty { path: path.to_owned(), reason: source.to_string() }
}

/// The stored alpha.
fn alpha(file: &WeightsFile, change: &Change) -> io::Result<Option<f64>> {
    let Some(stored) = change.factors.get(&Factor::Alpha) else { return Ok(None) };
    if stored.elements() != 1 {
        return Err(io::Error::other(format!("`{}` is not one number", stored.key)));
    }
    Ok(Some(change::tensor(file, stored)?.view([1]).double_value(&[0])))
}

/// The digest of a file and of the text that belongs to it.
fn sha256(path: &Path, beside: &str) -> io::Result<String> {
    let mut digest = Sha256::new();
    io::copy(&mut File::open(path)?, &mut digest)?;
    digest.update(beside);
    Ok(format!("{:x}", digest.finalize()))
}

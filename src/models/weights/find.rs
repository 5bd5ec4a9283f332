//! Finds the weight files in a network's folder (diffusers: `_get_model_file`, `_fetch_index_file`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::models::weights::error::WeightsError;

/// File names without extensions: diffusers' models, then transformers'.
const STEMS: [&str; 2] = ["diffusion_pytorch_model", "model"];

/// File variants, in order of preference.
///
/// The full-precision file comes first whatever dtype was requested: a half-precision variant is the same file rounded,
/// so rounding here gives the same fp16 tensors, avoids double rounding for bf16, and a model folder always means the
/// same weights. Of two half-precision variants, the one with more mantissa bits comes first.
const VARIANTS: [&str; 3] = ["", ".fp16", ".bf16"];

/// Byte order mark.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// Extensions of pickle files written by torch.
const PICKLES: [&str; 4] = ["bin", "ckpt", "pt", "pth"];

/// The safetensors files of a network.
pub(in crate::models) struct NetworkFiles {
    pub(in crate::models) files: Vec<PathBuf>,
    /// File name of the shard that holds each key; empty for a single file.
    pub(in crate::models) shard_of: BTreeMap<String, String>,
}

/// Finds the weights at a path, which is a folder or the file itself.
pub(in crate::models) fn find(path: &Path) -> Result<NetworkFiles, WeightsError> {
    let named_as_file = path.extension().is_some_and(|ending| ending == "safetensors");
    if path.is_file() || named_as_file {
        return if is_pickle(path) {
            Err(WeightsError::Pickle { path: path.to_owned() })
        } else {
            Ok(NetworkFiles { files: vec![path.to_owned()], shard_of: BTreeMap::new() })
        };
    }
    for variant in VARIANTS {
        for stem in STEMS {
            let file = path.join(format!("{stem}{variant}.safetensors"));
            if file.is_file() {
                return Ok(NetworkFiles { files: vec![file], shard_of: BTreeMap::new() });
            }
            // Three spellings, by age: today's, diffusers' until 0.30, and one that follows the single file's.
            let indexes = [
                format!("{stem}.safetensors.index{variant}.json"),
                format!("{stem}.safetensors{variant}.index.json"),
                format!("{stem}{variant}.safetensors.index.json"),
            ];
            if let Some(index) = indexes.iter().map(|it| path.join(it)).find(|it| it.is_file()) {
                return shards(&index);
            }
        }
    }
    Err(match pickle_in(path) {
        Some(pickle) => WeightsError::Pickle { path: pickle },
        None => WeightsError::NoWeights {
            folder: path.to_owned(),
            expected: STEMS.map(|it| format!("{it}.safetensors")).to_vec(),
            hint: hint(path),
        },
    })
}

/// Whether torch writes files with this extension as pickles.
pub(in crate::models) fn is_pickle(path: &Path) -> bool {
    path.extension().is_some_and(|ending| PICKLES.iter().any(|it| ending.eq_ignore_ascii_case(it)))
}

/// The shards that an index names, which must be in the same folder.
fn shards(index: &Path) -> Result<NetworkFiles, WeightsError> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }

    let malformed =
        |reason: String| WeightsError::MalformedIndex { path: index.to_owned(), reason };
    let text = fs::read(index)
        .map_err(|source| WeightsError::Unreadable { path: index.to_owned(), source })?;
    let Index { weight_map } = serde_json::from_slice(text.strip_prefix(BOM).unwrap_or(&text))
        .map_err(|error| malformed(error.to_string()))?;
    let names: BTreeSet<&String> = weight_map.values().collect();
    if let Some(name) = names.iter().find(|it| Path::new(it).file_name() != Some(it.as_ref())) {
        return Err(malformed(format!("`{name}` is not a file name")));
    }
    if names.is_empty() {
        return Err(malformed("it names no shard".to_owned()));
    }
    let missing: Vec<String> = names
        .iter()
        .filter(|it| !index.with_file_name(it).is_file())
        .map(ToString::to_string)
        .collect();
    if !missing.is_empty() {
        return Err(WeightsError::NoShards { index: index.to_owned(), missing });
    }
    Ok(NetworkFiles {
        files: names.iter().map(|it| index.with_file_name(it)).collect(),
        shard_of: weight_map,
    })
}

/// The first pickle with weights in a folder.
fn pickle_in(folder: &Path) -> Option<PathBuf> {
    files_in(folder).into_iter().find(|it| is_pickle(it))
}

/// What a folder contains in place of weights, and the remedy.
fn hint(folder: &Path) -> Option<String> {
    let names =
        files_in(folder).into_iter().filter_map(|it| it.file_name()?.to_str().map(str::to_owned));
    let names: Vec<String> = names.collect();
    let ends = |ending: &str| names.iter().find(|it| it.ends_with(ending));
    if let Some(name) = ends(".incomplete") {
        return Some(format!("`{name}` is a download that has not ended; run it again"));
    }
    if let Some(name) = ends(".safetensors") {
        let [stem, _] = STEMS;
        return Some(format!(
            "`{name}` is a variant that is not read by itself; name it `{stem}.safetensors` if it is meant"
        ));
    }
    let others = [".gguf", ".onnx", ".msgpack", ".h5", ".ckpt.index", ".tflite"];
    let name = others.iter().find_map(|it| ends(it))?;
    Some(format!("`{name}` is of a kind that is not read"))
}

/// The files in a folder, sorted.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.filter_map(|it| Some(it.ok()?.path())).collect();
    files.sort();
    files
}

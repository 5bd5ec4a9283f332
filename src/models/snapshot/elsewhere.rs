//! Hints for incomplete model folders: a model in a subfolder, or an unfinished download.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Remedy for a folder with missing files.
const AGAIN: &str = "download the complete model again";

/// Prefix of model folders in the cache of `huggingface_hub`.
const CACHED: &str = "models--";

/// Remedy for a model with missing files: resume an unfinished download, else download again.
pub(super) fn of_gaps(path: &Path) -> String {
    // Where `hf download` keeps what it has of a file, for a folder for each part.
    let downloads = path.join(".cache/huggingface/download");
    let parts = folders(&downloads).into_iter().chain([downloads, path.to_owned()]);
    let files = parts.flat_map(|it| fs::read_dir(it).into_iter().flatten());
    let unfinished = files.filter_map(|it| Some(it.ok()?.path()));
    let is_unfinished = |it: &PathBuf| it.extension().is_some_and(|it| it == "incomplete");
    if unfinished.into_iter().any(|it| is_unfinished(&it)) {
        return "its download has not ended: run the same `hf download` again".to_owned();
    }
    match single(path) {
        Some(file) => format!("{AGAIN}, or give its single file, {}", file.display()),
        None => AGAIN.to_owned(),
    }
}

/// Where a folder without `model_index.json` contains one, else the remedy.
pub(super) fn of_folder(path: &Path) -> String {
    if path.file_name().is_some_and(|it| it.to_string_lossy().starts_with(CACHED)) {
        return match revision(path) {
            Some(snapshot) => format!("the model is in a subfolder: use {}", snapshot.display()),
            None => format!("this is a cache's folder without a whole snapshot; {AGAIN}"),
        };
    }
    let deeper = folders(path).into_iter().find_map(|it| {
        let cached = it.file_name()?.to_string_lossy().starts_with(CACHED);
        if cached { revision(&it) } else { is_model(&it).then_some(it) }
    });
    if let Some(deeper) = deeper {
        return format!("the model is in a subfolder: use {}", deeper.display());
    }
    if ["unet", "transformer", "vae"].iter().any(|it| path.join(it).is_dir()) {
        return AGAIN.to_owned();
    }
    if path.join("config.json").is_file() {
        let above = "this is one part of a model; give the folder above it, with model_index.json";
        return above.to_owned();
    }
    match single(path) {
        Some(file) => format!("for a checkpoint of one file give the file, {}", file.display()),
        None => "give the folder of a diffusers model, or a .safetensors file".to_owned(),
    }
}

/// The first checkpoint right in a folder.
fn single(path: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(path).into_iter().flatten().filter_map(|it| Some(it.ok()?.path()));
    files.filter(|it| it.extension().is_some_and(|it| it == "safetensors")).min()
}

/// The snapshot in a model's cache folder that `refs/main` names, else any.
fn revision(cached: &Path) -> Option<PathBuf> {
    let main = fs::read_to_string(cached.join("refs/main")).ok();
    let named = main.map(|it| cached.join("snapshots").join(it.trim()));
    named.into_iter().chain(folders(&cached.join("snapshots"))).find(|it| is_model(it))
}

fn is_model(folder: &Path) -> bool {
    folder.join("model_index.json").is_file()
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten();
    let mut found: Vec<PathBuf> =
        entries.filter_map(|it| Some(it.ok()?.path())).filter(|it| it.is_dir()).collect();
    found.sort();
    found
}

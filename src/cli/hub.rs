//! Error remedy for models named by their Hugging Face hub id instead of a local path.

use std::path::Path;

/// Prefixes of model addresses.
const HUBS: [&str; 4] =
    ["https://huggingface.co/", "http://huggingface.co/", "huggingface.co/", "hf://"];

/// How to download the model, if a path that doesn't exist looks like an id on the hub.
pub(super) fn remedy(path: &Path) -> Option<String> {
    let text = path.to_str().filter(|_| !path.exists())?;
    let id = HUBS.iter().find_map(|it| text.strip_prefix(it)).unwrap_or(text);
    let mut parts = id.split('/');
    let (owner, name) = (parts.next()?, parts.next()?);
    let is_name = |it: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !it.is_empty() && !it.starts_with('.') && it.chars().all(plain)
    };
    // A path of three parts is a folder, unless it is the address of a model.
    let is_longer = id == text && parts.next().is_some();
    let is_file = name.ends_with(".safetensors") || Path::new(owner).exists();
    if is_longer || is_file || !is_name(owner) || !is_name(name) {
        return None;
    }
    Some(format!(
        "a model of the Hugging Face hub is downloaded first: `hf download {owner}/{name} --local-dir {name} --include \
         \"*.json\" \"*.txt\" \"*.safetensors\"`, then --model {name}"
    ))
}

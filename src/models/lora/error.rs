//! Errors of LoRA files.

use std::path::PathBuf;

use crate::models::weights::error::WeightsError;

/// Number of keys that a message lists.
const SPELLED_OUT: usize = 20;

/// Why a LoRA can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LoraError {
    /// There is no such file.
    #[error("no LoRA at {}: expected a .safetensors file, or the folder of one", path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// A folder has no LoRA, or several files of which none is called as a LoRA is.
    #[error(
        "no LoRA in the folder {}: expected `pytorch_lora_weights.safetensors`, or one .safetensors file alone, and it has {}",
        path.display(), if found.is_empty() { "none".to_owned() } else { listed(found) }
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Names of the files in it that may be LoRAs.
        found: Vec<String>,
    },
    /// The file is a pickle, truncated, or no safetensors file.
    #[error(transparent)]
    File(#[from] WeightsError),
    /// It has no low-rank change under any known name.
    #[error(
        "{} is not a LoRA{}: it has no pair of matrices under a name that kohya's trainer, PEFT, diffusers or ai-toolkit writes; its tensors are {}",
        path.display(), if *is_model { ", but the weights of a model" } else { "" }, listed(keys)
    )]
    NotALora {
        /// The file.
        path: PathBuf,
        /// Its keys.
        keys: Vec<String>,
        /// Whether it has the layers of a whole network.
        is_model: bool,
    },
    /// It is made by a method that is not merged.
    #[error("{} is {method}, which is not supported; LoRA and LoKr are", path.display())]
    Method {
        /// The file.
        path: PathBuf,
        /// The method's name.
        method: &'static str,
    },
    /// A tensor has NaN, a dtype that is no number, or can't be read.
    #[error("{} can't be used: {reason}", path.display())]
    Faulty {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is merged already.
    #[error("{} is given twice; give it once, at the sum of the weights", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
    },
    /// It changes a network that LoRAs do not change in a model of this family.
    #[error("{} changes the text encoder, and LoRAs change nothing but the transformer of {model}: {}", path.display(), listed(keys))]
    TextEncoder {
        /// The file.
        path: PathBuf,
        /// What the model is.
        model: &'static str,
        /// The keys of those changes.
        keys: Vec<String>,
    },
    /// It was trained for a model of another family.
    #[error("{} is a LoRA for {found}, and the model is {model}", path.display())]
    OtherFamily {
        /// The file.
        path: PathBuf,
        /// What it is for.
        found: &'static str,
        /// What the model is.
        model: &'static str,
    },
    /// It changes a matrix of another size: it was trained for a model of the family that is wider or narrower.
    #[error(
        "{} is a LoRA for a model of another width: it changes `{module}` by a matrix of {}x{}, and the model's is {}x{}",
        path.display(), found[0], found[1], expected[0], expected[1]
    )]
    OtherWidth {
        /// The file.
        path: PathBuf,
        /// The module, as the model calls it.
        module: String,
        /// Rows and columns of the change.
        found: [i64; 2],
        /// Rows and columns of the model's matrix.
        expected: [i64; 2],
    },
    /// Some of its tensors have no place in the model.
    #[error("{} does not fit the model: nothing there is called {}", path.display(), listed(keys))]
    Unmatched {
        /// The file.
        path: PathBuf,
        /// Their keys, all of them.
        keys: Vec<String>,
    },
    /// A change lacks one of its factors, or they do not fit each other.
    #[error("{} is incomplete: the matrices of {} do not make a change", path.display(), listed(keys))]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// The changes' keys.
        keys: Vec<String>,
    },
}

/// The first keys of a list, and how many more there are.
fn listed(keys: &[String]) -> String {
    let first: Vec<&str> = keys.iter().take(SPELLED_OUT).map(String::as_str).collect();
    let more = keys.len().saturating_sub(SPELLED_OUT);
    let rest = if more > 0 { format!(" and {more} others") } else { String::new() };
    format!("`{}`{rest}", first.join("`, `"))
}

//! LoRA files: opened, described, and tried on a model.

use std::path::Path;

use crate::models::{
    lora::{file::LoraFile, summary::LoraSummary},
    snapshot::Snapshot,
};
use crate::pipelines::load::LoadError;
use crate::sampling::lora::LoraChoice;

/// What is to be said of a LoRA file.
pub type Summary = LoraSummary;

/// Why a LoRA can't be used, or the model that it is tried on.
pub type Error = LoadError;

/// A LoRA that was merged into a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// Name of its file, without its folders.
    pub name: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// The weight that it was applied with.
    pub weight: f64,
}

/// Merges LoRAs into what is read of a snapshot's weights from now on.
///
/// # Errors
/// [`LoadError::Lora`] if one can't be used, or is for another model.
pub fn apply(snapshot: &mut Snapshot, loras: &[LoraChoice]) -> Result<Vec<Applied>, LoadError> {
    let one = |LoraChoice { path, weight }: &LoraChoice| {
        let (file, weight) = (LoraFile::open(path)?, weight.get());
        let applied = Applied { name: file.name(), sha256: file.sha256().to_owned(), weight };
        snapshot.apply(file, weight)?;
        Ok(applied)
    };
    loras.iter().map(one).collect()
}

/// Describes a LoRA file.
///
/// # Errors
/// [`LoadError::Lora`] if it is none, or can't be used with any model.
pub fn summary(path: &Path) -> Result<Summary, LoadError> {
    Ok(LoraSummary::of(&LoraFile::open(path)?)?)
}

/// Checks that a LoRA fits a model; no weights are read.
///
/// # Errors
/// [`LoadError`] if the model can't be used, or the LoRA is for another one.
pub fn check(path: &Path, model: &Path) -> Result<(), LoadError> {
    let mut snapshot = Snapshot::open(model)?;
    Ok(snapshot.apply(LoraFile::open(path)?, 1.0)?)
}

//! Text embeddings of the pool of nouns, cached in a file, since a full-size text encoder takes seconds to compute
//! them.

use std::{fs, path::Path};

use sha2::{Digest, Sha256};
use tch::Tensor;

use crate::edit::settings::LocalizationSettings;
use crate::pipelines::{EditPipeline, PipelineError};

/// The pool's nouns with their embeddings.
#[derive(Debug)]
pub struct NounEmbeddings {
    /// In the pool's order.
    pub words: Vec<(String, Vec<f32>)>,
}

impl NounEmbeddings {
    /// The pool's embeddings by the model's text encoder, read from the folder `cache` or computed and stored there.
    ///
    /// A cache that can't be read or written is ignored.
    ///
    /// # Errors
    /// [`PipelineError`] if a word can't be embedded.
    pub fn of(
        pipeline: &dyn EditPipeline,
        settings: &LocalizationSettings,
        cache: Option<&Path>,
    ) -> Result<Self, PipelineError> {
        let file =
            cache.map(|it| it.join(format!("nouns-{}.safetensors", key(pipeline, settings))));
        if let Some(rows) = file.as_deref().and_then(|it| read(it, settings.nouns.len())) {
            return Ok(Self { words: settings.nouns.iter().cloned().zip(rows).collect() });
        }
        let mut words = Vec::with_capacity(settings.nouns.len());
        for noun in &settings.nouns {
            words.push((noun.clone(), embed(pipeline, settings, noun)?));
        }
        if let Some(file) = file {
            let _ = write(&file, &words);
        }
        Ok(Self { words })
    }
}

/// The embedding of one noun or name, in the model's prompt template for nouns.
///
/// # Errors
/// [`PipelineError`] if it can't be embedded.
pub fn embed(
    pipeline: &dyn EditPipeline,
    settings: &LocalizationSettings,
    word: &str,
) -> Result<Vec<f32>, PipelineError> {
    pipeline.embed_text(&settings.noun_prompt.replace("{}", word))
}

/// Cache key: equal keys mean equal embeddings.
fn key(pipeline: &dyn EditPipeline, settings: &LocalizationSettings) -> String {
    let mut hasher = Sha256::new();
    for part in [pipeline.digest(), &settings.noun_prompt, &settings.nouns.join("\n")] {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    format!("{:.32x}", hasher.finalize())
}

fn read(file: &Path, nouns: usize) -> Option<Vec<Vec<f32>>> {
    let tensors = Tensor::read_safetensors(file).ok()?;
    let (_, rows) = tensors.into_iter().find(|(name, _)| name == "embeddings")?;
    let rows = Vec::<Vec<f32>>::try_from(rows).ok()?;
    (rows.len() == nouns && rows.iter().flatten().all(|it| it.is_finite())).then_some(rows)
}

/// Writes a temporary file and renames it, so that no reader sees a partial file.
fn write(file: &Path, words: &[(String, Vec<f32>)]) -> Result<(), Box<dyn std::error::Error>> {
    let folder = file.parent().ok_or("a file has a folder")?;
    fs::create_dir_all(folder)?;
    let rows: Vec<f32> = words.iter().flat_map(|(_, row)| row.iter().copied()).collect();
    let rows = Tensor::from_slice(&rows).view([words.len() as i64, -1]);
    let temporary = tempfile::Builder::new().suffix(".safetensors").tempfile_in(folder)?;
    Tensor::write_safetensors(&[("embeddings", &rows)], temporary.path())?;
    temporary.persist(file)?;
    Ok(())
}

//! Qwen's tokenizer and text encoder against transformers.

mod text_encoder;
mod tokenizer;

use std::path::PathBuf;

use crate::support::fixtures;

/// A recorded snapshot.
fn klein(name: &str) -> PathBuf {
    fixtures().join("models").join(name)
}

/// The tokenizer of `tests/record/qwen.py`.
fn qwen() -> PathBuf {
    fixtures().join("text/qwen")
}

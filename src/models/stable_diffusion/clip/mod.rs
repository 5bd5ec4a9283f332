//! CLIP's tokenizer and text encoder.

mod vocabulary;

pub mod text_model;
pub mod tokenizer;

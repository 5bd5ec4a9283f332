//! Qwen3 as a text encoder: its tokenizer, and the hidden states of some of its layers (transformers: `Qwen3Model`).

pub mod config;
pub mod prompt;
pub mod text_encoder;
pub mod tokenizer;

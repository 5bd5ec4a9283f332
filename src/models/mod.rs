//! The networks under diffusers' names, a folder per model family, and the loading of their weights.

pub mod autoencoder_tiny;
pub mod flux2;
pub mod layers;
pub mod lora;
pub mod qwen3;
pub mod snapshot;
pub mod stable_diffusion;
pub mod tokenized;
pub mod weights;

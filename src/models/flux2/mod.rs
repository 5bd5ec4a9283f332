//! The networks of FLUX.2-klein.

mod attention;
pub mod autoencoder_kl_flux2;
mod blocks;
mod embeddings;
pub mod transformer_flux2;
pub mod transformer_flux2_config;

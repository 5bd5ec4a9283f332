//! The networks of InstructPix2Pix (CLIP text encoder, U-Net, VAE) under diffusers' names, and the loading of their
//! weights.

pub mod clip;
pub mod config;
pub mod snapshot;
pub mod weights;

pub mod layers;

pub mod attention;
pub mod embeddings;
pub mod resnet;
pub mod transformer_2d;
pub mod unet_2d_blocks;
pub mod unet_2d_condition;
pub mod unet_2d_condition_config;

pub mod autoencoder_kl;
pub mod vae;

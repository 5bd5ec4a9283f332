//! The networks of Stable Diffusion 1.x and 2.x, and so of InstructPix2Pix.

pub mod attention;
pub mod autoencoder_kl;
pub mod clip;
pub mod embeddings;
pub mod resnet;
pub mod transformer_2d;
pub mod unet_2d_blocks;
pub mod unet_2d_condition;
pub mod unet_2d_condition_config;
pub mod vae;

//! The networks under diffusers' names, a folder per family, and their weights.

pub mod config;
pub mod layers;
pub mod snapshot;
pub mod stable_diffusion;
pub mod weights;

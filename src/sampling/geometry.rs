//! The sizes that a model works in.

/// The sizes that a model works in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    /// Pixels of the picture a side per cell of the latent (diffusers: `vae_scale_factor`).
    pub vae_scale_factor: u32,
    /// The side that a picture's sides should be a multiple of: `vae_scale_factor` × 2^(levels of the U-Net − 1).
    pub stride: u32,
    /// The model's own side in pixels: `sample_size` × `vae_scale_factor`.
    pub sample_size: u32,
    /// Factor between the VAE's latents and those that are denoised (diffusers: `scaling_factor`).
    pub scaling_factor: f64,
}

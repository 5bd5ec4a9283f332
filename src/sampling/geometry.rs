//! The sizes that a model works in.

/// The sizes that a model works in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Pixels per latent cell along a side (diffusers: `vae_scale_factor`).
    pub vae_scale_factor: u32,
    /// Multiple that a picture's sides should have, in pixels: `vae_scale_factor` × 2^(levels of the U-Net − 1).
    pub stride: u32,
    /// Native side length in pixels: `sample_size` × `vae_scale_factor`.
    pub sample_size: u32,
}

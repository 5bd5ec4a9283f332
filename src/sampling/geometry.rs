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
    /// How a picture that is not resized is brought to sides that the model can have.
    pub native: NativeSize,
}

/// How a picture that is not resized is brought to sides that a model can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NativeSize {
    /// Its last columns and rows are repeated.
    Padded,
    /// Its middle is taken; a picture of more pixels than this is shrunk to them before.
    Cropped {
        /// At least those of one cell of the latents.
        most_pixels: u64,
    },
}

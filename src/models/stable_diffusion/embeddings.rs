//! Timestep embeddings.
//!
//! Source: diffusers 0.42.1, `models/embeddings.py`, `get_timestep_embedding`, `Timesteps` and `TimestepEmbedding`.

use tch::{Kind, Tensor};

use crate::models::{layers::Linear, weights::VarPath};

/// Longest period of the sinusoids, in timesteps (`get_timestep_embedding`, `max_period`).
const MAX_PERIOD: f64 = 10_000.0;

/// Sinusoidal timestep embedding; no weights, always fp32.
#[derive(Debug, Clone, Copy)]
pub struct Timesteps {
    /// Width of the embedding; even.
    pub channels: i64,
    /// Whether cosines come before sines.
    pub flip_sin_to_cos: bool,
    /// Subtracted from half the width in the frequencies' denominator (diffusers: `downscale_freq_shift`).
    pub freq_shift: f64,
}

/// Two linear layers with a `SiLU` between them.
#[derive(Debug)]
pub struct TimestepEmbedding {
    linear_1: Linear,
    linear_2: Linear,
}

// === impl Timesteps ===

impl Timesteps {
    /// Embeds timesteps (N,), possibly fractional, to (N, channels) in fp32.
    pub fn forward(&self, timesteps: &Tensor) -> Tensor {
        let half = self.channels / 2;
        let exponent = Tensor::arange(half, (Kind::Float, timesteps.device())) * -MAX_PERIOD.ln();
        let frequencies = (exponent / (half as f64 - self.freq_shift)).exp(); // (C/2,)
        let angles = timesteps.to_kind(Kind::Float).unsqueeze(1) * frequencies; // (N, C/2)
        let (sin, cos) = (angles.sin(), angles.cos());
        if self.flip_sin_to_cos { Tensor::cat(&[cos, sin], 1) } else { Tensor::cat(&[sin, cos], 1) }
    }
}

// === impl TimestepEmbedding ===

impl TimestepEmbedding {
    /// Loads the layers, from `in_channels` sinusoids to `time_embed_dim`.
    pub fn new(vs: &VarPath<'_>, in_channels: i64, time_embed_dim: i64) -> Self {
        Self {
            linear_1: Linear::new(&(vs / "linear_1"), in_channels, time_embed_dim),
            linear_2: Linear::new(&(vs / "linear_2"), time_embed_dim, time_embed_dim),
        }
    }

    /// [`Self::new`] for layers without bias.
    pub fn without_bias(vs: &VarPath<'_>, in_channels: i64, time_embed_dim: i64) -> Self {
        Self {
            linear_1: Linear::without_bias(&(vs / "linear_1"), in_channels, time_embed_dim),
            linear_2: Linear::without_bias(&(vs / "linear_2"), time_embed_dim, time_embed_dim),
        }
    }

    /// (N, `in_channels`) to (N, `time_embed_dim`).
    pub fn forward(&self, sample: &Tensor) -> Tensor {
        self.linear_2.forward(&self.linear_1.forward(sample).silu_())
    }
}

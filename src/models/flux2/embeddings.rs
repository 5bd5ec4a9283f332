//! What a token's place and a call's timestep become.
//!
//! Source: diffusers 0.42.1, `models/transformers/transformer_flux2.py` (`Flux2PosEmbed`,
//! `Flux2TimestepGuidanceEmbeddings`, `Flux2Modulation`) and `models/embeddings.py` (`get_1d_rotary_pos_embed`,
//! `apply_rotary_emb`).

use tch::{Device, Kind, Tensor};

use crate::attention::rotary::Rotary;
use crate::models::{
    flux2::transformer_flux2_config::{Flux2Transformer2DConfig, SequenceShape},
    layers::Linear,
    stable_diffusion::embeddings::{TimestepEmbedding, Timesteps},
    weights::VarPath,
};

/// Distance of one picture to the next in the first of a token's coordinates; the latents are at 0.
const REFERENCE_STEP: i64 = 10;

/// Sinusoids of a timestep through two linear layers.
#[derive(Debug)]
pub(super) struct TimestepGuidanceEmbeddings {
    time_proj: Timesteps,
    timestep_embedder: TimestepEmbedding,
}

/// Shifts, scales and gates of hidden states by the timestep, the same in every block.
#[derive(Debug)]
pub(super) struct Modulation {
    linear: Linear,
    sets: i64,
}

/// What a timestep does to hidden states before and after a layer, (N, 1, C) each.
#[derive(Debug)]
pub(super) struct Modulated {
    shift: Tensor,
    /// One more than what the checkpoint's layer gives.
    scale: Tensor,
    gate: Tensor,
}

/// The rotations of a sequence: of the prompt's tokens by their index, of cells by row and column, and by which picture
/// they are of. Angles are computed in fp64, as in diffusers.
///
/// All of it is work on the device, so that a recorded call makes them anew.
pub(super) fn rotary(
    config: &Flux2Transformer2DConfig,
    shape: SequenceShape,
    device: Device,
) -> Rotary {
    let coordinates = coordinates(shape, device);
    let angles = config.axes_dims_rope.iter().zip(coordinates).map(|(&channels, at)| {
        let exponent = Tensor::arange_start_step(0, channels, 2, (Kind::Double, device));
        let exponent = exponent / channels as f64;
        let frequencies = (exponent * -config.rope_theta.ln()).exp(); // (D_axis/2,)
        at.outer(&frequencies)
    });
    Rotary::new(&Tensor::cat(&angles.collect::<Vec<_>>(), 1)) // of (L, D/2)
}

/// The four coordinates of each token, (L,) in fp64 each: picture, row, column, index in the prompt.
fn coordinates(shape: SequenceShape, device: Device) -> [Tensor; 4] {
    let SequenceShape { tokens, height, width, references, .. } = shape;
    let options = (Kind::Double, device);
    let none = Tensor::zeros([tokens], options);
    let grid = [1 + references, height, width];
    let along = |axis: usize, step: i64| {
        let mut view = [1; 3];
        view[axis] = grid[axis];
        let at = Tensor::arange(grid[axis], options) * step as f64;
        let cells = at.view(view).expand(grid, false).flatten(0, 2);
        Tensor::cat(&[&none, &cells], 0)
    };
    let index = Tensor::arange(tokens, options);
    let nowhere = Tensor::zeros([grid.iter().product()], options);
    [along(0, REFERENCE_STEP), along(1, 1), along(2, 1), Tensor::cat(&[index, nowhere], 0)]
}

// === impl TimestepGuidanceEmbeddings ===

impl TimestepGuidanceEmbeddings {
    pub(super) fn new(vs: &VarPath<'_>, config: &Flux2Transformer2DConfig) -> Self {
        let channels = config.timestep_guidance_channels;
        let path = vs / "timestep_embedder";
        Self {
            time_proj: Timesteps { channels, flip_sin_to_cos: true, freq_shift: 0.0 },
            timestep_embedder: TimestepEmbedding::without_bias(&path, channels, config.inner_dim()),
        }
    }

    /// `SiLU` of the embedding of timesteps (N,), (N, C) in `kind`: every layer that reads it begins so.
    ///
    /// Differs: diffusers rounds the timestep to the transformer's dtype before the sinusoids, in bf16 to one of 128
    /// for each power of two.
    pub(super) fn forward(&self, timesteps: &Tensor, kind: Kind) -> Tensor {
        let sinusoids = self.time_proj.forward(timesteps).to_kind(kind);
        self.timestep_embedder.forward(&sinusoids).silu_()
    }
}

// === impl Modulation ===

impl Modulation {
    /// Loads a layer for so many sets of shift, scale and gate.
    pub(super) fn new(vs: &VarPath<'_>, channels: i64, sets: i64) -> Self {
        let linear = Linear::without_bias(&(vs / "linear"), channels, 3 * sets * channels);
        Self { linear, sets }
    }

    /// (N, C), the `SiLU` of the timestep's embedding, to each set.
    pub(super) fn forward(&self, temb: &Tensor) -> Vec<Modulated> {
        let chunks = self.linear.forward(temb).unsqueeze(1).chunk(3 * self.sets, -1);
        let of = |set: &[Tensor]| match set {
            [shift, scale, gate] => Modulated {
                shift: shift.shallow_clone(),
                scale: scale + 1.0,
                gate: gate.shallow_clone(),
            },
            _ => unreachable!("three of each set"),
        };
        chunks.chunks(3).map(of).collect()
    }
}

// === impl Modulated ===

impl Modulated {
    /// The layer norm of hidden states (N, L, C), scaled and shifted.
    pub(super) fn normed(&self, hidden_states: &Tensor, eps: f64) -> Tensor {
        let normed = layer_norm(hidden_states, eps);
        self.shift.addcmul(&normed, &self.scale)
    }

    /// Hidden states plus what a layer gives, gated; may overwrite the hidden states.
    pub(super) fn added(&self, mut hidden_states: Tensor, output: &Tensor) -> Tensor {
        hidden_states.addcmul_(&self.gate, output)
    }
}

/// Layer norm without weights over the last dimension.
pub(super) fn layer_norm(xs: &Tensor, eps: f64) -> Tensor {
    let channels = xs.size()[xs.dim() - 1];
    xs.layer_norm([channels], None::<&Tensor>, None::<&Tensor>, eps, true)
}

//! Residual blocks, downsampling and upsampling layers.
//!
//! Source: diffusers 0.42.1, `models/resnet.py` (`ResnetBlock2D`), `models/downsampling.py` (`Downsample2D`) and
//! `models/upsampling.py` (`Upsample2D`).

use tch::Tensor;

use crate::kernels::cpu::fused::norm::Shift;
use crate::models::{
    layers::{Conv2d, GroupNorm, Linear},
    weights::VarPath,
};

/// Configuration of a [`ResnetBlock2D`].
#[derive(Debug, Clone, Copy)]
pub struct ResnetConfig {
    /// Channels of the input.
    pub in_channels: i64,
    /// Channels of the output; if they differ from the input's, a 1×1 convolution adapts the residual.
    pub out_channels: i64,
    /// Width of the time embedding; `None` in a VAE.
    pub temb_channels: Option<i64>,
    /// Groups of the group norms.
    pub groups: i64,
    /// Epsilon of the group norms.
    pub eps: f64,
}

/// Two convolutions, each after a group norm, with a residual connection and the time embedding added in between.
#[derive(Debug)]
pub struct ResnetBlock2D {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
}

/// Downsampling by 2 by a convolution; sides are rounded up with padding 1 and down with padding 0.
#[derive(Debug)]
pub struct Downsample2D {
    conv: Conv2d,
    padding: i64,
}

/// Nearest-neighbor upsampling followed by a convolution.
#[derive(Debug)]
pub struct Upsample2D {
    conv: Conv2d,
}

// === impl ResnetBlock2D ===

impl ResnetBlock2D {
    /// Loads a block.
    pub fn new(vs: &VarPath<'_>, config: &ResnetConfig) -> Self {
        let ResnetConfig { in_channels, out_channels, temb_channels, groups, eps } = *config;
        Self {
            norm1: GroupNorm::new(&(vs / "norm1"), groups, in_channels, eps),
            conv1: Conv2d::new(&(vs / "conv1"), in_channels, out_channels, 3),
            time_emb_proj: temb_channels
                .map(|temb| Linear::new(&(vs / "time_emb_proj"), temb, out_channels)),
            norm2: GroupNorm::new(&(vs / "norm2"), groups, out_channels, eps),
            conv2: Conv2d::new(&(vs / "conv2"), out_channels, out_channels, 3),
            conv_shortcut: (in_channels != out_channels)
                .then(|| Conv2d::new(&(vs / "conv_shortcut"), in_channels, out_channels, 1)),
        }
    }

    /// (N, in, h, w) and, in a U-Net, `SiLU` of the time embedding (N, temb), to (N, out, h, w).
    ///
    /// Differs: the `SiLU` of the time embedding is the same for every block, so the U-Net computes it once.
    pub fn forward(&self, input: &Tensor, temb: Option<&Tensor>) -> Tensor {
        let hidden_states = self.norm1.forward_silu(input);
        let (hidden_states, channels) = self.conv1.forward_but_bias(&hidden_states); // (N, out, h, w)

        let rows = self.time_emb_proj.as_ref().zip(temb);
        let rows = rows.map(|(projection, temb)| projection.forward(temb)); // (N, out)
        let shift = Shift { channels, rows: rows.as_ref() };
        let hidden_states = self.norm2.forward_silu_of_sum(hidden_states, shift);

        let shortcut = self.conv_shortcut.as_ref().map(|it| it.forward(input));
        self.conv2.forward_onto(&hidden_states, shortcut.as_ref().unwrap_or(input))
    }
}

// === impl Downsample2D ===

impl Downsample2D {
    /// Loads a layer with padding 1 on all sides, or with 0, which pads one row and column at the end.
    pub fn new(vs: &VarPath<'_>, channels: i64, padding: i64) -> Self {
        Self { conv: Conv2d::halving(&(vs / "conv"), channels, padding), padding }
    }

    /// (N, C, h, w) to (N, C, ⌈h/2⌉, ⌈w/2⌉), or with padding 0 to (N, C, ⌊h/2⌋, ⌊w/2⌋).
    pub fn forward(&self, hidden_states: &Tensor) -> Tensor {
        if self.padding == 0 {
            return self.conv.forward(&hidden_states.constant_pad_nd([0, 1, 0, 1]));
        }
        self.conv.forward(hidden_states)
    }
}

// === impl Upsample2D ===

impl Upsample2D {
    /// Loads a layer.
    pub fn new(vs: &VarPath<'_>, channels: i64) -> Self {
        Self { conv: Conv2d::new(&(vs / "conv"), channels, channels, 3) }
    }

    /// (N, C, h, w) to (N, C, height, width).
    pub fn forward(&self, hidden_states: &Tensor, height: i64, width: i64) -> Tensor {
        self.conv.forward(&hidden_states.upsample_nearest2d([height, width], None, None))
    }
}

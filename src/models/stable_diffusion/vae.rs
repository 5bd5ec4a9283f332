//! Encoder and decoder of the VAE, and their blocks.
//!
//! Source: diffusers 0.42.1, `models/autoencoders/vae.py` (`Encoder`, `Decoder`) and `models/unets/unet_2d_blocks.py`
//! (`DownEncoderBlock2D`, `UNetMidBlock2D`, `UpDecoderBlock2D`).

use tch::Tensor;

use crate::models::{
    layers::{Conv2d, GroupNorm, Linear, channels_last, rows_of},
    stable_diffusion::resnet::{Downsample2D, ResnetBlock2D, ResnetConfig, Upsample2D},
    weights::VarPath,
};

/// Epsilon of all norms (`Encoder`, `resnet_eps`).
const NORM_EPS: f64 = 1e-6;

/// Configuration of an [`Encoder`] or a [`Decoder`].
#[derive(Debug, Clone, Copy)]
pub struct VaeConfig<'a> {
    /// Channels of the input.
    pub in_channels: i64,
    /// Channels of the output.
    pub out_channels: i64,
    /// Channels of each level, finest first.
    pub block_out_channels: &'a [i64],
    /// Residual blocks per level: this many in the encoder, one more in the decoder.
    pub layers_per_block: i64,
    /// Groups of the group norms.
    pub norm_num_groups: i64,
    /// Whether the middle block has attention.
    pub mid_block_add_attention: bool,
}

/// From an image to mean and log variance of its latents.
#[derive(Debug)]
pub struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<DownEncoderBlock2D>,
    mid_block: UNetMidBlock2D,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

/// From latents to an image.
#[derive(Debug)]
pub struct Decoder {
    conv_in: Conv2d,
    mid_block: UNetMidBlock2D,
    up_blocks: Vec<UpDecoderBlock2D>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

#[derive(Debug)]
struct DownEncoderBlock2D {
    resnets: Vec<ResnetBlock2D>,
    downsampler: Option<Downsample2D>,
}

#[derive(Debug)]
struct UNetMidBlock2D {
    resnets: [ResnetBlock2D; 2],
    attention: Option<SpatialAttention>,
}

#[derive(Debug)]
struct UpDecoderBlock2D {
    resnets: Vec<ResnetBlock2D>,
    upsampler: Option<Upsample2D>,
}

/// Single-head self-attention over all cells, with a residual connection; not a site of the U-Net, so processors are
/// not called.
#[derive(Debug)]
struct SpatialAttention {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
}

// === impl Encoder ===

impl Encoder {
    /// Loads the encoder.
    pub fn new(vs: &VarPath<'_>, config: &VaeConfig<'_>) -> Self {
        let channels = config.block_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let down_blocks = (0..channels.len()).map(|level| {
            let resnet = config.resnet(channels[level.saturating_sub(1)], channels[level]);
            let path = vs / "down_blocks" / level;
            DownEncoderBlock2D {
                resnets: resnets(&path, config.layers_per_block, &resnet),
                downsampler: (level + 1 < channels.len())
                    .then(|| Downsample2D::new(&(&path / "downsamplers" / 0), channels[level], 0)),
            }
        });
        Self {
            conv_in: Conv2d::new(&(vs / "conv_in"), config.in_channels, first, 3),
            down_blocks: down_blocks.collect(),
            mid_block: UNetMidBlock2D::new(&(vs / "mid_block"), config),
            conv_norm_out: GroupNorm::new(
                &(vs / "conv_norm_out"),
                config.norm_num_groups,
                last,
                NORM_EPS,
            ),
            conv_out: Conv2d::new(&(vs / "conv_out"), last, config.out_channels, 3),
        }
    }

    /// (N, in, H, W) to (N, out, h, w); each level but the last halves the sides, rounding down.
    pub fn forward(&self, sample: &Tensor) -> Tensor {
        let mut sample = self.conv_in.forward(&channels_last(sample));

        // 1. down
        for block in &self.down_blocks {
            for resnet in &block.resnets {
                sample = resnet.forward(&sample, None);
            }
            if let Some(downsampler) = &block.downsampler {
                sample = downsampler.forward(&sample);
            }
        }

        // 2. mid
        sample = self.mid_block.forward(&sample);

        // 3. post-process
        self.conv_out.forward(&self.conv_norm_out.forward_silu(&sample))
    }
}

// === impl Decoder ===

impl Decoder {
    /// Loads the decoder.
    pub fn new(vs: &VarPath<'_>, config: &VaeConfig<'_>) -> Self {
        let channels = config.block_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let up_blocks = channels.iter().rev().enumerate().map(|(block, &out_channels)| {
            let level = channels.len() - 1 - block;
            let in_channels = if block == 0 { last } else { channels[level + 1] };
            let path = vs / "up_blocks" / block;
            UpDecoderBlock2D {
                resnets: resnets(
                    &path,
                    config.layers_per_block + 1,
                    &config.resnet(in_channels, out_channels),
                ),
                upsampler: (level > 0)
                    .then(|| Upsample2D::new(&(&path / "upsamplers" / 0), out_channels)),
            }
        });
        Self {
            conv_in: Conv2d::new(&(vs / "conv_in"), config.in_channels, last, 3),
            mid_block: UNetMidBlock2D::new(&(vs / "mid_block"), config),
            up_blocks: up_blocks.collect(),
            conv_norm_out: GroupNorm::new(
                &(vs / "conv_norm_out"),
                config.norm_num_groups,
                first,
                NORM_EPS,
            ),
            conv_out: Conv2d::new(&(vs / "conv_out"), first, config.out_channels, 3),
        }
    }

    /// Number of stages: the middle block, each level, and the output layers.
    pub fn stages(&self) -> usize {
        self.up_blocks.len() + 2
    }

    /// Runs one stage of the way from (N, in, h, w) to (N, out, H, W); each level but the last doubles the sides.
    pub fn stage(&self, stage: usize, sample: &Tensor) -> Tensor {
        // 1. mid
        if stage == 0 {
            return self.mid_block.forward(&self.conv_in.forward(&channels_last(sample)));
        }

        // 2. up
        if let Some(block) = self.up_blocks.get(stage - 1) {
            let mut sample = sample.shallow_clone();
            for resnet in &block.resnets {
                sample = resnet.forward(&sample, None);
            }
            if let Some(upsampler) = &block.upsampler {
                let size = sample.size();
                sample = upsampler.forward(&sample, 2 * size[2], 2 * size[3]);
            }
            return sample;
        }

        // 3. post-process
        self.conv_out.forward(&self.conv_norm_out.forward_silu(sample))
    }
}

// === impl UNetMidBlock2D ===

impl UNetMidBlock2D {
    fn new(vs: &VarPath<'_>, config: &VaeConfig<'_>) -> Self {
        let channels = config.block_out_channels[config.block_out_channels.len() - 1];
        let resnet = config.resnet(channels, channels);
        Self {
            resnets: [0, 1].map(|index| ResnetBlock2D::new(&(vs / "resnets" / index), &resnet)),
            attention: config.mid_block_add_attention.then(|| {
                SpatialAttention::new(&(vs / "attentions" / 0), channels, config.norm_num_groups)
            }),
        }
    }

    /// (N, C, h, w) to (N, C, h, w).
    fn forward(&self, hidden_states: &Tensor) -> Tensor {
        let mut hidden_states = self.resnets[0].forward(hidden_states, None);
        if let Some(attention) = &self.attention {
            hidden_states = attention.forward(hidden_states);
        }
        self.resnets[1].forward(&hidden_states, None)
    }
}

// === impl SpatialAttention ===

impl SpatialAttention {
    fn new(vs: &VarPath<'_>, channels: i64, norm_num_groups: i64) -> Self {
        let linear = |path: VarPath<'_>| Linear::new(&path, channels, channels);
        Self {
            group_norm: GroupNorm::new(&(vs / "group_norm"), norm_num_groups, channels, NORM_EPS),
            to_q: linear(vs / "to_q"),
            to_k: linear(vs / "to_k"),
            to_v: linear(vs / "to_v"),
            to_out: linear(vs / "to_out" / 0),
        }
    }

    /// (N, C, h, w) to (N, C, h, w); takes ownership of the hidden states, which it may overwrite.
    fn forward(&self, hidden_states: Tensor) -> Tensor {
        let residual = hidden_states;
        let grid = [residual.size()[2], residual.size()[3]];
        let hidden_states = rows_of(&self.group_norm.forward(&residual)); // (N, Q, C)
        let heads = |linear: &Linear| linear.forward(&hidden_states).unsqueeze(1); // (N, 1, Q, C)
        let hidden_states = Tensor::scaled_dot_product_attention(
            &heads(&self.to_q),
            &heads(&self.to_k),
            &heads(&self.to_v),
            None::<&Tensor>,
            0.0,
            false,
            None,
            false,
        );
        let hidden_states = hidden_states.squeeze_dim(1); // (N, Q, C)
        let sum = self.to_out.forward_onto(&hidden_states, rows_of(&residual));
        sum.into_tensor().transpose(1, 2).unflatten(2, grid) // (N, C, h, w)
    }
}

// === impl VaeConfig ===

impl VaeConfig<'_> {
    fn resnet(&self, in_channels: i64, out_channels: i64) -> ResnetConfig {
        ResnetConfig {
            in_channels,
            out_channels,
            temb_channels: None,
            groups: self.norm_num_groups,
            eps: NORM_EPS,
        }
    }
}

/// Loads a level's residual blocks; all except the first keep the number of channels.
fn resnets(vs: &VarPath<'_>, layers: i64, config: &ResnetConfig) -> Vec<ResnetBlock2D> {
    (0..layers)
        .map(|index| {
            let in_channels = if index == 0 { config.in_channels } else { config.out_channels };
            ResnetBlock2D::new(&(vs / "resnets" / index), &ResnetConfig { in_channels, ..*config })
        })
        .collect()
}

//! The down, middle and up blocks of the U-Net.
//!
//! Source: diffusers 0.42.1, `models/unets/unet_2d_blocks.py`. Differs: `DownBlock2D` and `CrossAttnDownBlock2D` are
//! one type with optional attention, as are `UpBlock2D` and `CrossAttnUpBlock2D`.

use tch::Tensor;

use crate::attention::site::AttnSite;
use crate::models::{
    stable_diffusion::{
        attention::AttnContext,
        resnet::{Downsample2D, ResnetBlock2D, ResnetConfig, Upsample2D},
        transformer_2d::{Transformer2DConfig, Transformer2DModel},
    },
    weights::VarPath,
};

/// Configuration that the layers of one block share.
#[derive(Debug, Clone, Copy)]
pub struct BlockConfig {
    /// Site of the block; its layers complete it.
    pub site: AttnSite,
    /// Number of residual blocks, and of transformers if there are any.
    pub layers: i64,
    /// Configuration of the residual blocks; `in_channels` is that of the first, without a skip connection.
    pub resnet: ResnetConfig,
    /// Configuration of the transformers; `None` in a block without attention.
    pub transformer: Option<Transformer2DConfig>,
    /// Whether a down- or upsampling layer follows; the last block has none.
    pub resample: bool,
}

/// Residual blocks, each followed by a transformer if the block has attention, then a downsampling layer unless it is
/// the last (diffusers: `DownBlock2D`, `CrossAttnDownBlock2D`).
#[derive(Debug)]
pub struct DownBlock2D {
    resnets: Vec<ResnetBlock2D>,
    attentions: Vec<Transformer2DModel>,
    downsampler: Option<Downsample2D>,
}

/// A residual block, then transformers, each followed by a residual block (diffusers: `UNetMidBlock2DCrossAttn`).
#[derive(Debug)]
pub struct UNetMidBlock2DCrossAttn {
    resnets: Vec<ResnetBlock2D>,
    attentions: Vec<Transformer2DModel>,
}

/// Residual blocks over the skip connections, each followed by a transformer if the block has attention, then an
/// upsampling layer unless it is the last (diffusers: `UpBlock2D`, `CrossAttnUpBlock2D`).
#[derive(Debug)]
pub struct UpBlock2D {
    resnets: Vec<ResnetBlock2D>,
    attentions: Vec<Transformer2DModel>,
    upsampler: Option<Upsample2D>,
}

// === impl DownBlock2D ===

impl DownBlock2D {
    /// Loads a block.
    pub fn new(vs: &VarPath<'_>, config: &BlockConfig, downsample_padding: i64) -> Self {
        let channels = config.resnet.out_channels;
        let resnets = (0..config.layers).map(|index| {
            let in_channels = if index == 0 { config.resnet.in_channels } else { channels };
            ResnetBlock2D::new(
                &(vs / "resnets" / index),
                &ResnetConfig { in_channels, ..config.resnet },
            )
        });
        Self {
            resnets: resnets.collect(),
            attentions: attentions(vs, config),
            downsampler: config.resample.then(|| {
                Downsample2D::new(&(vs / "downsamplers" / 0), channels, downsample_padding)
            }),
        }
    }

    /// (N, in, h, w) to (N, out, h′, w′); pushes each layer's output on `residuals` as a skip connection.
    pub fn forward(
        &self,
        mut hidden_states: Tensor,
        temb: &Tensor,
        context: &mut AttnContext<'_>,
        residuals: &mut Vec<Tensor>,
    ) -> Tensor {
        for (index, resnet) in self.resnets.iter().enumerate() {
            hidden_states = resnet.forward(&hidden_states, Some(temb));
            if let Some(attention) = self.attentions.get(index) {
                hidden_states = attention.forward(hidden_states, context);
            }
            residuals.push(hidden_states.shallow_clone());
        }
        if let Some(downsampler) = &self.downsampler {
            hidden_states = downsampler.forward(&hidden_states);
            residuals.push(hidden_states.shallow_clone());
        }
        hidden_states
    }
}

// === impl UNetMidBlock2DCrossAttn ===

impl UNetMidBlock2DCrossAttn {
    /// Loads the block.
    pub fn new(vs: &VarPath<'_>, config: &BlockConfig) -> Self {
        let resnets = (0..=config.layers)
            .map(|index| ResnetBlock2D::new(&(vs / "resnets" / index), &config.resnet));
        Self { resnets: resnets.collect(), attentions: attentions(vs, config) }
    }

    /// (N, C, h, w) to (N, C, h, w).
    pub fn forward(
        &self,
        hidden_states: &Tensor,
        temb: &Tensor,
        context: &mut AttnContext<'_>,
    ) -> Tensor {
        let mut hidden_states = self.resnets[0].forward(hidden_states, Some(temb));
        for (attention, resnet) in self.attentions.iter().zip(&self.resnets[1..]) {
            hidden_states = attention.forward(hidden_states, context);
            hidden_states = resnet.forward(&hidden_states, Some(temb));
        }
        hidden_states
    }
}

// === impl UpBlock2D ===

impl UpBlock2D {
    /// Loads a block; its last residual block takes a skip connection of `last_skip_channels`, the others one of the
    /// block's own width.
    pub fn new(vs: &VarPath<'_>, config: &BlockConfig, last_skip_channels: i64) -> Self {
        let channels = config.resnet.out_channels;
        let resnets = (0..config.layers).map(|index| {
            let in_channels = if index == 0 { config.resnet.in_channels } else { channels };
            let skip_channels =
                if index == config.layers - 1 { last_skip_channels } else { channels };
            let in_channels = in_channels + skip_channels;
            ResnetBlock2D::new(
                &(vs / "resnets" / index),
                &ResnetConfig { in_channels, ..config.resnet },
            )
        });
        Self {
            resnets: resnets.collect(),
            attentions: attentions(vs, config),
            upsampler: config.resample.then(|| Upsample2D::new(&(vs / "upsamplers" / 0), channels)),
        }
    }

    /// (N, in, h, w) to (N, out, h′, w′); pops its skip connections from `residuals`, and upsamples to the size of the
    /// next one.
    ///
    /// Differs: diffusers forces the size only if a side is not a multiple of the U-Net's stride; otherwise it doubles,
    /// which gives the same size.
    ///
    /// # Panics
    /// If fewer skip connections are left than the block has layers.
    pub fn forward(
        &self,
        mut hidden_states: Tensor,
        temb: &Tensor,
        context: &mut AttnContext<'_>,
        residuals: &mut Vec<Tensor>,
    ) -> Tensor {
        for (index, resnet) in self.resnets.iter().enumerate() {
            let residual = residuals
                .pop()
                .expect("the down path left one residual for each layer of the up path");
            hidden_states = Tensor::cat(&[hidden_states, residual], 1);
            hidden_states = resnet.forward(&hidden_states, Some(temb));
            if let Some(attention) = self.attentions.get(index) {
                hidden_states = attention.forward(hidden_states, context);
            }
        }
        if let (Some(upsampler), Some(next)) = (&self.upsampler, residuals.last()) {
            let size = next.size();
            hidden_states = upsampler.forward(&hidden_states, size[2], size[3]);
        }
        hidden_states
    }
}

/// Loads a block's transformers, one for each residual block, or none.
fn attentions(vs: &VarPath<'_>, config: &BlockConfig) -> Vec<Transformer2DModel> {
    let Some(transformer) = &config.transformer else { return Vec::new() };
    (0..config.layers as usize)
        .map(|attention| {
            let site = AttnSite { attention, ..config.site };
            Transformer2DModel::new(&(vs / "attentions" / attention), site, transformer)
        })
        .collect()
}

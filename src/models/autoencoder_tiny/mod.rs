//! Tiny autoencoders (TAESD, TAEF2), which show in a fraction of the time what an autoencoder would make of latents.
//!
//! Source: diffusers 0.42.1, `AutoencoderTiny`; for TAEF2, whose blocks pool over the picture and which diffusers has
//! no class for, madebyollin/taesd, `taesd.py`.

mod file;
mod plan;

use std::path::{Path, PathBuf};

use tch::{Device, Kind, Tensor};

use crate::config_json::ConfigJsonError;
use crate::models::{
    layers::{Conv2d, GroupNorm, channels_last},
    weights::{VarPath, error::WeightsError},
};
use file::Half;
use plan::{Layer, Plan};

/// Latents beyond this are pressed together before they are decoded.
const LATENT_MAGNITUDE: f64 = 3.0;
/// Groups of the norm in a pooling block.
const POOL_GROUPS: i64 = 4;
/// Channels of that norm, for each of the block's.
const POOL_FACTOR: i64 = 4;
/// Epsilon of that norm, torch's default.
const EPS: f64 = 1e-5;

/// Why a tiny autoencoder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TinyError {
    /// The files are missing, pickles, or faulty.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The configuration is of another architecture.
    #[error(transparent)]
    Config(#[from] ConfigJsonError),
    /// The tensors are not those of a tiny autoencoder.
    #[error(
        "{} is no tiny {half}: expected one of diffusers' AutoencoderTiny, or TAESD's or TAEF2's {half} as safetensors",
        path.display()
    )]
    Other {
        /// The folder or file.
        path: PathBuf,
        /// `decoder` or `encoder`.
        half: &'static str,
    },
}

/// The decoder of a tiny autoencoder.
#[derive(Debug)]
pub struct TinyDecoder {
    layers: Vec<Step>,
    /// Channels of the latents.
    pub latent_channels: i64,
    /// Pixels a cell of the latents.
    pub scale_factor: u32,
    /// Number of its parameters.
    pub parameters: u64,
}

/// The encoder of a tiny autoencoder.
#[derive(Debug)]
pub struct TinyEncoder {
    layers: Vec<Step>,
}

/// A layer, with what comes before or behind it.
#[derive(Debug)]
enum Step {
    /// A convolution.
    Conv(Conv2d),
    /// A convolution and `ReLU`.
    ConvRelu(Conv2d),
    /// Each cell becomes four, and a convolution.
    Grow(Conv2d),
    /// A residual block (diffusers: `AutoencoderTinyBlock`).
    Block(Box<Block>),
}

#[derive(Debug)]
struct Block {
    pool: Option<Pool>,
    conv: [Conv2d; 3],
}

/// A residual over statistics of the whole picture, which FLUX.2's latents need.
#[derive(Debug)]
struct Pool {
    into: Conv2d,
    norm: GroupNorm,
    out: Conv2d,
}

// === impl TinyDecoder ===

impl TinyDecoder {
    /// Loads a folder of diffusers' `AutoencoderTiny`, or a file in its layout or the original one.
    ///
    /// # Errors
    /// [`TinyError`], naming the file or tensor.
    pub fn open(path: &Path, kind: Kind, device: Device) -> Result<Self, TinyError> {
        let (checkpoint, plan) = file::open(path, Half::Decoder)?;
        let layers = steps(&checkpoint.root(kind, device), &plan);
        checkpoint.finish()?;
        let grows = plan.layers.iter().filter(|(_, it)| matches!(it, Layer::Resampled { .. }));
        Ok(Self {
            scale_factor: 1 << grows.count(),
            latent_channels: plan.in_channels,
            parameters: checkpoint.parameters(),
            layers,
        })
    }

    /// The picture of latents as they are denoised, (N, C, h, w), as pixels (N, 3, H, W) around -1..=1.
    pub fn decode(&self, latents: &Tensor) -> Tensor {
        let _no_grad = tch::no_grad_guard();
        let pressed = (latents / LATENT_MAGNITUDE).tanh() * LATENT_MAGNITUDE;
        run(&self.layers, &pressed) * 2.0 - 1.0
    }
}

// === impl TinyEncoder ===

impl TinyEncoder {
    /// Loads what [`TinyDecoder::open`] does, or the encoder's file of the original layout.
    ///
    /// # Errors
    /// [`TinyError`], naming the file or tensor.
    pub fn open(path: &Path, kind: Kind, device: Device) -> Result<Self, TinyError> {
        let (checkpoint, plan) = file::open(path, Half::Encoder)?;
        let layers = steps(&checkpoint.root(kind, device), &plan);
        checkpoint.finish()?;
        Ok(Self { layers })
    }

    /// The latents of pixels (N, 3, H, W) in -1..=1, as they are denoised, (N, C, h, w).
    pub fn encode(&self, pixels: &Tensor) -> Tensor {
        let _no_grad = tch::no_grad_guard();
        run(&self.layers, &((pixels + 1.0) / 2.0))
    }
}

/// Builds the layers of a plan.
fn steps(vs: &VarPath<'_>, plan: &Plan) -> Vec<Step> {
    let vs = vs / "layers";
    let channels = plan.channels;
    let step = |(number, layer): &(usize, Layer)| {
        let vs = &vs / number;
        match layer {
            Layer::First { relu: true } => {
                Step::ConvRelu(Conv2d::new(&vs, plan.in_channels, channels, 3))
            }
            Layer::First { relu: false } => {
                Step::Conv(Conv2d::new(&vs, plan.in_channels, channels, 3))
            }
            Layer::Resampled { grows: true } => {
                Step::Grow(Conv2d::without_bias(&vs, channels, channels, 3))
            }
            Layer::Resampled { grows: false } => {
                Step::Conv(Conv2d::halving_without_bias(&vs, channels, 1))
            }
            Layer::Block { pools } => Step::Block(Box::new(Block::new(&vs, channels, *pools))),
            Layer::Last => Step::Conv(Conv2d::new(&vs, channels, plan.out_channels, 3)),
        }
    };
    plan.layers.iter().map(step).collect()
}

fn run(steps: &[Step], xs: &Tensor) -> Tensor {
    steps.iter().fold(channels_last(xs), |xs, step| match step {
        Step::Conv(conv) => conv.forward(&xs),
        Step::ConvRelu(conv) => conv.forward(&xs).relu_(),
        Step::Grow(conv) => {
            let (height, width) = (xs.size()[2] * 2, xs.size()[3] * 2);
            conv.forward(&xs.upsample_nearest2d([height, width], None, None))
        }
        Step::Block(block) => block.forward(&xs),
    })
}

// === impl Block ===

impl Block {
    fn new(vs: &VarPath<'_>, channels: i64, pools: bool) -> Self {
        let conv = |number: usize| Conv2d::new(&(vs / "conv" / number), channels, channels, 3);
        let wide = channels * POOL_FACTOR;
        let pool = pools.then(|| Pool {
            into: Conv2d::without_bias(&(vs / "pool" / 0), channels, wide, 1),
            norm: GroupNorm::new(&(vs / "pool" / 1), POOL_GROUPS, wide, EPS),
            out: Conv2d::without_bias(&(vs / "pool" / 3), wide, channels, 1),
        });
        Self { pool, conv: [conv(0), conv(2), conv(4)] }
    }

    /// (N, C, h, w) to (N, C, h, w).
    fn forward(&self, xs: &Tensor) -> Tensor {
        let xs = match &self.pool {
            Some(Pool { into, norm, out }) => {
                xs + out.forward(&norm.forward(&into.forward(xs)).relu_())
            }
            None => xs.shallow_clone(),
        };
        let [first, second, third] = &self.conv;
        let hidden = second.forward(&first.forward(&xs).relu_()).relu_();
        (third.forward(&hidden) + xs).relu_()
    }
}

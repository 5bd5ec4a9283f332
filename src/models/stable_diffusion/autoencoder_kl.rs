//! The VAE (variational autoencoder) between images and latents.
//!
//! Source: diffusers 0.42.1, `models/autoencoders/autoencoder_kl.py`, `AutoencoderKL`.

use tch::{Tensor, no_grad};

use crate::config_json::{ConfigJson, ConfigJsonError};
use crate::models::{
    layers::Conv2d,
    stable_diffusion::vae::{Decoder, Encoder, VaeConfig},
    weights::VarPath,
};

/// Configuration of the VAE, under diffusers' names.
///
/// `force_upcast` is left out, since diffusers' InstructPix2Pix pipeline never reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoencoderKlConfig {
    /// Channels of an image.
    pub in_channels: i64,
    /// Channels of a decoded image.
    pub out_channels: i64,
    /// Channels of each level, finest first.
    pub block_out_channels: Vec<i64>,
    /// Residual blocks per level: this many in the encoder, one more in the decoder.
    pub layers_per_block: i64,
    /// Channels of the latents.
    pub latent_channels: i64,
    /// Groups of the group norms.
    pub norm_num_groups: i64,
    /// Factor that scales latents to unit variance for the U-Net.
    pub scaling_factor: f64,
    /// Whether a 1×1 convolution follows the encoder.
    pub use_quant_conv: bool,
    /// Whether a 1×1 convolution precedes the decoder.
    pub use_post_quant_conv: bool,
    /// Whether the middle block has attention.
    pub mid_block_add_attention: bool,
}

/// The autoencoder of Stable Diffusion 1.x and 2.x.
#[derive(Debug)]
pub struct AutoencoderKl {
    config: AutoencoderKlConfig,
    encoder: Encoder,
    quant_conv: Option<Conv2d>,
    post_quant_conv: Option<Conv2d>,
    decoder: Decoder,
}

/// Keys that only other architectures set, with the JSON value of Stable Diffusion's VAE.
const SUPPORTED: [(&str, &str); 3] =
    [("shift_factor", "null"), ("latents_mean", "null"), ("latents_std", "null")];

// === impl AutoencoderKlConfig ===

impl AutoencoderKlConfig {
    /// Reads the text of `vae/config.json`.
    ///
    /// # Errors
    /// [`ConfigJsonError`], naming the key, if a value is malformed or belongs to another architecture.
    pub fn from_json(text: &str) -> Result<Self, ConfigJsonError> {
        let json = ConfigJson::of_class("AutoencoderKL", text)?;
        for (key, supported) in SUPPORTED {
            json.only(key, supported)?;
        }
        json.silu("act_fn")?;

        let block_out_channels = json.ints("block_out_channels", &[64])?;
        check_blocks(&json, block_out_channels.len(), 1)?;
        let norm_num_groups = json.int("norm_num_groups", 32, 1)?;
        check_groups(&json, "block_out_channels", &block_out_channels, norm_num_groups)?;
        let above = |it: f64| it > 0.0;
        let scaling_factor =
            json.number_in("scaling_factor", 0.18215, "a number above 0", above)?;
        Ok(Self {
            in_channels: json.int("in_channels", 3, 1)?,
            out_channels: json.int("out_channels", 3, 1)?,
            layers_per_block: json.int("layers_per_block", 1, 1)?,
            latent_channels: json.int("latent_channels", 4, 1)?,
            use_quant_conv: json.flag("use_quant_conv", true)?,
            use_post_quant_conv: json.flag("use_post_quant_conv", true)?,
            mid_block_add_attention: json.flag("mid_block_add_attention", true)?,
            block_out_channels,
            norm_num_groups,
            scaling_factor,
        })
    }

    /// Pixels per latent cell along a side: 8 in Stable Diffusion.
    pub fn scale_factor(&self) -> i64 {
        1 << (self.block_out_channels.len() - 1)
    }
}

/// Refuses blocks of other kinds, or not one for each of so many levels; where a configuration names none, it has
/// `default` of them.
pub(in crate::models) fn check_blocks(
    json: &ConfigJson,
    levels: usize,
    default: usize,
) -> Result<(), ConfigJsonError> {
    for (key, name) in
        [("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")]
    {
        let names = json.texts(key, &vec![name; default])?;
        if names.len() != levels || names.iter().any(|it| it != name) {
            let expected = format!("{levels} of \"{name}\", one for each of `block_out_channels`");
            return Err(json.fault(key, expected));
        }
    }
    Ok(())
}

/// Refuses channels that can't be split into groups.
pub(in crate::models) fn check_groups(
    json: &ConfigJson,
    key: &'static str,
    channels: &[i64],
    groups: i64,
) -> Result<(), ConfigJsonError> {
    if channels.iter().any(|channels| channels % groups != 0) {
        return Err(json.fault(key, format!("multiples of `norm_num_groups`, {groups}")));
    }
    Ok(())
}

// === impl AutoencoderKl ===

impl AutoencoderKl {
    /// Loads the VAE.
    pub fn new(vs: &VarPath<'_>, config: &AutoencoderKlConfig) -> Self {
        let latent = config.latent_channels;
        let encoder = VaeConfig {
            in_channels: config.in_channels,
            out_channels: 2 * latent,
            block_out_channels: &config.block_out_channels,
            layers_per_block: config.layers_per_block,
            norm_num_groups: config.norm_num_groups,
            mid_block_add_attention: config.mid_block_add_attention,
        };
        let decoder =
            VaeConfig { in_channels: latent, out_channels: config.out_channels, ..encoder };
        let conv = |name, channels| Conv2d::new(&(vs / name), channels, channels, 1);
        Self {
            encoder: Encoder::new(&(vs / "encoder"), &encoder),
            quant_conv: config.use_quant_conv.then(|| conv("quant_conv", 2 * latent)),
            post_quant_conv: config.use_post_quant_conv.then(|| conv("post_quant_conv", latent)),
            decoder: Decoder::new(&(vs / "decoder"), &decoder),
            config: config.clone(),
        }
    }

    /// The configuration.
    pub fn config(&self) -> &AutoencoderKlConfig {
        &self.config
    }

    /// Encodes images (N, 3, H, W) in −1..=1 to the mode of their latent distribution, (N, latent, H/f, W/f), not
    /// scaled.
    ///
    /// The images must have the weights' dtype and device. A side that is not a multiple of f, the [scale
    /// factor](AutoencoderKlConfig::scale_factor), is rounded down.
    pub fn encode(&self, images: &Tensor) -> Tensor {
        no_grad(|| {
            let mut moments = self.encoder.forward(images); // (N, 2·latent, h, w): means, then logarithms of variances
            if let Some(quant_conv) = &self.quant_conv {
                moments = quant_conv.forward(&moments);
            }
            moments.narrow(1, 0, self.config.latent_channels).contiguous()
        })
    }

    /// Decodes latents (N, latent, h, w), already divided by the scaling factor, to images (N, 3, h·f, w·f), nominally
    /// in −1..=1.
    pub fn decode(&self, latents: &Tensor) -> Tensor {
        let stages = 0..self.decode_stages();
        stages.fold(latents.shallow_clone(), |hidden, stage| self.decode_stage(stage, &hidden))
    }

    /// Number of stages of [`AutoencoderKl::decode`].
    pub fn decode_stages(&self) -> usize {
        self.decoder.stages()
    }

    /// Runs one stage: the first takes latents, each further one the output of the one before.
    pub fn decode_stage(&self, stage: usize, hidden: &Tensor) -> Tensor {
        no_grad(|| match &self.post_quant_conv {
            Some(post_quant_conv) if stage == 0 => {
                self.decoder.stage(stage, &post_quant_conv.forward(hidden))
            }
            _ => self.decoder.stage(stage, hidden),
        })
    }
}

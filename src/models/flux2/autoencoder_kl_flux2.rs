//! The VAE of FLUX.2, whose latents are cells of two by two, normalized by the statistics of a batch norm.
//!
//! Source: diffusers 0.42.1, `models/autoencoders/autoencoder_kl_flux2.py`, `AutoencoderKLFlux2`, and
//! `pipelines/flux2/pipeline_flux2_klein.py`, `_patchify_latents`, `_unpatchify_latents`, `_encode_vae_image`.

use tch::{Kind, Tensor, no_grad};

use crate::config_json::{ConfigJson, ConfigJsonError};
use crate::models::{
    layers::Conv2d,
    stable_diffusion::{
        autoencoder_kl::{check_blocks, check_groups},
        vae::{Decoder, Encoder, VaeConfig},
    },
    weights::VarPath,
};

/// Rows and columns of the encoder's output that make one cell of the latents.
const PATCH: i64 = 2;

/// Configuration of the VAE, under diffusers' names.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoencoderKlFlux2Config {
    /// Channels of each level of the encoder, finest first.
    pub block_out_channels: Vec<i64>,
    /// Those of the decoder.
    pub decoder_block_out_channels: Vec<i64>,
    /// Residual blocks per level: this many in the encoder, one more in the decoder.
    pub layers_per_block: i64,
    /// Channels of the encoder's output; a cell has four times as many.
    pub latent_channels: i64,
    /// Groups of the group norms.
    pub norm_num_groups: i64,
    /// Side of the pictures that the model is made for, in pixels.
    pub sample_size: i64,
    /// Whether a 1×1 convolution follows the encoder.
    pub use_quant_conv: bool,
    /// Whether a 1×1 convolution precedes the decoder.
    pub use_post_quant_conv: bool,
    /// Whether the middle block has attention.
    pub mid_block_add_attention: bool,
    /// Epsilon of the batch norm.
    pub batch_norm_eps: f64,
}

/// The autoencoder of FLUX.2.
#[derive(Debug)]
pub struct AutoencoderKlFlux2 {
    config: AutoencoderKlFlux2Config,
    encoder: Encoder,
    quant_conv: Option<Conv2d>,
    post_quant_conv: Option<Conv2d>,
    decoder: Decoder,
    /// Mean of each channel of a cell, (1, C, 1, 1) in fp32.
    mean: Tensor,
    /// Standard deviation of each channel of a cell, (1, C, 1, 1) in fp32.
    std: Tensor,
}

// === impl AutoencoderKlFlux2Config ===

impl AutoencoderKlFlux2Config {
    /// Reads the text of `vae/config.json`.
    ///
    /// # Errors
    /// [`ConfigJsonError`], naming the key, if a value is malformed or belongs to another architecture.
    pub fn from_json(text: &str) -> Result<Self, ConfigJsonError> {
        let json = ConfigJson::of_class("AutoencoderKLFlux2", text)?.without_nulls();
        for (key, supported) in
            [("in_channels", "3"), ("out_channels", "3"), ("patch_size", "[2, 2]")]
        {
            json.only(key, supported)?;
        }
        json.silu("act_fn")?;
        let block_out_channels = json.ints("block_out_channels", &[128, 256, 512, 512])?;
        check_blocks(&json, block_out_channels.len(), 4)?;
        let decoder_key = "decoder_block_out_channels";
        let decoder_block_out_channels = json.ints(decoder_key, &block_out_channels)?;
        if decoder_block_out_channels.len() != block_out_channels.len() {
            return Err(json.fault(decoder_key, "as many numbers as `block_out_channels`"));
        }
        let norm_num_groups = json.int("norm_num_groups", 32, 1)?;
        check_groups(&json, "block_out_channels", &block_out_channels, norm_num_groups)?;
        check_groups(&json, decoder_key, &decoder_block_out_channels, norm_num_groups)?;
        let (height, width) = json.size("sample_size", Some((1024, 1024)))?.unwrap_or((1024, 1024));
        Ok(Self {
            block_out_channels,
            decoder_block_out_channels,
            layers_per_block: json.int("layers_per_block", 2, 1)?,
            latent_channels: json.int("latent_channels", 32, 1)?,
            norm_num_groups,
            sample_size: height.max(width),
            use_quant_conv: json.flag("use_quant_conv", true)?,
            use_post_quant_conv: json.flag("use_post_quant_conv", true)?,
            mid_block_add_attention: json.flag("mid_block_add_attention", true)?,
            batch_norm_eps: json
                .number_in("batch_norm_eps", 1e-4, "a number above 0", |it| it > 0.0)?,
        })
    }

    /// Pixels per cell of the latents along a side: 16 in FLUX.2.
    pub fn scale_factor(&self) -> i64 {
        PATCH << (self.block_out_channels.len() - 1)
    }

    /// Channels of the encoder's output, and pixels a side of one of its cells.
    pub fn encoded(&self) -> (i64, u32) {
        (self.latent_channels, (self.scale_factor() / PATCH) as u32)
    }

    /// Channels of a cell of the latents.
    pub fn cell_channels(&self) -> i64 {
        PATCH * PATCH * self.latent_channels
    }
}

// === impl AutoencoderKlFlux2 ===

impl AutoencoderKlFlux2 {
    /// Loads the VAE.
    pub fn new(vs: &VarPath<'_>, config: &AutoencoderKlFlux2Config) -> Self {
        let latent = config.latent_channels;
        let encoder = VaeConfig {
            in_channels: 3,
            out_channels: 2 * latent,
            block_out_channels: &config.block_out_channels,
            layers_per_block: config.layers_per_block,
            norm_num_groups: config.norm_num_groups,
            mid_block_add_attention: config.mid_block_add_attention,
        };
        let decoder = VaeConfig {
            in_channels: latent,
            out_channels: 3,
            block_out_channels: &config.decoder_block_out_channels,
            ..encoder
        };
        let conv = |name, channels| Conv2d::new(&(vs / name), channels, channels, 1);
        let norm = vs / "bn";
        norm.ignore("num_batches_tracked");
        let statistic = |name| {
            let values = norm.tensor(name, &[config.cell_channels()]);
            values.to_kind(Kind::Float).view([1, -1, 1, 1])
        };
        Self {
            encoder: Encoder::new(&(vs / "encoder"), &encoder),
            quant_conv: config.use_quant_conv.then(|| conv("quant_conv", 2 * latent)),
            post_quant_conv: config.use_post_quant_conv.then(|| conv("post_quant_conv", latent)),
            decoder: Decoder::new(&(vs / "decoder"), &decoder),
            mean: statistic("running_mean"),
            std: (statistic("running_var") + config.batch_norm_eps).sqrt(),
            config: config.clone(),
        }
    }

    /// The configuration.
    pub fn config(&self) -> &AutoencoderKlFlux2Config {
        &self.config
    }

    /// Encodes images (N, 3, H, W) in −1..=1 to latents as they are denoised, (N, C, h, w) in fp32.
    ///
    /// The images must have the weights' dtype and device, and sides that are multiples of the [scale
    /// factor](AutoencoderKlFlux2Config::scale_factor).
    pub fn encode(&self, images: &Tensor) -> Tensor {
        no_grad(|| {
            let mut moments = self.encoder.forward(images); // (N, 2·latent, 2h, 2w): means, then variances
            if let Some(quant_conv) = &self.quant_conv {
                moments = quant_conv.forward(&moments);
            }
            let mode = moments.narrow(1, 0, self.config.latent_channels).to_kind(Kind::Float);
            (mode.pixel_unshuffle(PATCH) - &self.mean) / &self.std
        })
    }

    /// Number of stages in which latents are decoded.
    pub fn decode_stages(&self) -> usize {
        self.decoder.stages()
    }

    /// Runs one stage: the first takes latents (N, C, h, w) as they are denoised, in fp32 on the weights' device, each
    /// further one the output of the one before; the last gives images (N, 3, H, W), nominally in −1..=1.
    ///
    /// Differs: diffusers brings latents back by the batch norm in the VAE's dtype.
    pub fn decode_stage(&self, stage: usize, hidden: &Tensor, kind: Kind) -> Tensor {
        no_grad(|| {
            if stage > 0 {
                return self.decoder.stage(stage, hidden);
            }
            let latents = (hidden * &self.std + &self.mean).pixel_shuffle(PATCH).to_kind(kind);
            let latents = match &self.post_quant_conv {
                Some(post_quant_conv) => post_quant_conv.forward(&latents),
                None => latents,
            };
            self.decoder.stage(stage, &latents)
        })
    }
}

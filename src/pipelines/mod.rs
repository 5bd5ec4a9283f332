//! A loaded model behind one trait, the guidance over its predictions, and the denoising loop.
//!
//! Methods ask a model for nothing but [`EditPipeline`], so that they read as the paper, run on a scripted pipeline in
//! tests, and on a batcher that several jobs share.

pub mod batcher;
pub mod denoise;
pub mod guidance;
pub mod image_processor;
pub mod inspect;
pub mod instruct_pix2pix;
pub mod load;
pub mod preview;

use image::RgbImage;
use tch::Tensor;

use crate::attn_processor::{Attempt, AttnProcessor, AttnSite};
use crate::models::clip::tokenizer::TokenizerError;
use crate::sampling::{SchedulerKind, Steps};
use crate::schedulers::{Scheduler, SchedulerError};

/// A prompt as the text encoder reads it.
pub type TokenizedPrompt = crate::models::clip::tokenizer::TokenizedPrompt;

/// The sizes that a model works in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    /// Pixels of the picture a side per cell of the latent (diffusers: `vae_scale_factor`).
    pub vae_scale_factor: u32,
    /// The side that a picture's sides should be a multiple of: `vae_scale_factor` × 2^(levels of the U-Net − 1).
    pub stride: u32,
    /// The model's own side in pixels: `sample_size` × `vae_scale_factor`.
    pub sample_size: u32,
    /// Factor between the VAE's latents and those that are denoised (diffusers: `scaling_factor`).
    pub scaling_factor: f64,
}

/// Height and width of a latent, in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LatentSize {
    /// Rows.
    pub height: i64,
    /// Columns.
    pub width: i64,
}

/// What a U-Net call is conditioned on, in the order of [`Branch::TRIPLE`](crate::attn_processor::Branch::TRIPLE).
#[derive(Debug)]
pub struct Conditioning {
    /// (3, T, C): instruction, negative prompt, negative prompt.
    pub prompt_embeds: Tensor,
    /// (3, 4, h, w), as the VAE gives them, not scaled: z, z, 0.
    pub image_latents: Tensor,
}

/// What the U-Net predicts for one sample, each (1, 4, h, w) in fp32.
#[derive(Debug)]
pub struct NoisePrediction {
    /// With instruction and image.
    pub text: Tensor,
    /// With the image alone.
    pub image: Tensor,
    /// With neither.
    pub uncond: Tensor,
}

/// One sample's part in a U-Net call.
#[derive(derive_more::Debug)]
pub struct NoiseCall {
    /// (1, 4, h, w), already scaled by the sampler.
    pub latents: Tensor,
    /// Where it stands.
    pub timestep: f64,
    /// Prompt and picture.
    pub conditioning: Conditioning,
    /// The guest in its rows of the attention.
    #[debug(skip)]
    pub attn: Box<dyn AttnProcessor>,
    /// Whether it was tried before, in a batch that failed.
    pub attempt: Attempt,
}

/// Why a pipeline could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The sampler can't be built.
    #[error(transparent)]
    Scheduler(#[from] SchedulerError),
    /// A text that can't be tokenized.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A picture whose sides the VAE can't halve.
    #[error(
        "a picture of {width}x{height} pixels does not fit the model, whose sides are multiples of {multiple}"
    )]
    ImageSize {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// What both must be multiples of.
        multiple: u32,
    },
    /// The result holds NaN or infinity.
    #[error("the model gave values that are no numbers; try --dtype fp32")]
    NotFinite,
}

/// All that a method may ask of a model.
pub trait EditPipeline: Send {
    /// The sizes that the model works in.
    fn geometry(&self) -> Geometry;

    /// Names the weights: equal digests give equal results.
    fn digest(&self) -> &str;

    /// Tokens of a text, cut to the model's length; what was cut off is told.
    ///
    /// # Errors
    /// [`PipelineError::Tokenizer`].
    fn tokenize(&self, text: &str) -> Result<TokenizedPrompt, PipelineError>;

    /// The text's embedding, (C,), L2-normalized: the text encoder's pooled output.
    ///
    /// # Errors
    /// [`PipelineError::Tokenizer`], [`PipelineError::NotFinite`].
    fn embed_text(&self, text: &str) -> Result<Vec<f32>, PipelineError>;

    /// The latents z of a picture whose sides are multiples of `vae_scale_factor`, (1, 4, h, w): the VAE's mode, not scaled.
    ///
    /// # Errors
    /// [`PipelineError::ImageSize`].
    fn encode_image(&self, image: &RgbImage) -> Result<Tensor, PipelineError>;

    /// The hidden states of a prompt, (1, T, C).
    fn encode_prompt(&self, prompt: &TokenizedPrompt) -> Tensor;

    /// A sampler over the model's noise schedule; `None` is the model's own kind.
    ///
    /// # Errors
    /// [`PipelineError::Scheduler`].
    fn scheduler(
        &self,
        kind: Option<SchedulerKind>,
        steps: Steps,
    ) -> Result<Box<dyn Scheduler>, PipelineError>;

    /// The attention layers that a call on latents of this size visits, in order.
    fn sites(&self, latent: LatentSize) -> Vec<AttnSite>;

    /// One U-Net call over the three branches, with a guest in its attention.
    ///
    /// `latents` is (1, 4, h, w), already scaled by the sampler. The guest is given back, so that it may travel to the
    /// thread that owns the model.
    fn predict_noise(
        &self,
        latents: &Tensor,
        timestep: f64,
        conditioning: &Conditioning,
        attn: Box<dyn AttnProcessor>,
    ) -> (Result<NoisePrediction, PipelineError>, Box<dyn AttnProcessor>);

    /// The picture of denoised latents (1, 4, h, w).
    ///
    /// # Errors
    /// [`PipelineError::NotFinite`].
    fn decode(&self, latents: &Tensor) -> Result<RgbImage, PipelineError>;
}

/// A pipeline whose U-Net serves several samples in one call.
pub trait BatchPipeline: EditPipeline {
    /// As [`EditPipeline::predict_noise`] for samples of one latent size, each with a timestep, a prompt and a guest of its own.
    ///
    /// # Errors
    /// As there, for all of them.
    fn predict_noises(
        &self,
        calls: &mut [NoiseCall],
    ) -> Result<Vec<NoisePrediction>, PipelineError>;
}

// === impl Conditioning ===

impl Conditioning {
    /// What InstructPix2Pix is conditioned on: a prompt and a negative prompt, (1, T, C) each, and a picture's latents
    /// (1, 4, h, w).
    pub fn new(prompt: &Tensor, negative: &Tensor, image_latents: &Tensor) -> Self {
        Self {
            prompt_embeds: Tensor::cat(&[prompt, negative, negative], 0),
            image_latents: Tensor::cat(
                &[image_latents, image_latents, &image_latents.zeros_like()],
                0,
            ),
        }
    }

    /// The same tensors.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        Self {
            prompt_embeds: self.prompt_embeds.shallow_clone(),
            image_latents: self.image_latents.shallow_clone(),
        }
    }

    /// The size of the latents.
    pub fn latent_size(&self) -> LatentSize {
        LatentSize::of(&self.image_latents)
    }
}

impl LatentSize {
    /// Of latents (N, C, h, w).
    pub fn of(latents: &Tensor) -> Self {
        let size = latents.size();
        Self { height: size[2], width: size[3] }
    }
}

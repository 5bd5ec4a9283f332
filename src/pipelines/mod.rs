//! Loaded models behind one trait, the guidance over their predictions, and the denoising loop.
//!
//! Methods use a model through [`EditPipeline`] alone, so that they also run on a scripted pipeline in tests and on a
//! batcher that several jobs share.

pub mod conditioning;
pub mod denoise;
mod embedding;
pub mod encoded_images;
pub mod flux2_klein;
pub mod guidance;
pub mod image_processor;
pub mod inspect;
pub mod instruct_pix2pix;
pub mod load;
pub mod lora;
pub mod preview;
pub mod read_back;
pub mod rows;
pub mod text_encoder;

use image::RgbImage;
use tch::Tensor;

use crate::attention::{
    processor::{Attempt, AttnProcessor},
    role::Role,
    site::AttnSite,
};
use crate::models::{snapshot::error::SnapshotError, tokenized::TokenizerError};
use crate::pipelines::{
    conditioning::{Conditioning, LatentSize},
    guidance::{Guidance, NoisePrediction},
    read_back::ReadBack,
};
use crate::sampling::{SchedulerKind, Steps, geometry::Geometry};
use crate::schedulers::{Scheduler, SchedulerError, training::NoiseLevel};

/// A tokenized prompt.
pub type TokenizedPrompt = crate::models::tokenized::TokenizedPrompt;

/// One sample's part in a model's call.
#[derive(derive_more::Debug)]
pub struct NoiseCall {
    /// (1, C, h, w), already scaled by the sampler.
    pub latents: Tensor,
    /// The diffusion timestep.
    pub timestep: f64,
    /// Prompt and picture.
    pub conditioning: Conditioning,
    /// The attention processor of its rows.
    #[debug(skip)]
    pub attn: Box<dyn AttnProcessor>,
    /// Whether it is retried after a batch that failed.
    pub attempt: Attempt,
}

/// Why a pipeline call failed.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The scheduler can't be built.
    #[error(transparent)]
    Scheduler(#[from] SchedulerError),
    /// A text can't be tokenized.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A picture whose sides are not multiples of the VAE's factor.
    #[error(
        "the picture is {width}x{height} pixels; the model needs sides that are multiples of {multiple}"
    )]
    ImageSize {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// The number that both must be multiples of.
        multiple: u32,
    },
    /// The text encoder, which is in memory only while it reads texts, can't be loaded again.
    #[error("the text encoder can't be loaded: {0}")]
    TextEncoder(#[source] Box<SnapshotError>),
    /// The result holds NaN or infinity.
    #[error("the model's output contains NaN or infinity")]
    NotFinite,
}

/// What predicts the noise of one sample.
pub trait Predictor {
    /// How its predictions become the one that a step takes.
    fn guidance(&self) -> Guidance;

    /// One call over the roles of `conditioning`, with an attention processor.
    ///
    /// `latents` is (1, C, h, w), already scaled by the sampler. The processor is returned, so that it may be sent to
    /// the model's thread.
    fn predict_noise(
        &self,
        latents: &Tensor,
        timestep: f64,
        conditioning: &Conditioning,
        attn: Box<dyn AttnProcessor>,
    ) -> (Result<NoisePrediction, PipelineError>, Box<dyn AttnProcessor>);
}

/// All that a method may ask of a model.
pub trait EditPipeline: Predictor + Send {
    /// The sizes that the model works in.
    fn geometry(&self) -> Geometry;

    /// Digest of the weights: equal digests give equal results.
    fn digest(&self) -> &str;

    /// Tokenizes a text, truncated to the model's maximum length; the result says what was cut off.
    ///
    /// # Errors
    /// [`PipelineError::Tokenizer`].
    fn tokenize(&self, text: &str) -> Result<TokenizedPrompt, PipelineError>;

    /// The text's embedding, (C,), L2-normalized: the text encoder's pooled output, or the mean over the text's tokens
    /// where it has none.
    ///
    /// # Errors
    /// [`PipelineError::Tokenizer`], [`PipelineError::NotFinite`].
    fn embed_text(&self, text: &str) -> Result<Vec<f32>, PipelineError>;

    /// The latents of a picture whose sides are multiples of `vae_scale_factor`, (1, C, h, w) in fp32, as they are
    /// denoised.
    ///
    /// # Errors
    /// [`PipelineError::ImageSize`].
    fn encode_image(&self, image: &RgbImage) -> Result<Tensor, PipelineError>;

    /// What the model reads of a prompt, a negative prompt and a picture, in the rows of these roles.
    ///
    /// # Errors
    /// [`PipelineError::Tokenizer`], [`PipelineError::ImageSize`].
    fn condition(
        &self,
        prompt: &str,
        negative: &str,
        picture: &RgbImage,
        roles: &[Role],
    ) -> Result<Conditioning, PipelineError>;

    /// A scheduler over the model's noise schedule, for latents of a size; `None` selects the model's own kind.
    ///
    /// # Errors
    /// [`PipelineError::Scheduler`].
    fn scheduler(
        &self,
        kind: Option<SchedulerKind>,
        steps: Steps,
        latent: LatentSize,
    ) -> Result<Box<dyn Scheduler>, PipelineError>;

    /// The noise level of a training timestep, independent of any scheduler.
    ///
    /// # Errors
    /// [`PipelineError::Scheduler`].
    fn noise_level(&self, timestep: u32) -> Result<NoiseLevel, PipelineError>;

    /// The attention layers that a call on latents of this size visits, in execution order.
    fn sites(&self, latent: LatentSize) -> Vec<AttnSite>;

    /// In how many stages a picture is decoded, so that other jobs' steps may come between them.
    fn decode_stages(&self) -> usize;

    /// One of them: the first takes denoised latents (1, C, h, w), each other what the one before it gave, the last
    /// gives pixels (1, 3, H, W) around -1..=1.
    fn decode_stage(&self, stage: usize, hidden: &Tensor) -> Tensor;

    /// A preview of denoised latents (1, C, h, w) by a tiny decoder: bytes (H, W, 3) on the model's device. `None` if
    /// the model has none.
    fn decode_tiny(&self, _latents: &Tensor) -> Option<Tensor> {
        None
    }

    /// The picture of denoised latents (1, C, h, w).
    ///
    /// # Errors
    /// [`PipelineError::NotFinite`].
    fn decode(&self, latents: &Tensor) -> Result<RgbImage, PipelineError> {
        let stages = 0..self.decode_stages();
        let pixels =
            stages.fold(latents.shallow_clone(), |hidden, stage| self.decode_stage(stage, &hidden));
        let is_finite = ReadBack::of(&pixels.isfinite().all());
        let picture = ReadBack::of(&image_processor::to_bytes(&pixels));
        if is_finite.wait().int64_value(&[]) == 0 {
            return Err(PipelineError::NotFinite);
        }
        Ok(image_processor::of_bytes(&picture.wait()))
    }
}

/// A pipeline whose model serves several samples in one call.
pub trait BatchPipeline: EditPipeline {
    /// As [`Predictor::predict_noise`] for samples of one latent size, each with its own timestep, prompt and attention
    /// processor.
    ///
    /// # Errors
    /// As [`Predictor::predict_noise`]; an error concerns all samples.
    fn predict_noises(
        &self,
        calls: &mut [NoiseCall],
    ) -> Result<Vec<NoisePrediction>, PipelineError>;

    /// [`Predictor::predict_noise`] as a batch of one.
    fn predict_alone(
        &self,
        mut call: NoiseCall,
    ) -> (Result<NoisePrediction, PipelineError>, Box<dyn AttnProcessor>) {
        let predictions = self.predict_noises(std::slice::from_mut(&mut call));
        (predictions.map(|mut it| it.remove(0)), call.attn)
    }
}

// === impl PipelineError ===

impl PipelineError {
    fn text_encoder(error: SnapshotError) -> Self {
        Self::TextEncoder(Box::new(error))
    }
}

// === impl NoiseCall ===

impl NoiseCall {
    /// A first attempt.
    pub fn new(
        latents: &Tensor,
        timestep: f64,
        conditioning: &Conditioning,
        attn: Box<dyn AttnProcessor>,
    ) -> Self {
        let (latents, conditioning) = (latents.shallow_clone(), conditioning.shallow_clone());
        Self { latents, timestep, conditioning, attn, attempt: Attempt::First }
    }

    /// The size of the latents.
    pub fn size(&self) -> LatentSize {
        LatentSize::of(&self.latents)
    }
}

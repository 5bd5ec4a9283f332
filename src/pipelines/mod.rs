//! The pipeline trait that methods see of a model, classifier-free guidance, and the denoising loop.
//!
//! Methods use a model through [`EditPipeline`] alone, so that they also run on a scripted pipeline in tests and on a
//! batcher that several jobs share.

pub mod captured;
pub mod denoise;
pub mod encoded_images;
pub mod guidance;
pub mod image_processor;
pub mod inspect;
pub mod instruct_pix2pix;
pub mod load;
pub mod preview;
pub mod read_back;
mod rows;

use image::RgbImage;
use tch::Tensor;

use crate::attention::{
    branch::Branch,
    processor::{Attempt, AttnProcessor},
    site::AttnSite,
};
use crate::kernels::gpu::transfer;
use crate::models::stable_diffusion::clip::tokenizer::TokenizerError;
use crate::pipelines::read_back::ReadBack;
use crate::sampling::{SchedulerKind, Steps, geometry::Geometry};
use crate::schedulers::{Scheduler, SchedulerError, training::NoiseLevel};

/// A tokenized prompt.
pub type TokenizedPrompt = crate::models::stable_diffusion::clip::tokenizer::TokenizedPrompt;

/// Height and width of a latent, in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LatentSize {
    /// Rows.
    pub height: i64,
    /// Columns.
    pub width: i64,
}

/// Conditioning of a U-Net call, one row per branch to predict.
#[derive(Debug)]
pub struct Conditioning {
    /// Branch of each of the N rows; the first is always [`Branch::Text`].
    pub branches: Vec<Branch>,
    /// (N, T, C): hidden states of the instruction, or of the negative prompt in branches without the instruction.
    pub prompt_embeds: Tensor,
    /// (N, 4, h, w), the VAE's latents z without scaling; 0 in the branch without the image.
    pub image_latents: Tensor,
}

/// The U-Net's predictions for one sample, each (1, 4, h, w) in fp32; branches that were not asked for are `None`.
#[derive(Debug)]
pub struct NoisePrediction {
    /// With instruction and image.
    pub text: Tensor,
    /// With the image alone.
    pub image: Option<Tensor>,
    /// With neither.
    pub uncond: Option<Tensor>,
}

/// One sample of a U-Net call.
#[derive(derive_more::Debug)]
pub struct NoiseCall {
    /// (1, 4, h, w), already scaled by the scheduler.
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
        "a picture of {width}x{height} pixels does not fit the model, whose sides are multiples of {multiple}"
    )]
    ImageSize {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// The number that both must be multiples of.
        multiple: u32,
    },
    /// The result holds NaN or infinity.
    #[error("the model gave values that are no numbers")]
    NotFinite,
}

/// Everything that a method may use of a model.
pub trait EditPipeline: Send {
    /// Sizes and factors of the model.
    fn geometry(&self) -> Geometry;

    /// Digest of the weights: equal digests give equal results.
    fn digest(&self) -> &str;

    /// Tokenizes a text, truncated to the model's maximum length; the result says what was cut off.
    ///
    /// # Errors
    /// [`PipelineError::Tokenizer`].
    fn tokenize(&self, text: &str) -> Result<TokenizedPrompt, PipelineError>;

    /// The text's embedding, (C,), L2-normalized: the text encoder's pooled output.
    ///
    /// # Errors
    /// [`PipelineError::Tokenizer`], [`PipelineError::NotFinite`].
    fn embed_text(&self, text: &str) -> Result<Vec<f32>, PipelineError>;

    /// The VAE latents z of a picture, (1, 4, h, w): the mode of the distribution, not scaled. The picture's sides must
    /// be multiples of `vae_scale_factor`. The tensor may be shared, so callers must not change it in place.
    ///
    /// # Errors
    /// [`PipelineError::ImageSize`].
    fn encode_image(&self, image: &RgbImage) -> Result<Tensor, PipelineError>;

    /// Hidden states of a prompt, (1, T, C).
    fn encode_prompt(&self, prompt: &TokenizedPrompt) -> Tensor;

    /// A scheduler over the model's noise schedule; `None` selects the model's own kind.
    ///
    /// # Errors
    /// [`PipelineError::Scheduler`].
    fn scheduler(
        &self,
        kind: Option<SchedulerKind>,
        steps: Steps,
    ) -> Result<Box<dyn Scheduler>, PipelineError>;

    /// The noise level of a training timestep, independent of any scheduler.
    ///
    /// # Errors
    /// [`PipelineError::Scheduler`].
    fn noise_level(&self, timestep: u32) -> Result<NoiseLevel, PipelineError>;

    /// The attention layers that a call on latents of this size visits, in execution order.
    fn sites(&self, latent: LatentSize) -> Vec<AttnSite>;

    /// One U-Net call over the branches of `conditioning`, with an attention processor.
    ///
    /// `latents` is (1, 4, h, w), already scaled by the scheduler. The processor is moved in and returned, so that it
    /// can be sent to the thread that owns the model.
    fn predict_noise(
        &self,
        latents: &Tensor,
        timestep: f64,
        conditioning: &Conditioning,
        attn: Box<dyn AttnProcessor>,
    ) -> (Result<NoisePrediction, PipelineError>, Box<dyn AttnProcessor>);

    /// Number of stages that decoding is split into, so that other jobs' steps can run in between.
    fn decode_stages(&self) -> usize;

    /// Runs one decode stage: the first takes denoised latents (1, 4, h, w), each further one the output of the one
    /// before, and the last returns pixels (1, 3, H, W), nominally in -1..=1.
    fn decode_stage(&self, stage: usize, hidden: &Tensor) -> Tensor;

    /// Decodes denoised latents (1, 4, h, w) to a picture.
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

/// A pipeline whose U-Net handles several samples in one call.
pub trait BatchPipeline: EditPipeline {
    /// [`EditPipeline::predict_noise`] for several samples of one latent size, each with its own timestep, prompt and
    /// attention processor.
    ///
    /// # Errors
    /// As [`EditPipeline::predict_noise`]; an error concerns all samples.
    fn predict_noises(
        &self,
        calls: &mut [NoiseCall],
    ) -> Result<Vec<NoisePrediction>, PipelineError>;

    /// [`EditPipeline::predict_noise`] as a batch of one.
    fn predict_alone(
        &self,
        mut call: NoiseCall,
    ) -> (Result<NoisePrediction, PipelineError>, Box<dyn AttnProcessor>) {
        let predictions = self.predict_noises(std::slice::from_mut(&mut call));
        (predictions.map(|mut it| it.remove(0)), call.attn)
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
}

// === impl Conditioning ===

impl Conditioning {
    /// All three branches of InstructPix2Pix, from a prompt and a negative prompt, (1, T, C) each, and a picture's
    /// latents (1, 4, h, w).
    pub fn new(prompt: &Tensor, negative: &Tensor, image_latents: &Tensor) -> Self {
        Self {
            branches: Branch::TRIPLE.to_vec(),
            prompt_embeds: Tensor::cat(&[prompt, negative, negative], 0),
            image_latents: Tensor::cat(
                &[image_latents, image_latents, &image_latents.zeros_like()],
                0,
            ),
        }
    }

    /// A shallow clone: the same tensors.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        Self {
            branches: self.branches.clone(),
            prompt_embeds: self.prompt_embeds.shallow_clone(),
            image_latents: self.image_latents.shallow_clone(),
        }
    }

    /// The rows of the given branches that it has; the branch with the instruction is always kept.
    #[must_use]
    pub fn only(&self, branches: &[Branch]) -> Self {
        let is_wanted = |branch: &Branch| *branch == Branch::Text || branches.contains(branch);
        let rows = (0..).zip(&self.branches).filter(|(_, branch)| is_wanted(branch));
        let (rows, branches): (Vec<i64>, Vec<Branch>) = rows.unzip();
        let rows = transfer::to_device(&Tensor::from_slice(&rows), self.prompt_embeds.device());
        Self {
            branches,
            prompt_embeds: self.prompt_embeds.index_select(0, &rows),
            image_latents: self.image_latents.index_select(0, &rows),
        }
    }

    /// The size of the latents.
    pub fn latent_size(&self) -> LatentSize {
        LatentSize::of(&self.image_latents)
    }
}

// === impl NoisePrediction ===

impl NoisePrediction {
    /// Splits a call's prediction (N, 4, h, w) by branch.
    pub fn of_rows(noise: &Tensor, branches: &[Branch]) -> Self {
        let row = |wanted: Branch| {
            let row = branches.iter().position(|&branch| branch == wanted);
            row.map(|row| noise.narrow(0, row as i64, 1))
        };
        Self {
            text: row(Branch::Text).expect("a call predicts the branch with the instruction"),
            image: row(Branch::Image),
            uncond: row(Branch::Uncond),
        }
    }
}

impl LatentSize {
    /// Size of latents (N, C, h, w).
    pub fn of(latents: &Tensor) -> Self {
        let size = latents.size();
        Self { height: size[2], width: size[3] }
    }
}

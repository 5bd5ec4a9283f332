//! The InstructPix2Pix pipeline: tokenizer, text encoder, U-Net and VAE, with checked inputs.
//!
//! Source: diffusers 0.42.1, `StableDiffusionInstructPix2PixPipeline`.

use image::RgbImage;
use tch::{Device, Kind, Tensor};

use crate::attention::{processor::AttnProcessor, role::Role, site::AttnSite};
use crate::kernels::gpu::transfer;
use crate::models::{
    autoencoder_tiny::TinyDecoder,
    stable_diffusion::{
        autoencoder_kl::{AutoencoderKl, AutoencoderKlConfig},
        clip::{text_model::ClipTextModel, tokenizer::ClipTokenizer},
        unet_2d_condition::UNet2DConditionModel,
        unet_2d_condition_config::UNet2DConditionConfig,
    },
};
use crate::pipelines::{
    BatchPipeline, EditPipeline, NoiseCall, PipelineError, Predictor, TokenizedPrompt,
    conditioning::{Conditioning, LatentSize},
    embedding::unit_vector,
    encoded_images::EncodedImages,
    guidance::{Guidance, NoisePrediction},
    image_processor,
    rows::{RowModel, Rows},
};
use crate::sampling::{
    SchedulerKind, Steps,
    geometry::{Geometry, NativeSize},
};
use crate::schedulers::{Scheduler, build, config::SchedulerConfig, training::NoiseLevel};

/// Default `sample_size` in latent cells, that of Stable Diffusion 1.x.
const DEFAULT_SAMPLE_SIDE: i64 = 64;

/// The networks of one model, on one device in one dtype.
#[derive(Debug)]
pub struct InstructPix2PixPipeline {
    /// Tokenizer.
    pub tokenizer: ClipTokenizer,
    /// Text encoder.
    pub text_encoder: ClipTextModel,
    /// U-Net.
    pub unet: UNet2DConditionModel,
    /// VAE.
    pub vae: AutoencoderKl,
    /// Tiny decoder for previews, if there is one.
    pub tiny: Option<TinyDecoder>,
    /// Noise schedule, and the model's own scheduler.
    pub scheduler: SchedulerConfig,
    /// Device of the networks.
    pub device: Device,
    /// Dtype of the networks.
    pub kind: Kind,
    /// Digest of the weights.
    pub digest: String,
    /// Cache of encoded pictures.
    pub encoded: EncodedImages,
}

impl InstructPix2PixPipeline {
    fn ids(&self, prompt: &TokenizedPrompt) -> Tensor {
        transfer::to_device(&Tensor::from_slice(&prompt.ids).unsqueeze(0), self.device) // (1, T)
    }

    /// The hidden states of a prompt, (1, T, C).
    fn encode_prompt(&self, text: &str) -> Result<Tensor, PipelineError> {
        let ids = self.ids(&self.tokenize(text)?);
        Ok(tch::no_grad(|| self.text_encoder.forward(&ids).last_hidden_state))
    }

    /// The latents z of a picture, (1, 4, h, w): the VAE's mode, not scaled. They may be shared with other edits of the
    /// picture, so that nobody changes them in place.
    fn encode(&self, image: &RgbImage) -> Result<Tensor, PipelineError> {
        image_processor::check_sides(image, self.geometry().vae_scale_factor)?;
        let pixels = || image_processor::to_tensor(image, self.device).to_kind(self.kind);
        Ok(self.encoded.get_or_encode(image, || self.vae.encode(&pixels())))
    }
}

impl Predictor for InstructPix2PixPipeline {
    fn guidance(&self) -> Guidance {
        Guidance::TextImage
    }

    fn predict_noise(
        &self,
        latents: &Tensor,
        timestep: f64,
        conditioning: &Conditioning,
        attn: Box<dyn AttnProcessor>,
    ) -> (Result<NoisePrediction, PipelineError>, Box<dyn AttnProcessor>) {
        self.predict_alone(NoiseCall::new(latents, timestep, conditioning, attn))
    }
}

impl RowModel for InstructPix2PixPipeline {
    fn device(&self) -> Device {
        self.device
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn noise(&self, rows: &Rows, guest: &mut dyn AttnProcessor) -> Tensor {
        let Rows { latents, timesteps, prompts, pictures, roles } = rows;
        let sample = Tensor::cat(&[latents, pictures], 1); // (N, 8, h, w)
        self.unet.forward(&sample, timesteps, prompts, roles, guest)
    }
}

impl EditPipeline for InstructPix2PixPipeline {
    fn geometry(&self) -> Geometry {
        geometry(self.unet.config(), self.vae.config())
    }

    fn digest(&self) -> &str {
        &self.digest
    }

    fn tokenize(&self, text: &str) -> Result<TokenizedPrompt, PipelineError> {
        Ok(self.tokenizer.encode(text)?)
    }

    fn embed_text(&self, text: &str) -> Result<Vec<f32>, PipelineError> {
        let ids = self.ids(&self.tokenize(text)?);
        let pooled = tch::no_grad(|| self.text_encoder.forward(&ids).pooled_output)
            .to_kind(Kind::Double)
            .view(-1);
        unit_vector(&pooled)
    }

    fn encode_image(&self, image: &RgbImage) -> Result<Tensor, PipelineError> {
        Ok(self.encode(image)?.to_kind(Kind::Float) * self.vae.config().scaling_factor)
    }

    /// The instruction, and in roles without it the negative prompt; z, which is not scaled, and in the role without
    /// the image 0.
    fn condition(
        &self,
        prompt: &str,
        negative: &str,
        picture: &RgbImage,
        roles: &[Role],
    ) -> Result<Conditioning, PipelineError> {
        let (prompt, negative) = (self.encode_prompt(prompt)?, self.encode_prompt(negative)?);
        let image = self.encode(picture)?;
        let nothing = image.zeros_like();
        let prompts = roles.iter().map(|it| if *it == Role::Text { &prompt } else { &negative });
        let pictures = roles.iter().map(|it| if *it == Role::Uncond { &nothing } else { &image });
        let [prompts, pictures] =
            [prompts.collect::<Vec<_>>(), pictures.collect()].map(|it| Tensor::cat(&it, 0));
        Ok(Conditioning::new(roles, LatentSize::of(&image), prompts, pictures))
    }

    fn scheduler(
        &self,
        kind: Option<SchedulerKind>,
        steps: Steps,
        _latent: LatentSize,
    ) -> Result<Box<dyn Scheduler>, PipelineError> {
        let kind = match kind {
            Some(kind) => kind,
            None => self.scheduler.own_sampler()?.kind,
        };
        Ok(build::build(kind, &self.scheduler, steps)?)
    }

    fn noise_level(&self, timestep: u32) -> Result<NoiseLevel, PipelineError> {
        Ok(NoiseLevel::of(&self.scheduler, timestep)?)
    }

    fn sites(&self, latent: LatentSize) -> Vec<AttnSite> {
        self.unet.sites(latent.height, latent.width)
    }

    fn decode_tiny(&self, latents: &Tensor) -> Option<Tensor> {
        let latents = latents.to_device(self.device).to_kind(self.kind);
        Some(image_processor::to_bytes(&self.tiny.as_ref()?.decode(&latents)))
    }

    fn decode_stages(&self) -> usize {
        self.vae.decode_stages()
    }

    fn decode_stage(&self, stage: usize, hidden: &Tensor) -> Tensor {
        if stage > 0 {
            return self.vae.decode_stage(stage, hidden);
        }
        let latents = hidden.to_device(self.device) / self.vae.config().scaling_factor;
        self.vae.decode_stage(stage, &latents.to_kind(self.kind))
    }
}

/// The sizes that a U-Net and an autoencoder work in.
pub fn geometry(unet: &UNet2DConditionConfig, vae: &AutoencoderKlConfig) -> Geometry {
    let vae_scale_factor = vae.scale_factor() as u32;
    let sample_side =
        unet.sample_size.map_or(DEFAULT_SAMPLE_SIDE, |(height, width)| height.max(width));
    Geometry {
        vae_scale_factor,
        stride: vae_scale_factor << (unet.levels() - 1),
        sample_size: sample_side as u32 * vae_scale_factor,
        native: NativeSize::Padded,
    }
}

//! The FLUX.2-klein pipeline: tokenizer, text encoder, transformer and VAE, with checked inputs.
//!
//! Source: diffusers 0.42.1, `Flux2KleinPipeline`.

use image::RgbImage;
use tch::{Device, Kind, Tensor};

use crate::attention::{processor::AttnProcessor, role::Role, site::AttnSite};
use crate::models::{
    autoencoder_tiny::TinyDecoder,
    flux2::{
        autoencoder_kl_flux2::{AutoencoderKlFlux2, AutoencoderKlFlux2Config},
        transformer_flux2::{Flux2Call, Flux2Transformer2DModel},
        transformer_flux2_config::SequenceShape,
    },
    qwen3::tokenizer::Qwen2Tokenizer,
};
use crate::pipelines::{
    BatchPipeline, EditPipeline, NoiseCall, PipelineError, Predictor, TokenizedPrompt,
    conditioning::{Conditioning, LatentSize},
    embedding::unit_vector,
    encoded_images::EncodedImages,
    guidance::{Guidance, NoisePrediction},
    image_processor,
    rows::{RowModel, Rows},
    text_encoder::OnDemandTextEncoder,
};
use crate::sampling::{
    SchedulerKind, Steps,
    geometry::{Geometry, NativeSize},
};
use crate::schedulers::{
    Scheduler, SchedulerError,
    config::SchedulerConfig,
    flow_match_euler_discrete::{self, FlowMatchEulerDiscreteScheduler},
    training::NoiseLevel,
};

/// Pixels above which diffusers shrinks a picture.
const MOST_PIXELS: u64 = 1024 * 1024;

/// The networks of one model, on one device in one dtype.
#[derive(Debug)]
pub struct Flux2KleinPipeline {
    /// Tokenizer.
    pub tokenizer: Qwen2Tokenizer,
    /// Tokens of the template before every prompt.
    pub shared_tokens: i64,
    /// Text encoder.
    pub text_encoder: OnDemandTextEncoder,
    /// Transformer.
    pub transformer: Flux2Transformer2DModel,
    /// VAE.
    pub vae: AutoencoderKlFlux2,
    /// Tiny decoder for previews, if there is one: of latents as they are denoised, four of whose channels make one.
    pub tiny: Option<TinyDecoder>,
    /// Noise schedule.
    pub scheduler: SchedulerConfig,
    /// Whether it was distilled to few steps, in which the prediction with the instruction is taken as it is.
    pub is_distilled: bool,
    /// Device of the networks.
    pub device: Device,
    /// Dtype of the networks.
    pub kind: Kind,
    /// Digest of the weights.
    pub digest: String,
    /// Cache of encoded pictures.
    pub encoded: EncodedImages,
}

impl Flux2KleinPipeline {
    /// The latents of a picture as they are denoised, (1, C, h, w) in fp32. They may be shared with other edits of the
    /// picture, so that nobody changes them in place.
    fn encode(&self, image: &RgbImage) -> Result<Tensor, PipelineError> {
        image_processor::check_sides(image, self.geometry().vae_scale_factor)?;
        let pixels = || image_processor::to_tensor(image, self.device).to_kind(self.kind);
        Ok(self.encoded.get_or_encode(image, || self.vae.encode(&pixels())))
    }

    fn encode_prompt(&self, text: &str) -> Result<Tensor, PipelineError> {
        let prompt = self.tokenize(text)?;
        self.text_encoder.encode(&prompt).map_err(PipelineError::text_encoder)
    }

    /// What the model reads of several pictures of one size, the first of which is the one to be edited: the
    /// instruction, and in the row without it the negative prompt.
    ///
    /// # Errors
    /// As for [`EditPipeline::condition`].
    ///
    /// # Panics
    /// If there is no picture, or they differ in size.
    pub fn condition_on(
        &self,
        prompt: &str,
        negative: &str,
        pictures: &[&RgbImage],
        roles: &[Role],
    ) -> Result<Conditioning, PipelineError> {
        let prompts = roles.iter().map(|role| match role {
            Role::Text => self.encode_prompt(prompt),
            Role::Image | Role::Uncond => self.encode_prompt(negative),
        });
        let prompts = Tensor::cat(&prompts.collect::<Result<Vec<_>, _>>()?, 0); // (N, T, C)
        let latents = pictures.iter().map(|it| self.encode(it));
        let latents = latents.collect::<Result<Vec<_>, _>>()?;
        let size = LatentSize::of(&latents[0]);
        let pictures = Tensor::stack(&latents, 1).to_kind(self.kind); // (1, R, C, h, w)
        let pictures = pictures.expand([roles.len() as i64, -1, -1, -1, -1], false);
        Ok(Conditioning::new(roles, size, prompts, pictures))
    }
}

impl Predictor for Flux2KleinPipeline {
    fn guidance(&self) -> Guidance {
        if self.is_distilled { Guidance::Distilled } else { Guidance::Cfg }
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

impl RowModel for Flux2KleinPipeline {
    fn device(&self) -> Device {
        self.device
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn keep_text_encoder(&mut self) {
        self.text_encoder.keep();
    }

    fn release(&self) {
        self.text_encoder.release();
    }

    fn noise(&self, rows: &Rows, guest: &mut dyn AttnProcessor) -> Tensor {
        let Rows { latents, timesteps, prompts, pictures, roles } = rows;
        let shared = self.shared_tokens;
        let call = Flux2Call { latents, references: pictures, timesteps, prompts, shared };
        self.transformer.forward(&call, roles, guest)
    }
}

impl EditPipeline for Flux2KleinPipeline {
    fn geometry(&self) -> Geometry {
        geometry(self.vae.config())
    }

    fn digest(&self) -> &str {
        &self.digest
    }

    fn tokenize(&self, text: &str) -> Result<TokenizedPrompt, PipelineError> {
        Ok(self.tokenizer.encode(text)?)
    }

    /// The mean over the text's own tokens of what is read of the text encoder.
    fn embed_text(&self, text: &str) -> Result<Vec<f32>, PipelineError> {
        let prompt = self.tokenize(text)?;
        let all =
            self.text_encoder.encode_unpadded(&prompt).map_err(PipelineError::text_encoder)?;
        let own = (0i64..).zip(&prompt.offsets[..prompt.length]);
        let own: Vec<i64> = own.filter(|(_, it)| it.is_some()).map(|(index, _)| index).collect();
        let own = Tensor::from_slice(&own).to_device(all.device());
        let all = all.to_kind(Kind::Double).squeeze_dim(0).index_select(0, &own); // (n, C)
        let mean = all.mean_dim([0i64].as_slice(), false, Kind::Double);
        unit_vector(&mean)
    }

    fn encode_image(&self, image: &RgbImage) -> Result<Tensor, PipelineError> {
        self.encode(image)
    }

    fn condition(
        &self,
        prompt: &str,
        negative: &str,
        picture: &RgbImage,
        roles: &[Role],
    ) -> Result<Conditioning, PipelineError> {
        self.condition_on(prompt, negative, &[picture], roles)
    }

    fn scheduler(
        &self,
        kind: Option<SchedulerKind>,
        steps: Steps,
        latent: LatentSize,
    ) -> Result<Box<dyn Scheduler>, PipelineError> {
        const OWN: SchedulerKind = SchedulerKind::FlowMatchEuler;
        if let Some(kind) = kind.filter(|it| *it != OWN) {
            return Err(SchedulerError::other_kind(kind, &[OWN]).into());
        }
        let mu = flow_match_euler_discrete::empirical_mu(latent.height * latent.width, steps);
        Ok(Box::new(FlowMatchEulerDiscreteScheduler::new(&self.scheduler, steps, mu)?))
    }

    fn noise_level(&self, timestep: u32) -> Result<NoiseLevel, PipelineError> {
        Ok(flow_match_euler_discrete::noise_level(&self.scheduler, timestep)?)
    }

    fn sites(&self, latent: LatentSize) -> Vec<AttnSite> {
        let LatentSize { height, width } = latent;
        let (tokens, shared) = (self.text_encoder.tokens(), self.shared_tokens);
        self.transformer.sites(SequenceShape { tokens, shared, height, width, references: 1 })
    }

    fn decode_tiny(&self, latents: &Tensor) -> Option<Tensor> {
        let latents = latents.to_device(self.device).to_kind(self.kind).pixel_shuffle(2);
        Some(image_processor::to_bytes(&self.tiny.as_ref()?.decode(&latents)))
    }

    fn decode_stages(&self) -> usize {
        self.vae.decode_stages()
    }

    fn decode_stage(&self, stage: usize, hidden: &Tensor) -> Tensor {
        self.vae.decode_stage(stage, &hidden.to_device(self.device), self.kind)
    }
}

/// The sizes that an autoencoder works in.
pub fn geometry(vae: &AutoencoderKlFlux2Config) -> Geometry {
    let cell = vae.scale_factor() as u32;
    Geometry {
        vae_scale_factor: cell,
        stride: cell,
        sample_size: vae.sample_size as u32,
        native: NativeSize::Cropped { most_pixels: MOST_PIXELS },
    }
}

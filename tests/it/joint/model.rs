//! A second family of models, scripted: prompt, latents and picture share one sequence, guidance has two rows,
//! latents have 16 channels on a packed grid, and a sampler walks along a flow. Its weights are waves.

use image::RgbImage;
use retouch::{
    attention::{
        processor::AttnProcessor,
        qkv::Qkv,
        role::Role,
        site::{AttnSite, Keys, Span, Stage},
    },
    pipelines::{
        BatchPipeline, EditPipeline, NoiseCall, PipelineError, Predictor, TokenizedPrompt,
        conditioning::{Conditioning, LatentSize},
        guidance::{Guidance, NoisePrediction},
        image_processor,
        rows::{RowModel, Rows},
    },
    sampling::{
        SchedulerKind, Steps,
        geometry::{Geometry, NativeSize},
    },
    schedulers::{History, Scheduler, SchedulerError, Step, StepOutput, training::NoiseLevel},
};
use tch::{Device, Kind, Tensor};

const OPTIONS: (Kind, Device) = (Kind::Float, Device::Cpu);
/// Pixels of a side of a cell of the autoencoder; a cell of the latents is four of them.
const CELL: i64 = 8;
pub(crate) const CHANNELS: i64 = 16;
pub(crate) const TOKENS: i64 = 24;
const HEADS: i64 = 2;
const WIDTH: i64 = 8;

/// The model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Joint(pub(crate) Guidance);

/// Rectified flow, one step from each level to the next.
#[derive(Debug)]
struct FlowMatch(Vec<Step>);

/// Numbers in -1..=1, the same at each call.
pub(crate) fn waves(frequency: f64, shape: &[i64]) -> Tensor {
    ((Tensor::arange(shape.iter().product::<i64>(), OPTIONS) + 1.0) * frequency).sin().view(shape)
}

/// What the latents' channels are shifted and scaled by.
fn statistics() -> [Tensor; 2] {
    let shape = [1, CHANNELS, 1, 1];
    [waves(0.7, &shape) * 0.3, waves(1.3, &shape).abs() + 0.5]
}

impl Joint {
    /// What the sequence of a call on latents of this size is made of.
    pub(crate) fn keys(latent: LatentSize) -> Keys {
        let cells = latent.height * latent.width;
        Keys::Joint {
            shared: 1,
            text: Span::first(TOKENS),
            latents: Span { start: TOKENS, length: cells },
            references: Span { start: TOKENS + cells, length: cells },
        }
    }

    fn hidden_states(self, text: &str) -> Result<Tensor, PipelineError> {
        let ids = Tensor::from_slice(&self.tokenize(text)?.ids).to_kind(Kind::Float);
        let frequencies = Tensor::arange(WIDTH, OPTIONS) * 0.37 + 0.5;
        Ok((ids.unsqueeze(1) * frequencies).cos().unsqueeze(0)) // (1, T, D)
    }
}

impl Predictor for Joint {
    fn guidance(&self) -> Guidance {
        self.0
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

impl RowModel for Joint {
    fn device(&self) -> Device {
        Device::Cpu
    }

    fn kind(&self) -> Kind {
        Kind::Float
    }

    fn noise(&self, rows: &Rows, guest: &mut dyn AttnProcessor) -> Tensor {
        let latent = LatentSize::of(&rows.latents);
        let cells = latent.height * latent.width;
        let places = waves(0.11, &[1, cells, WIDTH]);
        let tokens = |it: &Tensor| {
            it.flatten(2, 3).transpose(1, 2).matmul(&waves(0.9, &[CHANNELS, WIDTH])) * 0.5 + &places
        };
        let [latents, pictures] = [&rows.latents, &rows.pictures].map(tokens);
        let hidden = Tensor::cat(&[&rows.prompts, &latents, &pictures], 1); // (N, L, D)
        let mut hidden = hidden + rows.timesteps.view([-1, 1, 1]) * 1e-4;
        for (index, site) in self.sites(latent).iter().enumerate() {
            let heads = |weights: f64| {
                let weights = waves(weights + index as f64, &[WIDTH, WIDTH]);
                hidden.matmul(&weights).unflatten(2, [HEADS, -1]).transpose(1, 2)
            };
            let [query, key, value] = [0.31, 0.57, 0.83].map(heads);
            let qkv = Qkv { query, key, value, scale: 0.5, roles: &rows.roles, unrotated: None };
            let attended = qkv.attend();
            if guest.watches(site) {
                guest.visit(site, &qkv, &attended);
            }
            hidden += attended.output.transpose(1, 2).flatten(2, 3) * 0.5;
        }
        let drawn = hidden.narrow(1, TOKENS, cells).matmul(&waves(0.77, &[WIDTH, CHANNELS]));
        let drawn = drawn.transpose(1, 2).unflatten(2, [latent.height, latent.width]);
        // Towards the picture, and something of the prompt's.
        &rows.latents - &rows.pictures + drawn * 0.2
    }
}

impl EditPipeline for Joint {
    fn geometry(&self) -> Geometry {
        let (cell, native) = (2 * CELL as u32, NativeSize::Padded);
        Geometry { vae_scale_factor: cell, stride: cell, sample_size: 128, native }
    }

    #[expect(clippy::unnecessary_literal_bound, reason = "the trait says it")]
    fn digest(&self) -> &str {
        "joint"
    }

    fn tokenize(&self, text: &str) -> Result<TokenizedPrompt, PipelineError> {
        let (mut ids, mut offsets) = (vec![0], vec![None]);
        for word in text.split_whitespace().take(TOKENS as usize - 1) {
            let start = word.as_ptr().addr() - text.as_ptr().addr();
            ids.push(word.bytes().map(i64::from).sum::<i64>() % 97 + 1);
            offsets.push(Some(start..start + word.len()));
        }
        let length = ids.len();
        ids.resize(TOKENS as usize, 0);
        offsets.resize(TOKENS as usize, None);
        Ok(TokenizedPrompt { ids, offsets, length, truncated: None })
    }

    fn embed_text(&self, text: &str) -> Result<Vec<f32>, PipelineError> {
        let states = self.hidden_states(text)?;
        let mean = states.mean_dim([0i64, 1].as_slice(), false, Kind::Float);
        Ok(Vec::try_from(&mean / mean.norm()).unwrap())
    }

    fn encode_image(&self, image: &RgbImage) -> Result<Tensor, PipelineError> {
        let (width, height) = image.dimensions();
        let multiple = self.geometry().vae_scale_factor;
        if width % multiple != 0 || height % multiple != 0 {
            return Err(PipelineError::ImageSize { width, height, multiple });
        }
        let pixels = image_processor::to_tensor(image, Device::Cpu);
        let colors = pixels.avg_pool2d([CELL, CELL], [CELL, CELL], [0, 0], false, true, None);
        let gray = colors.mean_dim([1i64].as_slice(), true, Kind::Float);
        let cells = Tensor::cat(&[colors, gray], 1); // (1, 4, 2h, 2w)
        let [mean, deviation] = statistics();
        Ok((cells.pixel_unshuffle(2) - mean) / deviation) // (1, 16, h, w)
    }

    fn condition(
        &self,
        prompt: &str,
        negative: &str,
        picture: &RgbImage,
        roles: &[Role],
    ) -> Result<Conditioning, PipelineError> {
        let latents = self.encode_image(picture)?;
        let [prompt, negative] = [self.hidden_states(prompt)?, self.hidden_states(negative)?];
        let rows = roles.iter().map(|role| match role {
            Role::Text => &prompt,
            Role::Image => &negative,
            Role::Uncond => panic!("the model always sees the picture"),
        });
        let prompts = Tensor::cat(&rows.collect::<Vec<_>>(), 0);
        let pictures = latents.repeat([roles.len() as i64, 1, 1, 1]);
        Ok(Conditioning::new(roles, LatentSize::of(&latents), prompts, pictures))
    }

    fn scheduler(
        &self,
        kind: Option<SchedulerKind>,
        steps: Steps,
        _latent: LatentSize,
    ) -> Result<Box<dyn Scheduler>, PipelineError> {
        if kind.is_some() {
            let (class, expected) = ("FlowMatch".to_owned(), "its own".to_owned());
            return Err(SchedulerError::UnsupportedClass { class, expected }.into());
        }
        let count = steps.get() as usize;
        let level = |index: usize| 1.0 - index as f64 / count as f64;
        let step = |index| Step { index, timestep: 1000.0 * level(index), sigma: level(index) };
        Ok(Box::new(FlowMatch((0..count).map(step).collect())))
    }

    fn noise_level(&self, timestep: u32) -> Result<NoiseLevel, PipelineError> {
        let noise = f64::from(timestep) / 1000.0;
        if noise > 1.0 {
            return Err(SchedulerError::NoTimestep { timestep, n_train: 1000 }.into());
        }
        Ok(NoiseLevel { signal: 1.0 - noise, noise })
    }

    fn sites(&self, latent: LatentSize) -> Vec<AttnSite> {
        let LatentSize { height, width } = latent;
        let keys = Self::keys(latent);
        let blocks = [(Stage::Double, 0), (Stage::Double, 1), (Stage::Single, 0)];
        let site = |(stage, block)| AttnSite {
            stage,
            block,
            attention: 0,
            transformer: 0,
            keys,
            level: None,
            height,
            width,
        };
        blocks.map(site).into()
    }

    fn decode_stages(&self) -> usize {
        2
    }

    fn decode_stage(&self, stage: usize, hidden: &Tensor) -> Tensor {
        if stage == 0 {
            let [mean, deviation] = statistics();
            return (hidden * deviation + mean).pixel_shuffle(2);
        }
        let size = hidden.size();
        let size = [CELL * size[2], CELL * size[3]];
        hidden.narrow(1, 0, 3).upsample_nearest2d(size, None, None)
    }
}

impl Scheduler for FlowMatch {
    fn steps(&self) -> &[Step] {
        &self.0
    }

    fn step(
        &self,
        step: Step,
        model_output: &Tensor,
        sample: &Tensor,
        _noise: Option<&Tensor>,
        _history: &mut History,
    ) -> StepOutput {
        let next = self.0.get(step.index + 1).map_or(0.0, |it| it.sigma);
        StepOutput {
            prev_sample: sample + model_output * (next - step.sigma),
            pred_original_sample: sample - model_output * step.sigma,
        }
    }

    fn draws_noise(&self) -> bool {
        false
    }

    fn add_noise(&self, clean: &Tensor, noise: &Tensor, index: usize) -> Tensor {
        let sigma = self.0.get(index).map_or(0.0, |it| it.sigma);
        clean * (1.0 - sigma) + noise * sigma
    }
}

//! Shared test helpers: fixtures, recorded tensors, similarity measures.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use image::RgbImage;
use retouch::{
    attention::{processor::AttnProcessor, role::Role, site::AttnSite},
    edit::{
        choices::{MethodKind, PreviewDecode, Unparsed},
        edit_mask::MaskChoice,
        knobs::Confidence,
        request::EditRequest,
        settings::EditSettings,
    },
    models::snapshot::Snapshot,
    pipelines::{
        BatchPipeline, EditPipeline, NoiseCall, PipelineError, Predictor, TokenizedPrompt,
        conditioning::{Conditioning, LatentSize},
        guidance::{Guidance, NoisePrediction},
        instruct_pix2pix::InstructPix2PixPipeline,
        load,
    },
    sampling::{SchedulerKind, Steps, geometry::Geometry},
    schedulers::{Scheduler, training::NoiseLevel},
};
use tch::{Device, Kind, Tensor};

/// `tests/fixtures`.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// What is asked of an editor where nothing but this matters.
pub(crate) fn edit_request(
    image: &RgbImage,
    instruction: &str,
    settings: EditSettings,
) -> EditRequest {
    EditRequest {
        image: Arc::new(image.clone()),
        instruction: instruction.to_owned(),
        negative_prompt: String::new(),
        method: MethodKind::IamEdit,
        object: None,
        action: None,
        verbatim: false,
        unparsed: Unparsed::Refuse,
        seed: 1,
        // Models of random weights are sure of nothing.
        settings: EditSettings { min_confidence: Confidence::try_from(0.0).unwrap(), ..settings },
        mask: MaskChoice::default(),
        preview_every: 0,
        preview_decode: PreviewDecode::Linear,
    }
}

/// `retouch` in a process that listens to every signal, also where the shell that runs the tests has it ignore some, as
/// one does for what it runs in the background.
pub(crate) fn listening_retouch() -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal").arg(env!("CARGO_BIN_EXE_retouch"));
    command
}

/// Tensors that a script recorded.
pub(crate) struct Recorded(Vec<(String, Tensor)>);

impl Recorded {
    pub(crate) fn open(path: &Path) -> Self {
        let tensors = Tensor::read_safetensors(path);
        Self(tensors.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    pub(crate) fn tensor(&self, name: &str) -> Tensor {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.unwrap_or_else(|| panic!("`{name}` was not recorded")).1.shallow_clone()
    }

    /// A picture recorded as (H, W, 3) bytes.
    pub(crate) fn picture(&self, name: &str) -> RgbImage {
        let pixels = self.tensor(name);
        let size = pixels.size();
        let bytes = Vec::<u8>::try_from(pixels.contiguous().view(-1)).unwrap();
        RgbImage::from_raw(size[1] as u32, size[0] as u32, bytes).unwrap()
    }
}

/// Largest difference over the largest value of the reference.
pub(crate) fn relative_error(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size());
    let (found, expected) = (found.to_kind(Kind::Double), expected.to_kind(Kind::Double));
    (&found - &expected).abs().max().double_value(&[]) / expected.abs().max().double_value(&[])
}

/// Peak signal-to-noise ratio in dB; infinite for equal pictures.
pub(crate) fn psnr(found: &RgbImage, expected: &RgbImage) -> f64 {
    assert_eq!(found.dimensions(), expected.dimensions());
    let squares = found
        .as_raw()
        .iter()
        .zip(expected.as_raw())
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
    let mean = squares.sum::<f64>() / found.as_raw().len() as f64;
    10.0 * (255.0f64.powi(2) / mean).log10()
}

/// A snapshot's networks, on the CPU.
pub(crate) fn load_pipeline(path: &Path, kind: Kind) -> InstructPix2PixPipeline {
    load::instruct_pix2pix(&Snapshot::open(path).unwrap(), kind, Device::Cpu).unwrap()
}

/// What stands in for a model's U-Net calls.
type Spy<M> = dyn Fn(&M, &mut [NoiseCall]) -> Result<Vec<NoisePrediction>, PipelineError> + Send;

/// A model whose calls go through a test.
pub(crate) struct Spied<M = InstructPix2PixPipeline> {
    model: M,
    spy: Box<Spy<M>>,
    /// Hears of each stage of a decoding.
    pub(crate) on_stage: Box<dyn Fn() + Send>,
}

impl<M: BatchPipeline> Spied<M> {
    pub(crate) fn new(
        model: M,
        spy: impl Fn(&M, &mut [NoiseCall]) -> Result<Vec<NoisePrediction>, PipelineError>
        + Send
        + 'static,
    ) -> Self {
        Self { model, spy: Box::new(spy), on_stage: Box::new(|| ()) }
    }
}

impl<M: BatchPipeline> BatchPipeline for Spied<M> {
    fn predict_noises(
        &self,
        calls: &mut [NoiseCall],
    ) -> Result<Vec<NoisePrediction>, PipelineError> {
        (self.spy)(&self.model, calls)
    }
}

impl<M: BatchPipeline> Predictor for Spied<M> {
    fn guidance(&self) -> Guidance {
        self.model.guidance()
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

impl<M: BatchPipeline> EditPipeline for Spied<M> {
    fn geometry(&self) -> Geometry {
        self.model.geometry()
    }

    fn digest(&self) -> &str {
        self.model.digest()
    }

    fn tokenize(&self, text: &str) -> Result<TokenizedPrompt, PipelineError> {
        self.model.tokenize(text)
    }

    fn embed_text(&self, text: &str) -> Result<Vec<f32>, PipelineError> {
        self.model.embed_text(text)
    }

    fn encode_image(&self, image: &RgbImage) -> Result<Tensor, PipelineError> {
        self.model.encode_image(image)
    }

    fn condition(
        &self,
        prompt: &str,
        negative: &str,
        picture: &RgbImage,
        roles: &[Role],
    ) -> Result<Conditioning, PipelineError> {
        self.model.condition(prompt, negative, picture, roles)
    }

    fn scheduler(
        &self,
        kind: Option<SchedulerKind>,
        steps: Steps,
        latent: LatentSize,
    ) -> Result<Box<dyn Scheduler>, PipelineError> {
        self.model.scheduler(kind, steps, latent)
    }

    fn noise_level(&self, timestep: u32) -> Result<NoiseLevel, PipelineError> {
        self.model.noise_level(timestep)
    }

    fn sites(&self, latent: LatentSize) -> Vec<AttnSite> {
        self.model.sites(latent)
    }

    fn decode_stages(&self) -> usize {
        self.model.decode_stages()
    }

    fn decode_stage(&self, stage: usize, hidden: &Tensor) -> Tensor {
        (self.on_stage)();
        self.model.decode_stage(stage, hidden)
    }
}

//! Recorded calls (CUDA graphs) of a model: launching the thousand kernels of a call takes longer than running them.
//!
//! A recording is tied to the tensors that it was made with: a call copies its inputs into them and its results out.
//! Timesteps, prompts, pictures, masks and running sums are such tensors, so that one recording serves every job of a
//! kind. The key is what is fixed: the sizes of the tensors, the roles of the rows, and what each attention processor
//! does at which sites.

use std::cell::RefCell;

use image::RgbImage;
use quick_cache::unsync::Cache;
use tch::{Kind, Tensor};

use crate::attention::{
    processor::{AttnProcessor, CallShape, GuestTensors, Replayable, RowGuests, Unwatched},
    role::Role,
    site::AttnSite,
};
use crate::executor::recorder::{Recorder, Replay};
use crate::kernels::gpu::library::CudaLibraryError;
use crate::pipelines::{
    BatchPipeline, EditPipeline, NoiseCall, PipelineError, Predictor, TokenizedPrompt,
    conditioning::{Conditioning, LatentSize},
    guidance::{Guidance, NoisePrediction},
    rows::{self, RowModel, Rows},
};
use crate::sampling::{SchedulerKind, Steps, geometry::Geometry};
use crate::schedulers::{Scheduler, training::NoiseLevel};

/// Most keys that are remembered. Samples differ by attention processor and by roles, so that batches of eight could
/// have a thousand keys; few of them are frequent.
const BOUND: usize = 64;

/// A model with its recorded calls; the least used are dropped first.
#[derive(derive_more::Debug)]
pub struct Captured {
    #[debug(skip)]
    model: Box<dyn RowModel>,
    #[debug(skip)]
    recorder: Box<dyn Recorder>,
    #[debug(skip)]
    kept: RefCell<Cache<Key, Kept>>,
}

/// What a recording is specific to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    latent: LatentSize,
    /// Shape of a prompt's hidden states, (T, C).
    prompt: Vec<i64>,
    /// Shape of a picture's conditioning.
    picture: Vec<i64>,
    /// Each sample's roles, and the work of its attention processor.
    samples: Vec<(Vec<Role>, Option<Work>)>,
}

/// The work of an attention processor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Work {
    name: &'static str,
    sites: Vec<AttnSite>,
    shapes: Vec<Vec<i64>>,
}

/// State of a key.
enum Kept {
    /// Seen once, not recorded yet.
    Seen,
    /// It is recorded.
    Recorded(Box<Recorded>),
    /// It can't be.
    Refused,
}

/// A recorded call.
struct Recorded {
    /// Goes first: it may still be at work on the tensors.
    replay: Replay,
    call: Static,
}

/// The tensors that a recording reads and writes.
struct Static {
    rows: Rows,
    /// (N, C, h, w) in fp32.
    noise: Tensor,
    guests: Vec<StandIn>,
}

/// The attention processor that a recording was made with, on tensors of its own.
struct StandIn {
    guest: Box<dyn AttnProcessor>,
    tensors: GuestTensors,
    rows: usize,
}

/// One sample of a batched call.
struct Part<'a> {
    call: &'a mut NoiseCall,
    /// Its index among the caller's samples.
    index: usize,
    /// The work of its attention processor; `None` if it watches no site.
    work: Option<Work>,
    tensors: GuestTensors,
}

// === impl Captured ===

impl Captured {
    /// Wraps a model, without recordings yet.
    pub fn new(model: Box<dyn RowModel>, recorder: Box<dyn Recorder>) -> Self {
        Self::bounded(model, recorder, BOUND)
    }

    /// [`Self::new`] with another bound on the number of keys.
    pub fn bounded(model: Box<dyn RowModel>, recorder: Box<dyn Recorder>, kinds: usize) -> Self {
        Self { model, recorder, kept: RefCell::new(Cache::new(kinds)) }
    }

    /// Number of keys that are remembered.
    pub fn kinds(&self) -> usize {
        self.kept.borrow().len()
    }

    /// Predictions of calls that have begun; `None` if they must be computed without a recording: the first call of a
    /// key, an attention processor that must be called at each site, or a recording that failed, which is logged.
    fn play(&self, calls: &mut [NoiseCall]) -> Option<Vec<NoisePrediction>> {
        let model = self.model.as_ref();
        let latent = calls[0].size();
        let sites = model.sites(latent);
        let of_sample = |it: &Tensor| it.size()[1..].to_vec();
        let prompt = of_sample(calls[0].conditioning.prompts());
        let picture = of_sample(calls[0].conditioning.pictures());
        let shape = CallShape { sites: &sites, tokens: prompt[0], device: model.device() };

        // 1. What kind of call it is; equal samples in another order are no other kind
        let parts = calls.iter_mut().enumerate();
        let parts = parts.map(|(index, call)| Part::new(index, call, &shape));
        let mut parts = parts.collect::<Option<Vec<_>>>()?;
        parts.sort_by_key(Part::rank);
        let samples = parts.iter().map(|it| (it.roles().to_vec(), it.work.clone())).collect();
        let key = Key { latent, prompt, picture, samples };

        // 2. Its recording, made at the second sight, when libtorch has set up all that the kernels need
        let mut kept = self.kept.borrow_mut();
        let Some(mut known) = kept.get_mut(&key) else {
            kept.insert(key, Kept::Seen);
            return None;
        };
        if matches!(*known, Kept::Refused) {
            return None;
        }
        let rows = Rows::of(parts.iter().map(|it| &*it.call), model.device(), model.kind());
        if matches!(*known, Kept::Seen) {
            *known = self.record(&rows, &mut parts, &shape);
        }
        let Kept::Recorded(recorded) = &mut *known else { return None };

        // 3. Played, and each sample its own in the caller's order
        let noise = match recorded.play(model, &rows, &parts) {
            Ok(noise) => noise,
            Err(error) => {
                *known = Kept::refused(&error);
                return None;
            }
        };
        for part in &mut parts {
            part.replayed(&shape);
        }
        let predictions = Rows::predictions(&noise, parts.iter().map(|it| &*it.call));
        let mut predictions: Vec<_> = parts.iter().map(|it| it.index).zip(predictions).collect();
        predictions.sort_by_key(|(index, _)| *index);
        Some(predictions.into_iter().map(|(_, prediction)| prediction).collect())
    }

    fn record(&self, rows: &Rows, parts: &mut [Part<'_>], shape: &CallShape<'_>) -> Kept {
        let _no_grad = tch::no_grad_guard();
        let model = self.model.as_ref();
        let mut call = Static {
            rows: rows.copy(),
            noise: Tensor::zeros(rows.latents.size(), (Kind::Float, model.device())),
            guests: parts.iter_mut().map(|it| it.stand_in(shape)).collect(),
        };
        match self.recorder.record(&mut || call.run(model)) {
            Ok(replay) => Kept::Recorded(Box::new(Recorded { replay, call })),
            Err(error) => Kept::refused(&error),
        }
    }
}

impl BatchPipeline for Captured {
    fn predict_noises(
        &self,
        calls: &mut [NoiseCall],
    ) -> Result<Vec<NoisePrediction>, PipelineError> {
        self.model.release();
        for call in calls.iter_mut() {
            call.attn.begin(call.attempt);
        }
        let played = self.play(calls);
        Ok(played.unwrap_or_else(|| rows::predict(self.model.as_ref(), calls)))
    }
}

impl Predictor for Captured {
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

impl EditPipeline for Captured {
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

    fn decode_tiny(&self, latents: &Tensor) -> Option<Tensor> {
        self.model.decode_tiny(latents)
    }

    fn decode_stages(&self) -> usize {
        self.model.decode_stages()
    }

    fn decode_stage(&self, stage: usize, hidden: &Tensor) -> Tensor {
        self.model.decode_stage(stage, hidden)
    }
}

// === impl Kept ===

impl Kept {
    /// Marks calls of this key as not recordable, with one warning.
    fn refused(error: &CudaLibraryError) -> Self {
        tracing::warn!(%error, "graph capture failed; calls of this shape run without a CUDA graph, which is slower");
        Self::Refused
    }
}

// === impl Recorded ===

impl Recorded {
    /// Replays the call on the values of these rows and attention processors: the noise, (N, C, h, w) in fp32.
    fn play(
        &mut self,
        model: &dyn RowModel,
        rows: &Rows,
        parts: &[Part<'_>],
    ) -> Result<Tensor, CudaLibraryError> {
        let _no_grad = tch::no_grad_guard();
        let Self { replay, call } = self;
        call.rows.copy_from(rows);
        for (stand_in, part) in call.guests.iter_mut().zip(parts) {
            copy(&mut stand_in.tensors.read, &part.tensors.read);
            copy(&mut stand_in.tensors.changed, &part.tensors.changed);
        }
        replay(&mut || call.run(model))?;
        // What needs memory goes first: a call that fails has changed no processor's tensors.
        let noise = call.noise.copy();
        for (stand_in, part) in call.guests.iter().zip(parts) {
            copy(&mut shallow(&part.tensors.changed), &stand_in.tensors.changed);
        }
        Ok(noise)
    }
}

impl Static {
    /// The work that is recorded.
    ///
    /// The prompts are a tensor of its own, so that no layer has kept their keys and values from an earlier call.
    fn run(&mut self, model: &dyn RowModel) {
        let guests = self.guests.iter_mut().map(|it| {
            let guest: &mut dyn AttnProcessor = it.guest.as_mut();
            (guest, it.rows)
        });
        let noise = model.noise(&self.rows, &mut RowGuests { guests: guests.collect() });
        self.noise.copy_(&noise);
    }
}

// === impl Part ===

impl<'a> Part<'a> {
    /// `None` if the processor must be called at each site.
    fn new(index: usize, call: &'a mut NoiseCall, shape: &CallShape<'_>) -> Option<Self> {
        let watched = shape.sites.iter().filter(|it| call.attn.watches(it));
        let sites: Vec<AttnSite> = watched.copied().collect();
        if sites.is_empty() {
            return Some(Self { call, index, work: None, tensors: GuestTensors::default() });
        }
        let guest = call.attn.replayable(shape)?;
        let (name, tensors) = (guest.work(), guest.tensors());
        let shapes = tensors.read.iter().chain(&tensors.changed).map(Tensor::size).collect();
        Some(Self { call, index, work: Some(Work { name, sites, shapes }), tensors })
    }

    fn roles(&self) -> &[Role] {
        self.call.conditioning.roles()
    }

    /// Sort key of the samples in a call, so that equal mixtures share a recording.
    fn rank(&self) -> (Option<&'static str>, usize) {
        (self.work.as_ref().map(|it| it.name), self.roles().len())
    }

    fn stand_in(&mut self, shape: &CallShape<'_>) -> StandIn {
        let copies = |it: &[Tensor]| it.iter().map(Tensor::copy).collect::<Vec<_>>();
        let (read, changed) = (copies(&self.tensors.read), copies(&self.tensors.changed));
        let own = GuestTensors { read: shallow(&read), changed: shallow(&changed) };
        let guest = match &self.work {
            None => Box::new(Unwatched),
            Some(_) => replayable(self.call, shape).over(own),
        };
        StandIn { guest, tensors: GuestTensors { read, changed }, rows: self.roles().len() }
    }

    /// Tells the processor that its part was replayed.
    fn replayed(&mut self, shape: &CallShape<'_>) {
        if let Some(work) = &self.work {
            replayable(self.call, shape).replayed(&work.sites);
        }
    }
}

/// The replayable processor of a call.
///
/// # Panics
/// If it is not replayable.
fn replayable<'a>(call: &'a mut NoiseCall, shape: &CallShape<'_>) -> &'a mut dyn Replayable {
    call.attn.replayable(shape).expect("a guest stays what it is during a call")
}

/// Copies the values of one list of tensors into another.
fn copy(to: &mut [Tensor], from: &[Tensor]) {
    for (to, from) in to.iter_mut().zip(from) {
        to.copy_(from);
    }
}

/// Shallow clones.
fn shallow(tensors: &[Tensor]) -> Vec<Tensor> {
    tensors.iter().map(Tensor::shallow_clone).collect()
}

//! U-Net calls captured as CUDA graphs and replayed, since launching a call's thousand kernels takes longer than
//! running them.
//!
//! A recording is bound to the tensors that it was made over: inputs are copied into them, and outputs out of them.
//! Timesteps, prompts, pictures, masks and attention sums are such tensors, so that one recording serves every job of a
//! kind. Only the key is fixed: the size of the latents, the branches of the rows, and which attention processors work
//! at which sites.

use std::cell::RefCell;

use quick_cache::unsync::Cache;
use tch::{Kind, Tensor};

use crate::attention::{
    branch::Branch,
    processor::{AttnProcessor, CallShape, GuestTensors, Replayable, RowGuests, Unwatched},
    site::AttnSite,
};
use crate::kernels::gpu::library::{CudaLibraryError, graph::CudaRecorder};
use crate::pipelines::{
    LatentSize, NoiseCall, NoisePrediction, instruct_pix2pix::InstructPix2PixPipeline, rows::Rows,
};

/// Maximum number of recordings. Samples of a batch differ by processor and by branches, so batches of eight could need
/// a thousand; only frequent ones are worth keeping.
const BOUND: usize = 64;

/// Records the work that a closure launches on a device.
pub trait Recorder: Send {
    /// Records `work`; whether the work has also been executed when this returns is left to the recorder.
    ///
    /// # Errors
    /// [`CudaLibraryError`] if the work can't be recorded.
    fn record(&self, work: &mut dyn FnMut()) -> Result<Replay, CudaLibraryError>;
}

/// Replays recorded work. It is passed the closure again, for recorders that can only execute it anew (those of tests).
pub type Replay = Box<dyn FnMut(&mut dyn FnMut()) -> Result<(), CudaLibraryError> + Send>;

/// A model's recorded calls; the least used are evicted first.
#[derive(derive_more::Debug)]
pub struct CapturedCalls {
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
    /// For each sample its branches, and the work of its attention processor.
    samples: Vec<(Vec<Branch>, Option<Work>)>,
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
    Captured(Box<Captured>),
    /// Can't be recorded.
    Refused,
}

/// A recorded call.
struct Captured {
    /// Declared first, so that it is dropped before the tensors that it may still be using.
    replay: Replay,
    call: Static,
}

/// The tensors that a recording reads and writes.
struct Static {
    rows: Rows,
    /// Predicted noise, (N, 4, h, w) in fp32.
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

// === impl CapturedCalls ===

impl CapturedCalls {
    /// An empty store.
    pub fn new(recorder: Box<dyn Recorder>) -> Self {
        Self::bounded(recorder, BOUND)
    }

    /// An empty store of at most `kinds` recordings.
    pub fn bounded(recorder: Box<dyn Recorder>, kinds: usize) -> Self {
        Self { recorder, kept: RefCell::new(Cache::new(kinds)) }
    }

    /// Number of keys that are remembered.
    pub fn kinds(&self) -> usize {
        self.kept.borrow().len()
    }

    /// The predictions of calls that have begun, or `None` if they are to run without a recording: the first call of a
    /// key, a processor that must be called at each site, or after a failed recording (which is logged as a warning).
    pub(crate) fn predict(
        &self,
        model: &InstructPix2PixPipeline,
        calls: &mut [NoiseCall],
    ) -> Option<Vec<NoisePrediction>> {
        let latent = LatentSize::of(&calls[0].latents);
        let sites = model.unet.sites(latent.height, latent.width);
        let prompt = calls[0].conditioning.prompt_embeds.size()[1..].to_vec();
        let shape = CallShape { sites: &sites, tokens: prompt[0], device: model.device };

        // 1. What kind of call it is; equal samples in another order are no other kind
        let parts = calls.iter_mut().enumerate();
        let parts = parts.map(|(index, call)| Part::new(index, call, &shape));
        let mut parts = parts.collect::<Option<Vec<_>>>()?;
        parts.sort_by_key(Part::rank);
        let samples = parts.iter().map(|it| (it.branches().to_vec(), it.work.clone())).collect();
        let key = Key { latent, prompt, samples };

        // 2. Its recording, made at the second sight, when libtorch has set up all that the kernels need
        let mut kept = self.kept.borrow_mut();
        let Some(mut known) = kept.get_mut(&key) else {
            kept.insert(key, Kept::Seen);
            return None;
        };
        if matches!(*known, Kept::Refused) {
            return None;
        }
        let rows = Rows::of(parts.iter().map(|it| &*it.call), model.device, model.kind);
        if matches!(*known, Kept::Seen) {
            *known = self.capture(model, &rows, &mut parts, &shape);
        }
        let Kept::Captured(captured) = &mut *known else { return None };

        // 3. Played, and each sample its own in the caller's order
        let noise = match captured.play(model, &rows, &parts) {
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

    fn capture(
        &self,
        model: &InstructPix2PixPipeline,
        rows: &Rows,
        parts: &mut [Part<'_>],
        shape: &CallShape<'_>,
    ) -> Kept {
        let _no_grad = tch::no_grad_guard();
        let size = parts[0].call.latents.size();
        let noise = [rows.branches.len() as i64, size[1], size[2], size[3]];
        let mut call = Static {
            rows: rows.copy(),
            noise: Tensor::zeros(noise, (Kind::Float, model.device)),
            guests: parts.iter_mut().map(|it| it.stand_in(shape)).collect(),
        };
        match self.recorder.record(&mut || call.run(model)) {
            Ok(replay) => Kept::Captured(Box::new(Captured { replay, call })),
            Err(error) => Kept::refused(&error),
        }
    }
}

// === impl Kept ===

impl Kept {
    /// Marks calls of this key as not recordable, with one warning.
    fn refused(error: &CudaLibraryError) -> Self {
        tracing::warn!(%error, "calls of one kind run without a recording from now on, which is slower");
        Self::Refused
    }
}

// === impl Captured ===

impl Captured {
    /// Replays the call with these rows and processors; returns their noise, (N, 4, h, w) in fp32.
    fn play(
        &mut self,
        model: &InstructPix2PixPipeline,
        rows: &Rows,
        parts: &[Part<'_>],
    ) -> Result<Tensor, CudaLibraryError> {
        let _no_grad = tch::no_grad_guard();
        let Self { replay, call } = self;
        call.rows.sample.copy_(&rows.sample);
        call.rows.timesteps.copy_(&rows.timesteps);
        call.rows.prompts.copy_(&rows.prompts);
        for (stand_in, part) in call.guests.iter_mut().zip(parts) {
            copy(&mut stand_in.tensors.read, &part.tensors.read);
            copy(&mut stand_in.tensors.changed, &part.tensors.changed);
        }
        replay(&mut || call.run(model))?;
        // What needs memory goes first: a call that fails has changed no guest's tensors.
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
    /// The prompts are a tensor of the recording's own, so that no layer reuses cached keys and values of an earlier
    /// call.
    fn run(&mut self, model: &InstructPix2PixPipeline) {
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

    fn branches(&self) -> &[Branch] {
        &self.call.conditioning.branches
    }

    /// Sort key of the samples in a call, so that equal mixtures share a recording.
    fn rank(&self) -> (Option<&'static str>, usize) {
        (self.work.as_ref().map(|it| it.name), self.branches().len())
    }

    fn stand_in(&mut self, shape: &CallShape<'_>) -> StandIn {
        let copies = |it: &[Tensor]| it.iter().map(Tensor::copy).collect::<Vec<_>>();
        let (read, changed) = (copies(&self.tensors.read), copies(&self.tensors.changed));
        let own = GuestTensors { read: shallow(&read), changed: shallow(&changed) };
        let guest = match &self.work {
            None => Box::new(Unwatched),
            Some(_) => replayable(self.call, shape).over(own),
        };
        StandIn { guest, tensors: GuestTensors { read, changed }, rows: self.branches().len() }
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

impl Recorder for CudaRecorder {
    fn record(&self, work: &mut dyn FnMut()) -> Result<Replay, CudaLibraryError> {
        let mut graph = CudaRecorder::record(self, work)?;
        Ok(Box::new(move |_| graph.replay()))
    }
}

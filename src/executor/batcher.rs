//! Dynamic batching: several jobs share one model, and calls that wait run as one; jobs join and leave at any step.
//!
//! The model lives on a thread of its own; each job runs its own denoising loop over a [`Batched`] handle, a pipeline
//! like any other. Between two steps the thread runs other calls (text and image encoding, decode stages) for as long as
//! the last step took, so that a job waits for the others no longer than that, and one that joins not a step for each
//! of its calls. Decoding, the longest, is split into stages with the same result, unlike diffusers' tiling.

use std::{
    any::Any,
    collections::{BTreeMap, VecDeque},
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use image::RgbImage;
use tch::Tensor;

use crate::attention::{
    processor::{Attempt, AttnProcessor},
    role::Role,
    site::AttnSite,
};
use crate::executor::memory_probe;
use crate::pipelines::{
    BatchPipeline, EditPipeline, NoiseCall, PipelineError, Predictor, TokenizedPrompt,
    conditioning::{Conditioning, LatentSize},
    guidance::{Guidance, NoisePrediction},
};
use crate::sampling::{SchedulerKind, Steps, geometry::Geometry};
use crate::schedulers::{Scheduler, training::NoiseLevel};

/// How long the model's thread waits for a job that it just served, so that jobs stay in one batch: a scheduler step
/// and a preview take a few milliseconds.
const PATIENCE: Duration = Duration::from_millis(20);

/// A job's handle to the shared model; each job has its own.
#[derive(Debug)]
pub struct Batched {
    id: u64,
    shared: Arc<Shared>,
    calls: Sender<Message>,
}

/// State shared by all handles.
#[derive(Debug)]
struct Shared {
    geometry: Geometry,
    guidance: Guidance,
    digest: String,
    decode_stages: usize,
    next_id: AtomicU64,
}

/// A message to the model's thread.
enum Message {
    Noise(Waiting),
    Other(Other),
    /// A handle was dropped.
    Left(u64),
}

/// A waiting call other than the U-Net's.
struct Other {
    handle: u64,
    run: Run,
}

type Run = Box<dyn FnOnce(&dyn EditPipeline) + Send>;

/// A waiting U-Net call.
struct Waiting {
    handle: u64,
    call: NoiseCall,
    reply: Sender<Served>,
}

/// The reply: the prediction, or the panic of the call, and the call itself with its attention processor.
type Served = (Result<Result<NoisePrediction, PipelineError>, Panic>, NoiseCall);
type Panic = Box<dyn Any + Send>;

/// Starts the model's thread: `load` runs on it, and the model is dropped on it.
///
/// At most `max_batch` calls run as one; fewer if memory does not suffice for that many at the model's own size, which
/// is tried at start. The thread ends when the last handle is dropped.
///
/// # Errors
/// What `load` gives.
pub fn start<E: Send + 'static>(
    max_batch: usize,
    load: impl FnOnce() -> Result<Box<dyn BatchPipeline>, E> + Send + 'static,
) -> Result<(Batched, JoinHandle<()>), E> {
    let (calls, received) = mpsc::channel();
    let (told, loaded) = mpsc::channel();
    let run = move || match load() {
        Ok(pipeline) => {
            let shared = Shared {
                geometry: pipeline.geometry(),
                guidance: pipeline.guidance(),
                digest: pipeline.digest().to_owned(),
                decode_stages: pipeline.decode_stages(),
                next_id: AtomicU64::new(1),
            };
            let max_batch = memory_probe::fitting(pipeline.as_ref(), max_batch.max(1));
            if told.send(Ok(shared)).is_ok() {
                Model::new(pipeline.as_ref(), max_batch, received).run();
            }
        }
        Err(error) => drop(told.send(Err(error))),
    };
    let thread = thread::Builder::new().name("retouch-model".to_owned()).spawn(run);
    let thread = thread.expect("a process can start a thread");
    let shared = match loaded.recv() {
        Ok(shared) => Arc::new(shared?),
        // It ended without a result: loading panicked, and so does this thread.
        Err(_) => panic::resume_unwind(thread.join().expect_err("a thread sends a result")),
    };
    Ok((Batched { id: 0, shared, calls }, thread))
}

/// State of the model's thread.
struct Model<'a> {
    pipeline: &'a dyn BatchPipeline,
    max_batch: usize,
    received: Receiver<Message>,
    noise: VecDeque<Waiting>,
    others: VecDeque<Other>,
    /// Handles that were just served and have not called again yet, with the size of their latents if it is known.
    expected: BTreeMap<u64, Option<LatentSize>>,
    /// Duration of the last step.
    last_step: Duration,
    /// Time spent on other calls since the last step.
    between: Duration,
}

impl<'a> Model<'a> {
    fn new(pipeline: &'a dyn BatchPipeline, max_batch: usize, received: Receiver<Message>) -> Self {
        Self {
            pipeline,
            max_batch,
            received,
            noise: VecDeque::new(),
            others: VecDeque::new(),
            expected: BTreeMap::new(),
            last_step: Duration::ZERO,
            between: Duration::ZERO,
        }
    }

    /// Serves calls until every handle is dropped.
    fn run(mut self) {
        while self.gather() {
            let started = Instant::now();
            let may_go_first = self.noise.is_empty() || self.between < self.last_step;
            let other = if may_go_first { self.others.pop_front() } else { None };
            if let Some(other) = other {
                (other.run)(self.pipeline);
                self.expected.insert(other.handle, None);
                self.between += started.elapsed();
            } else {
                self.step();
                (self.last_step, self.between) = (started.elapsed(), Duration::ZERO);
            }
        }
    }

    /// Receives messages; blocks while there is nothing to do or a job of the last batch is expected back. Returns
    /// whether any handle is left.
    fn gather(&mut self) -> bool {
        let mut patient_until = None;
        loop {
            let has_work = !self.noise.is_empty() || !self.others.is_empty();
            let message = if !has_work {
                self.received.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else if self.others.is_empty() && self.may_grow() {
                // From when there is work: a GPU may be at the last step long after that was asked for.
                let until = *patient_until.get_or_insert_with(|| Instant::now() + PATIENCE);
                self.received.recv_timeout(until.saturating_duration_since(Instant::now()))
            } else {
                self.received.recv_timeout(Duration::ZERO)
            };
            match message {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return has_work,
            }
        }
    }

    /// Whether a job that is expected back could join the next batch.
    fn may_grow(&self) -> bool {
        let Some(first) = self.noise.front().map(|it| it.call.size()) else { return false };
        let waiting = self.noise.iter().filter(|it| it.call.size() == first).count();
        let mut expected = self.expected.values();
        waiting < self.max_batch && expected.any(|it| it.is_none_or(|size| size == first))
    }

    fn take(&mut self, message: Message) {
        let (Message::Noise(Waiting { handle, .. })
        | Message::Other(Other { handle, .. })
        | Message::Left(handle)) = &message;
        self.expected.remove(handle);
        match message {
            Message::Noise(waiting) => self.noise.push_back(waiting),
            Message::Other(other) => self.others.push_back(other),
            Message::Left(_) => {}
        }
    }

    /// Runs the call that has waited longest, together with others of its size up to the batch limit.
    fn step(&mut self) {
        let size = self.noise[0].call.size();
        let mut batch = Vec::new();
        let mut rest = VecDeque::new();
        for waiting in self.noise.drain(..) {
            let fits = batch.len() < self.max_batch;
            if fits && waiting.call.size() == size {
                batch.push(waiting);
            } else {
                rest.push_back(waiting);
            }
        }
        self.noise = rest;
        self.expected = batch.iter().map(|it| (it.handle, Some(size))).collect();
        metrics::counter!("retouch_unet_calls_total").increment(1);
        metrics::counter!("retouch_unet_samples_total").increment(batch.len() as u64);
        self.serve(batch);
    }

    /// Runs calls as one batch; if that fails, each half by itself. Returns whether every call succeeded.
    ///
    /// If both halves succeed, the batch was too large for memory, and the batch limit becomes half its size.
    fn serve(&mut self, mut batch: Vec<Waiting>) -> bool {
        let (mut calls, replies): (Vec<NoiseCall>, Vec<_>) =
            batch.drain(..).map(|it| (it.call, (it.handle, it.reply))).unzip();
        let size = calls.len();
        let run = AssertUnwindSafe(|| self.pipeline.predict_noises(&mut calls));
        let served: Vec<_> = match panic::catch_unwind(run) {
            Ok(Ok(predictions)) => predictions.into_iter().map(|it| Ok(Ok(it))).collect(),
            Ok(Err(error)) if size == 1 => vec![Ok(Err(error))],
            Err(panic) if size == 1 => vec![Err(panic)],
            Ok(Err(_)) | Err(_) => {
                for call in &mut calls {
                    call.attempt = Attempt::Again;
                }
                let waiting = |(call, (handle, reply))| Waiting { handle, call, reply };
                let mut first: Vec<Waiting> = calls.into_iter().zip(replies).map(waiting).collect();
                let second = first.split_off(size / 2);
                // Both, whatever becomes of the first.
                let all = self.serve(first) & self.serve(second);
                if all {
                    self.max_batch = self.max_batch.min(size / 2);
                    tracing::warn!(
                        max_batch = self.max_batch,
                        "out of memory: the maximum batch size is reduced"
                    );
                }
                return all;
            }
        };
        let all = served.iter().all(|it| matches!(it, Ok(Ok(_))));
        for ((outcome, call), (_, reply)) in served.into_iter().zip(calls).zip(replies) {
            // A job that does not wait any more is no concern of the others.
            drop(reply.send((outcome, call)));
        }
        all
    }
}

// === impl Batched ===

impl Batched {
    /// Runs a closure on the model's thread, between two steps.
    fn on_model<T: Send + 'static>(
        &self,
        run: impl FnOnce(&dyn EditPipeline) -> T + Send + 'static,
    ) -> T {
        let (reply, answered) = mpsc::channel();
        let run = move |pipeline: &dyn EditPipeline| {
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| run(pipeline)));
            // As for a step: nobody may be waiting.
            drop(reply.send(outcome));
        };
        self.send(Message::Other(Other { handle: self.id, run: Box::new(run) }));
        answered.recv().expect(THREAD_LIVES).unwrap_or_else(|panic| panic::resume_unwind(panic))
    }

    fn send(&self, message: Message) {
        assert!(self.calls.send(message).is_ok(), "{THREAD_LIVES}");
    }
}

/// Holds because the thread ends with its last handle and catches every panic.
const THREAD_LIVES: &str = "the model's thread outlives its handles";
impl Clone for Batched {
    fn clone(&self) -> Self {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        Self { id, shared: Arc::clone(&self.shared), calls: self.calls.clone() }
    }
}

impl Drop for Batched {
    fn drop(&mut self) {
        // The thread may have ended with the process.
        drop(self.calls.send(Message::Left(self.id)));
    }
}

impl Predictor for Batched {
    fn guidance(&self) -> Guidance {
        self.shared.guidance
    }

    fn predict_noise(
        &self,
        latents: &Tensor,
        timestep: f64,
        conditioning: &Conditioning,
        attn: Box<dyn AttnProcessor>,
    ) -> (Result<NoisePrediction, PipelineError>, Box<dyn AttnProcessor>) {
        let (reply, served) = mpsc::channel();
        let call = NoiseCall::new(latents, timestep, conditioning, attn);
        self.send(Message::Noise(Waiting { handle: self.id, call, reply }));
        let (outcome, call) = served.recv().expect(THREAD_LIVES);
        (outcome.unwrap_or_else(|panic| panic::resume_unwind(panic)), call.attn)
    }
}

impl EditPipeline for Batched {
    fn geometry(&self) -> Geometry {
        self.shared.geometry
    }

    fn digest(&self) -> &str {
        &self.shared.digest
    }

    fn tokenize(&self, text: &str) -> Result<TokenizedPrompt, PipelineError> {
        let text = text.to_owned();
        self.on_model(move |it| it.tokenize(&text))
    }

    fn embed_text(&self, text: &str) -> Result<Vec<f32>, PipelineError> {
        let text = text.to_owned();
        self.on_model(move |it| it.embed_text(&text))
    }

    fn encode_image(&self, image: &RgbImage) -> Result<Tensor, PipelineError> {
        let image = image.clone();
        self.on_model(move |it| it.encode_image(&image))
    }

    fn condition(
        &self,
        prompt: &str,
        negative: &str,
        picture: &RgbImage,
        roles: &[Role],
    ) -> Result<Conditioning, PipelineError> {
        let (prompt, negative) = (prompt.to_owned(), negative.to_owned());
        let (picture, roles) = (picture.clone(), roles.to_vec());
        self.on_model(move |it| it.condition(&prompt, &negative, &picture, &roles))
    }

    fn scheduler(
        &self,
        kind: Option<SchedulerKind>,
        steps: Steps,
        latent: LatentSize,
    ) -> Result<Box<dyn Scheduler>, PipelineError> {
        self.on_model(move |it| it.scheduler(kind, steps, latent))
    }

    fn noise_level(&self, timestep: u32) -> Result<NoiseLevel, PipelineError> {
        self.on_model(move |it| it.noise_level(timestep))
    }

    fn sites(&self, latent: LatentSize) -> Vec<AttnSite> {
        self.on_model(move |it| it.sites(latent))
    }

    fn decode_tiny(&self, latents: &Tensor) -> Option<Tensor> {
        let latents = latents.shallow_clone();
        self.on_model(move |it| it.decode_tiny(&latents))
    }

    fn decode_stages(&self) -> usize {
        self.shared.decode_stages
    }

    fn decode_stage(&self, stage: usize, hidden: &Tensor) -> Tensor {
        let hidden = hidden.shallow_clone();
        self.on_model(move |it| it.decode_stage(stage, &hidden))
    }
}

//! One model for several jobs at once: U-Net calls that wait for it run as one, jobs join and leave at any step.
//!
//! The model lives on a thread of its own; each job drives its own loop over a [`Batched`] handle, which is a pipeline like
//! any other. Between two steps other calls (texts, encoding, the stages of decoding) run for as long as a step took, so that
//! a job waits for others no longer than that, and one that joins does not wait a step for each of its calls. Decoding, the
//! longest of them, is cut where its result is the same: diffusers' tiles have statistics and borders of their own.

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
    site::AttnSite,
};
use crate::executor::memory_probe;
use crate::pipelines::{
    BatchPipeline, Conditioning, EditPipeline, LatentSize, NoiseCall, NoisePrediction,
    PipelineError, TokenizedPrompt,
};
use crate::sampling::{SchedulerKind, Steps, geometry::Geometry};
use crate::schedulers::{Scheduler, training::NoiseLevel};

/// How long the model waits for a job that it just served, so that equal jobs stay together: a sampler's step and a preview
/// take a few milliseconds.
const PATIENCE: Duration = Duration::from_millis(20);

/// A model's thread as a job sees it; each job has a handle of its own.
#[derive(Debug)]
pub struct Batched {
    id: u64,
    shared: Arc<Shared>,
    calls: Sender<Message>,
}

/// What all handles share.
#[derive(Debug)]
struct Shared {
    geometry: Geometry,
    digest: String,
    decode_stages: usize,
    next_id: AtomicU64,
}

/// What travels to the model's thread.
enum Message {
    Noise(Waiting),
    Other(Other),
    /// The handle is gone.
    Left(u64),
}

/// Another call that waits.
struct Other {
    handle: u64,
    run: Run,
}

type Run = Box<dyn FnOnce(&dyn EditPipeline) + Send>;

/// A U-Net call that waits.
struct Waiting {
    handle: u64,
    call: NoiseCall,
    reply: Sender<Served>,
}

impl Waiting {
    fn size(&self) -> LatentSize {
        LatentSize::of(&self.call.latents)
    }
}

/// What comes back: the prediction, or what the call panicked with, and the call with its guest.
type Served = (Result<Result<NoisePrediction, PipelineError>, Panic>, NoiseCall);

type Panic = Box<dyn Any + Send>;

/// Starts a model's thread: `load` runs on it and the model dies there.
///
/// At most `max_batch` calls run as one, fewer where memory does not hold so many of the model's own size: that is tried
/// out here. The thread ends when the last handle is gone.
///
/// # Errors
/// What `load` gives.
pub fn start<P, E>(
    max_batch: usize,
    load: impl FnOnce() -> Result<P, E> + Send + 'static,
) -> Result<(Batched, JoinHandle<()>), E>
where
    P: BatchPipeline + 'static,
    E: Send + 'static,
{
    let (calls, received) = mpsc::channel();
    let (told, loaded) = mpsc::channel();
    let run = move || match load() {
        Ok(pipeline) => {
            let digest = pipeline.digest().to_owned();
            let facts = (pipeline.geometry(), digest, pipeline.decode_stages());
            let max_batch = memory_probe::fitting(&pipeline, max_batch.max(1));
            if told.send(Ok(facts)).is_ok() {
                Model::new(&pipeline, max_batch, received).run();
            }
        }
        Err(error) => drop(told.send(Err(error))),
    };
    let thread = thread::Builder::new().name("retouch-model".to_owned()).spawn(run);
    let thread = thread.expect("a process can start a thread");
    let (geometry, digest, decode_stages) = match loaded.recv() {
        Ok(facts) => facts?,
        // It ended without a word: loading panicked, and so does this thread.
        Err(_) => panic::resume_unwind(thread.join().expect_err("it told nothing")),
    };
    let shared = Arc::new(Shared { geometry, digest, decode_stages, next_id: AtomicU64::new(1) });
    Ok((Batched { id: 0, shared, calls }, thread))
}

/// The model's thread.
struct Model<'a> {
    pipeline: &'a dyn BatchPipeline,
    max_batch: usize,
    received: Receiver<Message>,
    noise: VecDeque<Waiting>,
    others: VecDeque<Other>,
    /// Handles that were served last and are not back yet, with the size of their latents where it is known.
    expected: BTreeMap<u64, Option<LatentSize>>,
    /// How long the last step took.
    last_step: Duration,
    /// How long other calls have taken since then.
    between: Duration,
}

impl<'a> Model<'a> {
    fn new(pipeline: &'a dyn BatchPipeline, max_batch: usize, received: Receiver<Message>) -> Self {
        let (noise, others) = Default::default();
        Self {
            pipeline,
            max_batch,
            received,
            noise,
            others,
            expected: BTreeMap::new(),
            last_step: Duration::ZERO,
            between: Duration::ZERO,
        }
    }

    /// Serves until every handle is gone.
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

    /// Takes in what has come, and waits while there is nothing to do or somebody is about to come back; whether anybody is
    /// left.
    fn gather(&mut self) -> bool {
        let mut patient_until = None;
        loop {
            let has_work = !self.noise.is_empty() || !self.others.is_empty();
            let may_wait = self.others.is_empty() && self.may_grow();
            let message = if !has_work {
                self.received.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else if may_wait {
                // From when there is work: a GPU may be at the last step long after that was asked for.
                let until = *patient_until.get_or_insert_with(|| Instant::now() + PATIENCE);
                let left = until.saturating_duration_since(Instant::now());
                self.received.recv_timeout(left)
            } else {
                self.received.try_recv().map_err(|it| match it {
                    mpsc::TryRecvError::Empty => RecvTimeoutError::Timeout,
                    mpsc::TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                })
            };
            match message {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return has_work,
            }
        }
    }

    /// Whether somebody who is about to come back could join the next step.
    fn may_grow(&self) -> bool {
        let Some(first) = self.noise.front().map(Waiting::size) else { return false };
        let waiting = self.noise.iter().filter(|it| it.size() == first).count();
        let mut expected = self.expected.values();
        waiting < self.max_batch && expected.any(|it| it.is_none_or(|size| size == first))
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Noise(waiting) => {
                self.expected.remove(&waiting.handle);
                self.noise.push_back(waiting);
            }
            Message::Other(other) => {
                self.expected.remove(&other.handle);
                self.others.push_back(other);
            }
            Message::Left(handle) => drop(self.expected.remove(&handle)),
        }
    }

    /// Runs the call that has waited longest, with all others of its size that fit in.
    fn step(&mut self) {
        let size = self.noise[0].size();
        let mut batch = Vec::new();
        let mut rest = VecDeque::new();
        for waiting in self.noise.drain(..) {
            let fits = batch.len() < self.max_batch;
            if fits && waiting.size() == size {
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

    /// Runs calls as one. If that fails, each half by itself; whether every call was served.
    ///
    /// Where both halves can be served, it was the size that failed, for want of memory: half of it is the most from then on.
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
                    tracing::warn!(max_batch = self.max_batch, "batches are smaller from now on");
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
    /// Runs something that needs the model between two steps.
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

/// It ends with its last handle, and catches every panic.
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

    fn encode_prompt(&self, prompt: &TokenizedPrompt) -> Tensor {
        let prompt = prompt.clone();
        self.on_model(move |it| it.encode_prompt(&prompt))
    }

    fn scheduler(
        &self,
        kind: Option<SchedulerKind>,
        steps: Steps,
    ) -> Result<Box<dyn Scheduler>, PipelineError> {
        self.on_model(move |it| it.scheduler(kind, steps))
    }

    fn noise_level(&self, timestep: u32) -> Result<NoiseLevel, PipelineError> {
        self.on_model(move |it| it.noise_level(timestep))
    }

    fn sites(&self, latent: LatentSize) -> Vec<AttnSite> {
        self.on_model(move |it| it.sites(latent))
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

    fn decode_stages(&self) -> usize {
        self.shared.decode_stages
    }

    fn decode_stage(&self, stage: usize, hidden: &Tensor) -> Tensor {
        let hidden = hidden.shallow_clone();
        self.on_model(move |it| it.decode_stage(stage, &hidden))
    }
}

//! The denoising loop, once, for every model and method
//! (diffusers: `StableDiffusionInstructPix2PixPipeline.__call__`, step 8).

use std::ops::{ControlFlow, Range};

use tch::Tensor;

use crate::attention::processor::AttnProcessor;
use crate::pipelines::{PipelineError, Predictor, conditioning::Conditioning};
use crate::sampling::{GuidanceScales, Interrupted};
use crate::schedulers::{History, Scheduler, Step, noise::NoiseTape};

/// What a run is made of.
#[derive(derive_more::Debug)]
pub struct DenoisePlan<'a> {
    /// What predicts the noise: a model, or a method's own way to ask one.
    #[debug(skip)]
    pub predictor: &'a dyn Predictor,
    /// The sampler.
    pub scheduler: &'a dyn Scheduler,
    /// Conditioning of the guided steps: prompt and picture.
    pub conditioning: &'a Conditioning,
    /// Guidance scales.
    pub guidance: GuidanceScales,
    /// Indices of the steps that use classifier-free guidance.
    pub guided: Range<usize>,
    /// Prompt and picture for the others, where the prediction with both is taken as it is, so that fewer roles may do.
    pub unguided: &'a Conditioning,
    /// Indices of the steps that are made: those to the sampler's last lead to the clean latents.
    pub made: Range<usize>,
    /// The latents that the first of them starts from, (1, C, h, w) in fp32: pure noise, or a picture's with noise
    /// added.
    pub initial: Tensor,
    /// The noise, drawn in diffusers' order.
    pub tape: &'a NoiseTape,
}

/// Result of one step.
#[derive(Debug)]
pub struct StepDone<'a> {
    /// The step.
    pub step: Step,
    /// Total number of steps.
    pub of: usize,
    /// The clean latents as predicted at this step, (1, C, h, w).
    pub pred_original_sample: &'a Tensor,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum DenoiseError {
    /// The caller stopped it.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The model failed.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}

impl<'a> DenoisePlan<'a> {
    /// A run from pure noise to the clean latents whose every step is guided.
    pub fn whole(
        predictor: &'a dyn Predictor,
        scheduler: &'a dyn Scheduler,
        conditioning: &'a Conditioning,
        guidance: GuidanceScales,
        tape: &'a NoiseTape,
    ) -> Self {
        let all = 0..scheduler.steps().len();
        Self {
            predictor,
            scheduler,
            conditioning,
            guidance,
            guided: all.clone(),
            unguided: conditioning,
            made: all,
            initial: tape.initial() * scheduler.init_noise_sigma(),
            tape,
        }
    }
}

/// Denoises and returns the clean latents, (1, C, h, w) in fp32; those of an earlier step if the plan ends there.
///
/// `attn` is called in every attention layer. `on_step` gets each step's result and returns the latents to go on with,
/// or stops the run. Latents and the scheduler's arithmetic stay in fp32 whatever the model's dtype. Differs: diffusers
/// rounds the latents to the model's dtype after each step.
///
/// # Errors
/// [`DenoiseError::Interrupted`] if `on_step` breaks, within one step of the wish.
pub fn denoise(
    plan: &DenoisePlan<'_>,
    mut attn: Box<dyn AttnProcessor>,
    on_step: &mut dyn FnMut(&StepDone<'_>, Tensor) -> ControlFlow<Interrupted, Tensor>,
) -> Result<Tensor, DenoiseError> {
    let _no_grad = tch::no_grad_guard();
    let (scheduler, guidance) = (plan.scheduler, plan.predictor.guidance());
    let mut history = History::default();
    let mut latents = plan.initial.shallow_clone(); // (1, C, h, w)

    for &step in &scheduler.steps()[plan.made.clone()] {
        // 1. Predict the noise of each role.
        let model_input = scheduler.scale_model_input(&latents, step);
        let is_guided = plan.guided.contains(&step.index);
        let conditioning = if is_guided { plan.conditioning } else { plan.unguided };
        let (prediction, guest) =
            plan.predictor.predict_noise(&model_input, step.timestep, conditioning, attn);
        attn = guest;

        // 2. Guide, and step.
        let prediction = prediction?;
        let noise_pred = if is_guided {
            guidance.combine(&prediction, plan.guidance)
        } else {
            prediction.text()
        };
        let noise = plan.tape.step(step);
        let output = scheduler.step(step, &noise_pred, &latents, noise, &mut history);

        // 3. Tell the caller.
        let pred_original_sample = &output.pred_original_sample;
        let done = StepDone { step, of: plan.made.end, pred_original_sample };
        latents = match on_step(&done, output.prev_sample) {
            ControlFlow::Continue(latents) => latents,
            ControlFlow::Break(interrupted) => return Err(interrupted.into()),
        };
    }
    Ok(latents)
}

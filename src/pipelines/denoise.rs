//! The denoising loop of InstructPix2Pix, once, for every method
//! (diffusers: `StableDiffusionInstructPix2PixPipeline.__call__`, step 8).

use std::ops::ControlFlow;

use tch::Tensor;

use crate::attn_processor::AttnProcessor;
use crate::pipelines::{Conditioning, EditPipeline, PipelineError, guidance};
use crate::sampling::{GuidanceScales, Interrupted};
use crate::schedulers::{History, Scheduler, Step, noise::NoiseTape};

/// What a run is made of.
#[derive(Debug)]
pub struct DenoisePlan<'a> {
    /// The sampler.
    pub scheduler: &'a dyn Scheduler,
    /// Prompt and picture.
    pub conditioning: &'a Conditioning,
    /// The call that the run ends with, where only attention is looked at; `None` runs to the clean latents.
    pub last: Option<LastCall<'a>>,
    /// How strongly each pulls.
    pub guidance: GuidanceScales,
    /// The noise, drawn in diffusers' order.
    pub tape: &'a NoiseTape,
}

/// A call after which nothing more is wanted: its noise leads nowhere, so that fewer branches may do.
#[derive(Debug, Clone, Copy)]
pub struct LastCall<'a> {
    /// Index of its step.
    pub step: usize,
    /// Prompt and picture of the branches that are looked at.
    pub conditioning: &'a Conditioning,
}

/// A step that is done.
#[derive(Debug)]
pub struct StepDone<'a> {
    /// Which.
    pub step: Step,
    /// Of how many.
    pub of: usize,
    /// The clean latents as predicted at this step, (1, 4, h, w).
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

/// Denoises from pure noise and returns the clean latents, (1, 4, h, w) in fp32; those of an earlier step if the plan ends there.
///
/// `attn` sits in every attention layer; `on_step` sees each step's outcome and may replace the latents or stop the run.
/// Latents and the sampler's arithmetic stay in fp32 whatever the model's dtype. Differs: diffusers rounds the latents to
/// the model's dtype after each step.
///
/// # Errors
/// [`DenoiseError::Interrupted`] if `on_step` breaks, within one step of the wish.
pub fn denoise(
    pipeline: &dyn EditPipeline,
    plan: &DenoisePlan<'_>,
    mut attn: Box<dyn AttnProcessor>,
    on_step: &mut dyn FnMut(&StepDone<'_>, Tensor) -> ControlFlow<Interrupted, Tensor>,
) -> Result<Tensor, DenoiseError> {
    let _no_grad = tch::no_grad_guard();
    let scheduler = plan.scheduler;
    let steps = match plan.last {
        Some(last) => &scheduler.steps()[..=last.step],
        None => scheduler.steps(),
    };
    let mut history = History::default();

    // 1. Pure noise.
    let mut latents = plan.tape.initial() * scheduler.init_noise_sigma(); // (1, 4, h, w)

    for &step in steps {
        // 2. Predict the noise of the branches.
        let model_input = scheduler.scale_model_input(&latents, step);
        let last = plan.last.filter(|last| last.step == step.index);
        let conditioning = last.map_or(plan.conditioning, |last| last.conditioning);
        let (prediction, guest) =
            pipeline.predict_noise(&model_input, step.timestep, conditioning, attn);
        attn = guest;

        // 3. Guide, and step.
        let noise_pred = guidance::combine(&prediction?, plan.guidance);
        let noise = plan.tape.step(step);
        let output = scheduler.step(step, &noise_pred, &latents, noise, &mut history);

        // 4. Tell the caller.
        let done =
            StepDone { step, of: steps.len(), pred_original_sample: &output.pred_original_sample };
        latents = match on_step(&done, output.prev_sample) {
            ControlFlow::Continue(latents) => latents,
            ControlFlow::Break(interrupted) => return Err(interrupted.into()),
        };
    }
    Ok(latents)
}

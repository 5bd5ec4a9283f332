//! Multistep consistency sampling (Luo et al., Latent Consistency Models, arXiv 2310.04378, algorithm 1; diffusers:
//! `LCMScheduler`): each step predicts the clean sample, and noises it again to the next step's level.
//!
//! It is for networks that were distilled so, or that have an LCM-LoRA; others give blurred pictures.

use serde_json::{Value, json};
use tch::Tensor;

use crate::sampling::Steps;
use crate::schedulers::{
    History, PredictionType, Scheduler, SchedulerError, Step, StepOutput,
    config::SchedulerConfig,
    float,
    training::{NoiseLevel, Terminal, alphas_cumprod, num_train_timesteps, sigma},
};

/// The standard deviation of clean latents that the boundary condition assumes; a constant in diffusers.
const SIGMA_DATA: f32 = 0.5;

/// The LCM scheduler. Samples keep unit variance, so the model's input is not scaled.
#[derive(Debug)]
pub(super) struct LcmScheduler {
    steps: Vec<Step>,
    /// ᾱ before each step.
    alpha_prods: Vec<f32>,
    prediction: PredictionType,
    /// Bound on the absolute value of the predicted clean sample (diffusers: `clip_sample`, `clip_sample_range`).
    clip: Option<f64>,
    /// Factor of the timestep in the boundary condition (diffusers: `timestep_scaling`).
    timestep_scaling: f64,
}

/// The class's own defaults, which are not those of the other samplers.
fn defaults() -> [(&'static str, Value); 3] {
    [
        ("beta_start", json!(0.000_85)),
        ("beta_end", json!(0.012)),
        ("beta_schedule", json!("scaled_linear")),
    ]
}

impl LcmScheduler {
    pub(super) fn new(config: &SchedulerConfig, steps: Steps) -> Result<Self, SchedulerError> {
        let config = config.with_defaults(defaults());
        config.json.only("thresholding", "false")?;
        let prediction = config.prediction_type()?;
        let above = |it: f64| it > 0.0;
        let range = config.json.number_in("clip_sample_range", 1.0, "a number above 0", above)?;
        let clip = config.json.flag("clip_sample", false)?.then_some(range);
        let scaling = config.json.number_in("timestep_scaling", 10.0, "a number above 0", above)?;

        let timesteps = timesteps(&config, steps)?;
        let alphas_cumprod = alphas_cumprod(&config, Terminal::Exact)?;
        let alpha_prods: Vec<f32> = timesteps.iter().map(|it| alphas_cumprod[*it]).collect();
        if prediction == PredictionType::Epsilon && alpha_prods[0] == 0.0 {
            // No signal is left to divide by; diffusers fills the sample with NaN.
            let expected = "false for LCM on a model that predicts epsilon";
            return Err(config.json.fault("rescale_betas_zero_snr", expected).into());
        }
        let step = |(index, (timestep, alpha)): (usize, (&usize, &f32))| Step {
            index,
            timestep: *timestep as f64,
            sigma: f64::from(sigma(*alpha)),
        };
        let steps = timesteps.iter().zip(&alpha_prods).enumerate().map(step).collect();
        Ok(Self { steps, alpha_prods, prediction, clip, timestep_scaling: scaling })
    }

    /// The weights of the sample and of the predicted clean sample, `c_skip` and `c_out`, so that at timestep 0 the sample
    /// is its own prediction.
    fn boundary(&self, step: Step) -> (f64, f64) {
        let scaled = (step.timestep * self.timestep_scaling) as f32;
        let square = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
        (f64::from(SIGMA_DATA * SIGMA_DATA / square), f64::from(scaled / square.sqrt()))
    }
}

/// The timesteps of a run: evenly spaced among those that the network was distilled on (diffusers:
/// `original_inference_steps`), highest first.
fn timesteps(config: &SchedulerConfig, steps: Steps) -> Result<Vec<usize>, SchedulerError> {
    let n_train = num_train_timesteps(config)?;
    let key = "original_inference_steps";
    let accepts = |it: f64| it.fract() == 0.0 && it >= 1.0 && it <= n_train as f64;
    let range = "a whole number from 1 to `num_train_timesteps`";
    let original =
        config.json.number_in(key, 50.0_f64.min(n_train as f64), range, accepts)? as usize;
    let n = steps.get() as usize;
    if n > original {
        return Err(SchedulerError::TooManyForDistilled { steps: steps.get(), original });
    }
    let stride = n_train / original;
    // As `numpy.linspace(0, original, n, endpoint=False)` has it.
    let skip = original as f64 / n as f64;
    let at = |index: usize| original - (index as f64 * skip).floor() as usize;
    Ok((0..n).map(|index| at(index) * stride - 1).collect())
}

impl Scheduler for LcmScheduler {
    fn steps(&self) -> &[Step] {
        &self.steps
    }

    fn step(
        &self,
        step: Step,
        model_output: &Tensor,
        sample: &Tensor,
        noise: Option<&Tensor>,
        _history: &mut History,
    ) -> StepOutput {
        let (sample, model_output) = (float(sample), float(model_output));
        // 1. the clean sample
        let level = NoiseLevel::of_alpha_cumprod(self.alpha_prods[step.index]);
        let predicted = match self.prediction {
            PredictionType::Epsilon => (&sample - model_output * level.noise) / level.signal,
            PredictionType::VPrediction => &sample * level.signal - model_output * level.noise,
            PredictionType::Sample => model_output,
        };
        let predicted = match self.clip {
            Some(range) => predicted.clamp(-range, range),
            None => predicted,
        };
        // 2. the boundary condition
        let (c_skip, c_out) = self.boundary(step);
        let denoised = predicted * c_out + sample * c_skip;
        // 3. noise of the next level, except behind the last step
        let Some(next) = self.alpha_prods.get(step.index + 1) else {
            return StepOutput {
                prev_sample: denoised.shallow_clone(),
                pred_original_sample: denoised,
            };
        };
        let noise = float(noise.expect("LCM is given noise for each step"));
        let prev_sample = NoiseLevel::of_alpha_cumprod(*next).add_noise(&denoised, &noise);
        StepOutput { prev_sample, pred_original_sample: denoised }
    }

    /// Differs: the last step's noise is drawn, too, and not used.
    fn draws_noise(&self) -> bool {
        true
    }

    fn add_noise(&self, clean: &Tensor, noise: &Tensor, index: usize) -> Tensor {
        match self.alpha_prods.get(index) {
            Some(alpha) => NoiseLevel::of_alpha_cumprod(*alpha).add_noise(clean, noise),
            None => clean.shallow_clone(),
        }
    }
}

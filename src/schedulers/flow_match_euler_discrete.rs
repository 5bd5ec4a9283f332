//! Euler's method for flow matching (Lipman et al., arXiv 2210.02747): from noise to clean latents along the velocity
//! that the model predicts (diffusers: `FlowMatchEulerDiscreteScheduler`).

use tch::Tensor;

use crate::sampling::Steps;
use crate::schedulers::{
    History, Scheduler, SchedulerError, Step, StepOutput,
    config::SchedulerConfig,
    float,
    training::{NoiseLevel, num_train_timesteps},
};

/// Keys of other ways to space noise levels, with the JSON value of the one that there is here.
const SUPPORTED: [(&str, &str); 5] = [
    ("use_karras_sigmas", "false"),
    ("use_exponential_sigmas", "false"),
    ("use_beta_sigmas", "false"),
    ("invert_sigmas", "false"),
    ("stochastic_sampling", "false"),
];

/// Noise levels are mixtures: σ parts of noise and 1 − σ of clean latents.
#[derive(Debug)]
pub struct FlowMatchEulerDiscreteScheduler {
    /// One more than there are steps; the last is 0.
    sigmas: Vec<f32>,
    steps: Vec<Step>,
}

/// How noise levels are shifted towards noise.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shift {
    /// By the configuration's `shift`, whatever the size.
    Static(f64),
    /// By the size's own: exp(μ) parts.
    Exponential,
    /// By the size's own: μ parts.
    Linear,
}

/// How far the noise levels of a run are shifted towards noise, by the cells of its latents and its steps (diffusers:
/// `compute_empirical_mu` of the FLUX.2 pipelines).
pub fn empirical_mu(cells: i64, steps: Steps) -> f64 {
    let (cells, steps) = (cells as f64, f64::from(steps.get()));
    let at_200 = 0.000_169_27 * cells + 0.456_666_66;
    if cells > 4300.0 {
        return at_200;
    }
    let at_10 = 8.738_095_24e-5 * cells + 1.898_333_33;
    let per_step = (at_200 - at_10) / 190.0;
    per_step * steps + (at_200 - 200.0 * per_step)
}

// === impl FlowMatchEulerDiscreteScheduler ===

impl FlowMatchEulerDiscreteScheduler {
    /// The scheduler of a model's configuration for a run whose noise levels are shifted by `mu`, if that configuration
    /// shifts them by the run at all.
    ///
    /// # Errors
    /// [`SchedulerError::Config`] if the configuration asks for something that is not supported.
    pub fn new(config: &SchedulerConfig, steps: Steps, mu: f64) -> Result<Self, SchedulerError> {
        for (key, supported) in SUPPORTED {
            config.json.only(key, supported)?;
        }
        let shift = Shift::read(config)?;
        let below_1 = |it: f64| (0.0..1.0).contains(&it);
        let terminal = config.json.number_in("shift_terminal", 0.0, "0 to below 1", below_1)?;
        let n_train = num_train_timesteps(config)? as f32;

        let even = even(steps).into_iter();
        let mut sigmas: Vec<f32> = even.map(|it| shift.of(it, mu)).collect();
        if terminal != 0.0 {
            stretch(&mut sigmas, terminal);
        }
        let step = |(index, &sigma): (usize, &f32)| Step {
            index,
            timestep: f64::from(sigma * n_train),
            sigma: f64::from(sigma) / (1.0 - f64::from(sigma)),
        };
        let steps = sigmas.iter().enumerate().map(step).collect();
        sigmas.push(0.0);
        Ok(Self { sigmas, steps })
    }

    /// The noise levels, of which the last, behind the steps, is 0.
    pub fn sigmas(&self) -> &[f32] {
        &self.sigmas
    }
}

/// The noise level of a training timestep.
///
/// # Errors
/// [`SchedulerError::NoTimestep`] if the model was trained on fewer timesteps, [`SchedulerError::Config`].
pub fn noise_level(config: &SchedulerConfig, timestep: u32) -> Result<NoiseLevel, SchedulerError> {
    let n_train = num_train_timesteps(config)?;
    if timestep as usize > n_train {
        return Err(SchedulerError::NoTimestep { timestep, n_train });
    }
    let noise = f64::from(timestep) / n_train as f64;
    Ok(NoiseLevel { signal: 1.0 - noise, noise })
}

/// From 1 down to 1 / steps (numpy: `linspace`, then fp32).
fn even(steps: Steps) -> Vec<f32> {
    let count = f64::from(steps.get());
    let last = 1.0 / count;
    let step = (last - 1.0) / (count - 1.0).max(1.0);
    let at = |index: u32| {
        if index + 1 == steps.get() && index > 0 { last } else { 1.0 + f64::from(index) * step }
    };
    (0..steps.get()).map(|index| at(index) as f32).collect()
}

/// Stretches noise levels so that the last is `terminal`.
///
/// Differs: a single level stays as it is; diffusers divides by 0.
fn stretch(sigmas: &mut [f32], terminal: f64) {
    let least = sigmas.last().map_or(0.0, |it| 1.0 - it);
    let factor = least / (1.0 - terminal) as f32;
    if factor > 0.0 {
        for sigma in sigmas {
            *sigma = 1.0 - (1.0 - *sigma) / factor;
        }
    }
}

impl Shift {
    fn read(config: &SchedulerConfig) -> Result<Self, SchedulerError> {
        let json = &config.json;
        let kinds = [("exponential", Self::Exponential), ("linear", Self::Linear)];
        let dynamic = json.choice("time_shift_type", Self::Exponential, &kinds)?;
        if json.flag("use_dynamic_shifting", false)? {
            return Ok(dynamic);
        }
        Ok(Self::Static(json.number_in("shift", 1.0, "a number above 0", |it| it > 0.0)?))
    }

    /// A noise level above 0, shifted.
    fn of(self, sigma: f32, mu: f64) -> f32 {
        let shifted = |weight: f32| weight / (weight + (1.0 / sigma - 1.0));
        match self {
            Self::Static(shift) => shift as f32 * sigma / (1.0 + (shift - 1.0) as f32 * sigma),
            Self::Exponential => shifted(mu.exp() as f32),
            Self::Linear => shifted(mu as f32),
        }
    }
}

impl Scheduler for FlowMatchEulerDiscreteScheduler {
    fn steps(&self) -> &[Step] {
        &self.steps
    }

    fn step(
        &self,
        step: Step,
        model_output: &Tensor,
        sample: &Tensor,
        _noise: Option<&Tensor>,
        _history: &mut History,
    ) -> StepOutput {
        let (sample, velocity) = (float(sample), float(model_output));
        let (sigma, next) = (self.sigmas[step.index], self.sigmas[step.index + 1]);
        let pred_original_sample = &sample - &velocity * f64::from(sigma);
        StepOutput {
            prev_sample: sample + velocity * f64::from(next - sigma),
            pred_original_sample,
        }
    }

    fn draws_noise(&self) -> bool {
        false
    }

    fn add_noise(&self, clean: &Tensor, noise: &Tensor, index: usize) -> Tensor {
        let sigma = self.sigmas[index];
        noise.to_device(clean.device()) * f64::from(sigma) + clean * f64::from(1.0 - sigma)
    }
}

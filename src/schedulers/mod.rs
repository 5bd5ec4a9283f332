//! The samplers as pure step functions, under diffusers' names.
//!
//! A [`Scheduler`] is fixed at [`build::build`]: it holds the whole ladder of timesteps and noise levels, and a step is a
//! function of its arguments alone, so that any number of runs may share one. What a multistep solver remembers travels in
//! [`History`], what a stochastic one adds in [`noise::NoiseTape`].
//!
//! Scalars are computed in the precision that diffusers 0.42.1 uses (betas and noise levels in fp32, interpolation in
//! fp64), so that trajectories agree to a few units in the last place.
//! Differs: latents stay in fp32 between steps, and a half-precision model output is widened before any arithmetic;
//! diffusers rounds both to the model's type.

pub mod build;
pub mod config;
mod ddim;
mod dpm_solver_multistep;
mod euler_ancestral_discrete;
mod euler_discrete;
pub mod noise;
mod sigma_ladder;
mod timesteps;
pub mod training;

use std::fmt::Debug;

use tch::{Kind, Tensor};

/// One position on a scheduler's ladder; taken from [`Scheduler::steps`], never made up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Position in [`Scheduler::steps`], from 0.
    pub index: usize,
    /// What the U-Net is told, in training timesteps; the Euler kinds have fractions between whole ones.
    pub timestep: f64,
    /// Noise over signal, sqrt((1 − ᾱ) / ᾱ), before the step; infinite where no signal is left.
    pub sigma: f64,
}

/// What one step yields, both (B, 4, h, w), fp32, on the sample's device.
#[derive(Debug)]
pub struct StepOutput {
    /// The sample at the next, lower noise level.
    pub prev_sample: Tensor,
    /// The clean sample that the model foresees from here.
    pub pred_original_sample: Tensor,
}

/// What a multistep solver remembers of a run; starts as `History::default()`, and the one-step samplers leave it alone.
#[derive(Debug, Default)]
pub struct History {
    /// The clean sample foreseen at the step before.
    pred_original_sample: Option<Tensor>,
}

/// A sampler, its number of steps chosen.
pub trait Scheduler: Debug + Send + Sync {
    /// The ladder, from the noisiest step down.
    fn steps(&self) -> &[Step];

    /// The standard deviation of the first sample: `x_T` is unit noise times this.
    fn init_noise_sigma(&self) -> f64;

    /// Scales a sample to what the U-Net was trained on.
    fn scale_model_input(&self, sample: &Tensor, step: Step) -> Tensor;

    /// Takes one step down.
    ///
    /// `model_output` and `sample` are (B, 4, h, w); so is `noise`, unit noise on any device, which is there if and only if
    /// the sampler [draws it](Self::draws_noise).
    fn step(
        &self,
        step: Step,
        model_output: &Tensor,
        sample: &Tensor,
        noise: Option<&Tensor>,
        history: &mut History,
    ) -> StepOutput;

    /// Whether diffusers draws one tensor of noise per step, the last included.
    fn draws_noise(&self) -> bool;

    /// Brings clean latents to the noise level that `step` arrives at, by unit noise; the last step's is no noise at all.
    fn renoise(&self, clean: &Tensor, noise: &Tensor, step: Step) -> Tensor;
}

/// What the U-Net was trained to predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionType {
    /// The noise.
    Epsilon,
    /// The velocity, sqrt(ᾱ)·noise − sqrt(1 − ᾱ)·sample (Progressive Distillation, arXiv 2202.00512).
    VPrediction,
    /// The clean sample itself.
    Sample,
}

/// How inference steps spread over training timesteps (arXiv 2305.08891, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestepSpacing {
    /// Evenly from the last training timestep to 0.
    Linspace,
    /// Multiples of a whole stride, from 0 up.
    Leading,
    /// Multiples of a fractional stride, from the last training timestep down.
    Trailing,
}

/// Why there is no such scheduler.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// The configuration's text is no JSON object.
    #[error("the scheduler configuration is not a JSON object")]
    Malformed(#[source] serde_json::Error),
    /// A value of the configuration that no supported sampler has.
    #[error("the scheduler configuration sets `{key}` to {value}; supported: {expected}")]
    Unsupported {
        /// The configuration's key.
        key: &'static str,
        /// The value, as JSON.
        value: String,
        /// What would be accepted, in words.
        expected: String,
    },
    /// A class that samples models of another kind.
    #[error(
        "the model's scheduler `{class}` belongs to another kind of diffusion model; choose one of {expected}"
    )]
    UnsupportedClass {
        /// The configuration's `_class_name`.
        class: String,
        /// The samplers that people can choose.
        expected: String,
    },
    /// The timesteps would not fall strictly within the training range.
    #[error(
        "{steps} steps are too many for {n_train} training timesteps with {spacing} spacing; ask for fewer"
    )]
    TooManySteps {
        /// The steps asked for.
        steps: u32,
        /// The model's `num_train_timesteps`.
        n_train: usize,
        /// The model's `timestep_spacing`.
        spacing: &'static str,
    },
    /// A timestep that the model was not trained on.
    #[error("timestep {timestep} is none of the {n_train} that the model was trained on")]
    NoTimestep {
        /// As asked for.
        timestep: u32,
        /// The model's `num_train_timesteps`.
        n_train: usize,
    },
}

/// A tensor in the type of the samplers' arithmetic.
fn float(tensor: &Tensor) -> Tensor {
    tensor.to_kind(Kind::Float)
}

// === impl TimestepSpacing ===

impl TimestepSpacing {
    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linspace => "linspace",
            Self::Leading => "leading",
            Self::Trailing => "trailing",
        }
    }
}

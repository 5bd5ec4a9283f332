//! Schedulers (samplers) as pure step functions, under diffusers' names.
//!
//! A [`Scheduler`] is immutable once [`build::build`] has made it: it holds all timesteps and noise levels, and a step
//! depends on its arguments alone, so that several runs may share one. The state of a multistep solver is passed in
//! [`History`], the noise of a stochastic one in [`noise::NoiseTape`].
//!
//! Scalars are computed in the precision that diffusers 0.42.1 uses (betas and noise levels in fp32, interpolation in
//! fp64), so that trajectories agree to a few units in the last place.
//! Differs: latents stay in fp32 between steps, and a half-precision model output is widened before any arithmetic;
//! diffusers rounds both to the model's dtype.

pub mod build;
pub mod config;
mod ddim;
mod dpm_solver_multistep;
mod euler_ancestral_discrete;
mod euler_discrete;
pub mod flow_match_euler_discrete;
mod lcm;
pub mod noise;
mod sigma_ladder;
mod timesteps;
pub mod training;

use std::fmt::Debug;

use tch::{Kind, Tensor};

use crate::config_json::ConfigJsonError;
use crate::sampling::SchedulerKind;

/// One step of a scheduler; obtained from [`Scheduler::steps`] only.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Index in [`Scheduler::steps`], from 0.
    pub index: usize,
    /// Timestep that the network gets, in training timesteps; fractional for the Euler schedulers.
    pub timestep: f64,
    /// Ratio of noise to signal before the step, sqrt((1 − ᾱ) / ᾱ); infinite where there is no signal.
    pub sigma: f64,
}

/// What one step yields, both (B, C, h, w), fp32, on the sample's device.
#[derive(Debug)]
pub struct StepOutput {
    /// The sample at the next, lower noise level (diffusers: `prev_sample`).
    pub prev_sample: Tensor,
    /// The clean sample predicted at this step (diffusers: `pred_original_sample`).
    pub pred_original_sample: Tensor,
}

/// State that a multistep solver carries between the steps of a run; starts as `History::default()`. One-step
/// schedulers do not use it.
#[derive(Debug, Default)]
pub struct History {
    /// The clean sample predicted at the previous step.
    pred_original_sample: Option<Tensor>,
}

/// A scheduler with a fixed number of steps.
pub trait Scheduler: Debug + Send + Sync {
    /// All steps, from the noisiest down.
    fn steps(&self) -> &[Step];

    /// Standard deviation of the initial sample `x_T`, by which unit noise is multiplied.
    fn init_noise_sigma(&self) -> f64 {
        1.0
    }

    /// Scales a sample to the network's input (diffusers: `scale_model_input`).
    fn scale_model_input(&self, sample: &Tensor, _step: Step) -> Tensor {
        sample.shallow_clone()
    }

    /// Computes the sample after one step.
    ///
    /// `model_output` and `sample` are (B, C, h, w); so is `noise`, unit noise on any device, which is there if and
    /// only if the sampler [draws it](Self::draws_noise).
    fn step(
        &self,
        step: Step,
        model_output: &Tensor,
        sample: &Tensor,
        noise: Option<&Tensor>,
        history: &mut History,
    ) -> StepOutput;

    /// Whether steps use a tensor of noise each; one is drawn for the last step, too, whether it uses it or not.
    fn draws_noise(&self) -> bool;

    /// Brings clean latents by unit noise to the level that the step of this index starts from; behind the last one
    /// that is no noise at all (diffusers: `add_noise`).
    fn add_noise(&self, clean: &Tensor, noise: &Tensor, index: usize) -> Tensor;
}

/// What the U-Net was trained to predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionType {
    /// The noise ε.
    Epsilon,
    /// The velocity, sqrt(ᾱ)·noise − sqrt(1 − ᾱ)·sample (Progressive Distillation, arXiv 2202.00512).
    VPrediction,
    /// The clean sample itself.
    Sample,
}

/// How inference steps are spread over training timesteps (arXiv 2305.08891, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestepSpacing {
    /// Evenly spaced from the last training timestep to 0.
    Linspace,
    /// Multiples of an integer stride, from 0 up.
    Leading,
    /// Multiples of a fractional stride, from the last training timestep down.
    Trailing,
}

/// Why a scheduler can't be built.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// The configuration is not a JSON object, or has a value that no supported scheduler has.
    #[error(transparent)]
    Config(#[from] ConfigJsonError),
    /// A scheduler class for models that are trained differently (flow matching, consistency, EDM).
    #[error("{}; choose one of {expected}", unsupported(class))]
    UnsupportedClass {
        /// The configuration's `_class_name`.
        class: String,
        /// Names of the schedulers that can be chosen instead.
        expected: String,
    },
    /// A scheduler for models that are trained differently from this one.
    #[error("{}; choose one of {expected}", other(kind))]
    OtherKind {
        /// The scheduler's name.
        kind: &'static str,
        /// Names of the schedulers that can be chosen instead.
        expected: String,
    },
    /// The timesteps would coincide or leave the training range.
    #[error(
        "{steps} steps are too many for {n_train} training timesteps with {spacing} spacing; ask for fewer"
    )]
    TooManySteps {
        /// The requested number of steps.
        steps: u32,
        /// The model's `num_train_timesteps`.
        n_train: usize,
        /// The model's `timestep_spacing`.
        spacing: &'static str,
    },
    /// More steps than the network was distilled on.
    #[error(
        "{steps} steps are too many for lcm, whose networks are distilled on {original}; ask for fewer, such as 4"
    )]
    TooManyForDistilled {
        /// The requested number of steps.
        steps: u32,
        /// The model's `original_inference_steps`.
        original: usize,
    },
    /// A timestep outside the model's training range.
    #[error("timestep {timestep} is out of range: the model was trained on {n_train} timesteps")]
    NoTimestep {
        /// The requested timestep.
        timestep: u32,
        /// The model's `num_train_timesteps`.
        n_train: usize,
    },
}

/// The tensor in fp32, in which schedulers compute.
fn float(tensor: &Tensor) -> Tensor {
    tensor.to_kind(Kind::Float)
}

// === impl SchedulerError ===

impl SchedulerError {
    /// A scheduler that does not fit a model, for which these do.
    pub fn other_kind(kind: SchedulerKind, fit: &[SchedulerKind]) -> Self {
        let expected = fit.iter().map(|it| it.name()).collect::<Vec<_>>().join(", ");
        Self::OtherKind { kind: kind.name(), expected }
    }

    /// The message without what can be chosen instead, for callers that say it in their own words.
    pub fn fault(&self) -> String {
        match self {
            Self::UnsupportedClass { class, .. } => unsupported(class),
            Self::OtherKind { kind, .. } => other(kind),
            error => error.to_string(),
        }
    }
}

fn unsupported(class: &str) -> String {
    format!(
        "the model's scheduler `{class}` is not supported (it is for another kind of diffusion model)"
    )
}

fn other(kind: &str) -> String {
    format!("the sampler {kind} is for another kind of diffusion model")
}

// === impl TimestepSpacing ===

impl TimestepSpacing {
    /// The value in `scheduler_config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linspace => "linspace",
            Self::Leading => "leading",
            Self::Trailing => "trailing",
        }
    }
}

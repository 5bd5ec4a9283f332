//! A run's noise levels σ, and what both Euler kinds do with them: their samples are clean latents plus σ times noise,
//! unscaled (Karras et al., arXiv 2206.00364).

use tch::Tensor;

use crate::sampling::Steps;
use crate::schedulers::config::SchedulerConfig;
use crate::schedulers::timesteps::Spread;
use crate::schedulers::training::{Terminal, alphas_cumprod, sigma, sigmas_at};
use crate::schedulers::{PredictionType, SchedulerError, Step, TimestepSpacing};

/// Where the ladder of σ ends (diffusers: `final_sigmas_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FinalSigma {
    /// At 0, clean.
    Zero,
    /// At the least σ of the training schedule.
    SigmaMin,
}

/// The steps and their noise levels.
#[derive(Debug)]
pub(super) struct SigmaLadder {
    /// From the noisiest down.
    pub(super) steps: Vec<Step>,
    /// What the U-Net predicts.
    pub(super) prediction: PredictionType,
    spacing: TimestepSpacing,
    /// σ before each step, and after the last.
    pub(super) sigmas: Vec<f32>,
}

impl FinalSigma {
    /// `final_sigmas_type`; both classes that know it default to zero.
    pub(super) fn read(config: &SchedulerConfig) -> Result<Self, SchedulerError> {
        config.choice(
            "final_sigmas_type",
            Self::Zero,
            &[("zero", Self::Zero), ("sigma_min", Self::SigmaMin)],
        )
    }

    fn of(self, alphas_cumprod: &[f32]) -> f32 {
        match self {
            Self::Zero => 0.0,
            Self::SigmaMin => sigma(alphas_cumprod[0]),
        }
    }
}

impl SigmaLadder {
    /// The Euler kinds' ladder, over fractional timesteps.
    pub(super) fn fractional(
        config: &SchedulerConfig,
        steps: Steps,
        end: FinalSigma,
    ) -> Result<Self, SchedulerError> {
        let spread = Spread::read(config, TimestepSpacing::Linspace)?;
        Self::over(config, &spread, &spread.fractional(steps)?, end)
    }

    /// A ladder over given timesteps.
    pub(super) fn over(
        config: &SchedulerConfig,
        spread: &Spread,
        timesteps: &[f64],
        end: FinalSigma,
    ) -> Result<Self, SchedulerError> {
        let alphas_cumprod = alphas_cumprod(config, Terminal::Least)?;
        let mut sigmas = sigmas_at(&alphas_cumprod, timesteps);
        let step = |(index, (timestep, sigma)): (usize, (&f64, &f32))| Step {
            index,
            timestep: *timestep,
            sigma: f64::from(*sigma),
        };
        let steps = timesteps.iter().zip(&sigmas).enumerate().map(step).collect();
        sigmas.push(end.of(&alphas_cumprod));
        Ok(Self { steps, prediction: config.prediction_type()?, spacing: spread.spacing, sigmas })
    }

    /// σ before and after a step.
    pub(super) fn around(&self, step: Step) -> (f32, f32) {
        (self.sigmas[step.index], self.sigmas[step.index + 1])
    }

    /// Whether a step is the last.
    pub(super) fn ends_at(&self, step: Step) -> bool {
        step.index + 1 == self.steps.len()
    }

    /// The standard deviation of the first sample.
    pub(super) fn init_noise_sigma(&self) -> f64 {
        let most = self.sigmas.iter().copied().fold(0.0, f32::max);
        f64::from(match self.spacing {
            TimestepSpacing::Linspace | TimestepSpacing::Trailing => most,
            TimestepSpacing::Leading => (most * most + 1.0).sqrt(),
        })
    }

    /// Divides a sample by its standard deviation, sqrt(σ² + 1).
    pub(super) fn scale_model_input(&self, sample: &Tensor, step: Step) -> Tensor {
        let (sigma, _) = self.around(step);
        sample / f64::from((sigma * sigma + 1.0).sqrt())
    }

    /// The clean sample that a prediction foresees; both fp32.
    pub(super) fn pred_original_sample(
        &self,
        step: Step,
        model_output: &Tensor,
        sample: &Tensor,
    ) -> Tensor {
        let (sigma, _) = self.around(step);
        let variance = sigma * sigma + 1.0;
        match self.prediction {
            PredictionType::Epsilon => sample - model_output * f64::from(sigma),
            PredictionType::VPrediction => {
                model_output * f64::from(-sigma / variance.sqrt()) + sample / f64::from(variance)
            }
            PredictionType::Sample => model_output.shallow_clone(),
        }
    }

    /// Clean latents plus the σ after `step` times noise.
    pub(super) fn renoise(&self, clean: &Tensor, noise: &Tensor, step: Step) -> Tensor {
        if self.ends_at(step) {
            return clean.shallow_clone();
        }
        let (_, sigma) = self.around(step);
        clean + noise.to_device(clean.device()) * f64::from(sigma)
    }
}

//! The noise levels σ of a run, and the arithmetic that both Euler schedulers share. Their samples are clean latents
//! plus σ times noise, unscaled (Karras et al., arXiv 2206.00364).

use puruspe::invbetai;
use tch::Tensor;

use crate::sampling::Steps;
use crate::schedulers::{
    PredictionType, SchedulerError, Step, TimestepSpacing,
    config::SchedulerConfig,
    timesteps::Spread,
    training::{Terminal, alphas_cumprod, sigma, sigmas_at},
};

/// The last σ (diffusers: `final_sigmas_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FinalSigma {
    /// 0, without noise.
    Zero,
    /// The smallest σ of the training schedule.
    SigmaMin,
}

/// The steps of a run and their noise levels.
#[derive(Debug)]
pub(super) struct SigmaLadder {
    /// From the noisiest down.
    pub(super) steps: Vec<Step>,
    /// What the U-Net predicts.
    pub(super) prediction: PredictionType,
    spacing: TimestepSpacing,
    /// σ before each step, and after the last one.
    pub(super) sigmas: Vec<f32>,
}

impl FinalSigma {
    /// Reads `final_sigmas_type`; both classes that have it default to zero.
    pub(super) fn read(config: &SchedulerConfig) -> Result<Self, SchedulerError> {
        let all = [("zero", Self::Zero), ("sigma_min", Self::SigmaMin)];
        Ok(config.json.choice("final_sigmas_type", Self::Zero, &all)?)
    }

    fn of(self, alphas_cumprod: &[f32]) -> f32 {
        match self {
            Self::Zero => 0.0,
            Self::SigmaMin => sigma(alphas_cumprod[0]),
        }
    }
}

/// A spacing of the noise levels other than that of evenly spaced timesteps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    /// Evenly spaced in σ^(1/7) (arXiv 2206.00364, formula 5; `use_karras_sigmas`).
    Karras,
    /// Evenly spaced in log σ (`use_exponential_sigmas`).
    Exponential,
    /// Quantiles of a beta distribution, dense at both ends (arXiv 2407.12173; `use_beta_sigmas`).
    Beta,
}

/// Karras' exponent ρ.
const RHO: f64 = 7.0;
/// Both parameters of the beta distribution.
const BETA: f64 = 0.6;
/// Lower bound on a σ before its logarithm is taken.
const LEAST_SIGMA: f64 = 1e-10;

impl Curve {
    /// The spacing that a configuration asks for, if any.
    pub(super) fn read(config: &SchedulerConfig) -> Result<Option<Self>, SchedulerError> {
        let keys = [
            ("use_karras_sigmas", Self::Karras),
            ("use_exponential_sigmas", Self::Exponential),
            ("use_beta_sigmas", Self::Beta),
        ];
        let mut found = None;
        for (key, curve) in keys {
            if config.json.flag(key, false)? && found.replace(curve).is_some() {
                return Err(config.json.fault(key, "one of the three curves alone").into());
            }
        }
        Ok(found)
    }

    /// `n` noise levels in decreasing order.
    fn sigmas(self, most: f64, least: f64, n: usize) -> Vec<f64> {
        // 0 to 1, as `numpy.linspace` has it.
        let ramp = |index: usize| index as f64 * (1.0 / (n - 1).max(1) as f64);
        let at = |index: usize| match self {
            Self::Karras => {
                let (most, least) = (most.powf(1.0 / RHO), least.powf(1.0 / RHO));
                (most + ramp(index) * (least - most)).powf(RHO)
            }
            Self::Exponential => {
                let (most, least) = (most.ln(), least.ln());
                let last = index > 0 && index == n - 1;
                (if last {
                    least
                } else {
                    index as f64 * ((least - most) / (n - 1).max(1) as f64) + most
                })
                .exp()
            }
            Self::Beta => {
                let share = 1.0 - if index > 0 && index == n - 1 { 1.0 } else { ramp(index) };
                least + invbetai(share, BETA, BETA) * (most - least)
            }
        };
        (0..n).map(at).collect()
    }
}

impl SigmaLadder {
    /// The noise levels of `n` steps spaced along a curve, between the given σ unless the configuration sets
    /// `sigma_max` and `sigma_min`. `told` maps an interpolated timestep to the one that the U-Net gets.
    pub(super) fn along(
        curve: Curve,
        config: &SchedulerConfig,
        n: usize,
        (most, least): (f64, f64),
        end: FinalSigma,
        told: impl Fn(f64) -> f64,
    ) -> Result<Self, SchedulerError> {
        let above = |it: f64| it > 0.0;
        let most = config.json.number_in("sigma_max", most, "a number above 0", above)?;
        let least = config.json.number_in("sigma_min", least, "a number above 0", above)?;
        if n > 1 && least >= most {
            return Err(config.json.fault("sigma_min", "less than `sigma_max`").into());
        }
        let alphas_cumprod = alphas_cumprod(config, Terminal::Least)?;
        let log_sigmas: Vec<f32> = alphas_cumprod.iter().map(|it| sigma(*it).ln()).collect();
        let levels = curve.sigmas(most, least, n);
        let mut sigmas: Vec<f32> = levels.iter().map(|it| *it as f32).collect();
        let steps = levels.iter().zip(&sigmas).enumerate().map(|(index, (level, sigma))| Step {
            index,
            timestep: told(timestep_at(*level, &log_sigmas)),
            sigma: f64::from(*sigma),
        });
        let steps = steps.collect();
        sigmas.push(end.of(&alphas_cumprod));
        let spacing = config.timestep_spacing(TimestepSpacing::Linspace)?;
        Ok(Self { steps, prediction: config.prediction_type()?, spacing, sigmas })
    }

    /// The Euler schedulers' noise levels, over fractional timesteps.
    pub(super) fn fractional(
        config: &SchedulerConfig,
        steps: Steps,
        end: FinalSigma,
    ) -> Result<Self, SchedulerError> {
        let spread = Spread::read(config, TimestepSpacing::Linspace)?;
        Self::over(config, &spread, &spread.fractional(steps)?, end)
    }

    /// The noise levels of given timesteps.
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

    /// The first and the last σ.
    pub(super) fn ends(&self) -> (f64, f64) {
        (self.steps[0].sigma, self.steps[self.steps.len() - 1].sigma)
    }

    /// σ before and after a step.
    pub(super) fn around(&self, step: Step) -> (f32, f32) {
        (self.sigmas[step.index], self.sigmas[step.index + 1])
    }

    /// Whether a step is the last one.
    pub(super) fn ends_at(&self, step: Step) -> bool {
        step.index + 1 == self.steps.len()
    }

    /// Standard deviation of the initial sample.
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

    /// The clean sample that a model output predicts; both fp32.
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

    /// Clean latents plus the σ before the step of this index times noise.
    pub(super) fn add_noise(&self, clean: &Tensor, noise: &Tensor, index: usize) -> Tensor {
        if index == self.steps.len() {
            return clean.shallow_clone();
        }
        clean + noise.to_device(clean.device()) * f64::from(self.sigmas[index])
    }
}

/// The fractional training timestep of a σ, interpolated in log σ (diffusers: `_sigma_to_t`).
fn timestep_at(sigma: f64, log_sigmas: &[f32]) -> f64 {
    let log_sigma = sigma.max(LEAST_SIGMA).ln();
    let below = log_sigmas.partition_point(|it| f64::from(*it) <= log_sigma).saturating_sub(1);
    let below = below.min(log_sigmas.len().saturating_sub(2));
    let (low, high) = (log_sigmas[below], log_sigmas[(below + 1).min(log_sigmas.len() - 1)]);
    let weight = ((f64::from(low) - log_sigma) / f64::from(low - high)).clamp(0.0, 1.0);
    (1.0 - weight) * below as f64 + weight * (below + 1) as f64
}

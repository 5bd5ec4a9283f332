//! DPM-Solver++ of order 2, multistep, midpoint (Lu et al., arXiv 2211.01095, algorithm 2;
//! diffusers: `DPMSolverMultistepScheduler`).

use tch::Tensor;

use crate::sampling::Steps;
use crate::schedulers::{
    History, PredictionType, Scheduler, SchedulerError, Step, StepOutput, TimestepSpacing,
    config::SchedulerConfig,
    float,
    sigma_ladder::{Curve, FinalSigma, SigmaLadder},
    timesteps::Spread,
    training::{Terminal, alphas_cumprod, sigma},
};

/// Runs of fewer steps than this end with a first-order step (diffusers: `lower_order_final`).
const LOWER_ORDER_BELOW: usize = 15;

/// The DPM-Solver++ scheduler. Samples keep unit variance: α·clean + σ·noise with α² + σ² = 1.
#[derive(Debug)]
pub(super) struct DpmSolverMultistepScheduler {
    ladder: SigmaLadder,
    /// Whether the last step is of first order.
    lower_order_final: bool,
}

impl DpmSolverMultistepScheduler {
    pub(super) fn new(config: &SchedulerConfig, steps: Steps) -> Result<Self, SchedulerError> {
        let json = &config.json;
        for key in ["thresholding", "use_lu_lambdas", "use_flow_sigmas", "use_dynamic_shifting"] {
            json.only(key, "false")?;
        }
        // Two names that diffusers reads as its own defaults, from configurations of DEIS and UniPC.
        json.choice("algorithm_type", (), &[("dpmsolver++", ()), ("deis", ())])?;
        let midpoints = [("midpoint", ()), ("logrho", ()), ("bh1", ()), ("bh2", ())];
        json.choice("solver_type", (), &midpoints)?;
        json.only("solver_order", "2")?;
        json.only("lambda_min_clipped", "\"-Infinity\"")?;
        json.only("variance_type", "null")?;

        let end = FinalSigma::read(config)?;
        let ladder = if let Some(curve) = Curve::read(config)? {
            along(curve, config, steps, end)?
        } else {
            let spread = Spread::read(config, TimestepSpacing::Linspace)?;
            SigmaLadder::over(config, &spread, &spread.whole_but_lowest(steps)?, end)?
        };
        let few = ladder.steps.len() < LOWER_ORDER_BELOW;
        let lower_order_final = json.flag("euler_at_final", false)?
            || (json.flag("lower_order_final", true)? && few)
            || end == FinalSigma::Zero;
        Ok(Self { ladder, lower_order_final })
    }

    fn pred_original_sample(&self, step: Step, model_output: Tensor, sample: &Tensor) -> Tensor {
        let level = Level::of(self.ladder.around(step).0);
        let (alpha, sigma) = (f64::from(level.alpha), f64::from(level.sigma));
        match self.ladder.prediction {
            PredictionType::Epsilon => (sample - model_output * sigma) / alpha,
            PredictionType::VPrediction => sample * alpha - model_output * sigma,
            PredictionType::Sample => model_output,
        }
    }
}

impl Scheduler for DpmSolverMultistepScheduler {
    fn steps(&self) -> &[Step] {
        &self.ladder.steps
    }

    fn step(
        &self,
        step: Step,
        model_output: &Tensor,
        sample: &Tensor,
        _noise: Option<&Tensor>,
        history: &mut History,
    ) -> StepOutput {
        let sample = float(sample);
        // 1. the clean sample
        let pred_original_sample = self.pred_original_sample(step, float(model_output), &sample);
        let before = history.pred_original_sample.replace(pred_original_sample.shallow_clone());
        // 2. first order
        let (from, to) = self.ladder.around(step);
        let (from, to) = (Level::of(from), Level::of(to));
        let h = to.lambda() - from.lambda();
        let weight = to.alpha * ((-h).exp() - 1.0);
        let mut prev_sample =
            sample * f64::from(to.sigma / from.sigma) - &pred_original_sample * f64::from(weight);
        // 3. second order, from the change since the step before
        if let Some(before) = before
            && !(self.lower_order_final && self.ladder.ends_at(step))
        {
            let earlier = Level::of(self.ladder.sigmas[step.index - 1]);
            let ratio = (from.lambda() - earlier.lambda()) / h;
            let change = (&pred_original_sample - before) * f64::from(1.0 / ratio);
            prev_sample -= change * f64::from(0.5 * weight);
        }
        StepOutput { prev_sample, pred_original_sample }
    }

    fn draws_noise(&self) -> bool {
        false
    }

    fn add_noise(&self, clean: &Tensor, noise: &Tensor, index: usize) -> Tensor {
        if index == self.ladder.steps.len() {
            return clean.shallow_clone();
        }
        let level = Level::of(self.ladder.sigmas[index]);
        clean * f64::from(level.alpha) + noise.to_device(clean.device()) * f64::from(level.sigma)
    }
}

/// The noise schedule along a curve, between the training schedule's largest and smallest noise. The U-Net gets integer
/// timesteps, of which several may be equal.
fn along(
    curve: Curve,
    config: &SchedulerConfig,
    steps: Steps,
    end: FinalSigma,
) -> Result<SigmaLadder, SchedulerError> {
    let alphas_cumprod = alphas_cumprod(config, Terminal::Least)?;
    let at = |index: usize| f64::from(sigma(alphas_cumprod[index]));
    let ends = (at(alphas_cumprod.len() - 1), at(0));
    // diffusers rounds for one of the curves, and cuts for the others.
    let is_cosine = config.json.choice(
        "beta_schedule",
        false,
        &[("linear", false), ("scaled_linear", false), ("squaredcos_cap_v2", true)],
    )?;
    let told = |timestep: f64| match curve {
        Curve::Karras if !is_cosine => timestep.round_ties_even(),
        _ => timestep.trunc(),
    };
    SigmaLadder::along(curve, config, steps.get() as usize, ends, end, told)
}

/// A noise level of a sample with unit variance.
#[derive(Debug, Clone, Copy)]
struct Level {
    alpha: f32,
    sigma: f32,
}

impl Level {
    /// From σ, the ratio of noise to signal.
    fn of(sigma: f32) -> Self {
        let alpha = 1.0 / (sigma * sigma + 1.0).sqrt();
        Self { alpha, sigma: sigma * alpha }
    }

    /// λ, half the logarithm of the signal-to-noise power ratio; infinite at zero noise.
    fn lambda(self) -> f32 {
        self.alpha.ln() - self.sigma.ln()
    }
}

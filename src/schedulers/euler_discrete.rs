//! Euler's method over the noise levels (Karras et al., arXiv 2206.00364, algorithm 2; diffusers:
//! `EulerDiscreteScheduler`).

use tch::Tensor;

use crate::sampling::Steps;
use crate::schedulers::{
    History, Scheduler, SchedulerError, Step, StepOutput,
    config::SchedulerConfig,
    float,
    sigma_ladder::{Curve, FinalSigma, SigmaLadder},
};

/// Deterministic: diffusers adds noise only where a caller passes `s_churn`, which its pipelines never do.
#[derive(Debug)]
pub(super) struct EulerDiscreteScheduler {
    ladder: SigmaLadder,
}

impl EulerDiscreteScheduler {
    pub(super) fn new(config: &SchedulerConfig, steps: Steps) -> Result<Self, SchedulerError> {
        config.json.only("interpolation_type", "\"linear\"")?;
        config.json.only("timestep_type", "\"discrete\"")?;
        let end = FinalSigma::read(config)?;
        let even = SigmaLadder::fractional(config, steps, end)?;
        let Some(curve) = Curve::read(config)? else { return Ok(Self { ladder: even }) };
        let (n, ends) = (even.steps.len(), even.ends());
        let in_fp32 = |timestep: f64| f64::from(timestep as f32);
        Ok(Self { ladder: SigmaLadder::along(curve, config, n, ends, end, in_fp32)? })
    }
}

impl Scheduler for EulerDiscreteScheduler {
    fn steps(&self) -> &[Step] {
        &self.ladder.steps
    }

    fn init_noise_sigma(&self) -> f64 {
        self.ladder.init_noise_sigma()
    }

    fn scale_model_input(&self, sample: &Tensor, step: Step) -> Tensor {
        self.ladder.scale_model_input(sample, step)
    }

    fn step(
        &self,
        step: Step,
        model_output: &Tensor,
        sample: &Tensor,
        _noise: Option<&Tensor>,
        _history: &mut History,
    ) -> StepOutput {
        let (sample, model_output) = (float(sample), float(model_output));
        let (sigma, sigma_next) = self.ladder.around(step);
        let pred_original_sample = self.ladder.pred_original_sample(step, &model_output, &sample);
        let derivative = (&sample - &pred_original_sample) / f64::from(sigma);
        let prev_sample = sample + derivative * f64::from(sigma_next - sigma);
        StepOutput { prev_sample, pred_original_sample }
    }

    fn draws_noise(&self) -> bool {
        false
    }

    fn add_noise(&self, clean: &Tensor, noise: &Tensor, index: usize) -> Tensor {
        self.ladder.add_noise(clean, noise, index)
    }
}

//! Euler's method with fresh noise at each step (k-diffusion's `sample_euler_ancestral`; diffusers:
//! `EulerAncestralDiscreteScheduler`). The scheduler of IAM-Edit's paper and of `timbrooks/instruct-pix2pix`.

use tch::Tensor;

use crate::sampling::Steps;
use crate::schedulers::{
    History, Scheduler, SchedulerError, Step, StepOutput,
    config::SchedulerConfig,
    float,
    sigma_ladder::{FinalSigma, SigmaLadder},
};

/// Differs: also supports `prediction_type` `sample`, which diffusers does not implement in this class.
#[derive(Debug)]
pub(super) struct EulerAncestralDiscreteScheduler {
    ladder: SigmaLadder,
}

impl EulerAncestralDiscreteScheduler {
    pub(super) fn new(config: &SchedulerConfig, steps: Steps) -> Result<Self, SchedulerError> {
        Ok(Self { ladder: SigmaLadder::fractional(config, steps, FinalSigma::Zero)? })
    }
}

impl Scheduler for EulerAncestralDiscreteScheduler {
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
        noise: Option<&Tensor>,
        _history: &mut History,
    ) -> StepOutput {
        let (sample, model_output) = (float(sample), float(model_output));
        let noise = float(noise.expect("Euler ancestral is given noise for each step"));
        // 1. the clean sample
        let pred_original_sample = self.ladder.pred_original_sample(step, &model_output, &sample);
        // 2. part the way down into a deterministic and a noisy share
        let (from, to) = self.ladder.around(step);
        let sigma_up = (to * to * (from * from - to * to) / (from * from)).sqrt();
        // Rounding may take the difference below 0 where σ falls very far in one step.
        let sigma_down = (to * to - sigma_up * sigma_up).max(0.0).sqrt();
        // 3. step, and add the noise
        let derivative = (&sample - &pred_original_sample) / f64::from(from);
        let prev_sample = &sample + derivative * f64::from(sigma_down - from);
        let prev_sample = prev_sample + noise.to_device(sample.device()) * f64::from(sigma_up);
        StepOutput { prev_sample, pred_original_sample }
    }

    fn draws_noise(&self) -> bool {
        true
    }

    fn add_noise(&self, clean: &Tensor, noise: &Tensor, index: usize) -> Tensor {
        self.ladder.add_noise(clean, noise, index)
    }
}

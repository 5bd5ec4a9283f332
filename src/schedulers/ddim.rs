//! DDIM without noise, eta 0 (Song et al., arXiv 2010.02502, formula 12; diffusers: `DDIMScheduler`).

use tch::Tensor;

use crate::sampling::Steps;
use crate::schedulers::{
    History, PredictionType, Scheduler, SchedulerError, Step, StepOutput, TimestepSpacing,
    config::SchedulerConfig,
    float,
    timesteps::Spread,
    training::{NoiseLevel, Terminal, alphas_cumprod, sigma},
};

/// The DDIM scheduler. Samples keep unit variance, so the model's input is not scaled.
#[derive(Debug)]
pub(super) struct DdimScheduler {
    steps: Vec<Step>,
    /// ᾱ before and after each step. The one after belongs to the timestep a whole stride below, which under linspace
    /// spacing is not quite the next step's timestep (as in diffusers).
    alpha_prods: Vec<(f32, f32)>,
    prediction: PredictionType,
    /// Bound on the absolute value of the predicted clean sample (diffusers: `clip_sample`, `clip_sample_range`).
    clip: Option<f64>,
}

impl DdimScheduler {
    pub(super) fn new(config: &SchedulerConfig, steps: Steps) -> Result<Self, SchedulerError> {
        config.json.only("thresholding", "false")?;
        let prediction = config.prediction_type()?;
        let alphas_cumprod = alphas_cumprod(config, Terminal::Exact)?;
        let final_alpha_cumprod =
            if config.json.flag("set_alpha_to_one", true)? { 1.0 } else { alphas_cumprod[0] };
        let above = |it: f64| it > 0.0;
        let range = config.json.number_in("clip_sample_range", 1.0, "a number above 0", above)?;
        let clip = config.json.flag("clip_sample", true)?.then_some(range);

        let spread = Spread::read(config, TimestepSpacing::Leading)?;
        let timesteps = spread.whole(steps)?;
        let stride = spread.n_train / steps.get() as usize;
        let alpha_prods: Vec<(f32, f32)> = timesteps
            .iter()
            .map(|timestep| {
                let timestep = *timestep as usize;
                let prev = timestep.checked_sub(stride).map(|it| alphas_cumprod[it]);
                (alphas_cumprod[timestep], prev.unwrap_or(final_alpha_cumprod))
            })
            .collect();
        if prediction == PredictionType::Epsilon && alpha_prods[0].0 == 0.0 {
            // No signal is left to divide by; diffusers fills the sample with NaN.
            let expected = "false for DDIM on a model that predicts epsilon";
            return Err(config.json.fault("rescale_betas_zero_snr", expected).into());
        }
        let step = |(index, (timestep, alphas)): (usize, (&f64, &(f32, f32)))| Step {
            index,
            timestep: *timestep,
            sigma: f64::from(sigma(alphas.0)),
        };
        let steps = timesteps.iter().zip(&alpha_prods).enumerate().map(step).collect();
        Ok(Self { steps, alpha_prods, prediction, clip })
    }
}

impl Scheduler for DdimScheduler {
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
        let (sample, model_output) = (float(sample), float(model_output));
        // 1. how much signal and noise there is
        let (alpha_prod, alpha_prod_prev) = self.alpha_prods[step.index];
        let signal = f64::from(alpha_prod.sqrt());
        let noise = f64::from((1.0 - alpha_prod).sqrt());
        // 2. the clean sample and the noise
        let (pred_original_sample, pred_epsilon) = match self.prediction {
            PredictionType::Epsilon => ((sample - &model_output * noise) / signal, model_output),
            PredictionType::VPrediction => {
                (&sample * signal - &model_output * noise, &model_output * signal + &sample * noise)
            }
            PredictionType::Sample => {
                let pred_epsilon = (sample - &model_output * signal) / noise;
                (model_output, pred_epsilon)
            }
        };
        let pred_original_sample = match self.clip {
            Some(range) => pred_original_sample.clamp(-range, range),
            None => pred_original_sample,
        };
        // 3. both at the next level
        let direction = pred_epsilon * f64::from((1.0 - alpha_prod_prev).sqrt());
        let prev_sample = &pred_original_sample * f64::from(alpha_prod_prev.sqrt()) + direction;
        StepOutput { prev_sample, pred_original_sample }
    }

    fn draws_noise(&self) -> bool {
        false
    }

    fn add_noise(&self, clean: &Tensor, noise: &Tensor, index: usize) -> Tensor {
        if index == self.steps.len() {
            return clean.shallow_clone();
        }
        // What the step before arrives at.
        let before = index.checked_sub(1).map(|it| self.alpha_prods[it].1);
        let alpha_cumprod = before.unwrap_or(self.alpha_prods[index].0);
        NoiseLevel::of_alpha_cumprod(alpha_cumprod).add_noise(clean, noise)
    }
}

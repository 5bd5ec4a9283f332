//! Timesteps of a run by `timestep_spacing`, equal to numpy's to the last bit.

use crate::sampling::Steps;
use crate::schedulers::{
    SchedulerError, TimestepSpacing, config::SchedulerConfig, training::num_train_timesteps,
};

/// A model's settings for choosing timesteps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread {
    /// `timestep_spacing`.
    pub(super) spacing: TimestepSpacing,
    /// `num_train_timesteps`.
    pub(super) n_train: usize,
    /// `steps_offset`, added to each timestep under leading spacing.
    steps_offset: f64,
}

impl Spread {
    /// Reads the keys; `default` is the spacing that the scheduler class defaults to.
    pub(super) fn read(
        config: &SchedulerConfig,
        default: TimestepSpacing,
    ) -> Result<Self, SchedulerError> {
        let n_train = num_train_timesteps(config)?;
        let accepts = |it: f64| it.fract() == 0.0 && it >= 0.0 && it < n_train as f64;
        let range = "0 to `num_train_timesteps` - 1";
        Ok(Self {
            spacing: config.timestep_spacing(default)?,
            n_train,
            steps_offset: config.json.number_in("steps_offset", 0.0, range, accepts)?,
        })
    }

    /// The Euler schedulers' timesteps, in fp32; fractional under linspace spacing.
    pub(super) fn fractional(&self, steps: Steps) -> Result<Vec<f64>, SchedulerError> {
        let timesteps = self.falling(steps.get() as usize);
        self.checked(timesteps.into_iter().map(|it| f64::from(it as f32)).collect(), steps)
    }

    /// DDIM's timesteps, integers.
    pub(super) fn whole(&self, steps: Steps) -> Result<Vec<f64>, SchedulerError> {
        let timesteps = self.falling(steps.get() as usize);
        self.checked(timesteps.into_iter().map(f64::round_ties_even).collect(), steps)
    }

    /// DPM-Solver's timesteps, integers. Except with trailing spacing, one more is laid out and the last one dropped,
    /// as in diffusers.
    pub(super) fn whole_but_lowest(&self, steps: Steps) -> Result<Vec<f64>, SchedulerError> {
        if self.spacing == TimestepSpacing::Trailing {
            return self.whole(steps);
        }
        let mut timesteps = self.falling(steps.get() as usize + 1);
        timesteps.pop();
        self.checked(timesteps.into_iter().map(f64::round_ties_even).collect(), steps)
    }

    /// `n` timesteps in decreasing order; integers with leading and trailing spacing.
    fn falling(&self, n: usize) -> Vec<f64> {
        let n_train = self.n_train as f64;
        match self.spacing {
            // A single step lands on timestep 0, as `numpy.linspace` has it.
            TimestepSpacing::Linspace => {
                let last = n_train - 1.0;
                let stride = last / (n - 1).max(1) as f64;
                let at =
                    |index| if index > 0 && index == n - 1 { last } else { index as f64 * stride };
                (0..n).rev().map(at).collect()
            }
            TimestepSpacing::Leading => {
                let stride = self.n_train / n;
                (0..n).rev().map(|index| (index * stride) as f64 + self.steps_offset).collect()
            }
            // Differs: for 62 of the counts up to 1000 (61 is the first) `numpy.arange` has one element too many, which
            // gives diffusers an additional step at timestep -1.
            TimestepSpacing::Trailing => {
                // `numpy.arange` multiplies the difference of its first two values, not the stride itself.
                let stride = (n_train - n_train / n as f64) - n_train;
                (0..n)
                    .map(|index| (n_train + index as f64 * stride).round_ties_even() - 1.0)
                    .collect()
            }
        }
    }

    /// Refuses timesteps outside the training range, and equal ones, between which no solver can step.
    fn checked(&self, timesteps: Vec<f64>, steps: Steps) -> Result<Vec<f64>, SchedulerError> {
        let inside = timesteps.iter().all(|it| (0.0..self.n_train as f64).contains(it));
        if inside && timesteps.windows(2).all(|pair| pair[0] > pair[1]) {
            return Ok(timesteps);
        }
        Err(SchedulerError::TooManySteps {
            steps: steps.get(),
            n_train: self.n_train,
            spacing: self.spacing.name(),
        })
    }
}

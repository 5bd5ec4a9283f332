//! The noise schedule that a model was trained with: betas, their cumulative product ᾱ, and σ = sqrt((1 − ᾱ) / ᾱ).

use std::f64::consts::FRAC_PI_2;

use tch::{Device, Kind, Tensor};

use crate::schedulers::{SchedulerError, config::SchedulerConfig};

/// Replaces ᾱ = 0 in schedulers that can't handle an infinite σ, as in diffusers; fp16's smallest subnormal.
const LEAST_ALPHA_CUMPROD: f32 = 5.960_464_5e-8; // 2^-24

/// Upper bound on `num_train_timesteps`; published models have 1000.
const MOST_TRAIN_TIMESTEPS: f64 = 100_000.0;

/// `max_beta` of diffusers' `betas_for_alpha_bar`.
const MAX_COSINE_BETA: f64 = 0.999;

/// How ᾱ = 0 at the last timestep (zero terminal SNR) is represented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Terminal {
    /// As 0 (DDIM).
    Exact,
    /// As 2^-24 (schedulers that divide by ᾱ).
    Least,
}

/// A noise level, independent of any scheduler: `signal` times clean latents plus `noise` times unit noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseLevel {
    /// Factor of the clean latents.
    pub signal: f64,
    /// Factor of the noise.
    pub noise: f64,
}

#[derive(Clone, Copy)]
enum BetaSchedule {
    Linear,
    ScaledLinear,
    SquaredcosCapV2,
}

impl NoiseLevel {
    /// The noise level of a training timestep.
    ///
    /// # Errors
    /// [`SchedulerError::NoTimestep`] if the model was trained on fewer timesteps, [`SchedulerError::Config`] if
    /// its noise schedule is not supported.
    pub fn of(config: &SchedulerConfig, timestep: u32) -> Result<Self, SchedulerError> {
        let alphas_cumprod = alphas_cumprod(config, Terminal::Exact)?;
        let n_train = alphas_cumprod.len();
        let found = alphas_cumprod.get(timestep as usize);
        let alpha_cumprod = *found.ok_or(SchedulerError::NoTimestep { timestep, n_train })?;
        Ok(Self::of_alpha_cumprod(alpha_cumprod))
    }

    /// The level of unit variance at one ᾱ.
    pub(super) fn of_alpha_cumprod(alpha_cumprod: f32) -> Self {
        let (signal, noise) = (alpha_cumprod.sqrt(), (1.0 - alpha_cumprod).sqrt());
        Self { signal: f64::from(signal), noise: f64::from(noise) }
    }

    /// Adds unit noise to clean latents (diffusers: `add_noise`).
    pub fn add_noise(self, clean: &Tensor, noise: &Tensor) -> Tensor {
        clean * self.signal + noise.to_device(clean.device()) * self.noise
    }
}

/// ᾱ of each training timestep, in fp32.
pub(super) fn alphas_cumprod(
    config: &SchedulerConfig,
    terminal: Terminal,
) -> Result<Vec<f32>, SchedulerError> {
    let betas = betas(config)?;
    let rescaled = config.json.flag("rescale_betas_zero_snr", false)?;
    let betas = if rescaled { rescale_zero_terminal_snr(&betas) } else { betas };
    let mut alphas_cumprod = to_vec(&cumprod(&complement(&betas)));
    if rescaled && terminal == Terminal::Least {
        *alphas_cumprod.last_mut().expect("a schedule has timesteps") = LEAST_ALPHA_CUMPROD;
    }
    Ok(alphas_cumprod)
}

/// σ at each of the timesteps; fractional ones are interpolated linearly, as by `numpy.interp`.
pub(super) fn sigmas_at(alphas_cumprod: &[f32], timesteps: &[f64]) -> Vec<f32> {
    let sigma = |index: usize| f64::from(sigma(alphas_cumprod[index]));
    let last = alphas_cumprod.len() - 1;
    let at = |timestep: &f64| {
        let below = (timestep.floor() as usize).min(last);
        let fraction = timestep - below as f64;
        if fraction == 0.0 {
            return sigma(below) as f32;
        }
        ((sigma(below + 1) - sigma(below)) * fraction + sigma(below)) as f32
    };
    timesteps.iter().map(at).collect()
}

/// σ for one ᾱ.
pub(super) fn sigma(alpha_cumprod: f32) -> f32 {
    ((1.0 - alpha_cumprod) / alpha_cumprod).sqrt()
}

/// `num_train_timesteps`.
pub(super) fn num_train_timesteps(config: &SchedulerConfig) -> Result<usize, SchedulerError> {
    let accepts = |it: f64| it.fract() == 0.0 && (1.0..=MOST_TRAIN_TIMESTEPS).contains(&it);
    let number = config.json.number_in("num_train_timesteps", 1000.0, "1 to 100000", accepts)?;
    Ok(number as usize)
}

fn betas(config: &SchedulerConfig) -> Result<Tensor, SchedulerError> {
    let n_train = num_train_timesteps(config)?;
    let between = |it: f64| it > 0.0 && it < 1.0;
    let expected =
        format!("a list of numbers between 0 and 1, as many as `num_train_timesteps`, {n_train}");
    let trained: Option<Vec<f64>> = config.json.read("trained_betas", &expected, |found| {
        let betas = found.as_array().filter(|it| it.len() == n_train)?;
        betas.iter().map(|it| it.as_f64().filter(|it| between(*it))).collect()
    })?;
    if let Some(betas) = trained {
        return Ok(Tensor::from_slice(&betas).to_kind(Kind::Float));
    }
    let schedule = config.json.choice(
        "beta_schedule",
        BetaSchedule::Linear,
        &[
            ("linear", BetaSchedule::Linear),
            ("scaled_linear", BetaSchedule::ScaledLinear),
            ("squaredcos_cap_v2", BetaSchedule::SquaredcosCapV2),
        ],
    )?;
    let start = config.json.number_in("beta_start", 0.0001, "a number between 0 and 1", between)?;
    let end = config.json.number_in("beta_end", 0.02, "a number between 0 and 1", between)?;
    let line =
        |from: f64, to: f64| Tensor::linspace(from, to, n_train as i64, (Kind::Float, Device::Cpu));
    Ok(match schedule {
        BetaSchedule::Linear => line(start, end),
        BetaSchedule::ScaledLinear => line(start.sqrt(), end.sqrt()).square(),
        BetaSchedule::SquaredcosCapV2 => cosine_betas(n_train),
    })
}

/// The cosine schedule (Improved DDPM, arXiv 2102.09672; diffusers: `betas_for_alpha_bar`).
fn cosine_betas(n_train: usize) -> Tensor {
    let alpha_bar = |index: usize| {
        let time = index as f64 / n_train as f64;
        ((time + 0.008) / 1.008 * FRAC_PI_2).cos().powi(2)
    };
    let beta = |index| (1.0 - alpha_bar(index + 1) / alpha_bar(index)).min(MAX_COSINE_BETA);
    let betas: Vec<f64> = (0..n_train).map(beta).collect();
    Tensor::from_slice(&betas).to_kind(Kind::Float)
}

/// Shifts and scales sqrt(ᾱ) so that it ends at 0 and keeps its first value (arXiv 2305.08891, algorithm 1).
fn rescale_zero_terminal_snr(betas: &Tensor) -> Tensor {
    let alphas_bar_sqrt = cumprod(&complement(betas)).sqrt();
    let first = alphas_bar_sqrt.get(0);
    let last = alphas_bar_sqrt.get(-1);
    let alphas_bar = ((alphas_bar_sqrt - &last) * (&first / (&first - &last))).square();
    let n = alphas_bar.size1().expect("betas are one row");
    let ratios = alphas_bar.narrow(0, 1, n - 1) / alphas_bar.narrow(0, 0, n - 1);
    complement(&Tensor::cat(&[alphas_bar.narrow(0, 0, 1), ratios], 0))
}

/// 1 − x. tch's `1.0 - x` gives −0 at x = 1, which would turn an infinite σ into NaN.
fn complement(row: &Tensor) -> Tensor {
    row.neg() + 1.0
}

fn cumprod(row: &Tensor) -> Tensor {
    row.cumprod(0, Kind::Float)
}

fn to_vec(row: &Tensor) -> Vec<f32> {
    Vec::try_from(row).expect("a row of fp32 is a vector")
}

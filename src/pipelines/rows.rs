//! The batch of a U-Net call: the rows of all samples, concatenated.

use tch::{Device, Kind, Tensor};

use crate::attention::branch::Branch;
use crate::pipelines::{NoiseCall, NoisePrediction};

/// Inputs of one U-Net call.
#[derive(Debug)]
pub(crate) struct Rows {
    /// (N, 8, h, w): noisy latents and the picture's latents.
    pub(crate) sample: Tensor,
    /// (N,) in fp32.
    pub(crate) timesteps: Tensor,
    /// (N, T, C).
    pub(crate) prompts: Tensor,
    /// Branch of each row.
    pub(crate) branches: Vec<Branch>,
}

impl Rows {
    /// Concatenates the rows of calls, on a device and in a dtype.
    pub(crate) fn of<'a>(
        calls: impl Iterator<Item = &'a NoiseCall> + Clone,
        device: Device,
        kind: Kind,
    ) -> Self {
        let rows = |it: &NoiseCall| it.conditioning.branches.len() as i64;
        let samples = calls.clone().map(|it| {
            let latents = it.latents.to_device(device).to_kind(kind);
            let latents = latents.repeat([rows(it), 1, 1, 1]);
            Tensor::cat(&[&latents, &it.conditioning.image_latents], 1) // (n, 8, h, w)
        });
        let timesteps =
            calls.clone().map(|it| Tensor::full([rows(it)], it.timestep, (Kind::Float, device)));
        let prompts = calls.clone().map(|it| it.conditioning.prompt_embeds.shallow_clone());
        Self {
            sample: joined(samples.collect()),
            timesteps: joined(timesteps.collect()),
            prompts: joined(prompts.collect()),
            branches: calls.flat_map(|it| it.conditioning.branches.iter().copied()).collect(),
        }
    }

    /// A deep copy.
    pub(crate) fn copy(&self) -> Self {
        let Self { sample, timesteps, prompts, branches } = self;
        let [sample, timesteps, prompts] = [sample, timesteps, prompts].map(Tensor::copy);
        Self { sample, timesteps, prompts, branches: branches.clone() }
    }

    /// Splits the rows' noise, (N, 4, h, w) in fp32, by call.
    pub(crate) fn predictions<'a>(
        noise: &Tensor,
        calls: impl Iterator<Item = &'a NoiseCall>,
    ) -> Vec<NoisePrediction> {
        let mut start = 0;
        let of = |call: &NoiseCall| {
            let branches = &call.conditioning.branches;
            let rows = noise.narrow(0, start, branches.len() as i64);
            start += branches.len() as i64;
            NoisePrediction::of_rows(&rows, branches)
        };
        calls.map(of).collect()
    }
}

/// Concatenates tensors along the batch; a single one is returned as it is.
fn joined(mut tensors: Vec<Tensor>) -> Tensor {
    match tensors.len() {
        1 => tensors.remove(0),
        _ => Tensor::cat(&tensors, 0),
    }
}

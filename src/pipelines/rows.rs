//! The batch of a model's call: the rows of all samples, concatenated.

use tch::{Device, Kind, Tensor};

use crate::attention::{
    processor::{AttnProcessor, RowGuests},
    role::Role,
};
use crate::pipelines::{BatchPipeline, NoiseCall, PipelineError, guidance::NoisePrediction};

/// A model whose call is rows of tensors.
pub trait RowModel: BatchPipeline {
    /// Where the networks are.
    fn device(&self) -> Device;

    /// The networks' dtype.
    fn kind(&self) -> Kind;

    /// Keeps a text encoder in memory that would be freed once it has read a text, so that the next text is read sooner.
    fn keep_text_encoder(&mut self) {}

    /// Frees what calls do not need, such as the networks that read texts; called before each call.
    fn release(&self) {}

    /// The noise of each row, (N, C, h, w) in the networks' dtype, with an attention processor for all rows.
    fn noise(&self, rows: &Rows, guest: &mut dyn AttnProcessor) -> Tensor;
}

/// Inputs of one call.
#[derive(Debug)]
pub struct Rows {
    /// (N, C, h, w), already scaled by the sampler.
    pub latents: Tensor,
    /// (N,) in fp32.
    pub timesteps: Tensor,
    /// (N, T, C).
    pub prompts: Tensor,
    /// (N, …), what the model is told of the pictures.
    pub pictures: Tensor,
    /// Role of each row.
    pub roles: Vec<Role>,
}

impl<M: RowModel + ?Sized> BatchPipeline for M {
    fn predict_noises(
        &self,
        calls: &mut [NoiseCall],
    ) -> Result<Vec<NoisePrediction>, PipelineError> {
        self.release();
        for call in calls.iter_mut() {
            call.attn.begin(call.attempt);
        }
        Ok(predict(self, calls))
    }
}

/// The predictions of calls that have begun.
pub(crate) fn predict<M: RowModel + ?Sized>(
    model: &M,
    calls: &mut [NoiseCall],
) -> Vec<NoisePrediction> {
    // 1. The rows of each sample
    let rows = Rows::of(calls.iter(), model.device(), model.kind());

    // 2. One call, an attention processor for each sample's rows
    let guests = calls.iter_mut().map(|it| {
        let guest: &mut dyn AttnProcessor = it.attn.as_mut();
        (guest, it.conditioning.roles().len())
    });
    let noise = model.noise(&rows, &mut RowGuests { guests: guests.collect() });

    // 3. Each sample its own
    Rows::predictions(&noise.to_kind(Kind::Float), calls.iter())
}

impl Rows {
    /// Concatenates the rows of calls, on a device and in a dtype.
    pub(crate) fn of<'a>(
        calls: impl Iterator<Item = &'a NoiseCall> + Clone,
        device: Device,
        kind: Kind,
    ) -> Self {
        let rows = |it: &NoiseCall| it.conditioning.roles().len() as i64;
        let latents = calls.clone().map(|it| {
            let latents = it.latents.to_device(device).to_kind(kind);
            latents.repeat([rows(it), 1, 1, 1])
        });
        let timesteps =
            calls.clone().map(|it| Tensor::full([rows(it)], it.timestep, (Kind::Float, device)));
        let prompts = calls.clone().map(|it| it.conditioning.prompts().shallow_clone());
        let pictures = calls.clone().map(|it| it.conditioning.pictures().shallow_clone());
        Self {
            latents: joined(latents.collect()),
            timesteps: joined(timesteps.collect()),
            prompts: joined(prompts.collect()),
            pictures: joined(pictures.collect()),
            roles: calls.flat_map(|it| it.conditioning.roles().iter().copied()).collect(),
        }
    }

    /// A deep copy.
    pub(crate) fn copy(&self) -> Self {
        let [latents, timesteps, prompts, pictures] = self.tensors().map(Tensor::copy);
        Self { latents, timesteps, prompts, pictures, roles: self.roles.clone() }
    }

    /// Takes over the numbers of rows of the same shapes.
    pub(crate) fn copy_from(&self, from: &Self) {
        for (to, from) in self.tensors().into_iter().zip(from.tensors()) {
            to.shallow_clone().copy_(from);
        }
    }

    /// Each call its own of the rows' noise, (N, C, h, w) in fp32.
    pub(crate) fn predictions<'a>(
        noise: &Tensor,
        calls: impl Iterator<Item = &'a NoiseCall>,
    ) -> Vec<NoisePrediction> {
        let mut start = 0;
        let of = |call: &NoiseCall| {
            let roles = call.conditioning.roles();
            let rows = noise.narrow(0, start, roles.len() as i64);
            start += roles.len() as i64;
            NoisePrediction::new(rows, roles)
        };
        calls.map(of).collect()
    }

    fn tensors(&self) -> [&Tensor; 4] {
        [&self.latents, &self.timesteps, &self.prompts, &self.pictures]
    }
}

/// Concatenates tensors along the batch; a single one is returned as it is.
fn joined(mut tensors: Vec<Tensor>) -> Tensor {
    match tensors.len() {
        1 => tensors.remove(0),
        _ => Tensor::cat(&tensors, 0),
    }
}

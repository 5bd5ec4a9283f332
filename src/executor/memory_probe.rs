//! Finds the largest batch that fits in device memory by trying it, since libtorch's C interface has no call for free
//! memory.

use std::panic::{self, AssertUnwindSafe};

use tch::{Device, Kind, Tensor};

use crate::attention::processor::Unwatched;
use crate::pipelines::{BatchPipeline, Conditioning, NoiseCall};
use crate::sampling::geometry::Geometry;

/// The largest batch at the model's native size that succeeds, of `most`, `most / 2` and so on down to 1, which is not
/// tried.
pub(crate) fn fitting(pipeline: &dyn BatchPipeline, most: usize) -> usize {
    let mut size = most;
    while size > 1 && !fits(pipeline, size) {
        size /= 2;
        tracing::warn!(max_batch = size, "there is no memory for larger batches");
    }
    size
}

fn fits(pipeline: &dyn BatchPipeline, size: usize) -> bool {
    let Geometry { sample_size, vae_scale_factor, .. } = pipeline.geometry();
    let side = i64::from(sample_size / vae_scale_factor);
    let tried = panic::catch_unwind(AssertUnwindSafe(|| {
        let _no_grad = tch::no_grad_guard();
        let latents = Tensor::zeros([1, 4, side, side], (Kind::Float, Device::Cpu));
        let prompt = pipeline.encode_prompt(&pipeline.tokenize("")?);
        let image_latents = latents.to_device(prompt.device()).to_kind(prompt.kind());
        let conditioning = Conditioning::new(&prompt, &prompt, &image_latents);
        let call = || NoiseCall::new(&latents, 1.0, &conditioning, Box::new(Unwatched));
        let mut calls: Vec<NoiseCall> = (0..size).map(|_| call()).collect();
        pipeline.predict_noises(&mut calls)
    }));
    matches!(tried, Ok(Ok(_)))
}

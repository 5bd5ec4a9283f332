//! How many samples one call of a model holds: libtorch's C interface does not say how much memory there is, so it is
//! tried out.

use std::panic::{self, AssertUnwindSafe};

use image::RgbImage;

use crate::attention::processor::Unwatched;
use crate::pipelines::{BatchPipeline, NoiseCall};

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
    let side = pipeline.geometry().sample_size;
    let tried = panic::catch_unwind(AssertUnwindSafe(|| {
        let _no_grad = tch::no_grad_guard();
        let picture = RgbImage::new(side, side);
        let latents = pipeline.encode_image(&picture)?;
        let roles = pipeline.guidance().all_roles();
        let conditioning = pipeline.condition("", "", &picture, roles)?;
        let call = || NoiseCall::new(&latents, 1.0, &conditioning, Box::new(Unwatched));
        let mut calls: Vec<NoiseCall> = (0..size).map(|_| call()).collect();
        pipeline.predict_noises(&mut calls)
    }));
    matches!(tried, Ok(Ok(_)))
}

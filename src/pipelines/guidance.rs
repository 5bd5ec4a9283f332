//! InstructPix2Pix's guidance with two scales (arXiv 2211.09800, equation 3).
//!
//! Differs: diffusers drops guidance, and with it branches, where the text scale is at most 1 or the image scale below 1;
//! here the three branches are always computed and the formula always holds.

use tch::Tensor;

use crate::pipelines::NoisePrediction;
use crate::sampling::GuidanceScales;

/// Combines the three predictions into one, (1, 4, h, w).
pub fn combine(prediction: &NoisePrediction, scales: GuidanceScales) -> Tensor {
    let NoisePrediction { text, image, uncond } = prediction;
    uncond + (text - image) * scales.text.get() + (image - uncond) * scales.image.get()
}

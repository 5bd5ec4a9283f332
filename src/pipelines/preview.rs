//! Cheap previews: by a linear map from latents to RGB, fitted to the job's own picture, or by a tiny decoder.
//!
//! Differs: ComfyUI and others ship one 4×3 matrix per VAE; fitting it to the picture and its latents needs no table,
//! works with any VAE, and costs one 5×5 solve per edit.

use image::{RgbImage, imageops};
use tch::{Device, Kind, Tensor};

use crate::picture::{resample, size::Size};
use crate::pipelines::{conditioning::LatentSize, image_processor};

/// How previews are made of what the model's thread gives.
#[derive(Debug)]
pub enum StepPreview {
    /// Of clean latents (1, C, h, w), by a linear map.
    Linear(LatentPreview),
    /// Of a tiny decoder's bytes (H, W, 3), cut to a size where they show more than the picture.
    Tiny(Option<Size>),
}

/// Linear map from denoised latents to RGB.
#[derive(Debug)]
pub struct LatentPreview {
    /// (C + 1, 3); the last row is the offset.
    weights: Tensor,
}

impl LatentPreview {
    /// Fits the map by least squares on a picture, at the model's size, and its latents (1, C, h, w) as they are
    /// denoised.
    pub fn fit(image: &RgbImage, image_latents: &Tensor) -> Self {
        let _no_grad = tch::no_grad_guard();
        let latent = LatentSize::of(image_latents);
        let small = imageops::thumbnail(image, latent.width as u32, latent.height as u32);
        let colors =
            image_processor::to_tensor(&small, Device::Cpu).flatten(2, 3).squeeze_dim(0).tr(); // (P, 3)
        let latents = image_latents.to_device(Device::Cpu).to_kind(Kind::Float);
        let rows = with_offset(&latents).to_kind(Kind::Double); // (P, C + 1)

        // The ridge keeps a picture of one colour solvable.
        let ridge = Tensor::eye(rows.size()[1], (Kind::Double, Device::Cpu))
            * (1e-4 * rows.size()[0] as f64);
        let gram = rows.tr().matmul(&rows) + ridge; // (C + 1, C + 1)
        let target = rows.tr().matmul(&colors.to_kind(Kind::Double)); // (C + 1, 3)
        Self { weights: Tensor::linalg_solve(&gram, &target, true).to_kind(Kind::Float) }
    }

    /// Preview of clean latents (1, C, h, w), one pixel per latent cell.
    pub fn render(&self, latents: &Tensor) -> RgbImage {
        let size = latents.size();
        let latents = latents.to_device(Device::Cpu).to_kind(Kind::Float);
        let colors = with_offset(&latents).matmul(&self.weights); // (P, 3)
        image_processor::to_image(&colors.tr().view([1, 3, size[2], size[3]]))
    }
}

impl StepPreview {
    /// The preview.
    pub fn render(&self, shown: &Tensor) -> RgbImage {
        match self {
            Self::Linear(map) => map.render(shown),
            Self::Tiny(size) => {
                let image = image_processor::of_bytes(&shown.to_device(Device::Cpu));
                match size {
                    Some(size) => resample::reframed(&image, *size),
                    None => image,
                }
            }
        }
    }
}

/// Latents (1, C, h, w) as rows (h·w, C + 1); the last column is 1.
fn with_offset(latents: &Tensor) -> Tensor {
    let rows = latents.squeeze_dim(0).flatten(1, 2).tr(); // (P, C)
    let ones = Tensor::ones([rows.size()[0], 1], (Kind::Float, Device::Cpu));
    Tensor::cat(&[rows, ones], 1)
}

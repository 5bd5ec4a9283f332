//! Pictures to tensors and back (diffusers: `VaeImageProcessor`).

use image::RgbImage;
use tch::{Device, Kind, Tensor};

use crate::kernels::gpu::transfer;
use crate::pipelines::PipelineError;

/// Checks that an autoencoder can take a picture: its sides are multiples of the autoencoder's factor.
///
/// # Errors
/// [`PipelineError::ImageSize`].
pub(super) fn check_sides(image: &RgbImage, multiple: u32) -> Result<(), PipelineError> {
    let (width, height) = image.dimensions();
    if width % multiple != 0 || height % multiple != 0 || width == 0 || height == 0 {
        return Err(PipelineError::ImageSize { width, height, multiple });
    }
    Ok(())
}

/// A picture as (1, 3, H, W) in fp32, -1 to 1.
pub fn to_tensor(image: &RgbImage, device: Device) -> Tensor {
    let (width, height) = image.dimensions();
    let pixels =
        Tensor::from_slice(image.as_raw()).view([1, i64::from(height), i64::from(width), 3]); // (1, H, W, 3)
    let pixels = transfer::to_device(&pixels, device).permute([0, 3, 1, 2]).to_kind(Kind::Float); // (1, 3, H, W)
    pixels / 127.5 - 1.0
}

/// A tensor (1, 3, H, W) in -1..=1 as a picture; values outside are clamped, halves round to even as in NumPy.
pub fn to_image(tensor: &Tensor) -> RgbImage {
    of_bytes(&to_bytes(tensor))
}

/// The bytes of [`to_image`], (H, W, 3), on the tensor's device.
pub fn to_bytes(tensor: &Tensor) -> Tensor {
    let pixels = (tensor.to_kind(Kind::Float) / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0; // (1, 3, H, W)
    pixels.round().to_kind(Kind::Uint8).squeeze_dim(0).permute([1, 2, 0]).contiguous() // (H, W, 3)
}

/// The picture of a uint8 tensor (H, W, 3).
pub fn of_bytes(pixels: &Tensor) -> RgbImage {
    let size = pixels.size();
    let (height, width) = (size[0] as u32, size[1] as u32);
    let bytes =
        Vec::<u8>::try_from(pixels.view(-1)).expect("a flat tensor of bytes becomes a vector");
    RgbImage::from_raw(width, height, bytes).expect("the tensor holds three bytes a pixel")
}

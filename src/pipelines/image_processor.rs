//! Pictures to tensors and back (diffusers: `VaeImageProcessor`).

use image::RgbImage;
use tch::{Device, Kind, Tensor};

/// A picture as (1, 3, H, W) in fp32, -1 to 1.
pub fn to_tensor(image: &RgbImage, device: Device) -> Tensor {
    let (width, height) = image.dimensions();
    let pixels =
        Tensor::from_slice(image.as_raw()).view([1, i64::from(height), i64::from(width), 3]); // (1, H, W, 3)
    let pixels = pixels.permute([0, 3, 1, 2]).to_device(device).to_kind(Kind::Float); // (1, 3, H, W)
    pixels / 127.5 - 1.0
}

/// A tensor (1, 3, H, W) of -1 to 1 as a picture; values beyond are clamped, halves round to even as NumPy does.
pub fn to_image(tensor: &Tensor) -> RgbImage {
    let size = tensor.size();
    let (height, width) = (size[2] as u32, size[3] as u32);
    let pixels = (tensor.to_kind(Kind::Float) / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0; // (1, 3, H, W)
    let pixels = pixels.round().to_kind(Kind::Uint8).squeeze_dim(0).permute([1, 2, 0]).contiguous(); // (H, W, 3)
    let bytes =
        Vec::<u8>::try_from(pixels.view(-1)).expect("a flat tensor of bytes becomes a vector");
    RgbImage::from_raw(width, height, bytes).expect("the tensor holds three bytes a pixel")
}

//! Mask overlay: the editable region in color with an outline, the rest faded.

use std::borrow::Cow;

use image::{GrayImage, Rgb, RgbImage, imageops, imageops::FilterType};

use crate::drawing::{
    canvas::Canvas,
    palette::{ACCENT, mix},
};

/// Mask value from which a pixel counts as editable.
const EDITABLE: u8 = 128;

/// Draws `mask` (255 = may change, 0 = must stay) over `picture`, at the picture's size. A mask of another size is
/// resized to it.
pub fn mask_overlay(picture: &RgbImage, mask: &GrayImage) -> RgbImage {
    /// Opacity of the white over the gray picture outside the mask.
    const FADED: f32 = 0.55;
    /// Width of the outline relative to the square root of the picture's area, and its minimum in pixels.
    const LINE: (f32, f32) = (1.0 / 130.0, 2.0);

    let size = picture.dimensions();
    let mask = if mask.dimensions() == size {
        Cow::Borrowed(mask)
    } else {
        Cow::Owned(imageops::resize(mask, size.0, size.1, FilterType::Triangle))
    };
    let grey = imageops::grayscale(picture);
    let faded = RgbImage::from_fn(size.0, size.1, |x, y| {
        let outside = mix(Rgb([grey.get_pixel(x, y)[0]; 3]), Rgb([255; 3]), FADED);
        mix(outside, *picture.get_pixel(x, y), f32::from(mask.get_pixel(x, y)[0]) / 255.0)
    });
    let mut canvas = Canvas::over(faded);
    let side = (size.0 as f32 * size.1 as f32).sqrt();
    let thickness = (side * LINE.0).max(LINE.1);
    canvas.contour(&|x, y| mask.get_pixel(x, y)[0] >= EDITABLE, thickness, ACCENT, Rgb([255; 3]));
    canvas.into_image()
}

/// Fraction of editable pixels, 0..=1.
pub fn editable_share(mask: &GrayImage) -> f64 {
    let editable = mask.pixels().filter(|pixel| pixel[0] >= EDITABLE).count();
    editable as f64 / f64::from(mask.width() * mask.height()).max(1.0)
}

//! Resizing for display: small pictures with sharp pixels, large ones smoothly.

use image::{RgbImage, imageops, imageops::FilterType};

/// Longest side, in pixels, of pictures that are enlarged with sharp pixels: there a pixel is a visible unit of what
/// the model drew (64-pixel scenes, 64-cell latents), and smoothing would suggest detail that does not exist.
const CRISP_UP_TO: u32 = 128;

/// The largest size with this picture's aspect ratio within `bounds`, each side at least 1.
pub fn fitted_size((width, height): (u32, u32), bounds: (u32, u32)) -> (u32, u32) {
    let (width, height) = (f64::from(width.max(1)), f64::from(height.max(1)));
    let factor = (f64::from(bounds.0) / width).min(f64::from(bounds.1) / height);
    let side = |length: f64, bound: u32| ((length * factor).round() as u32).clamp(1, bound.max(1));
    (side(width, bounds.0), side(height, bounds.1))
}

/// Resizes a picture for display to exactly `size`.
///
/// A picture of at most 128 pixels keeps sharp pixels when it is enlarged: nearest neighbor to the next integer factor,
/// then averaged down, so that all its pixels come out equally large.
///
/// # Panics
/// If a side is 0.
pub fn preview(picture: &RgbImage, size: (u32, u32)) -> RgbImage {
    let (width, height) = picture.dimensions();
    assert!(width > 0 && height > 0 && size.0 > 0 && size.1 > 0, "a picture has a side of 0");
    if (width, height) == size {
        return picture.clone();
    }
    let whole = (size.0.next_multiple_of(width), size.1.next_multiple_of(height));
    if width.max(height) <= CRISP_UP_TO && (whole.0 > width || whole.1 > height) {
        let crisp = imageops::resize(picture, whole.0, whole.1, FilterType::Nearest);
        if whole == size {
            return crisp;
        }
        return imageops::resize(&crisp, size.0, size.1, FilterType::Triangle);
    }
    imageops::resize(picture, size.0, size.1, FilterType::CatmullRom)
}

/// Indices of at most `room` out of `count` frames: evenly spaced, with the first and the last.
pub fn evenly_chosen(count: usize, room: usize) -> Vec<usize> {
    match (count, room) {
        (0, _) | (_, 0) => vec![],
        (_, 1) => vec![count - 1],
        _ if count <= room => (0..count).collect(),
        _ => (0..room).map(|i| (i * (count - 1) + (room - 1) / 2) / (room - 1)).collect(),
    }
}

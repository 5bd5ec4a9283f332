//! Difference image of a result and its source.

use image::{RgbImage, imageops, imageops::FilterType};

use crate::drawing::palette::heat_color;

/// |result − source|, drawn and summarized.
#[derive(Debug, Clone)]
pub struct Difference {
    /// At the source's size: black where nothing changed, light yellow at the largest change.
    pub image: RgbImage,
    /// Largest change of any channel, in levels of 0..=255.
    pub greatest: u8,
    /// Fraction of pixels with any change, 0..=1.
    pub changed: f64,
}

/// Compares a result with its source; a result of another size is first resized to the source's.
pub fn difference(result: &RgbImage, source: &RgbImage) -> Difference {
    let (width, height) = source.dimensions();
    let scaled;
    let result = if result.dimensions() == (width, height) {
        result
    } else {
        scaled = imageops::resize(result, width, height, FilterType::CatmullRom);
        &scaled
    };
    let levels: Vec<u8> = result
        .pixels()
        .zip(source.pixels())
        .map(|(result, source)| (0..3).map(|i| result[i].abs_diff(source[i])).max().unwrap_or(0))
        .collect();
    let greatest = levels.iter().copied().max().unwrap_or(0);
    let changed = levels.iter().filter(|&&level| level > 0).count() as f64;
    let scale = f32::from(greatest.max(1));
    let image = RgbImage::from_fn(width, height, |x, y| {
        heat_color(f32::from(levels[y as usize * width as usize + x as usize]) / scale)
    });
    Difference { image, greatest, changed: changed / (levels.len() as f64).max(1.0) }
}

//! What an edit changed: a picture of it, and how much lies outside the mask.

use image::{GrayImage, RgbImage, imageops, imageops::FilterType};

use crate::drawing::palette::heat_color;

/// The change, in levels of 0..=255, from which on a pixel has the lightest color. It is the same for every picture, so
/// that the differences of two methods can be held against each other.
pub const FULL_SCALE: u8 = 64;

/// |result − source|, drawn and summed up.
#[derive(Debug, Clone)]
pub struct Difference {
    /// At the source's size: black where nothing changed, light yellow at [`FULL_SCALE`] levels and more.
    pub image: RgbImage,
    /// What changed in the whole picture.
    pub everywhere: Changed,
    /// What changed where the mask is 0; `None` without a mask, or if nothing lies outside it.
    pub outside: Option<Changed>,
}

/// How much of a region changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Changed {
    /// Number of pixels with a change in any channel.
    pub pixels: usize,
    /// Number of pixels of the region.
    pub of: usize,
    /// Mean absolute change over all pixels of the region and their channels, in levels.
    pub mean: f64,
}

/// Compares a result with its source, and outside of `mask` (255 = may change, 0 = must stay); a result or mask of
/// another size is first resized to the source's.
pub fn difference(result: &RgbImage, source: &RgbImage, mask: Option<&GrayImage>) -> Difference {
    let (width, height) = source.dimensions();
    let scaled;
    let result = if result.dimensions() == (width, height) {
        result
    } else {
        scaled = imageops::resize(result, width, height, FilterType::CatmullRom);
        &scaled
    };
    let changes: Vec<[u8; 3]> = result
        .pixels()
        .zip(source.pixels())
        .map(|(result, source)| [0, 1, 2].map(|i| result[i].abs_diff(source[i])))
        .collect();
    let image = RgbImage::from_fn(width, height, |x, y| {
        let change = changes[y as usize * width as usize + x as usize];
        let greatest = change.into_iter().max().unwrap_or(0);
        heat_color(f32::from(greatest) / f32::from(FULL_SCALE))
    });
    let outside = mask.and_then(|mask| {
        let mask = imageops::resize(mask, width, height, FilterType::Nearest);
        let pairs = changes.iter().zip(mask.pixels());
        Changed::of(pairs.filter(|(_, mask)| mask[0] == 0).map(|(change, _)| change))
    });
    let nothing = Changed { pixels: 0, of: 0, mean: 0.0 };
    Difference { image, everywhere: Changed::of(&changes).unwrap_or(nothing), outside }
}

impl Changed {
    /// Sums up the changes of a region; `None` if it has no pixels.
    fn of<'a>(changes: impl IntoIterator<Item = &'a [u8; 3]>) -> Option<Self> {
        let (mut pixels, mut of, mut levels) = (0, 0, 0u64);
        for change in changes {
            of += 1;
            pixels += usize::from(change.iter().any(|&it| it > 0));
            levels += change.iter().map(|&it| u64::from(it)).sum::<u64>();
        }
        (of > 0).then(|| Self { pixels, of, mean: levels as f64 / (3 * of) as f64 })
    }
}

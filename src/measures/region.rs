//! A set of pixels.

use image::GrayImage;

/// The value from which a mask's pixel belongs to the region.
const INSIDE_FROM: u8 = 128;

/// A set of pixels of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    width: u32,
    height: u32,
    pixels: Vec<bool>,
}

impl Region {
    /// The pixels (column, row) for which `holds` is true.
    pub fn from_fn(width: u32, height: u32, holds: impl Fn(u32, u32) -> bool) -> Self {
        let rows = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        Self { width, height, pixels: rows.map(|(x, y)| holds(x, y)).collect() }
    }

    /// All pixels of a picture.
    pub fn all(width: u32, height: u32) -> Self {
        Self::from_fn(width, height, |_, _| true)
    }

    /// The pixels of a mask that are at least 128.
    pub fn of_mask(mask: &GrayImage) -> Self {
        let pixels = mask.as_raw().iter().map(|&it| it >= INSIDE_FROM).collect();
        Self { width: mask.width(), height: mask.height(), pixels }
    }

    /// (width, height) of the picture.
    pub fn dimensions(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// How many pixels there are.
    pub fn count(&self) -> usize {
        self.pixels.iter().filter(|&&it| it).count()
    }

    /// Share of the picture, 0 to 1.
    pub fn share(&self) -> f64 {
        self.count() as f64 / self.pixels.len() as f64
    }

    /// Whether the pixel at (column, row) belongs to it.
    pub fn contains(&self, x: u32, y: u32) -> bool {
        self.pixels[(y * self.width + x) as usize]
    }

    /// One entry a pixel, row by row.
    pub fn as_slice(&self) -> &[bool] {
        &self.pixels
    }

    /// The pixels that do not belong to it.
    #[must_use]
    pub fn complement(&self) -> Self {
        Self { pixels: self.pixels.iter().map(|it| !it).collect(), ..*self }
    }

    /// The pixels that belong to both.
    ///
    /// # Panics
    /// If the sizes differ.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        assert_eq!(self.dimensions(), other.dimensions(), "regions of one picture have one size");
        let both = self.pixels.iter().zip(&other.pixels).map(|(a, b)| *a && *b);
        Self { pixels: both.collect(), ..*self }
    }

    /// Dilated by `by` pixels in all eight directions.
    #[must_use]
    pub fn grown(&self, by: u32) -> Self {
        let (width, height) = (self.width as usize, self.height as usize);
        // A square grows by its columns, then by its rows.
        let wide = spread(&self.pixels, by as usize, height, width, |y, x| y * width + x);
        let pixels = spread(&wide, by as usize, width, height, |x, y| y * width + x);
        Self { pixels, ..*self }
    }
}

/// Marks everything within `by` pixels of a marked one on the same line; `at` maps (line, place) to a pixel's index.
fn spread(
    pixels: &[bool],
    by: usize,
    lines: usize,
    length: usize,
    at: impl Fn(usize, usize) -> usize,
) -> Vec<bool> {
    let mut out = vec![false; pixels.len()];
    for line in 0..lines {
        for place in (0..length).filter(|&place| pixels[at(line, place)]) {
            for near in place.saturating_sub(by)..(place + by + 1).min(length) {
                out[at(line, near)] = true;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixel_grows_to_a_square_and_stays_in_the_picture() {
        let region = Region::from_fn(5, 4, |x, y| (x, y) == (1, 0)).grown(1);
        assert_eq!(region, Region::from_fn(5, 4, |x, y| x <= 2 && y <= 1));
    }

    #[test]
    fn a_region_and_its_complement_are_all_and_share_nothing() {
        let region = Region::from_fn(3, 3, |x, y| x > y);
        assert_eq!(region.count() + region.complement().count(), 9);
        assert_eq!(region.intersection(&region.complement()).count(), 0);
    }
}

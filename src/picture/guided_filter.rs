//! Guided filter with a color guide, to snap a mask's border to the edges of the picture.
//!
//! Source: He, Sun, Tang, "Guided Image Filtering" (TPAMI 2013), equations 19 and 20; for large pictures He and Sun,
//! "Fast Guided Filter" (arXiv 1505.00996): coefficients at a smaller size, the guide at full size.

use image::RgbImage;

use crate::picture::{
    mask::Mask,
    planes::{between, box_mean, columns, interpolated, shrunk_to},
    resample::{self, Filter},
    size::Size,
};

/// The filter's regularization epsilon, for a guide in 0..=1 (the paper's 0.01², for sharp edges).
const EPSILON: f32 = 1e-4;

/// Threshold on the filtered mask. An object smaller than the window stays below 1, so it is less than 0.5; measured in
/// `docs/ablations.md`.
const EDIT_FROM: f32 = 0.4;

/// Number of times that a mask is filtered; each pass starts from the better mask of the one before.
const PASSES: usize = 2;

/// Longest side at which the coefficients are computed, in pixels.
const COEFFICIENT_SIDE: u32 = 512;

/// A mask whose border follows the edges of `guide`, within about `radius` pixels: the guided filter of the mask,
/// thresholded.
///
/// If that leaves no pixel, the mask is returned unchanged.
///
/// # Panics
/// If the sizes differ.
#[must_use]
pub fn refined(mask: &Mask, guide: &RgbImage, radius: u32) -> Mask {
    let size = mask.size();
    let mut found = mask.clone();
    for _ in 0..PASSES {
        let values: Vec<f32> =
            found.as_image().iter().map(|&it| f32::from(u8::from(it > 0))).collect();
        let values = filtered(guide, &values, radius);
        found = Mask::from_fn(size, |x, y| values[(y * size.width + x) as usize] > EDIT_FROM);
    }
    if found.is_empty() { mask.clone() } else { found }
}

/// The guided filter of `values`, one per pixel of `guide`, over windows of `2 · radius + 1` pixels a side.
///
/// # Panics
/// If there is not one value per pixel.
pub fn filtered(guide: &RgbImage, values: &[f32], radius: u32) -> Vec<f32> {
    let size = Size::new(guide.width(), guide.height());
    assert_eq!(values.len() as u64, size.pixels(), "there is one value a pixel");
    let small = shrunk_to(size, COEFFICIENT_SIDE);
    if small == size {
        return Coefficients::fit(guide, values, radius.max(1)).apply(guide);
    }
    let scale = f64::from(COEFFICIENT_SIDE) / f64::from(size.width.max(size.height));
    let small_guide = resample::resize_rgb(guide, small, Filter::Box);
    let small_values = box_shrunk(values, size, small);
    let small_radius = ((f64::from(radius) * scale).round() as u32).max(1);
    Coefficients::fit(&small_guide, &small_values, small_radius).apply(guide)
}

/// Linear model at each pixel: `values ≈ a · color + b`.
struct Coefficients {
    size: Size,
    /// a for red, green and blue, then b: one number per pixel.
    planes: [Vec<f32>; 4],
}

impl Coefficients {
    /// Fits the model in each window, then averages over all windows that contain a pixel.
    fn fit(guide: &RgbImage, values: &[f32], radius: u32) -> Self {
        let size = Size::new(guide.width(), guide.height());
        let mean = |plane: &[f32]| box_mean(plane, size, radius as usize);
        let product = |a: &[f32], b: &[f32]| -> Vec<f32> {
            mean(&a.iter().zip(b).map(|(a, b)| a * b).collect::<Vec<_>>())
        };
        let colors = [0, 1, 2].map(|channel| -> Vec<f32> {
            guide.pixels().map(|it| f32::from(it.0[channel]) / 255.0).collect()
        });
        let means = [0, 1, 2].map(|c: usize| mean(&colors[c]));
        let value_means = mean(values);
        let with_values = [0, 1, 2].map(|c: usize| product(&colors[c], values));
        let pairs = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)];
        let squares = pairs.map(|(i, j): (usize, usize)| product(&colors[i], &colors[j]));

        let mut planes = [0; 4].map(|_| vec![0.0f32; values.len()]);
        for pixel in 0..values.len() {
            let mean = [0, 1, 2].map(|c: usize| means[c][pixel]);
            let value = value_means[pixel];
            let covariance = [0, 1, 2].map(|c: usize| with_values[c][pixel] - mean[c] * value);
            let mut variance = [0.0; 6];
            for (k, &(i, j)) in pairs.iter().enumerate() {
                variance[k] = squares[k][pixel] - mean[i] * mean[j];
            }
            for diagonal in [0, 3, 5] {
                variance[diagonal] += EPSILON;
            }
            let a = solved(variance, covariance);
            for (plane, a) in planes.iter_mut().zip(a) {
                plane[pixel] = a;
            }
            planes[3][pixel] = value - (0..3).map(|c| a[c] * mean[c]).sum::<f32>();
        }
        Self { size, planes: planes.map(|plane| mean(&plane)) }
    }

    /// Evaluates the model on a guide of any size, with interpolated coefficients.
    fn apply(&self, guide: &RgbImage) -> Vec<f32> {
        let columns = columns(guide.width(), self.size.width);
        let mut out = Vec::with_capacity(guide.pixels().len());
        for y in 0..guide.height() {
            let row = between(y, guide.height(), self.size.height);
            for (x, &column) in columns.iter().enumerate() {
                let at = |plane: &[f32]| interpolated(plane, self.size.width, column, row);
                let color = guide.get_pixel(x as u32, y).0;
                let line = (0..3).map(|c| at(&self.planes[c]) * f32::from(color[c]) / 255.0);
                out.push(line.sum::<f32>() + at(&self.planes[3]));
            }
        }
        out
    }
}

/// Solves `[[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]] · a = b` by Cramer's rule in fp64; the matrix is positive
/// definite.
fn solved([xx, xy, xz, yy, yz, zz]: [f32; 6], b: [f32; 3]) -> [f32; 3] {
    let [xx, xy, xz, yy, yz, zz] = [xx, xy, xz, yy, yz, zz].map(f64::from);
    let [b0, b1, b2] = b.map(f64::from);
    let (c00, c01, c02) = (yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy);
    let (c11, c12, c22) = (xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy);
    let determinant = xx * c00 + xy * c01 + xz * c02;
    let row = |p: f64, q: f64, r: f64| ((p * b0 + q * b1 + r * b2) / determinant) as f32;
    [row(c00, c01, c02), row(c01, c11, c12), row(c02, c12, c22)]
}

/// Downsamples values to a smaller size: the mean of the pixels whose centers fall into each cell.
fn box_shrunk(values: &[f32], size: Size, small: Size) -> Vec<f32> {
    let mut sums = vec![(0.0f32, 0.0f32); small.pixels() as usize];
    let cell = |pixel: u32, pixels: u32, cells: u32| {
        (u64::from(pixel) * u64::from(cells) / u64::from(pixels)) as u32
    };
    for y in 0..size.height {
        let row = cell(y, size.height, small.height) * small.width;
        for x in 0..size.width {
            let (sum, count) = &mut sums[(row + cell(x, size.width, small.width)) as usize];
            *sum += values[(y * size.width + x) as usize];
            *count += 1.0;
        }
    }
    sums.into_iter().map(|(sum, count)| sum / count.max(1.0)).collect()
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    /// A picture whose color changes at column `edge`.
    fn step(size: Size, edge: u32) -> RgbImage {
        let color = |x| if x < edge { Rgb([200, 40, 40]) } else { Rgb([60, 60, 220]) };
        RgbImage::from_fn(size.width, size.height, |x, _| color(x))
    }

    #[test]
    fn a_blocky_mask_finds_the_edge_of_the_picture() {
        let size = Size::new(40, 24);
        // The edge lies at 17; the mask, made of cells of 4, ends on either side of it.
        for end in [20, 16] {
            let found = refined(&Mask::from_fn(size, |x, _| x < end), &step(size, 17), 12);
            assert!(found == Mask::from_fn(size, |x, _| x < 17), "from {end}");
        }
    }

    #[test]
    fn a_large_picture_keeps_its_edge_to_the_pixel() {
        let size = Size::new(1101, 40);
        let found = refined(&Mask::from_fn(size, |x, _| x < 512), &step(size, 501), 60);
        assert!(found == Mask::from_fn(size, |x, _| x < 501));
    }

    #[test]
    fn a_plain_guide_blurs_by_windows_of_windows() {
        let guide = RgbImage::from_pixel(7, 1, Rgb([90, 90, 90]));
        let found = filtered(&guide, &[0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0], 1);
        for (found, expected) in found.iter().zip([0.0, 1.0, 2.0, 3.0, 2.0, 1.0, 0.0]) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }

    #[test]
    fn a_mask_that_the_picture_does_not_bear_out_stays() {
        let size = Size::new(32, 32);
        let dot = Mask::from_fn(size, |x, y| x == 9 && y == 9);
        assert!(refined(&dot, &step(size, 40), 4) == dot);
    }
}

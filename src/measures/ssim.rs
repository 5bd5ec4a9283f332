//! Structural similarity (Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment", 2004), averaged over a region.

use image::RgbImage;

use crate::measures::region::Region;

/// Standard deviation of the window, in pixels (the paper, section III.B).
const SIGMA: f64 = 1.5;

/// Half the window without its middle: 11 samples wide (the paper, section III.B).
const RADIUS: i64 = 5;

/// (0.01 · 255)², which keeps the luminance term steady (the paper's K1).
const C1: f64 = (0.01 * 255.0) * (0.01 * 255.0);

/// (0.03 · 255)², which keeps the contrast term steady (the paper's K2).
const C2: f64 = (0.03 * 255.0) * (0.03 * 255.0);

/// The mean SSIM of the three channels over the pixels of a region, -1 to 1; `None` if it holds no pixel.
///
/// The map is that of scikit-image's `structural_similarity(gaussian_weights=True, sigma=1.5,
/// use_sample_covariance=False, channel_axis=2, data_range=255, full=True)`, with pictures mirrored at their edges.
/// Differs: all pixels of the region count, while scikit-image's own mean leaves out five pixels at the edges. A window
/// at the region's edge includes pixels outside it.
///
/// # Panics
/// If the sizes differ.
pub fn ssim_within(region: &Region, one: &RgbImage, other: &RgbImage) -> Option<f64> {
    assert_eq!(one.dimensions(), other.dimensions(), "compared pictures have one size");
    assert_eq!(one.dimensions(), region.dimensions(), "a region has its picture's size");
    let count = region.count();
    if count == 0 {
        return None;
    }
    let size = (one.width() as usize, one.height() as usize);
    let window = window();
    let mut sum = 0.0;
    for channel in 0..3 {
        let plane = |image: &RgbImage| -> Vec<f64> {
            image.pixels().map(|pixel| f64::from(pixel[channel])).collect()
        };
        let (a, b) = (plane(one), plane(other));
        let product =
            |x: &[f64], y: &[f64]| -> Vec<f64> { x.iter().zip(y).map(|(x, y)| x * y).collect() };
        let smooth = |plane: &[f64]| filtered(plane, size, &window);
        let (mean_a, mean_b) = (smooth(&a), smooth(&b));
        let (aa, bb) = (smooth(&product(&a, &a)), smooth(&product(&b, &b)));
        let ab = smooth(&product(&a, &b));
        for (index, _) in region.as_slice().iter().enumerate().filter(|(_, inside)| **inside) {
            let (ma, mb) = (mean_a[index], mean_b[index]);
            let (va, vb) = (aa[index] - ma * ma, bb[index] - mb * mb);
            let covariance = ab[index] - ma * mb;
            let above = (2.0 * ma * mb + C1) * (2.0 * covariance + C2);
            sum += above / ((ma * ma + mb * mb + C1) * (va + vb + C2));
        }
    }
    Some(sum / (3 * count) as f64)
}

/// The Gaussian window, summing to 1.
fn window() -> Vec<f64> {
    let raw: Vec<f64> =
        (-RADIUS..=RADIUS).map(|at| (-(at as f64).powi(2) / (2.0 * SIGMA * SIGMA)).exp()).collect();
    let sum: f64 = raw.iter().sum();
    raw.into_iter().map(|it| it / sum).collect()
}

/// A plane under the window, by columns and by rows; edges are mirrored with the edge pixel repeated
/// (the mode `reflect` of `scipy.ndimage`).
fn filtered(plane: &[f64], (width, height): (usize, usize), window: &[f64]) -> Vec<f64> {
    let down = pass(plane, height, width, window, |y, x| y * width + x);
    pass(&down, width, height, window, |x, y| y * width + x)
}

/// One direction: along `length` places, for each of `lines` lines beside each other.
fn pass(
    plane: &[f64],
    length: usize,
    lines: usize,
    window: &[f64],
    at: impl Fn(usize, usize) -> usize,
) -> Vec<f64> {
    let mut out = vec![0.0; plane.len()];
    for place in 0..length {
        for (offset, weight) in (-RADIUS..).zip(window) {
            let source = mirrored(place as i64 + offset, length as i64);
            for line in 0..lines {
                out[at(place, line)] += weight * plane[at(source, line)];
            }
        }
    }
    out
}

/// A place beyond the edges, mirrored: d c b a | a b c d | d c b a.
fn mirrored(place: i64, length: i64) -> usize {
    let turn = place.rem_euclid(2 * length);
    turn.min(2 * length - 1 - turn) as usize
}

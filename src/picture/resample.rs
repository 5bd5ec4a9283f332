//! Resizing with Pillow's arithmetic, bit for bit (Pillow 13.0.0, `src/libImaging/Resample.c`).
//!
//! The crate `fast_image_resize` would be shorter, but follows Pillow-SIMD, whose 16-bit weights differ from Pillow's
//! 22-bit ones by a level here and there, and the recorded diffusers outputs went through Pillow.

use image::{GrayImage, ImageBuffer, Pixel, RgbImage};

use crate::picture::size::Size;

/// A resampling filter, named as in Pillow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Box filter (mean).
    Box,
    /// Triangle filter, support of one pixel.
    Bilinear,
    /// Keys' cubic with a = -0.5, support of two pixels.
    Bicubic,
    /// Lanczos filter, support of three pixels.
    Lanczos,
}

/// Fraction bits of a weight: 32 less 8 of the sample and 2 for sums beyond 1.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// Resizes a color picture.
pub fn resize_rgb(image: &RgbImage, to: Size, filter: Filter) -> RgbImage {
    resize::<image::Rgb<u8>, 3>(image, to, filter)
}

/// Resizes a single channel, such as alpha or a mask before its threshold.
pub fn resize_gray(image: &GrayImage, to: Size, filter: Filter) -> GrayImage {
    resize::<image::Luma<u8>, 1>(image, to, filter)
}

/// Crops or pads a picture to a size without resampling: the excess is cut off on the right and below, and missing
/// columns and rows there repeat the last one.
pub fn reframed<P: Pixel>(
    image: &ImageBuffer<P, Vec<P::Subpixel>>,
    to: Size,
) -> ImageBuffer<P, Vec<P::Subpixel>> {
    let (right, bottom) = (image.width() - 1, image.height() - 1);
    let pixel = |x: u32, y: u32| *image.get_pixel(x.min(right), y.min(bottom));
    ImageBuffer::from_fn(to.width, to.height, pixel)
}

fn resize<P: Pixel<Subpixel = u8>, const C: usize>(
    image: &ImageBuffer<P, Vec<u8>>,
    to: Size,
    filter: Filter,
) -> ImageBuffer<P, Vec<u8>> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (to_width, to_height) = (to.width as usize, to.height as usize);
    let narrowed; // Pillow skips a pass that changes nothing, and rounds once less.
    let mut data = image.as_raw().as_slice();
    if to_width != width {
        narrowed = horizontal::<C>(data, width, &weights(width, to_width, filter));
        data = &narrowed;
    }
    let data = if to_height == height {
        data.to_vec()
    } else {
        vertical(data, to_width * C, &weights(height, to_height, filter))
    };
    ImageBuffer::from_raw(to.width, to.height, data).expect("both passes keep to the size")
}

fn horizontal<const C: usize>(data: &[u8], width: usize, weights: &[Window]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() / width * weights.len());
    for row in data.chunks_exact(width * C) {
        let (row, _) = row.as_chunks::<C>();
        for window in weights {
            let mut sums = [1 << (PRECISION_BITS - 1); C];
            for (pixel, weight) in row[window.start..].iter().zip(&window.weights) {
                for (sum, sample) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(*sample) * weight;
                }
            }
            out.extend(sums.map(clip));
        }
    }
    out
}

fn vertical(data: &[u8], stride: usize, weights: &[Window]) -> Vec<u8> {
    let mut out = Vec::with_capacity(stride * weights.len());
    let mut sums = vec![0; stride];
    for window in weights {
        sums.fill(1 << (PRECISION_BITS - 1));
        for (row, weight) in data[window.start * stride..].chunks_exact(stride).zip(&window.weights)
        {
            for (sum, sample) in sums.iter_mut().zip(row) {
                *sum += i32::from(*sample) * weight;
            }
        }
        out.extend(sums.iter().copied().map(clip));
    }
    out
}

fn clip(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// The input samples from `start` on that contribute to one output sample, with fixed-point weights.
struct Window {
    start: usize,
    weights: Vec<i32>,
}

fn weights(from: usize, to: usize, filter: Filter) -> Vec<Window> {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0); // a filter widens when shrinking, and keeps its width when enlarging
    let support = filter.support() * stretch;
    let window = |index: usize| {
        let center = (index as f64 + 0.5) * scale;
        let start = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(from);
        let raw: Vec<f64> = (start..end)
            // Divided by way of a reciprocal, as Pillow does: the last bit counts.
            .map(|it| filter.weight((it as f64 - center + 0.5) * (1.0 / stretch)))
            .collect();
        let sum: f64 = raw.iter().sum();
        let fixed = |it: f64| {
            let scaled = it / sum * f64::from(1 << PRECISION_BITS);
            (scaled + 0.5_f64.copysign(scaled)) as i32
        };
        Window { start, weights: raw.into_iter().map(fixed).collect() }
    };
    (0..to).map(window).collect()
}

impl Filter {
    /// The filter's support (half its width) in pixels, when enlarging.
    fn support(self) -> f64 {
        match self {
            Filter::Box => 0.5,
            Filter::Bilinear => 1.0,
            Filter::Bicubic => 2.0,
            Filter::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        match self {
            Filter::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Filter::Bilinear => (1.0 - x.abs()).max(0.0),
            Filter::Bicubic => {
                let x = x.abs();
                if x < 1.0 {
                    ((-0.5 + 2.0) * x - (-0.5 + 3.0)) * x * x + 1.0
                } else if x < 2.0 {
                    (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
                } else {
                    0.0
                }
            }
            Filter::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Filter::Lanczos => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
}

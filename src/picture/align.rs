//! Undoes what a model did to a whole picture beside its edit: a shift, a zoom, and other colors.

use image::{GrayImage, Rgb, RgbImage};

use crate::picture::{
    planes::{self, Plane},
    resample::{self, Filter},
    size::Size,
};

/// Keys' cubic with a = -0.5, as Pillow's.
const CUBIC: f64 = -0.5;

/// Longest side at which colors are compared, in pixels.
const COMPARED_SIDE: u32 = 512;

/// Greatest shift of color that is undone, in levels: what differs by more is another thing.
const MOST: f32 = 48.0;

/// Share of what is near that must lie outside the mask to say its shift of color.
const LEAST_OUTSIDE: f32 = 0.02;

/// How many times farther its shift is looked for else.
const WIDE: usize = 4;

/// Where a picture lies beside another: what that has at a place p this has at `middle + zoom · (p - middle) + (right,
/// down)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Displacement {
    /// To the right, in pixels.
    pub right: f64,
    /// Down, in pixels.
    pub down: f64,
    /// From the middle, above 0; larger than 1 for what grew.
    pub zoom: f64,
}

impl Displacement {
    /// The farthest that any place of a picture of this size moves, in pixels.
    pub fn greatest(&self, size: Size) -> f64 {
        let along =
            |side: u32, moved: f64| f64::from(side) / 2.0 * (self.zoom - 1.0).abs() + moved.abs();
        along(size.width, self.right).hypot(along(size.height, self.down))
    }

    /// The same in pixels that are so many times as many along each side.
    #[must_use]
    pub fn scaled(self, [width, height]: [f64; 2]) -> Self {
        Self { right: self.right * width, down: self.down * height, ..self }
    }

    /// A picture that lies so, put back; beyond its edges the last pixels are repeated.
    pub fn undone(&self, image: &RgbImage) -> RgbImage {
        let (width, height) = image.dimensions();
        let weights = |side: u32, moved: f64| -> Vec<[(u32, f64); 4]> {
            let middle = f64::from(side) / 2.0;
            let from = |pixel: u32| {
                let place = f64::from(pixel) + 0.5 - middle;
                taps(middle + self.zoom * place + moved - 0.5, side)
            };
            (0..side).map(from).collect()
        };
        let (columns, rows) = (weights(width, self.right), weights(height, self.down));
        let mixed = |taps: &[(u32, f64); 4], at: &dyn Fn(u32) -> [f64; 3]| {
            taps.iter().fold([0.0; 3], |sum, &(index, weight)| {
                let value = at(index);
                [0, 1, 2].map(|channel| sum[channel] + weight * value[channel])
            })
        };
        RgbImage::from_fn(width, height, |x, y| {
            let row =
                |y: u32| mixed(&columns[x as usize], &|x| image.get_pixel(x, y).0.map(f64::from));
            Rgb(mixed(&rows[y as usize], &row).map(|it| it.round().clamp(0.0, 255.0) as u8))
        })
    }
}

/// The four pixels around a place between pixels, and their weights.
fn taps(place: f64, side: u32) -> [(u32, f64); 4] {
    let first = place.floor();
    [-1.0, 0.0, 1.0, 2.0].map(|step| {
        let index = (first + step).clamp(0.0, f64::from(side - 1)) as u32;
        (index, cubic((place - first - step).abs()))
    })
}

/// The weight of a pixel at a distance (Keys 1981).
fn cubic(at: f64) -> f64 {
    if at < 1.0 {
        ((CUBIC + 2.0) * at - (CUBIC + 3.0)) * at * at + 1.0
    } else if at < 2.0 {
        (((at - 5.0) * at + 8.0) * at - 4.0) * CUBIC
    } else {
        0.0
    }
}

/// An edit in the colors that its picture has around the mask: the low-frequency difference of the two outside the mask
/// is carried on into it, and added to the edit.
///
/// `unedited` is the picture after the same round trip, without an edit; `mask` is above 0 where it is edited, and `near`
/// is how far from a place its colors are told, in pixels.
///
/// # Panics
/// If the sizes differ.
pub fn in_colors_of(
    edited: &RgbImage,
    unedited: &RgbImage,
    mask: &GrayImage,
    near: f64,
) -> RgbImage {
    let sizes = [unedited.dimensions(), mask.dimensions()];
    assert!(sizes.iter().all(|it| *it == edited.dimensions()), "pictures of an edit have one size");
    let size = Size::new(edited.width(), edited.height());
    let small = planes::shrunk_to(size, COMPARED_SIDE);
    let [from, to] = [edited, unedited].map(|it| resample::resize_rgb(it, small, Filter::Box));
    let is_edited = GrayImage::from_fn(size.width, size.height, |x, y| {
        image::Luma([if mask.get_pixel(x, y).0[0] > 0 { 255 } else { 0 }])
    });
    let is_edited = resample::resize_gray(&is_edited, small, Filter::Box);
    let outside = is_edited.as_raw().iter().map(|it| 1.0 - f32::from(*it) / 255.0).collect();
    let outside = Plane::new(small, outside);
    if outside.values().iter().all(|it| *it <= 0.0) {
        return edited.clone();
    }
    let near = (near * f64::from(small.width) / f64::from(size.width)).round().max(1.0) as usize;
    let all = (small.width.max(small.height)) as usize;
    let mean = |plane: &Plane, reach: usize| plane.blurred(reach).blurred(reach);
    let [weight, wide_weight, all_weight] =
        [near, WIDE * near, all].map(|reach| mean(&outside, reach));
    let shift = [0, 1, 2].map(|channel: usize| {
        let level = |it: &Rgb<u8>| f32::from(it.0[channel]);
        let apart = from.pixels().zip(to.pixels()).map(|(one, other)| level(other) - level(one));
        let apart = apart.map(|it| it.clamp(-MOST, MOST)).collect();
        let apart = Plane::new(small, apart).zipped(&outside, |it, weight| it * weight);
        let of_all = mean(&apart, all).zipped(&all_weight, |sum, it| sum / it.max(1e-6));
        let carried = |from: &Plane, reach: usize, weight: &Plane| {
            let sum = mean(&apart, reach).zipped(from, |sum, far| sum + LEAST_OUTSIDE * far);
            sum.zipped(weight, |sum, weight| sum / (weight + LEAST_OUTSIDE))
        };
        let wide = carried(&of_all, WIDE * near, &wide_weight);
        carried(&wide, near, &weight)
    });
    let columns = planes::columns(size.width, small.width);
    let mut out = edited.clone();
    for (x, y, pixel) in out.enumerate_pixels_mut() {
        let row = planes::between(y, size.height, small.height);
        for (value, shift) in pixel.0.iter_mut().zip(&shift) {
            let moved = f32::from(*value) + shift.at(columns[x as usize], row);
            *value = moved.round().clamp(0.0, 255.0) as u8;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use image::Luma;

    use super::*;

    /// A smooth picture as it is seen through a displacement: what it has at a place is at the displaced place.
    fn seen(by: Displacement) -> RgbImage {
        let (width, height) = (120, 90);
        RgbImage::from_fn(width, height, |x, y| {
            let place = |at: u32, side: u32, moved: f64| {
                let middle = f64::from(side) / 2.0;
                (f64::from(at) + 0.5 - middle - moved) / by.zoom
            };
            let (x, y) = (place(x, width, by.right), place(y, height, by.down));
            let wave = |a: f64, b: f64| (127.5 + 100.0 * (x * a + y * b).sin()).round() as u8;
            Rgb([wave(0.21, 0.05), wave(-0.07, 0.18), wave(0.11, 0.13)])
        })
    }

    /// The greatest difference, in levels, away from the edges, beyond which nothing is known.
    fn apart(one: &RgbImage, other: &RgbImage) -> u8 {
        let inner = one
            .enumerate_pixels()
            .filter(|(x, y, _)| (12..108).contains(x) && (12..78).contains(y));
        let differences = inner.flat_map(|(x, y, pixel)| {
            let pair = other.get_pixel(x, y).0;
            [0, 1, 2].map(|it| pixel.0[it].abs_diff(pair[it]))
        });
        differences.max().unwrap()
    }

    #[test]
    fn a_picture_that_was_shifted_and_zoomed_is_put_back() {
        let still = Displacement { right: 0.0, down: 0.0, zoom: 1.0 };
        let original = seen(still);
        assert_eq!(still.undone(&original), original);
        for (right, down, zoom) in
            [(3.0, -2.0, 1.0), (0.4, 0.7, 1.0), (0.0, 0.0, 1.05), (-4.3, 2.6, 0.96)]
        {
            let moved = Displacement { right, down, zoom };
            let found = seen(moved);
            assert!(apart(&found, &original) > 8, "{moved:?}");
            let back = apart(&moved.undone(&found), &original);
            // Rounded twice, and a cubic between pixels.
            assert!(back <= 2, "{moved:?}: {back}");
        }
    }

    #[test]
    fn the_farthest_place_is_a_corner() {
        let grown = Displacement { right: 3.0, down: 0.0, zoom: 1.1 };
        assert!((grown.greatest(Size::new(100, 80)) - 8.0_f64.hypot(4.0)).abs() < 1e-9);
        assert!((grown.scaled([2.0, 0.5]).right - 6.0).abs() < 1e-9);
    }

    #[test]
    fn a_whole_picture_that_became_warmer_is_not_so_at_the_seam_nor_within() {
        let unedited = seen(Displacement { right: 0.0, down: 0.0, zoom: 1.0 });
        let is_in = |x: u32, y: u32| (40..80).contains(&x) && (30..60).contains(&y);
        let mask = GrayImage::from_fn(120, 90, |x, y| Luma([if is_in(x, y) { 255 } else { 0 }]));
        // Another thing inside, and all of it redder and darker.
        let edited = RgbImage::from_fn(120, 90, |x, y| {
            let [r, g, b] = if is_in(x, y) { [90, 140, 60] } else { unedited.get_pixel(x, y).0 };
            Rgb([r.saturating_add(18), g, b.saturating_sub(11)])
        });
        let out = in_colors_of(&edited, &unedited, &mask, 8.0);
        for (x, y, pixel) in out.enumerate_pixels().filter(|(x, y, _)| is_in(*x, *y)) {
            let expected: [u8; 3] = [90, 140, 60];
            let apart = pixel.0.iter().zip(expected).map(|(a, b)| a.abs_diff(b)).max();
            assert!(apart <= Some(1), "{x} {y}: {pixel:?}");
        }
    }

    #[test]
    fn without_a_place_outside_the_mask_colors_stay() {
        let picture = seen(Displacement { right: 1.0, down: 0.0, zoom: 1.0 });
        let other = RgbImage::from_pixel(120, 90, Rgb([7; 3]));
        let mask = GrayImage::from_pixel(120, 90, Luma([255]));
        assert_eq!(in_colors_of(&picture, &other, &mask, 8.0), picture);
    }
}

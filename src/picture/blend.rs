//! Puts an edit into its picture: what it changed, in the colors of its surroundings; all else is the picture itself.
//!
//! An autoencoder does not give a picture back as it was: colors shift a little, and details are lost. An edit is
//! therefore compared with the picture after the same round trip, without an edit. Where the two agree nothing was
//! edited, and the picture's own pixels stay, also inside a mask. Where they differ the edit is taken, less the shift
//! of color that its unedited surroundings have.

use image::{GrayImage, RgbImage};

use crate::picture::{
    planes::{self, Plane},
    resample::{self, Filter},
    size::Size,
};

/// Difference, of the edit's own (that which a twentieth of the mask's pixels pass), from which all of it is taken.
const MOVED: f32 = 0.3;

/// The least such difference, in levels.
const LEAST_MOVED: f32 = 16.0;

/// Difference, of that one, up to which nothing was edited: a decoder's statistics move what an edit leaves alone.
const STILL: f32 = 0.25;

/// Share of the mask's pixels whose difference is below the edit's own.
const QUANTILE: f64 = 0.95;

/// Share of what is near that must be unedited to say its shift of color.
const LEAST_STILL: f32 = 0.02;

/// How many times farther its shift is looked for else.
const WIDE: usize = 4;

/// Longest side at which differences are compared, in pixels.
const COMPARED_SIDE: u32 = 512;

/// An edit and the picture without it, both after the model's round trip.
#[derive(Debug, Clone, Copy)]
pub struct RoundTrip<'a> {
    /// The edited picture.
    pub edited: &'a RgbImage,
    /// The picture that was not edited.
    pub unedited: &'a RgbImage,
    /// Pixels a side of what the model sees as one cell, at these pictures' size.
    pub cell: f64,
}

/// The edit over its original, at most as far as `alpha` says; at 0 the original's pixel is kept bit for bit.
///
/// # Panics
/// If the sizes differ.
pub fn blended(trip: RoundTrip<'_>, original: &RgbImage, alpha: &GrayImage) -> RgbImage {
    let RoundTrip { edited, unedited, cell } = trip;
    let sizes = [edited.dimensions(), unedited.dimensions(), alpha.dimensions()];
    assert!(
        sizes.iter().all(|it| *it == original.dimensions()),
        "pictures of an edit have one size"
    );
    let size = Size::new(original.width(), original.height());
    let small = planes::shrunk_to(size, COMPARED_SIDE);
    let shrunk = |it: &RgbImage| resample::resize_rgb(it, small, Filter::Box);
    let cell = cell * f64::from(small.width) / f64::from(size.width);
    let mask = resample::resize_gray(alpha, small, Filter::Box);
    let (change, shift) =
        compared(&shrunk(edited), &shrunk(unedited), &shrunk(original), &mask, cell);

    let mut out = original.clone();
    let columns = planes::columns(size.width, small.width);
    for y in 0..size.height {
        let row = planes::between(y, size.height, small.height);
        for (x, &column) in columns.iter().enumerate() {
            let x = x as u32;
            let most = f32::from(alpha.get_pixel(x, y).0[0]) / 255.0;
            let taken = most * change.at(column, row);
            if taken <= 0.0 {
                continue;
            }
            let edit = edited.get_pixel(x, y).0;
            for (channel, value) in out.get_pixel_mut(x, y).0.iter_mut().enumerate() {
                let own = f32::from(*value);
                let wanted = f32::from(edit[channel]) + shift[channel].at(column, row);
                *value = (own + taken * (wanted - own)).round().clamp(0.0, 255.0) as u8;
            }
        }
    }
    out
}

/// How much of the edit is taken at each pixel, 0 to 1, and what is added to each of its channels.
fn compared(
    edited: &RgbImage,
    unedited: &RgbImage,
    original: &RgbImage,
    mask: &GrayImage,
    cell: f64,
) -> (Plane, [Plane; 3]) {
    let size = Size::new(original.width(), original.height());
    let half = ((cell / 2.0).round() as usize).max(1);

    // 1. How far the edit moved each pixel, and its neighbors: an edge fades over a cell.
    let apart = edited.pixels().zip(unedited.pixels()).map(|(one, other)| {
        let channels = one.0.iter().zip(other.0);
        f32::from(channels.map(|(a, b)| a.abs_diff(b)).max().unwrap_or(0))
    });
    let apart = Plane::new(size, apart.collect()).blurred(half);
    let moved = (MOVED * own_difference(&apart, mask)).max(LEAST_MOVED);
    let change = apart.mapped(|it| smooth((it / moved - STILL) / (1.0 - STILL)));
    let change = change.spread(half).blurred(half);

    // 2. The shift of color in what was not edited, carried on into what was: over some cells, and where these were all
    //    edited over more.
    let still = change.mapped(|it| 1.0 - it);
    let near = (2.0 * cell).round() as usize;
    let mean = |plane: &Plane, reach: usize| plane.blurred(reach).blurred(reach);
    let [weight, wide_weight] = [near, WIDE * near].map(|reach| mean(&still, reach));
    let shift = [0, 1, 2].map(|channel: usize| {
        let pairs = original.pixels().zip(edited.pixels());
        let level = |it: &image::Rgb<u8>| f32::from(it.0[channel]);
        let shift =
            pairs.zip(still.values()).map(|((one, other), k)| k * (level(one) - level(other)));
        let shift = Plane::new(size, shift.collect());
        let wide = mean(&shift, WIDE * near).zipped(&wide_weight, |sum, it| sum / it.max(1e-6));
        let sum = mean(&shift, near).zipped(&wide, |sum, wide| sum + LEAST_STILL * wide);
        sum.zipped(&weight, |sum, weight| sum / (weight + LEAST_STILL))
    });
    (with_lost_parts(&change, unedited, original, moved, cell), shift)
}

/// The change with what the round trip lost of the edited thing: a thin tip or line is in neither picture that came
/// back, and would stay where the rest of the thing was edited. It lies within two cells of the change, differs from what
/// came back by as much as the edit moved, and has something of the thing's color.
fn with_lost_parts(
    change: &Plane,
    unedited: &RgbImage,
    original: &RgbImage,
    moved: f32,
    cell: f64,
) -> Plane {
    let size = Size::new(original.width(), original.height());
    let reach = (2.0 * cell).round() as usize;
    let near = change.spread(reach);
    let still = change.mapped(|it| 1.0 - it);
    let [of_change, of_still] = [change, &still].map(|it| it.blurred(reach));
    let none = || Plane::new(size, vec![0.0; original.pixels().len()]);
    // How far a pixel lies on the way from the color of what is around to that of the thing.
    let (mut lost, mut along, mut way) = (none(), none(), none());
    for channel in 0..3 {
        let level = |it: &image::Rgb<u8>| f32::from(it.0[channel]);
        let own = Plane::new(size, original.pixels().map(level).collect());
        let back = Plane::new(size, unedited.pixels().map(level).collect());
        let mean = |weights: &Plane, sum: &Plane| {
            let weighted = own.zipped(weights, |level, weight| level * weight).blurred(reach);
            weighted.zipped(sum, |level, weight| level / weight.max(1e-6))
        };
        let (rest, thing) = (mean(&still, &of_still), mean(change, &of_change));
        let (from, to) = (own.zipped(&rest, |a, b| a - b), thing.zipped(&rest, |a, b| a - b));
        let apart = own.zipped(&back, |a, b| (a - b).abs());
        lost = lost.zipped(&apart, f32::max);
        along = along.zipped(&from.zipped(&to, |a, b| a * b), |sum, it| sum + it);
        way = way.zipped(&to, |sum, it| sum + it * it);
    }
    let of_thing = along.zipped(&way, |along, way| smooth((along / way.max(1.0) - 0.2) / 0.3));
    let lost = lost.mapped(|it| smooth((it / moved - STILL) / (1.0 - STILL)));
    let lost = lost.zipped(&of_thing, |lost, of_thing| lost * of_thing);
    let lost = lost.zipped(&near, |lost, near| lost * near);
    change.zipped(&lost, f32::max)
}

/// How far the edit moved what it moved most.
fn own_difference(apart: &Plane, mask: &GrayImage) -> f32 {
    let pixels = apart.values().iter().zip(mask.as_raw());
    let mut inside: Vec<f32> = pixels.filter(|it| *it.1 > 0).map(|it| *it.0).collect();
    if inside.is_empty() {
        return 0.0;
    }
    let place = ((inside.len() - 1) as f64 * QUANTILE) as usize;
    *inside.select_nth_unstable_by(place, f32::total_cmp).1
}

/// Hermite's step: 0 up to 0, 1 from 1.
fn smooth(at: f32) -> f32 {
    let at = at.clamp(0.0, 1.0);
    at * at * (3.0 - 2.0 * at)
}

#[cfg(test)]
mod tests {
    use image::{Luma, Rgb};

    use super::*;

    const SIZE: u32 = 48;

    /// A picture whose middle square has another level.
    fn square(level: u8, middle: u8) -> RgbImage {
        let inside = |it: u32| (16..32).contains(&it);
        RgbImage::from_fn(SIZE, SIZE, |x, y| {
            Rgb([if inside(x) && inside(y) { middle } else { level }; 3])
        })
    }

    /// A picture with details that no round trip gives back.
    fn detailed() -> RgbImage {
        RgbImage::from_fn(SIZE, SIZE, |x, y| {
            Rgb([(x * 5) as u8, (y * 5) as u8, ((x * y) % 251) as u8])
        })
    }

    fn blend(edited: &RgbImage, unedited: &RgbImage, original: &RgbImage, alpha: u8) -> RgbImage {
        let alpha = GrayImage::from_pixel(SIZE, SIZE, Luma([alpha]));
        blended(RoundTrip { edited, unedited, cell: 2.0 }, original, &alpha)
    }

    #[test]
    fn where_nothing_was_edited_the_pictures_own_pixels_stay() {
        let original = detailed();
        let unedited = square(90, 120);
        assert!(blend(&unedited, &unedited, &original, 255) == original);
    }

    #[test]
    fn outside_the_mask_every_pixel_is_the_originals() {
        let original = detailed();
        assert!(blend(&square(0, 255), &square(90, 90), &original, 0) == original);
    }

    #[test]
    fn an_edit_comes_without_the_round_trips_shift_of_color() {
        // The round trip makes everything lighter by 10 levels.
        let out = blend(&square(110, 210), &square(110, 110), &square(100, 100), 255);
        assert_eq!(out.get_pixel(24, 24), &Rgb([200; 3]));
        assert_eq!(out.get_pixel(3, 24), &Rgb([100; 3]));
        // The border of the square stays where it was edited.
        assert_eq!(out.get_pixel(16, 24), &Rgb([200; 3]));
        assert_eq!(out.get_pixel(15, 24), &Rgb([100; 3]));
    }

    #[test]
    fn what_is_removed_leaves_no_rim() {
        let out = blend(&square(110, 110), &square(110, 30), &square(100, 20), 255);
        assert!(out == square(100, 100));
    }

    #[test]
    fn a_tip_that_the_round_trip_loses_goes_with_its_thing() {
        let is_tip = |x: u32, y: u32| y == 24 && (32..34).contains(&x);
        let mut original = square(100, 20);
        let details = |it: &mut RgbImage| {
            (32..34).for_each(|x| it.put_pixel(x, 24, Rgb([20; 3])));
            it.put_pixel(36, 20, Rgb([180; 3]));
        };
        details(&mut original);
        let out = blend(&square(100, 200), &square(100, 20), &original, 255);
        for (x, y, pixel) in out.enumerate_pixels().filter(|it| it.0 >= 32) {
            let expected = if is_tip(x, y) { 100 } else { original.get_pixel(x, y).0[0] };
            assert!(pixel.0[0].abs_diff(expected) < 8, "({x}, {y}): {pixel:?}");
        }
        // A detail of another color is none of its parts.
        assert_eq!(out.get_pixel(36, 20), &Rgb([180; 3]));
    }

    #[test]
    fn a_large_picture_keeps_its_details_beside_the_edit() {
        let size = 600;
        let original =
            RgbImage::from_fn(size, size, |x, y| Rgb([((x * 7 + y * 3) % 256) as u8; 3]));
        let unedited = RgbImage::from_pixel(size, size, Rgb([128; 3]));
        let spot = |x: u32, y: u32| x < 150 && y < 150;
        let edited =
            RgbImage::from_fn(size, size, |x, y| Rgb([if spot(x, y) { 255 } else { 128 }; 3]));
        let alpha = GrayImage::from_pixel(size, size, Luma([255]));
        let trip = RoundTrip { edited: &edited, unedited: &unedited, cell: 8.0 };
        let out = blended(trip, &original, &alpha);
        assert_eq!(out.get_pixel(450, 250), original.get_pixel(450, 250));
        assert!(out.get_pixel(50, 50).0[0] > 240);
    }
}

//! Alignment of an added object with the target's, since an instruction ("next to the tree") does not fix position,
//! size and rotation exactly.

use image::{Rgb, RgbImage, imageops};

use crate::measures::region::Region;

/// Largest shift from the target's position, as a fraction of the shorter side: 4 of 64 pixels.
pub const SHIFT: f64 = 1.0 / 16.0;

/// Largest scale factor, up or down.
pub const SCALE: f64 = 1.15;

/// Largest rotation against the target, in degrees.
pub const TURN: f64 = 40.0;

/// Search steps in either direction, and how often they are halved around the best pose.
const SHIFTS: i32 = 2;
const SCALES: i32 = 2;
const TURNS: i32 = 4;
const HALVINGS: u32 = 2;

/// Shift, scale and rotation of the result about the center of the mask.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pose {
    /// In search steps: columns, rows, log scale, degrees.
    steps: [f64; 4],
}

/// The search in one pair of pictures.
struct Search<'a> {
    result: &'a RgbImage,
    target: &'a RgbImage,
    /// The mask's pixels.
    inside: Vec<(u32, u32)>,
    /// Their center.
    middle: (f64, f64),
    /// The lengths of the steps.
    lengths: [f64; 4],
}

/// The result shifted, scaled and rotated, within [`SHIFT`], [`SCALE`] and [`TURN`], to the pose with the least squared
/// error to the target within the mask; pixels from beyond an edge repeat the edge.
///
/// # Panics
/// If the sizes differ.
pub fn in_place(result: &RgbImage, target: &RgbImage, mask: &Region) -> RgbImage {
    assert_eq!(result.dimensions(), target.dimensions(), "pictures of one edit have one size");
    assert_eq!(result.dimensions(), mask.dimensions(), "a mask has its picture's size");
    let (width, height) = result.dimensions();
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let inside: Vec<_> = places.filter(|&(x, y)| mask.contains(x, y)).collect();
    if inside.is_empty() {
        return result.clone();
    }
    let search = Search::new(result, target, inside);
    RgbImage::from_fn(width, height, search.under(search.best()))
}

impl<'a> Search<'a> {
    fn new(result: &'a RgbImage, target: &'a RgbImage, inside: Vec<(u32, u32)>) -> Self {
        let mean = |of: fn(&(u32, u32)) -> u32| {
            inside.iter().map(|it| f64::from(of(it))).sum::<f64>() / inside.len() as f64
        };
        let middle = (mean(|it| it.0), mean(|it| it.1));
        let shift = f64::from(result.width().min(result.height())) * SHIFT / f64::from(SHIFTS);
        let scale = SCALE.ln() / f64::from(SCALES);
        let lengths = [shift, shift, scale, TURN / f64::from(TURNS)];
        Self { result, target, inside, middle, lengths }
    }

    /// The best pose of a grid, then of successively finer grids around it.
    fn best(&self) -> Pose {
        let mut best = self.best_of(Pose { steps: [0.0; 4] }, 1.0, [SHIFTS, SHIFTS, SCALES, TURNS]);
        for halving in 1..=HALVINGS {
            best = self.best_of(best, 0.5f64.powi(halving as i32), [1; 4]);
        }
        best
    }

    /// The best pose within `reach` steps of length `step` in each direction, within the bounds.
    fn best_of(&self, from: Pose, step: f64, reach: [i32; 4]) -> Pose {
        let bounds = [SHIFTS, SHIFTS, SCALES, TURNS].map(f64::from);
        let along = |axis: usize| {
            let places = (-reach[axis]..=reach[axis])
                .map(move |index| from.steps[axis] + f64::from(index) * step);
            places.filter(move |it| it.abs() <= bounds[axis])
        };
        let poses = along(0).flat_map(|x| {
            along(1).flat_map(move |y| {
                along(2).flat_map(move |scale| {
                    along(3).map(move |turn| Pose { steps: [x, y, scale, turn] })
                })
            })
        });
        let scored = poses.map(|pose| (self.error(pose), pose));
        scored.min_by(|one, other| one.0.total_cmp(&other.0)).map_or(from, |(_, pose)| pose)
    }

    /// Squared error to the target, summed over the mask.
    fn error(&self, pose: Pose) -> f64 {
        let pixel = self.under(pose);
        let square = |&(x, y): &(u32, u32)| {
            let (one, other) = (pixel(x, y).0, self.target.get_pixel(x, y).0);
            let apart = one.iter().zip(other).map(|(a, b)| (f64::from(*a) - f64::from(b)).powi(2));
            apart.sum::<f64>()
        };
        self.inside.iter().map(square).sum()
    }

    /// Samples the result under a pose.
    fn under(&self, pose: Pose) -> impl Fn(u32, u32) -> Rgb<u8> {
        let [right, down, scale, turn] = [0, 1, 2, 3].map(|it| pose.steps[it] * self.lengths[it]);
        let (sine, cosine) = turn.to_radians().sin_cos();
        let factor = scale.exp();
        let from = move |at: f64, middle: f64, side: u32| {
            (at * factor + middle).clamp(0.0, f64::from(side - 1)) as f32
        };
        let (width, height) = self.result.dimensions();
        move |x, y| {
            let (x, y) =
                (f64::from(x) - self.middle.0 - right, f64::from(y) - self.middle.1 - down);
            let x_from = from(cosine * x + sine * y, self.middle.0, width);
            let y_from = from(cosine * y - sine * x, self.middle.1, height);
            imageops::interpolate_bilinear(self.result, x_from, y_from)
                .expect("a place within the picture has a color")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A white bar about (x, y), turned by degrees, on gray.
    fn bar(x: f64, y: f64, length: f64, degrees: f64) -> RgbImage {
        let (sine, cosine) = degrees.to_radians().sin_cos();
        RgbImage::from_fn(64, 64, |column, row| {
            let (right, down) = (f64::from(column) - x, f64::from(row) - y);
            let (along, across) = (cosine * right + sine * down, cosine * down - sine * right);
            let inside = along.abs() <= length && across.abs() <= length / 3.0;
            Rgb([if inside { 250 } else { 100 }; 3])
        })
    }

    fn mean_error(one: &RgbImage, other: &RgbImage) -> f64 {
        let apart = one.as_raw().iter().zip(other.as_raw()).map(|(a, b)| f64::from(a.abs_diff(*b)));
        apart.sum::<f64>() / one.as_raw().len() as f64
    }

    fn placed(result: &RgbImage) -> f64 {
        let target = bar(30.0, 34.0, 12.0, 10.0);
        let mask = Region::from_fn(64, 64, |x, y| target.get_pixel(x, y)[0] > 128).grown(1);
        mean_error(&in_place(result, &target, &mask), &target)
    }

    #[test]
    fn a_thing_that_stands_a_little_otherwise_is_laid_over_the_target() {
        assert!(placed(&bar(30.0, 34.0, 12.0, 10.0)) < 1e-9);
        for other in [
            bar(33.0, 32.0, 12.0, 10.0),
            bar(30.0, 34.0, 13.0, 10.0),
            bar(30.0, 34.0, 11.0, -20.0),
            bar(28.0, 37.0, 12.8, 35.0),
        ] {
            assert!(placed(&other) < 2.5, "{}", placed(&other));
        }
    }

    #[test]
    fn a_thing_that_stands_elsewhere_or_lies_across_is_not() {
        for other in [bar(46.0, 34.0, 12.0, 10.0), bar(30.0, 34.0, 12.0, 100.0)] {
            assert!(placed(&other) > 6.0, "{}", placed(&other));
        }
    }
}

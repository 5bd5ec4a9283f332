//! Success criterion of an edit, from source, target and mask alone.
//!
//! It uses no renderer, classifier or text, so any manifest with target pictures can be judged. One target stands for
//! the instruction: a good edit that looks unlike it (a bird of another breed) fails. So the success rate is a lower
//! bound, meant for comparing methods on one data set.
//!
//! All parts must hold:
//! 1. **nearer**: inside the mask the squared error to the target is below [`MARGIN`] times that to the source.
//! 2. **removed**, for a removal: less than [`REMOVED`] of the squared difference between source and target is left.
//!    **color**, for other edits, if the mean color differs: it came most of the way. **shape**, for other edits, if
//!    the structure differs: the result correlates well with the target, and better than with the source. An added
//!    object is first aligned with the target's ([`placement`]), since words do not fix its exact position.
//! 3. **kept**: outside the mask the result differs by less than [`KEPT`] levels on average from the source, or from
//!    the VAE's reconstruction of it.
//!
//! Unedited pictures and pictures blurred by 1, 2 or 4 pixels must not pass; `tests/it/evaluation.rs` counts them.

use image::RgbImage;

use crate::measures::{
    change::{CHANGED_ABOVE, Change},
    placement,
    region::Region,
};

/// The squared error to the target must be less than this share of the squared error to the source. At 1 a blur that
/// fades a small object into its surroundings would pass for its removal.
pub const MARGIN: f64 = 0.5;

/// A removal must leave less than this share of the squared difference of source and target: a blur that is wider than
/// the object leaves 0.07 to 0.4, a surface filled in by an autoencoder about 0.02.
pub const REMOVED: f64 = 0.06;

/// The mean color of what changes must come nearer to the target's than this share of the way that it had to go.
pub const COLOR_LEFT: f64 = 0.5;

/// Mean colors that are nearer than this, in levels (Euclidean over RGB), are one color: there is nothing to judge.
pub const COLOR_APART: f64 = 24.0;

/// Least correlation of the result with the target, where shape is judged. Targets blurred by a pixel, or with noise of
/// 12 levels, stay above it; a blob of the right color over the mask mostly falls below.
pub const SHAPE_LEAST: f64 = 0.8;

/// Source and target that correlate better than this have one structure: there is nothing to judge.
pub const SHAPE_APART: f64 = 0.9;

/// Largest mean change outside the mask, in levels, with which the rest of the picture counts as kept: a change of 5 %
/// of the range, beyond what an autoencoder alone does to a picture.
pub const KEPT: f64 = 12.0;

/// Border around the mask that belongs neither to the inside nor to the outside, over the shorter side: 2 of 64 pixels.
pub const BORDER: f64 = 1.0 / 32.0;

/// Kinds of edit, which are judged differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EditKind {
    /// An object becomes another one or looks different.
    Change,
    /// A new object appears; its position, size and rotation may differ a little from the target's.
    Add,
    /// An object disappears.
    Remove,
}

/// Inputs of the judgment; all pictures have one size.
#[derive(Debug, Clone, Copy)]
pub struct JudgedEdit<'a> {
    /// The kind of edit.
    pub kind: EditKind,
    /// The picture before the edit.
    pub source: &'a RgbImage,
    /// The expected picture.
    pub target: &'a RgbImage,
    /// The pixels that the edit has to change.
    pub mask: &'a Region,
    /// The VAE's reconstruction of the source, if the result went through the VAE.
    pub reconstruction: Option<&'a RgbImage>,
}

/// Result of the judgment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// Squared error to the target over that of the untouched source, in the mask: 0 is perfect, 1 is nothing done.
    pub residual: f64,
    /// Part 1.
    pub nearer: bool,
    /// Part 2 of a removal.
    pub removed: Option<bool>,
    /// Part 2 of others, where the target's color differs.
    pub color: Option<bool>,
    /// Part 2 of others, where the target's structure differs.
    pub shape: Option<bool>,
    /// Part 3.
    pub kept: bool,
}

impl Verdict {
    /// Whether all parts hold.
    pub fn is_success(&self) -> bool {
        let parts = [self.removed, self.color, self.shape];
        self.nearer && self.kept && parts.iter().all(|part| part.unwrap_or(true))
    }
}

impl JudgedEdit<'_> {
    /// Judges a result; `None` if the mask is empty or source and target are equal in it.
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn judge(&self, result: &RgbImage) -> Option<Verdict> {
        let (source, target, mask) = (self.source, self.target, self.mask);
        let square = |a: &RgbImage, b: &RgbImage| Some(Change::within(mask, a, b)?.mean_square);
        let gap = square(source, target)?;
        let changed = self.changed();
        if gap <= 0.0 || changed.count() == 0 {
            return None;
        }
        let around = with_border(mask);
        let kept = self.change_outside(&around, result).is_none_or(|mean| mean < KEPT);

        let moved = self.in_place(result);
        let (to_target, to_source) = (square(&moved, target)?, square(&moved, source)?);
        let residual = to_target / gap;
        let is_removal = self.kind == EditKind::Remove;
        Some(Verdict {
            residual,
            nearer: to_target < MARGIN * to_source,
            removed: is_removal.then_some(residual < REMOVED),
            color: if is_removal { None } else { self.color(&moved, &changed) },
            shape: if is_removal { None } else { self.shape(&moved, &around) },
            kept,
        })
    }

    /// Mean change outside the mask, in levels, against source or reconstruction, whichever is nearer: a composited
    /// result has the source's pixels, a plain one the reconstruction's.
    fn change_outside(&self, around: &Region, result: &RgbImage) -> Option<f64> {
        let outside = around.complement();
        let references = [Some(self.source), self.reconstruction].into_iter().flatten();
        let changes = references.filter_map(|it| Change::within(&outside, result, it));
        changes.map(|it| it.mean).min_by(f64::total_cmp)
    }

    /// The pixels of the mask in which source and target differ visibly.
    fn changed(&self) -> Region {
        let (width, height) = self.mask.dimensions();
        let differs = |x, y| {
            let (a, b) = (self.source.get_pixel(x, y), self.target.get_pixel(x, y));
            (0..3).any(|channel| a[channel].abs_diff(b[channel]) > CHANGED_ABOVE)
        };
        Region::from_fn(width, height, |x, y| self.mask.contains(x, y) && differs(x, y))
    }

    /// The result; for an addition aligned with the target.
    fn in_place(&self, result: &RgbImage) -> RgbImage {
        match self.kind {
            EditKind::Add => placement::in_place(result, self.target, self.mask),
            EditKind::Change | EditKind::Remove => result.clone(),
        }
    }

    /// Whether the mean color went most of the way; `None` if source and target have the same.
    fn color(&self, result: &RgbImage, changed: &Region) -> Option<bool> {
        let [source, target, result] =
            [self.source, self.target, result].map(|image| mean_color(image, changed));
        let way = distance(source, target);
        (way > COLOR_APART).then(|| distance(result, target) < COLOR_LEFT * way)
    }

    /// Whether the structure is the target's and no longer the source's; `None` if these are alike.
    fn shape(&self, result: &RgbImage, around: &Region) -> Option<bool> {
        let apart = correlation(self.source, self.target, around) < SHAPE_APART;
        apart.then(|| {
            let to_target = correlation(result, self.target, around);
            to_target > SHAPE_LEAST && to_target > correlation(result, self.source, around)
        })
    }
}

/// A mask dilated by the border that belongs neither to the inside nor to the outside.
#[must_use]
pub fn with_border(mask: &Region) -> Region {
    mask.grown(pixels(mask, BORDER))
}

/// A fraction of a picture's shorter side in whole pixels.
fn pixels(region: &Region, share: f64) -> u32 {
    let (width, height) = region.dimensions();
    (f64::from(width.min(height)) * share).round() as u32
}

/// The mean of each channel over a region, in levels.
fn mean_color(image: &RgbImage, region: &Region) -> [f64; 3] {
    let mut sum = [0.0; 3];
    for (pixel, _) in image.pixels().zip(region.as_slice()).filter(|(_, inside)| **inside) {
        for (sum, value) in sum.iter_mut().zip(pixel.0) {
            *sum += f64::from(value);
        }
    }
    sum.map(|it| it / region.count().max(1) as f64)
}

fn distance(one: [f64; 3], other: [f64; 3]) -> f64 {
    one.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// Pearson correlation of two pictures over a region, -1 to 1: deviations from each channel's own mean, all channels
/// pooled; 0 if either is constant.
fn correlation(one: &RgbImage, other: &RgbImage, region: &Region) -> f64 {
    let (mean_a, mean_b) = (mean_color(one, region), mean_color(other, region));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    let pairs = one.pixels().zip(other.pixels()).zip(region.as_slice());
    for ((a, b), _) in pairs.filter(|(_, inside)| **inside) {
        for channel in 0..3 {
            let a = f64::from(a[channel]) - mean_a[channel];
            let b = f64::from(b[channel]) - mean_b[channel];
            ab += a * b;
            aa += a * a;
            bb += b * b;
        }
    }
    if aa > 0.0 && bb > 0.0 { ab / (aa * bb).sqrt() } else { 0.0 }
}

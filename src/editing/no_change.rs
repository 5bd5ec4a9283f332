//! Says of an edit that did nothing: that the picture inside the mask stayed as it was, or that what was to go left its
//! color behind.
//!
//! Both are told from what an edit has at hand anyway, without another call of the model (docs/evaluation.md).

use image::RgbImage;
use tch::{Device, Kind, Tensor};

use crate::edit::edit_mask::EditMask;
use crate::editing::{EditError, session::EditSession};
use crate::instruction::Action;
use crate::picture::mask::{Mask, Radius};

/// Least root mean square change of the latents inside the mask, over their standard deviation in the picture, of an
/// edit that did something.
const LEAST_CHANGE: f64 = 0.6;

/// How near the mean color of what was to go must come to that of its surroundings, over the way from its own.
const MOST_LEFT: f64 = 0.3;

/// Mean colors that are nearer than this, in levels (Euclidean over RGB), say nothing of what went.
const COLOR_APART: f64 = 24.0;

/// Width of the surroundings, over the picture's shorter side.
const SURROUNDINGS: f64 = 1.0 / 16.0;

/// What an edit failed to do, in a sentence; `None` if it did something, or has no mask, since a whole picture may well
/// stay as it was but for a small thing. `latents` are the result's, `edited` its picture before the input's pixels are
/// put back.
pub(super) fn fault(
    session: &EditSession<'_>,
    mask: Option<&EditMask>,
    latents: &Tensor,
    edited: &RgbImage,
) -> Result<Option<String>, EditError> {
    let Some(mask) = mask.map(EditMask::found) else { return Ok(None) };
    let change = change(session, mask, latents)?;
    if change < LEAST_CHANGE {
        return Ok(Some(format!(
            "inside the mask the picture stayed nearly as it was (it changed by {change:.2} of its contrast, edits that \
             do something by more than {LEAST_CHANGE}); the model may not know these words, or the picture may be as \
             they say already: try others, or more text guidance"
        )));
    }
    let removes = session.understood.read.as_ref().is_ok_and(|it| it.action() == Action::Remove);
    let left = removes.then(|| color_left(&session.request.image, edited, mask)).flatten();
    Ok(left.filter(|&it| it > MOST_LEFT).map(|_| {
        "what was to be removed left its color where it was; try another seed, or more text guidance"
            .to_owned()
    }))
}

/// How far the latents moved inside the mask (root mean square), over their standard deviation in the picture.
fn change(session: &EditSession<'_>, mask: &Mask, latents: &Tensor) -> Result<f64, EditError> {
    let to_cpu = |it: &Tensor| it.to_device(Device::Cpu).to_kind(Kind::Double);
    let (source, made) = (to_cpu(session.image_latents()?), to_cpu(latents));
    let moved = (&made - &source).square();
    let size = source.size();
    let pixels = session.mask_at_work(mask);
    let raw = Tensor::from_slice(pixels.as_image().as_raw()).gt(0).to_kind(Kind::Double);
    let (width, height) = (pixels.size().width, pixels.size().height);
    let cells = raw
        .view([1, 1, i64::from(height), i64::from(width)])
        .adaptive_avg_pool2d([size[2], size[3]]);
    let mean = (&moved * &cells).sum(Kind::Double) / (cells.sum(Kind::Double) * size[1]);
    Ok(mean.sqrt().double_value(&[]) / source.std(true).double_value(&[]))
}

/// The part of the way from an object's mean color to that of its surroundings that is still to go; `None` if the two
/// are alike.
fn color_left(source: &RgbImage, edited: &RgbImage, mask: &Mask) -> Option<f64> {
    let around = mask.clone().dilated(Radius::of_share(SURROUNDINGS, mask.size()));
    let inside = |x, y| mask.as_image().get_pixel(x, y)[0] > 0;
    let beside = |x, y| around.as_image().get_pixel(x, y)[0] > 0 && !inside(x, y);
    let (own, goal) = (mean(source, inside)?, mean(source, beside)?);
    let way = distance(own, goal);
    (way > COLOR_APART).then_some(())?;
    Some(distance(mean(edited, inside)?, goal) / way)
}

/// The mean color of some pixels; `None` of none.
fn mean(image: &RgbImage, is_in: impl Fn(u32, u32) -> bool) -> Option<[f64; 3]> {
    let (mut sum, mut count) = ([0.0; 3], 0.0);
    for (_, _, pixel) in image.enumerate_pixels().filter(|it| is_in(it.0, it.1)) {
        sum.iter_mut().zip(pixel.0).for_each(|(sum, level)| *sum += f64::from(level));
        count += 1.0;
    }
    (count > 0.0).then(|| sum.map(|it| it / count))
}

fn distance(one: [f64; 3], other: [f64; 3]) -> f64 {
    one.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::{MOST_LEFT, color_left};
    use crate::picture::{mask::Mask, size::Size};

    /// A square of one color on a ground of another.
    fn scene(ground: [u8; 3], inside: [u8; 3]) -> RgbImage {
        let is_inside = |x, y| (20..40).contains(&x) && (20..40).contains(&y);
        RgbImage::from_fn(64, 64, |x, y| Rgb(if is_inside(x, y) { inside } else { ground }))
    }

    #[test]
    fn what_was_removed_may_not_leave_its_color() {
        const GROUND: [u8; 3] = [120, 120, 120];
        let source = scene(GROUND, [220, 30, 30]);
        let inside = |at| (20..40).contains(&at);
        let mask = Mask::from_fn(Size::new(64, 64), |x, y| inside(x) && inside(y));
        let left = |source: &RgbImage, inside| color_left(source, &scene(GROUND, inside), &mask);
        assert!(left(&source, [220, 30, 30]).unwrap() > MOST_LEFT);
        assert!(left(&source, [200, 50, 60]).unwrap() > MOST_LEFT);
        assert!(left(&source, [125, 115, 120]).unwrap() < MOST_LEFT);
        // A gray thing on a gray ground says nothing.
        assert_eq!(left(&scene(GROUND, [125, 120, 120]), [125, 120, 120]), None);
    }
}

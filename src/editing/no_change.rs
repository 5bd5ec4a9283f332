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
const LEAST_CHANGE: f64 = 0.1;

/// How near the mean color of what was to go must come to that of its surroundings, over the way from its own.
const MOST_LEFT: f64 = 0.5;

/// Mean colors that are nearer than this, in levels (Euclidean over RGB), say nothing of what went.
const COLOR_APART: f64 = 24.0;

/// Width of the surroundings, over the picture's shorter side.
const SURROUNDINGS: f64 = 1.0 / 16.0;

/// What an edit failed to do, in a sentence; `None` if it did something. `latents` are the result's, `edited` its
/// picture before the input's pixels are put back.
pub(super) fn fault(
    session: &EditSession<'_>,
    mask: Option<&EditMask>,
    latents: &Tensor,
    edited: &RgbImage,
) -> Result<Option<String>, EditError> {
    let change = change(session, mask, latents)?;
    tracing::debug!(change, "changed inside the mask");
    if change < LEAST_CHANGE {
        let percent = change * 100.0;
        return Ok(Some(format!(
            "inside the mask the picture changed by {percent:.0} % of its own contrast, which is next to nothing; the \
             model may not know these words: try others, or more text guidance"
        )));
    }
    let removes = session.understood.read.as_ref().is_ok_and(|it| it.action() == Action::Remove);
    let left = mask
        .filter(|_| removes)
        .and_then(|it| color_left(&session.request.image, edited, it.found()));
    Ok(left.filter(|&it| it > MOST_LEFT).map(|_| {
        "what was to be removed left its color where it was; try another seed, or more text guidance"
            .to_owned()
    }))
}

/// How far the latents moved inside the mask (root mean square), over their standard deviation in the picture.
fn change(
    session: &EditSession<'_>,
    mask: Option<&EditMask>,
    latents: &Tensor,
) -> Result<f64, EditError> {
    let to_cpu = |it: &Tensor| it.to_device(Device::Cpu).to_kind(Kind::Double);
    let (source, made) = (to_cpu(session.image_latents()?), to_cpu(latents));
    let moved = (&made - &source).square();
    let moved = match mask {
        Some(mask) => {
            let size = source.size();
            let pixels = session.mask_at_work(mask.found());
            let raw = Tensor::from_slice(pixels.as_image().as_raw()).gt(0).to_kind(Kind::Double);
            let (width, height) = (pixels.size().width, pixels.size().height);
            let cells = raw
                .view([1, 1, i64::from(height), i64::from(width)])
                .adaptive_avg_pool2d([size[2], size[3]]);
            (&moved * &cells).sum(Kind::Double) / (cells.sum(Kind::Double) * size[1])
        }
        None => moved.mean(Kind::Double),
    };
    Ok(moved.sqrt().double_value(&[]) / source.std(true).double_value(&[]))
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

//! InstructPix2Pix's classifier-free guidance with two scales (arXiv 2211.09800, equation 3).
//!
//! Differs: diffusers turns guidance off, and drops branches, if the text scale is at most 1 or the image scale below
//! 1; here the formula always holds, and a branch is left out only if its coefficient is 0.

use tch::Tensor;

use crate::attention::branch::Branch;
use crate::pipelines::NoisePrediction;
use crate::sampling::GuidanceScales;

/// The branches whose coefficients are not 0.
///
/// The coefficients are `s_T` for the text branch, `s_I - s_T` for the image branch and `1 - s_I` for the unconditional
/// one. At most one branch is left out, so that an attention processor always has a row without the instruction to
/// compare with.
#[expect(clippy::float_cmp, reason = "a share is nothing only where it is exactly zero")]
pub fn branches(scales: GuidanceScales) -> &'static [Branch] {
    let (text, image) = (scales.text.get(), scales.image.get());
    if image == 1.0 {
        &[Branch::Text, Branch::Image]
    } else if image == text {
        &[Branch::Text, Branch::Uncond]
    } else {
        &Branch::TRIPLE
    }
}

/// Combines the branches' predictions into one, (1, 4, h, w).
///
/// For a branch that was left out any other is used, since its coefficient is 0.
pub fn combine(prediction: &NoisePrediction, scales: GuidanceScales) -> Tensor {
    let text = &prediction.text;
    let image = prediction.image.as_ref().unwrap_or(text);
    let uncond = prediction.uncond.as_ref().unwrap_or(image);
    uncond + (text - image) * scales.text.get() + (image - uncond) * scales.image.get()
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    fn scales(text: f64, image: f64) -> GuidanceScales {
        GuidanceScales { text: text.try_into().unwrap(), image: image.try_into().unwrap() }
    }

    #[test]
    fn a_branch_is_left_out_exactly_where_it_has_no_share() {
        tch::manual_seed(3);
        let noise = Tensor::randn([3, 4, 8, 8], (Kind::Float, Device::Cpu));
        for (text, image, left_out) in [
            (7.5, 1.5, None),
            (7.5, 0.0, None),
            (4.0, 1.0, Some(Branch::Uncond)),
            (4.0, 4.0, Some(Branch::Image)),
            (1.0, 1.0, Some(Branch::Uncond)),
        ] {
            let scales = scales(text, image);
            let kept = branches(scales);
            let missing: Vec<_> = Branch::TRIPLE.iter().filter(|it| !kept.contains(it)).collect();
            assert_eq!(missing, left_out.iter().collect::<Vec<_>>(), "{text} {image}");

            let whole = NoisePrediction::of_rows(&noise, &Branch::TRIPLE);
            let mut fewer = NoisePrediction::of_rows(&noise, &Branch::TRIPLE);
            match left_out {
                Some(Branch::Uncond) => fewer.uncond = None,
                Some(Branch::Image) => fewer.image = None,
                _ => {}
            }
            let difference = combine(&whole, scales) - combine(&fewer, scales);
            assert!(difference.abs().max().double_value(&[]) < 1e-5, "{text} {image}");
        }
    }
}

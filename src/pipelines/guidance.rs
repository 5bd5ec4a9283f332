//! Guidance: which rows a model predicts for a sample, and how their predictions become the one that a step takes.
//!
//! Differs: diffusers drops guidance, and with it rows, where the text scale is at most 1 or the image scale below 1;
//! here the formula always holds, and a row is left out only if its coefficient is 0.

use tch::Tensor;

use crate::attention::role::Role;
use crate::sampling::GuidanceScales;

/// What a model predicts for one sample, a row for each role that was asked for.
#[derive(Debug)]
pub struct NoisePrediction {
    /// (N, C, h, w) in fp32.
    rows: Tensor,
    roles: Vec<Role>,
}

/// The guidance that a model was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guidance {
    /// InstructPix2Pix's with two scales (arXiv 2211.09800, equation 3).
    TextImage,
    /// Classifier-free guidance towards the instruction, with the picture in both rows (arXiv 2207.12598).
    Cfg,
    /// None: a distilled model predicts with instruction and picture alone.
    Distilled,
}

impl Guidance {
    /// All roles that it may need.
    pub fn all_roles(self) -> &'static [Role] {
        match self {
            Self::TextImage => &Role::TRIPLE,
            Self::Cfg => &[Role::Text, Role::Image],
            Self::Distilled => &[Role::Text],
        }
    }

    /// Whether no prediction is made without the instruction.
    pub fn is_distilled(self) -> bool {
        self == Self::Distilled
    }

    /// The roles whose coefficients are not 0.
    ///
    /// With two scales the coefficients are `s_T` for the text, `s_I - s_T` for the image and `1 - s_I` for neither.
    /// At most one role is left out, so that an attention processor always has a row without the instruction to
    /// compare with.
    #[expect(clippy::float_cmp, reason = "a share is nothing only where it is exactly zero")]
    pub fn roles(self, scales: GuidanceScales) -> &'static [Role] {
        let (text, image) = (scales.text.get(), scales.image.get());
        match self {
            Self::TextImage if image == 1.0 => &[Role::Text, Role::Image],
            Self::TextImage if image == text => &[Role::Text, Role::Uncond],
            Self::TextImage | Self::Cfg | Self::Distilled => self.all_roles(),
        }
    }

    /// Combines the predictions into one, (1, C, h, w).
    ///
    /// For a role that was left out any other is used, since its coefficient is 0.
    pub fn combine(self, prediction: &NoisePrediction, scales: GuidanceScales) -> Tensor {
        let text = prediction.text();
        let image = prediction.of(Role::Image).unwrap_or_else(|| text.shallow_clone());
        match self {
            Self::TextImage => {
                let uncond = prediction.of(Role::Uncond).unwrap_or_else(|| image.shallow_clone());
                &uncond
                    + (text - &image) * scales.text.get()
                    + (image - &uncond) * scales.image.get()
            }
            Self::Cfg => &image + (text - &image) * scales.text.get(),
            Self::Distilled => text,
        }
    }
}

// === impl NoisePrediction ===

impl NoisePrediction {
    /// Rows (N, C, h, w) in fp32, each of a role; one is [`Role::Text`]'s.
    pub fn new(rows: Tensor, roles: &[Role]) -> Self {
        Self { rows, roles: roles.to_vec() }
    }

    /// That of a role, (1, C, h, w), if it was asked for.
    pub fn of(&self, role: Role) -> Option<Tensor> {
        let row = self.roles.iter().position(|&it| it == role);
        row.map(|row| self.rows.narrow(0, row as i64, 1))
    }

    /// That with instruction and image, (1, C, h, w).
    pub fn text(&self) -> Tensor {
        self.of(Role::Text).expect("a call predicts the row with the instruction")
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    fn scales(text: f64, image: f64) -> GuidanceScales {
        GuidanceScales { text: text.try_into().unwrap(), image: image.try_into().unwrap() }
    }

    /// One row for each role.
    fn noise() -> Tensor {
        Tensor::arange(3 * 4 * 8 * 8, (Kind::Float, Device::Cpu)).sin().view([3, 4, 8, 8])
    }

    #[test]
    fn a_role_is_left_out_exactly_where_it_has_no_share() {
        for (text, image, left_out) in [
            (7.5, 1.5, None),
            (7.5, 0.0, None),
            (4.0, 1.0, Some(Role::Uncond)),
            (4.0, 4.0, Some(Role::Image)),
            (1.0, 1.0, Some(Role::Uncond)),
        ] {
            let scales = scales(text, image);
            let kept = Guidance::TextImage.roles(scales);
            let missing: Vec<_> = Role::TRIPLE.iter().filter(|it| !kept.contains(it)).collect();
            assert_eq!(missing, left_out.iter().collect::<Vec<_>>(), "{text} {image}");

            let whole = NoisePrediction::new(noise(), &Role::TRIPLE);
            let rows = kept.iter().map(|it| whole.of(*it).unwrap()).collect::<Vec<_>>();
            let fewer = NoisePrediction::new(Tensor::cat(&rows, 0), kept);
            let [whole, fewer] = [whole, fewer].map(|it| Guidance::TextImage.combine(&it, scales));
            assert!((whole - fewer).abs().max().double_value(&[]) < 1e-5, "{text} {image}");
        }
    }

    #[test]
    fn guidance_of_two_rows_is_that_of_three_without_a_share_for_the_third() {
        let prediction = NoisePrediction::new(noise(), &Role::TRIPLE);
        let two = Guidance::Cfg.combine(&prediction, scales(4.0, 1.5));
        let three = Guidance::TextImage.combine(&prediction, scales(4.0, 1.0));
        assert!((two - three).abs().max().double_value(&[]) < 1e-5);
        assert_eq!(Guidance::Cfg.roles(scales(4.0, 1.5)), [Role::Text, Role::Image]);
    }

    #[test]
    fn a_distilled_model_is_taken_at_its_word_whatever_the_scales() {
        let prediction = NoisePrediction::new(noise(), &Role::TRIPLE);
        let taken = Guidance::Distilled.combine(&prediction, scales(7.5, 1.5));
        assert_eq!(taken, prediction.text());
        assert_eq!(Guidance::Distilled.roles(scales(7.5, 1.5)), [Role::Text]);
    }
}

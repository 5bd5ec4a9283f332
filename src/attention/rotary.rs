//! Rotary position embedding (arXiv 2104.09864): a token's place as a rotation of its queries and keys, pair of
//! channels by pair, so that a logit depends on the distance of two places.

use tch::{Kind, Tensor};

use crate::attention::site::Span;

/// The rotations of a sequence.
#[derive(Debug)]
pub struct Rotary {
    /// Unit complex numbers, (L, 1, D/2).
    rotation: Tensor,
}

impl Rotary {
    /// The rotations by these angles, (L, D/2).
    pub fn new(angles: &Tensor) -> Self {
        let [cos, sin] = [angles.cos(), angles.sin()].map(|it| it.to_kind(Kind::Float));
        Self { rotation: Tensor::complex(&cos, &sin).unsqueeze(1) }
    }

    /// Those of a part of the sequence, as a view.
    #[must_use]
    pub fn of(&self, part: Span) -> Self {
        Self { rotation: self.rotation.narrow(0, part.start, part.length) }
    }

    /// Turns queries or keys (N, L, H, D), in fp32.
    pub fn turn(&self, xs: &Tensor) -> Tensor {
        let pairs = xs.to_kind(Kind::Float).unflatten(-1, [-1, 2]).contiguous(); // (N, L, H, D/2, 2)
        let turned = pairs.view_as_complex() * &self.rotation;
        turned.view_as_real().flatten(-2, -1).to_kind(xs.kind())
    }
}

//! Parameters of a group norm with an input shift and an activation.

use tch::Tensor;

/// A group norm, with a shift of its input and an activation of its output.
#[derive(Debug, Clone, Copy)]
pub struct GroupNorm<'a> {
    /// Number of groups.
    pub groups: i64,
    /// Scale, (C,).
    pub weight: &'a Tensor,
    /// Offset, (C,).
    pub bias: &'a Tensor,
    /// Epsilon, added to the variance.
    pub eps: f64,
    /// Added to the input first.
    pub shift: Shift<'a>,
    /// Applied to the output.
    pub activation: Activation,
}

/// Values added to each pixel's channels.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shift<'a> {
    /// The same for every row, (C,).
    pub channels: Option<&'a Tensor>,
    /// For each row, (N, C).
    pub rows: Option<&'a Tensor>,
}

/// Activation after a norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// torch: `nn.SiLU`.
    Silu,
}

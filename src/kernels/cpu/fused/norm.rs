//! A norm over groups of channels, in words: what it is of, and what becomes of it.

use tch::Tensor;

/// A norm over groups of channels, and what is done to its input before and to its output after.
#[derive(Debug, Clone, Copy)]
pub struct GroupNorm<'a> {
    /// Groups of channels.
    pub groups: i64,
    /// Factors, (C,).
    pub weight: &'a Tensor,
    /// What is added then, (C,).
    pub bias: &'a Tensor,
    /// Added to the variance.
    pub eps: f64,
    /// What is added to the input first.
    pub shift: Shift<'a>,
    /// What becomes of the normalized.
    pub activation: Activation,
}

/// What is added to each pixel's channels.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shift<'a> {
    /// In each row the same, (C,).
    pub channels: Option<&'a Tensor>,
    /// Row by row, (N, C).
    pub rows: Option<&'a Tensor>,
}

/// What follows a norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// torch: `nn.SiLU`.
    Silu,
}

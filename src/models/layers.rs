//! The leaves of every network: linear, convolution and norms over checkpoint tensors (torch: `torch.nn`).

use tch::Tensor;

use crate::models::weights::VarPath;

/// A linear map of the last dimension (torch: `nn.Linear`).
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

/// A convolution over the last two dimensions (torch: `nn.Conv2d`).
#[derive(Debug)]
pub struct Conv2d {
    weight: Tensor,
    bias: Tensor,
    stride: i64,
    padding: i64,
}

/// A norm over groups of channels and all positions (torch: `nn.GroupNorm`).
#[derive(Debug)]
pub struct GroupNorm {
    groups: i64,
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

/// A norm over the last dimension (torch: `nn.LayerNorm`).
#[derive(Debug)]
pub struct LayerNorm {
    channels: i64,
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

// === impl Linear ===

impl Linear {
    /// Reads `weight` (out, in) and `bias` (out,).
    pub fn new(vs: &VarPath<'_>, in_channels: i64, out_channels: i64) -> Self {
        let bias = vs.tensor("bias", &[out_channels]);
        Self { bias: Some(bias), ..Self::without_bias(vs, in_channels, out_channels) }
    }

    /// Reads `weight` (out, in).
    pub fn without_bias(vs: &VarPath<'_>, in_channels: i64, out_channels: i64) -> Self {
        Self { weight: vs.tensor("weight", &[out_channels, in_channels]), bias: None }
    }

    /// Reads a 1×1 convolution, `weight` (out, in, 1, 1) and `bias` (out,), as the linear map of channels that it is.
    pub fn from_conv_1x1(vs: &VarPath<'_>, in_channels: i64, out_channels: i64) -> Self {
        let weight = vs.tensor("weight", &[out_channels, in_channels, 1, 1]);
        Self {
            weight: weight.view([out_channels, in_channels]),
            bias: Some(vs.tensor("bias", &[out_channels])),
        }
    }

    /// (…, in) to (…, out).
    pub fn forward(&self, xs: &Tensor) -> Tensor {
        xs.linear(&self.weight, self.bias.as_ref())
    }
}

// === impl Conv2d ===

impl Conv2d {
    /// Reads a square kernel that keeps the size, its padding being half of it: `weight` (out, in, k, k) and `bias` (out,).
    pub fn new(vs: &VarPath<'_>, in_channels: i64, out_channels: i64, kernel: i64) -> Self {
        Self {
            weight: vs.tensor("weight", &[out_channels, in_channels, kernel, kernel]),
            bias: vs.tensor("bias", &[out_channels]),
            stride: 1,
            padding: kernel / 2,
        }
    }

    /// Reads a 3×3 kernel that halves the size.
    pub fn halving(vs: &VarPath<'_>, channels: i64, padding: i64) -> Self {
        Self { stride: 2, padding, ..Self::new(vs, channels, channels, 3) }
    }

    /// (N, in, h, w) to (N, out, h′, w′).
    pub fn forward(&self, xs: &Tensor) -> Tensor {
        xs.conv2d(&self.weight, Some(&self.bias), [self.stride; 2], [self.padding; 2], [1, 1], 1)
    }
}

// === impl GroupNorm ===

impl GroupNorm {
    /// Reads `weight` and `bias` (channels,).
    pub fn new(vs: &VarPath<'_>, groups: i64, channels: i64, eps: f64) -> Self {
        Self {
            groups,
            weight: vs.tensor("weight", &[channels]),
            bias: vs.tensor("bias", &[channels]),
            eps,
        }
    }

    /// (N, channels, …), normalized per row and group.
    pub fn forward(&self, xs: &Tensor) -> Tensor {
        xs.group_norm(self.groups, Some(&self.weight), Some(&self.bias), self.eps, true)
    }
}

// === impl LayerNorm ===

impl LayerNorm {
    /// Reads `weight` and `bias` (channels,).
    pub fn new(vs: &VarPath<'_>, channels: i64, eps: f64) -> Self {
        Self {
            channels,
            weight: vs.tensor("weight", &[channels]),
            bias: vs.tensor("bias", &[channels]),
            eps,
        }
    }

    /// (…, channels), normalized per position.
    pub fn forward(&self, xs: &Tensor) -> Tensor {
        xs.layer_norm([self.channels], Some(&self.weight), Some(&self.bias), self.eps, true)
    }
}

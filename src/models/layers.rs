//! The leaves of every network: linear, convolution and norms over checkpoint tensors (torch: `torch.nn`).

use tch::{Device, Tensor};

use crate::kernels::onednn::{PackedConv2d, PackedLinear};
use crate::models::weights::VarPath;

/// A linear map of the last dimension (torch: `nn.Linear`).
#[derive(Debug)]
pub struct Linear {
    weight: Result<PackedLinear, Tensor>,
    bias: Option<Tensor>,
}

/// A convolution over the last two dimensions (torch: `nn.Conv2d`).
#[derive(Debug)]
pub struct Conv2d {
    kernel: Kernel,
    bias: Tensor,
}

/// What a convolution multiplies with.
#[derive(Debug)]
enum Kernel {
    /// For libtorch's own convolution.
    Plain { weight: Tensor, stride: i64, padding: i64 },
    /// For oneDNN.
    Packed(PackedConv2d),
    /// Of one pixel, for oneDNN: a linear map of channels.
    Pixel(PackedLinear),
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

/// The same tensor (N, C, h, w), in memory (N, h, w, C) on a CPU, as every layer leaves it that is given it so.
///
/// oneDNN's convolutions work in that order, and the pixels of a channels-last grid are the rows of a linear map.
pub fn channels_last(xs: &Tensor) -> Tensor {
    match xs.device() {
        Device::Cpu => xs.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]),
        _ => xs.shallow_clone(),
    }
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
        let weight = vs.tensor("weight", &[out_channels, in_channels]);
        Self { weight: PackedLinear::new(weight), bias: None }
    }

    /// Reads a 1×1 convolution, `weight` (out, in, 1, 1) and `bias` (out,), as the linear map of channels that it is.
    pub fn from_conv_1x1(vs: &VarPath<'_>, in_channels: i64, out_channels: i64) -> Self {
        let weight = vs.tensor("weight", &[out_channels, in_channels, 1, 1]);
        Self {
            weight: PackedLinear::new(weight.view([out_channels, in_channels])),
            bias: Some(vs.tensor("bias", &[out_channels])),
        }
    }

    /// (…, in) to (…, out).
    pub fn forward(&self, xs: &Tensor) -> Tensor {
        match &self.weight {
            Ok(packed) => packed.forward(xs, self.bias.as_ref()),
            Err(weight) => xs.linear(weight, self.bias.as_ref()),
        }
    }
}

// === impl Conv2d ===

impl Conv2d {
    /// Reads a square kernel that keeps the size, its padding being half of it: `weight` (out, in, k, k) and `bias` (out,).
    pub fn new(vs: &VarPath<'_>, in_channels: i64, out_channels: i64, kernel: i64) -> Self {
        let weight = vs.tensor("weight", &[out_channels, in_channels, kernel, kernel]);
        let kernel = match kernel {
            1 => match PackedLinear::new(weight.flatten(1, 3)) {
                Ok(packed) => Kernel::Pixel(packed),
                Err(_) => Kernel::Plain { weight, stride: 1, padding: 0 },
            },
            _ => Kernel::new(weight, 1, kernel / 2),
        };
        Self { kernel, bias: vs.tensor("bias", &[out_channels]) }
    }

    /// Reads a 3×3 kernel that halves the size.
    pub fn halving(vs: &VarPath<'_>, channels: i64, padding: i64) -> Self {
        let weight = vs.tensor("weight", &[channels, channels, 3, 3]);
        Self { kernel: Kernel::new(weight, 2, padding), bias: vs.tensor("bias", &[channels]) }
    }

    /// (N, in, h, w) to (N, out, h′, w′).
    pub fn forward(&self, xs: &Tensor) -> Tensor {
        match &self.kernel {
            Kernel::Plain { weight, stride, padding } => {
                xs.conv2d(weight, Some(&self.bias), [*stride; 2], [*padding; 2], [1, 1], 1)
            }
            Kernel::Packed(packed) => packed.forward(xs, &self.bias),
            Kernel::Pixel(packed) => {
                let pixels = xs.permute([0, 2, 3, 1]); // (N, h, w, in)
                packed.forward(&pixels, Some(&self.bias)).permute([0, 3, 1, 2])
            }
        }
    }
}

impl Kernel {
    fn new(weight: Tensor, stride: i64, padding: i64) -> Self {
        match PackedConv2d::new(weight, stride, padding) {
            Ok(packed) => Self::Packed(packed),
            Err(weight) => Self::Plain { weight, stride, padding },
        }
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

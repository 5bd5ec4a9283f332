//! Basic layers over checkpoint tensors: linear, convolution, norms (torch: `torch.nn`).

use tch::{Device, Kind, Tensor};

use crate::kernels::cpu::{
    fused::{
        self,
        norm::{Activation, Shift},
    },
    onednn::{PackedConv2d, PackedLinear},
};
use crate::models::weights::VarPath;

/// A linear layer over the last dimension (torch: `nn.Linear`).
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

/// Implementation of a convolution.
#[derive(Debug)]
enum Kernel {
    /// libtorch's convolution.
    Plain { weight: Tensor, stride: i64, padding: i64 },
    /// oneDNN's convolution with packed weights.
    Packed(PackedConv2d),
    /// A 1×1 convolution as a linear layer over channels.
    Pixel(Linear),
}

/// The sum of a residual and a linear layer's output.
#[derive(Debug)]
pub enum Sum {
    /// Already added by the layer, before rounding.
    Done(Tensor),
    /// Not yet added: the residual, and the layer's output.
    Addends([Tensor; 2]),
}

/// Group norm (torch: `nn.GroupNorm`).
#[derive(Debug)]
pub struct GroupNorm {
    groups: i64,
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

/// Layer norm over the last dimension (torch: `nn.LayerNorm`).
#[derive(Debug)]
pub struct LayerNorm {
    channels: i64,
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

/// The tensor (N, C, h, w) in channels-last layout where convolutions use it. Every layer preserves that layout, in
/// which the pixels of a grid are the rows of a linear layer's input.
pub fn channels_last(xs: &Tensor) -> Tensor {
    if works_channels_last(xs) {
        xs.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
    } else {
        xs.shallow_clone()
    }
}

/// The pixels of a channels-last grid (N, C, h, w) as rows (N, h·w, C), a view.
pub fn rows_of(xs: &Tensor) -> Tensor {
    xs.flatten(2, 3).transpose(1, 2)
}

/// Whether convolutions of this dtype and device use channels-last: all of oneDNN's, and those on tensor cores.
fn works_channels_last(xs: &Tensor) -> bool {
    match xs.device() {
        Device::Cpu => true,
        Device::Cuda(_) => matches!(xs.kind(), Kind::Half | Kind::BFloat16),
        _ => false,
    }
}

/// GEGLU: from values and gates, (…, 2·I), to values · gelu(gates), (…, I); may overwrite its input (diffusers:
/// `GEGLU`).
pub fn geglu(xs: &Tensor) -> Tensor {
    fused::geglu(xs).unwrap_or_else(|| {
        let mut halves = xs.chunk(2, -1); // values and gates
        let gate = halves[1].gelu_("none");
        &halves[0] * gate
    })
}

// === impl Linear ===

impl Linear {
    /// Loads `weight` (out, in) and `bias` (out,).
    pub fn new(vs: &VarPath<'_>, in_channels: i64, out_channels: i64) -> Self {
        let bias = vs.tensor("bias", &[out_channels]);
        Self { bias: Some(bias), ..Self::without_bias(vs, in_channels, out_channels) }
    }

    /// Loads `weight` (out, in).
    pub fn without_bias(vs: &VarPath<'_>, in_channels: i64, out_channels: i64) -> Self {
        let weight = vs.tensor("weight", &[out_channels, in_channels]);
        Self { weight: PackedLinear::new(weight), bias: None }
    }

    /// Loads a 1×1 convolution, `weight` (out, in, 1, 1) and `bias` (out,), as a linear layer over channels.
    pub fn from_conv_1x1(vs: &VarPath<'_>, in_channels: i64, out_channels: i64) -> Self {
        let weight = vs.tensor("weight", &[out_channels, in_channels, 1, 1]);
        Self {
            weight: PackedLinear::new(weight.view([out_channels, in_channels])),
            bias: Some(vs.tensor("bias", &[out_channels])),
        }
    }

    /// (…, in) to (…, out).
    pub fn forward(&self, xs: &Tensor) -> Tensor {
        self.forward_with(xs, self.bias.as_ref())
    }

    /// (…, in) to (…, out), plus `residual`, (…, out).
    pub fn forward_onto(&self, xs: &Tensor, residual: Tensor) -> Sum {
        match &self.weight {
            Ok(packed) => Sum::Done(packed.forward_onto(xs, self.bias.as_ref(), &residual)),
            Err(_) => Sum::Addends([residual, self.forward(xs)]),
        }
    }

    fn forward_with(&self, xs: &Tensor, bias: Option<&Tensor>) -> Tensor {
        match &self.weight {
            Ok(packed) => packed.forward(xs, bias),
            Err(weight) => xs.linear(weight, bias),
        }
    }
}

// === impl Sum ===

impl Sum {
    /// The sum; may overwrite the residual.
    pub fn into_tensor(self) -> Tensor {
        match self {
            Self::Done(sum) => sum,
            Self::Addends([mut residual, more]) => {
                residual += more;
                residual
            }
        }
    }
}

// === impl Conv2d ===

impl Conv2d {
    /// Loads a size-preserving convolution with a square kernel and padding k / 2: `weight` (out, in, k, k) and `bias`
    /// (out,).
    pub fn new(vs: &VarPath<'_>, in_channels: i64, out_channels: i64, kernel: i64) -> Self {
        let kernel = Self::kernel(vs, in_channels, out_channels, kernel);
        Self { kernel, bias: vs.tensor("bias", &[out_channels]) }
    }

    /// [`Self::new`] of a convolution that has no bias.
    pub fn without_bias(
        vs: &VarPath<'_>,
        in_channels: i64,
        out_channels: i64,
        kernel: i64,
    ) -> Self {
        let kernel = Self::kernel(vs, in_channels, out_channels, kernel);
        Self { kernel, bias: no_bias(vs, out_channels) }
    }

    fn kernel(vs: &VarPath<'_>, in_channels: i64, out_channels: i64, kernel: i64) -> Kernel {
        let weight = vs.tensor("weight", &[out_channels, in_channels, kernel, kernel]);
        match kernel {
            1 => match PackedLinear::new(weight.flatten(1, 3)) {
                Err(weight) if !(weight.device().is_cuda() && works_channels_last(&weight)) => {
                    let weight = weight.view([out_channels, in_channels, 1, 1]);
                    Kernel::Plain { weight, stride: 1, padding: 0 }
                }
                weight => Kernel::Pixel(Linear { weight, bias: None }),
            },
            _ => Kernel::new(weight, 1, kernel / 2),
        }
    }

    /// [`Self::halving`] of a convolution that has no bias.
    pub fn halving_without_bias(vs: &VarPath<'_>, channels: i64, padding: i64) -> Self {
        let weight = vs.tensor("weight", &[channels, channels, 3, 3]);
        Self { kernel: Kernel::new(weight, 2, padding), bias: no_bias(vs, channels) }
    }

    /// Loads a 3×3 convolution with stride 2.
    pub fn halving(vs: &VarPath<'_>, channels: i64, padding: i64) -> Self {
        let weight = vs.tensor("weight", &[channels, channels, 3, 3]);
        Self { kernel: Kernel::new(weight, 2, padding), bias: vs.tensor("bias", &[channels]) }
    }

    /// (N, in, h, w) to (N, out, h′, w′).
    pub fn forward(&self, xs: &Tensor) -> Tensor {
        self.convolve(xs, Some(&self.bias))
    }

    /// [`Self::forward`] without the bias if a later fused layer can add it; then the bias is returned.
    pub fn forward_but_bias(&self, xs: &Tensor) -> (Tensor, Option<&Tensor>) {
        if fused::adds_bias(xs.device()) {
            (self.convolve(xs, None), Some(&self.bias))
        } else {
            (self.forward(xs), None)
        }
    }

    /// [`Self::forward`] plus `residual`, which has the result's shape and layout.
    pub fn forward_onto(&self, xs: &Tensor, residual: &Tensor) -> Tensor {
        if let Kernel::Packed(packed) = &self.kernel {
            return packed.forward_onto(xs, &self.bias, residual);
        }
        let (mut xs, bias) = self.forward_but_bias(xs);
        let sum = bias.and_then(|bias| fused::residual_sum(&xs, residual, bias));
        sum.unwrap_or_else(|| {
            if let Some(bias) = bias {
                xs += bias.view([1, -1, 1, 1]);
            }
            xs += residual;
            xs
        })
    }

    /// Convolves; only on a GPU may the bias be left out.
    fn convolve(&self, xs: &Tensor, bias: Option<&Tensor>) -> Tensor {
        match &self.kernel {
            Kernel::Plain { weight, stride, padding } => {
                xs.conv2d(weight, bias, [*stride; 2], [*padding; 2], [1, 1], 1)
            }
            Kernel::Packed(packed) => packed.forward(xs, &self.bias),
            Kernel::Pixel(linear) => {
                let pixels = xs.permute([0, 2, 3, 1]); // (N, h, w, in)
                linear.forward_with(&pixels, bias).permute([0, 3, 1, 2])
            }
        }
    }
}

/// The bias of a convolution that has none.
fn no_bias(vs: &VarPath<'_>, channels: i64) -> Tensor {
    Tensor::zeros([channels], (vs.kind(), vs.device()))
}

impl Kernel {
    fn new(weight: Tensor, stride: i64, padding: i64) -> Self {
        match PackedConv2d::new(weight, stride, padding) {
            Ok(packed) => Self::Packed(packed),
            // Once and for all, since cuDNN's convolution would do it at every call.
            Err(weight) if weight.device().is_cuda() => {
                Self::Plain { weight: channels_last(&weight), stride, padding }
            }
            Err(weight) => Self::Plain { weight, stride, padding },
        }
    }
}

// === impl GroupNorm ===

impl GroupNorm {
    /// Loads `weight` and `bias` (channels,).
    pub fn new(vs: &VarPath<'_>, groups: i64, channels: i64, eps: f64) -> Self {
        Self {
            groups,
            weight: vs.tensor("weight", &[channels]),
            bias: vs.tensor("bias", &[channels]),
            eps,
        }
    }

    /// Group norm of (N, channels, h, w).
    pub fn forward(&self, xs: &Tensor) -> Tensor {
        self.fused(xs, Shift::default(), Activation::None).unwrap_or_else(|| self.plain(xs))
    }

    /// `SiLU` of the group norm.
    pub fn forward_silu(&self, xs: &Tensor) -> Tensor {
        let fused = self.fused(xs, Shift::default(), Activation::Silu);
        fused.unwrap_or_else(|| self.plain(xs).silu_())
    }

    /// `SiLU` of the group norm of the input plus `shift`; may overwrite the input.
    pub fn forward_silu_of_sum(&self, mut xs: Tensor, shift: Shift<'_>) -> Tensor {
        self.fused(&xs, shift, Activation::Silu).unwrap_or_else(|| {
            if let Some(channels) = shift.channels {
                xs += channels.view([1, -1, 1, 1]);
            }
            if let Some(rows) = shift.rows {
                xs += rows.unsqueeze(-1).unsqueeze(-1); // (N, C, 1, 1)
            }
            self.plain(&xs).silu_()
        })
    }

    fn fused(&self, xs: &Tensor, shift: Shift<'_>, activation: Activation) -> Option<Tensor> {
        let Self { groups, weight, bias, eps } = self;
        let (groups, eps) = (*groups, *eps);
        fused::group_norm(
            xs,
            &fused::norm::GroupNorm { groups, weight, bias, eps, shift, activation },
        )
    }

    /// By libtorch, which does not preserve channels-last on a GPU.
    fn plain(&self, xs: &Tensor) -> Tensor {
        let xs = xs.group_norm(self.groups, Some(&self.weight), Some(&self.bias), self.eps, true);
        if xs.device().is_cuda() { channels_last(&xs) } else { xs }
    }
}

// === impl LayerNorm ===

impl LayerNorm {
    /// Loads `weight` and `bias` (channels,).
    pub fn new(vs: &VarPath<'_>, channels: i64, eps: f64) -> Self {
        Self {
            channels,
            weight: vs.tensor("weight", &[channels]),
            bias: vs.tensor("bias", &[channels]),
            eps,
        }
    }

    /// Layer norm of (…, channels).
    pub fn forward(&self, xs: &Tensor) -> Tensor {
        xs.layer_norm([self.channels], Some(&self.weight), Some(&self.bias), self.eps, true)
    }

    /// A sum (…, channels) and its layer norm; may overwrite the residual.
    pub fn forward_of_sum(&self, sum: Sum) -> (Tensor, Tensor) {
        if let Sum::Addends([residual, more]) = &sum {
            let affine = [&self.weight, &self.bias];
            if let Some(both) = fused::layer_norm_of_sum(residual, more, affine, self.eps) {
                return both;
            }
        }
        let sum = sum.into_tensor();
        let normed = self.forward(&sum);
        (sum, normed)
    }
}

//! Layers in one pass over memory, computed in fp32 and rounded once, where libtorch takes several passes and rounds after each.
//!
//! A GPU has all of them from [`gpu::library::fused`](crate::kernels::gpu::library::fused), a CPU with AVX512-BF16 the group norm in
//! bf16. Where a layer gives `None`, libtorch has to do it: on another device, in another dtype, or in another order in memory. It
//! is not said again, since the caller has the other way.

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod native;
pub mod norm;

use tch::{Device, Tensor};

use crate::kernels::{cpu::fused::norm::GroupNorm, gpu::library::fused as on_gpu};

/// The norm of `xs` (N, C, h, w), which must be channels-last in memory, as its result is.
pub fn group_norm(xs: &Tensor, norm: &GroupNorm<'_>) -> Option<Tensor> {
    #[cfg(target_arch = "x86_64")]
    if xs.device() == Device::Cpu {
        return native::group_norm(xs, norm);
    }
    on_gpu::group_norm(xs, norm)
}

/// Of (…, 2·I), values and gates: values · gelu(gates), (…, I); on a GPU alone, since on a CPU libtorch's two passes are as fast.
pub fn geglu(xs: &Tensor) -> Option<Tensor> {
    on_gpu::geglu(xs)
}

/// Whether layers on a device add the bias of a convolution before them, which may then be left out of it.
pub fn adds_bias(device: Device) -> bool {
    on_gpu::is_open(device)
}

/// `xs` + `residual` + `bias`, the first two (N, C, h, w), channels-last in memory, and the last (C,); on a GPU alone, since a CPU's
/// products add it themselves ([`onednn`](crate::kernels::cpu::onednn)).
pub fn residual_sum(xs: &Tensor, residual: &Tensor, bias: &Tensor) -> Option<Tensor> {
    on_gpu::residual_sum(xs, residual, bias)
}

/// `xs` + `more`, (…, C) each, and the norm of that over the channels, by `weight` and `bias` (C,); on a GPU alone, as
/// [`residual_sum`].
pub fn layer_norm_of_sum(
    xs: &Tensor,
    more: &Tensor,
    affine: [&Tensor; 2],
    eps: f64,
) -> Option<(Tensor, Tensor)> {
    on_gpu::layer_norm_of_sum(xs, more, affine, eps)
}

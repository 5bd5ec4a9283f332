//! Fused layers: one pass over memory, computed in fp32 and rounded once, where libtorch makes several passes and
//! rounds after each.
//!
//! GPUs have all of them ([`gpu::library::fused`](crate::kernels::gpu::library::fused)), CPUs with AVX512-BF16 the
//! group norm in bf16. A function returns `None` if the caller must use libtorch: on other devices, dtypes or memory
//! layouts. No warning is logged then, since the result is the same.

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod native;
pub mod norm;

use tch::{Device, Tensor};

use crate::kernels::{cpu::fused::norm::GroupNorm, gpu::library::fused as on_gpu};

/// Group norm of `xs` (N, C, h, w); input and output are channels-last.
pub fn group_norm(xs: &Tensor, norm: &GroupNorm<'_>) -> Option<Tensor> {
    #[cfg(target_arch = "x86_64")]
    if xs.device() == Device::Cpu {
        return native::group_norm(xs, norm);
    }
    on_gpu::group_norm(xs, norm)
}

/// GEGLU: from values and gates, (…, 2·I), to values · gelu(gates), (…, I). GPU only, since on a CPU libtorch's two
/// passes are as fast.
pub fn geglu(xs: &Tensor) -> Option<Tensor> {
    on_gpu::geglu(xs)
}

/// Whether fused layers on a device add the bias of a preceding convolution, which can then be left out there.
pub fn adds_bias(device: Device) -> bool {
    on_gpu::is_open(device)
}

/// `xs` + `residual` + `bias`; the first two are (N, C, h, w) and channels-last, the bias is (C,). GPU only, since on a
/// CPU the matrix products add them ([`onednn`](crate::kernels::cpu::onednn)).
pub fn residual_sum(xs: &Tensor, residual: &Tensor, bias: &Tensor) -> Option<Tensor> {
    on_gpu::residual_sum(xs, residual, bias)
}

/// `xs` + `more`, (…, C) each, and the layer norm of the sum with `weight` and `bias` (C,). GPU only, as
/// [`residual_sum`].
pub fn layer_norm_of_sum(
    xs: &Tensor,
    more: &Tensor,
    affine: [&Tensor; 2],
    eps: f64,
) -> Option<(Tensor, Tensor)> {
    on_gpu::layer_norm_of_sum(xs, more, affine, eps)
}

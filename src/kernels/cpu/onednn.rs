//! Convolutions and linear layers by oneDNN, with weights that are packed once.
//!
//! `conv2d` and `linear` convert their weights to oneDNN's blocked layouts on every call. The operators that
//! `torch.compile` emits for CPUs take packed weights; tch has no bindings for them, so they are called through
//! libtorch's C interface (`torch/csrc/inductor/aoti_torch/c/shim.h` and `shim_cpu.h`).
#![expect(unsafe_code, reason = "functions of libtorch's C interface")]

use std::{
    cell::{Cell, RefCell},
    ffi::{c_char, c_int, c_void},
    ptr,
};

use tch::{Device, Kind, Tensor};

use crate::kernels::cpu;

/// Packed weights (out, in, k, k) of a convolution.
///
/// The layout depends on the input's size, so they are packed at the first call and again when the size changes.
#[derive(Debug)]
pub struct PackedConv2d {
    weight: RefCell<Tensor>,
    packed_for: Cell<Option<(i64, i64)>>,
    stride: i64,
    padding: i64,
}

/// Packed weights (out, in) of a linear layer.
#[derive(Debug)]
pub struct PackedLinear {
    weight: Tensor,
}

/// Whether oneDNN can pack weights of this dtype and device; bf16 needs a CPU that supports it.
fn packs(weight: &Tensor) -> bool {
    let dtype = match weight.kind() {
        Kind::Float => true,
        Kind::BFloat16 => cpu::cpu_has_native_bf16(),
        _ => false,
    };
    cfg!(target_arch = "x86_64") && weight.device() == Device::Cpu && dtype
}

// === impl PackedConv2d ===

impl PackedConv2d {
    /// Packs weights.
    ///
    /// # Errors
    /// Returns the weights if packing is not supported: on devices other than CPUs, architectures other than x86-64, or
    /// dtypes other than fp32 and native bf16.
    pub fn new(weight: Tensor, stride: i64, padding: i64) -> Result<Self, Tensor> {
        if !packs(&weight) {
            return Err(weight);
        }
        let (weight, packed_for) = (RefCell::new(weight.to_mkldnn()), Cell::new(None));
        Ok(Self { weight, packed_for, stride, padding })
    }

    /// Packs the weights for an input.
    fn pack(&self, input: &Tensor) {
        let size = input.size();
        let grid = Some((size[2], size[3]));
        if self.packed_for.replace(grid) != grid {
            let _plain_or_old = self.weight.replace_with(|weight| {
                weight.mkldnn_reorder_conv2d_weight(
                    [self.padding; 2],
                    [self.stride; 2],
                    [1, 1],
                    1,
                    size.as_slice(),
                )
            });
        }
    }

    /// [`Self::forward`] plus `residual`, which has the result's shape and layout; only the sum is rounded.
    pub fn forward_onto(&self, input: &Tensor, bias: &Tensor, residual: &Tensor) -> Tensor {
        if residual.size()[2..] == [1, 1] {
            // libtorch 2.11 does not tell oneDNN the order of a single pixel, and fails.
            return self.forward(input, bias) + residual;
        }
        self.pack(input);
        let (stride, padding, dilation) = ([self.stride; 2], [self.padding; 2], [1i64; 2]);
        let (bias, weight) = (handle(bias), self.weight.borrow());
        call("convolution onto a residual", |output| {
            // SAFETY: the signature is libtorch 2.11's; all tensors and arrays outlive the call, which only reads them.
            unsafe {
                aoti_torch_cpu_mkldnn__convolution_pointwise_binary(
                    handle(input),
                    handle(residual),
                    handle(&weight),
                    &raw const bias,
                    padding.as_ptr(),
                    2,
                    stride.as_ptr(),
                    2,
                    dilation.as_ptr(),
                    2,
                    1,
                    c"add".as_ptr(),
                    ptr::null(),
                    ptr::null(),
                    ptr::null(),
                    0,
                    ptr::null(),
                    output,
                )
            }
        })
    }

    /// Convolution of (N, in, h, w) to (N, out, h′, w′), in the input's memory layout.
    pub fn forward(&self, input: &Tensor, bias: &Tensor) -> Tensor {
        self.pack(input);
        let (stride, padding, dilation) = ([self.stride; 2], [self.padding; 2], [1i64; 2]);
        let (bias, weight) = (handle(bias), self.weight.borrow());
        call("convolution", |output| {
            // SAFETY: the signature is libtorch 2.11's; all tensors and arrays outlive the call, which only reads them.
            unsafe {
                aoti_torch_cpu_mkldnn__convolution_pointwise(
                    handle(input),
                    handle(&weight),
                    &raw const bias,
                    padding.as_ptr(),
                    2,
                    stride.as_ptr(),
                    2,
                    dilation.as_ptr(),
                    2,
                    1,
                    c"none".as_ptr(),
                    ptr::null(),
                    0,
                    ptr::null(),
                    output,
                )
            }
        })
    }
}

// === impl PackedLinear ===

impl PackedLinear {
    /// Packs weights.
    ///
    /// # Errors
    /// As for [`PackedConv2d::new`].
    pub fn new(weight: Tensor) -> Result<Self, Tensor> {
        if !packs(&weight) {
            return Err(weight);
        }
        // The operator's arguments: weights, which it takes, and a number of rows that is not known. Then its result.
        let mut stack = [cloned(&weight) as u64, 0];
        // SAFETY: an operator (Tensor, SymInt?) -> Tensor of libtorch 2.11, which takes the handle of its arguments,
        // cloned for it, and writes its result over them.
        let status = unsafe {
            aoti_torch_call_dispatcher(
                c"mkldnn::_reorder_linear_weight".as_ptr(),
                c"".as_ptr(),
                stack.as_mut_ptr(),
            )
        };
        assert_eq!(status, 0, "libtorch could not pack weights of {:?}", weight.size());
        // SAFETY: the operator has written the handle of a new tensor, which belongs to the caller.
        Ok(Self { weight: unsafe { Tensor::from_ptr((stack[0] as *mut c_void).cast()) } })
    }

    /// [`Self::forward`] plus `residual`, (…, out); only the sum is rounded.
    pub fn forward_onto(&self, input: &Tensor, bias: Option<&Tensor>, residual: &Tensor) -> Tensor {
        let bias = bias.map(handle);
        let bias = bias.as_ref().map_or(ptr::null(), ptr::from_ref);
        call("linear map onto a residual", |output| {
            // SAFETY: the signature is libtorch 2.11's; all tensors outlive the call, which only reads them.
            unsafe {
                aoti_torch_cpu__linear_pointwise_binary(
                    handle(input),
                    handle(residual),
                    handle(&self.weight),
                    bias,
                    c"add".as_ptr(),
                    output,
                )
            }
        })
    }

    /// Linear layer, (…, in) to (…, out).
    pub fn forward(&self, input: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let bias = bias.map(handle);
        let bias = bias.as_ref().map_or(ptr::null(), ptr::from_ref);
        call("linear map", |output| {
            // SAFETY: the signature is libtorch 2.11's; all tensors outlive the call, which only reads them.
            unsafe {
                aoti_torch_cpu__linear_pointwise(
                    handle(input),
                    handle(&self.weight),
                    bias,
                    c"none".as_ptr(),
                    ptr::null(),
                    0,
                    ptr::null(),
                    output,
                )
            }
        })
    }
}

/// libtorch's `AtenTensorHandle`: a pointer to an `at::Tensor`, as in tch.
type Handle = *mut c_void;

unsafe extern "C" {
    fn aoti_torch_cpu_mkldnn__convolution_pointwise(
        input: Handle,
        weight: Handle,
        bias: *const Handle,
        padding: *const i64,
        paddings: i64,
        stride: *const i64,
        strides: i64,
        dilation: *const i64,
        dilations: i64,
        groups: i64,
        function: *const c_char,
        scalars: *const *const f64,
        scalar_count: i64,
        algorithm: *const *const c_char,
        output: *mut Handle,
    ) -> c_int;

    fn aoti_torch_cpu_mkldnn__convolution_pointwise_binary(
        input: Handle,
        other: Handle,
        weight: Handle,
        bias: *const Handle,
        padding: *const i64,
        paddings: i64,
        stride: *const i64,
        strides: i64,
        dilation: *const i64,
        dilations: i64,
        groups: i64,
        function: *const c_char,
        alpha: *const f64,
        unary_function: *const *const c_char,
        unary_scalars: *const *const f64,
        unary_scalar_count: i64,
        unary_algorithm: *const *const c_char,
        output: *mut Handle,
    ) -> c_int;

    fn aoti_torch_cpu__linear_pointwise(
        input: Handle,
        weight: Handle,
        bias: *const Handle,
        function: *const c_char,
        scalars: *const *const f64,
        scalar_count: i64,
        algorithm: *const *const c_char,
        output: *mut Handle,
    ) -> c_int;

    fn aoti_torch_cpu__linear_pointwise_binary(
        input: Handle,
        other: Handle,
        weight: Handle,
        bias: *const Handle,
        function: *const c_char,
        output: *mut Handle,
    ) -> c_int;

    fn aoti_torch_call_dispatcher(
        operator: *const c_char,
        overload: *const c_char,
        stack: *mut u64,
    ) -> c_int;
}

/// Borrows a tensor for a call.
fn handle(tensor: &Tensor) -> Handle {
    tensor.as_ptr().cast_mut().cast()
}

/// A new owned handle to the same tensor.
fn cloned(tensor: &Tensor) -> Handle {
    let clone = std::mem::ManuallyDrop::new(tensor.shallow_clone());
    handle(&clone)
}

/// Calls an operator that writes a tensor handle.
///
/// Panics on errors like tch's operators; shapes are checked when they enter a pipeline.
fn call(what: &str, operator: impl FnOnce(*mut Handle) -> c_int) -> Tensor {
    let mut output: Handle = ptr::null_mut();
    let status = operator(&raw mut output);
    assert!(status == 0 && !output.is_null(), "libtorch failed in a {what}; it said why on stderr");
    // SAFETY: the operator has written the handle of a new tensor, which belongs to the caller.
    unsafe { Tensor::from_ptr(output.cast()) }
}

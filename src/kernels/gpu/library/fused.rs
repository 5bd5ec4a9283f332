//! Fused CUDA kernels (`fused.cu`): layers in one pass over memory where libtorch needs several. Compiled by NVRTC when
//! the device is opened.
//!
//! A function returns `None` if the caller must use libtorch instead: on another device, before [`open()`], or for
//! tensors without a kernel.

use std::{
    ffi::{CString, c_char, c_int, c_void},
    path::PathBuf,
    ptr::{self, NonNull},
    sync::OnceLock,
};

use tch::{Device, Tensor};

use crate::kernels::{
    cpu::fused::norm::{Activation, GroupNorm},
    gpu::library::{self, CudaLibraryError, ErrorText, checked, made},
};

/// Maximum number of devices of a process.
const DEVICES: usize = 64;

/// The kernels per device; CUDA keeps them until the process ends.
static OPEN: [OnceLock<Fused>; DEVICES] = [const { OnceLock::new() }; DEVICES];

/// The kernels of one device.
#[derive(Debug)]
struct Fused {
    functions: Functions,
    handle: NonNull<c_void>,
}

/// A pointer to libtorch's `at::Tensor`, as in tch.
type Handle = *mut c_void;

/// The library's functions; the library is never unloaded.
#[derive(Debug, Clone, Copy)]
struct Functions {
    fused_new: unsafe extern "C" fn(c_int, *const c_char, *mut *mut c_void) -> ErrorText,
    group_norm: unsafe extern "C" fn(
        *const c_void,
        Handle,
        Handle,
        Handle,
        Handle,
        Handle,
        i64,
        f64,
        c_int,
        *mut Handle,
    ) -> ErrorText,
    geglu: unsafe extern "C" fn(*const c_void, Handle, *mut Handle) -> ErrorText,
    residual_sum:
        unsafe extern "C" fn(*const c_void, Handle, Handle, Handle, *mut Handle) -> ErrorText,
    layer_norm_of_sum: unsafe extern "C" fn(
        *const c_void,
        Handle,
        Handle,
        Handle,
        Handle,
        f64,
        *mut Handle,
        *mut Handle,
    ) -> ErrorText,
    add_mean_softmax: unsafe extern "C" fn(*const c_void, Handle, Handle, *mut c_int) -> ErrorText,
    first_softmax: unsafe extern "C" fn(*const c_void, Handle, *mut Handle) -> ErrorText,
}

// SAFETY: the library's handle belongs to no thread, and is only read once `open` has stored it.
unsafe impl Send for Fused {}
// SAFETY: the library only reads the handle, so that several threads may launch kernels at once.
unsafe impl Sync for Fused {}

/// Compiles the kernels for a device, in about three seconds, with the library from the first of `folders` that has it.
///
/// [`open_cuda`](crate::kernels::gpu::cuda::open_cuda) must have been called before, since the library depends on it.
/// Must be called before any CUDA graph is recorded on the device.
///
/// # Errors
/// [`CudaLibraryError`] if the library is missing or of another version, or if NVRTC or the device rejects the kernels.
pub fn open(device: usize, folders: &[PathBuf]) -> Result<(), CudaLibraryError> {
    let Some(slot) = OPEN.get(device) else { return Ok(()) };
    if slot.get().is_some() {
        return Ok(());
    }
    let functions = Functions::open(folders)?;
    let source = CString::new(include_str!("fused.cu")).expect("a source has no zero byte");
    let mut handle = ptr::null_mut();
    // SAFETY: the signature is that of `fused.cpp`; both pointers are valid for the call.
    let outcome =
        unsafe { (functions.fused_new)(device as c_int, source.as_ptr(), &raw mut handle) };
    checked("no fused layers", outcome)?;
    slot.get_or_init(|| Fused { functions, handle: made(handle) });
    Ok(())
}

/// Whether the kernels of a device are available.
pub fn is_open(device: Device) -> bool {
    on(device).is_some()
}

/// Group norm of `xs` (N, C, h, w); input and output are channels-last.
pub fn group_norm(xs: &Tensor, norm: &GroupNorm<'_>) -> Option<Tensor> {
    let fused = on(xs.device())?;
    call("a group norm", |out| {
        let shift = [norm.shift.channels, norm.shift.rows].map(optional);
        let activated = c_int::from(norm.activation == Activation::Silu);
        // SAFETY: the signature is that of `fused.cpp`; the tensors outlive the call, which only reads them.
        unsafe {
            (fused.functions.group_norm)(
                fused.handle.as_ptr(),
                handle(xs),
                shift[0],
                shift[1],
                handle(norm.weight),
                handle(norm.bias),
                norm.groups,
                norm.eps,
                activated,
                out,
            )
        }
    })
}

/// GEGLU: from values and gates, (…, 2·I), to values · gelu(gates), (…, I).
pub fn geglu(xs: &Tensor) -> Option<Tensor> {
    let fused = on(xs.device())?;
    call("a gated activation", |out| {
        // SAFETY: the signature is that of `fused.cpp`; the tensors outlive the call, which only reads them.
        unsafe { (fused.functions.geglu)(fused.handle.as_ptr(), handle(xs), out) }
    })
}

/// `xs` + `residual` + `bias`; the first two are (N, C, h, w) and channels-last, the bias is (C,).
pub fn residual_sum(xs: &Tensor, residual: &Tensor, bias: &Tensor) -> Option<Tensor> {
    let fused = on(xs.device())?;
    call("a residual sum", |out| {
        let [xs, residual, bias] = [xs, residual, bias].map(handle);
        // SAFETY: the signature is that of `fused.cpp`; the tensors outlive the call, which only reads them.
        unsafe { (fused.functions.residual_sum)(fused.handle.as_ptr(), xs, residual, bias, out) }
    })
}

/// `xs` + `more`, (…, C) each, and the layer norm of the sum with `weight` and `bias` (C,).
pub fn layer_norm_of_sum(
    xs: &Tensor,
    more: &Tensor,
    [weight, bias]: [&Tensor; 2],
    eps: f64,
) -> Option<(Tensor, Tensor)> {
    let fused = on(xs.device())?;
    let mut sum: Handle = ptr::null_mut();
    let normed = call("a layer norm", |out| {
        let [xs, more, weight, bias] = [xs, more, weight, bias].map(handle);
        let sum = &raw mut sum;
        // SAFETY: the signature is that of `fused.cpp`; the tensors outlive the call, which only reads them.
        unsafe {
            (fused.functions.layer_norm_of_sum)(
                fused.handle.as_ptr(),
                xs,
                more,
                weight,
                bias,
                eps,
                sum,
                out,
            )
        }
    })?;
    // SAFETY: with a norm the library has written the handle of a sum, a new tensor that belongs to the caller.
    Some((unsafe { Tensor::from_ptr(sum.cast()) }, normed))
}

/// Adds the head-averaged softmax over the last dimension of `logits` (H, Q, K) to `sum`, (Q, K) in fp32.
pub fn add_mean_softmax(logits: &Tensor, sum: &mut Tensor) -> Option<()> {
    let fused = on(logits.device())?;
    let mut done = 0;
    // SAFETY: the signature is that of `fused.cpp`; the tensors outlive the call, and `sum`, which it changes, is
    // borrowed exclusively.
    let outcome = unsafe {
        (fused.functions.add_mean_softmax)(
            fused.handle.as_ptr(),
            handle(logits),
            handle(sum),
            &raw mut done,
        )
    };
    if let Err(error) = checked("a mean of softmax", outcome) {
        panic!("{error}");
    }
    (done != 0).then_some(())
}

/// First key's probability of the softmax over the last dimension of `logits` (H, Q, K): (H, Q, 1) in fp32.
pub fn first_softmax(logits: &Tensor) -> Option<Tensor> {
    let fused = on(logits.device())?;
    call("a softmax", |out| {
        // SAFETY: the signature is that of `fused.cpp`; the tensors outlive the call, which only reads them.
        unsafe { (fused.functions.first_softmax)(fused.handle.as_ptr(), handle(logits), out) }
    })
}

/// Calls a library function that writes a tensor handle, or null if it has no kernel for these tensors.
///
/// Panics on errors like tch's operators; the only ones are out-of-memory and device failures.
fn call(what: &'static str, layer: impl FnOnce(*mut Handle) -> ErrorText) -> Option<Tensor> {
    let mut output: Handle = ptr::null_mut();
    if let Err(error) = checked(what, layer(&raw mut output)) {
        panic!("{error}");
    }
    // SAFETY: the library has written null or the handle of a new tensor, which belongs to the caller.
    (!output.is_null()).then(|| unsafe { Tensor::from_ptr(output.cast()) })
}

fn on(device: Device) -> Option<&'static Fused> {
    match device {
        Device::Cuda(index) => OPEN.get(index)?.get(),
        _ => None,
    }
}

/// Borrows a tensor for a call.
fn handle(tensor: &Tensor) -> Handle {
    tensor.as_ptr().cast_mut().cast()
}

fn optional(tensor: Option<&Tensor>) -> Handle {
    tensor.map_or(ptr::null_mut(), handle)
}

// === impl Functions ===

impl Functions {
    fn open(folders: &[PathBuf]) -> Result<Self, CudaLibraryError> {
        library::open(folders, |library| {
            // SAFETY: the signatures are those of `fused.cpp`.
            Ok(unsafe {
                Self {
                    fused_new: *library.get(b"retouch_fused_new\0")?,
                    group_norm: *library.get(b"retouch_group_norm\0")?,
                    geglu: *library.get(b"retouch_geglu\0")?,
                    residual_sum: *library.get(b"retouch_residual_sum\0")?,
                    layer_norm_of_sum: *library.get(b"retouch_layer_norm_of_sum\0")?,
                    add_mean_softmax: *library.get(b"retouch_add_mean_softmax\0")?,
                    first_softmax: *library.get(b"retouch_first_softmax\0")?,
                }
            })
        })
    }
}

//! The values of contiguous CPU tensors as slices.
#![expect(unsafe_code, reason = "tensors' memory behind a pointer")]

use std::slice;

use tch::{Device, Kind, Tensor};

/// A Rust type with the layout of a dtype's values.
pub(super) trait Element {
    /// The dtype.
    const KIND: Kind;
}

/// A bf16 value's bits.
impl Element for u16 {
    const KIND: Kind = Kind::BFloat16;
}

impl Element for f32 {
    const KIND: Kind = Kind::Float;
}

/// The values of a contiguous CPU tensor of this dtype that is not empty; `None` for other tensors.
///
/// While they are borrowed, nothing may change them through another tensor of the same storage.
pub(super) fn values<T: Element>(tensor: &Tensor) -> Option<&[T]> {
    // SAFETY: a live, contiguous CPU tensor has `numel` values of its dtype at its data pointer.
    has_slice::<T>(tensor)
        .then(|| unsafe { slice::from_raw_parts(tensor.data_ptr().cast(), tensor.numel()) })
}

/// As [`values`], to change them; nothing may access them through another tensor meanwhile.
pub(super) fn values_mut<T: Element>(tensor: &mut Tensor) -> Option<&mut [T]> {
    // SAFETY: a live, contiguous CPU tensor has `numel` values of its dtype at its data pointer, and is borrowed
    // exclusively.
    has_slice::<T>(tensor)
        .then(|| unsafe { slice::from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel()) })
}

fn has_slice<T: Element>(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu
        && tensor.kind() == T::KIND
        && tensor.is_contiguous()
        && tensor.numel() > 0
}

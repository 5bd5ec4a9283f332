//! Asynchronous copies to a GPU through pinned host memory, which do not wait for earlier work on the device.
#![expect(unsafe_code, reason = "a tensor's memory is written by a file's reader")]

use std::slice;

use tch::{Device, Kind, TchError, Tensor};

/// Copies a tensor to a device. For a GPU this returns before the copy is done; later work on the device comes after
/// it.
pub fn to_device(tensor: &Tensor, device: Device) -> Tensor {
    if tensor.device() == Device::Cpu && device.is_cuda() {
        // Differs: `pin_memory` would warn at each call that it is given a device, which tch must give.
        tensor.internal_pin_memory(device).to_device_(device, tensor.kind(), true, false)
    } else {
        tensor.to_device(device)
    }
}

/// A staging buffer for bytes that become a tensor on a device.
#[derive(Debug)]
pub struct Staging(Tensor);

impl Staging {
    /// A buffer of `bytes` bytes, in pinned memory if `device` is a GPU.
    ///
    /// # Errors
    /// [`TchError`] if out of memory.
    pub fn new(bytes: usize, device: Device) -> Result<Self, TchError> {
        let memory = Tensor::f_zeros([bytes as i64], (Kind::Uint8, Device::Cpu))?;
        Ok(Self(if device.is_cuda() { memory.f_internal_pin_memory(device)? } else { memory }))
    }

    /// The bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the tensor is contiguous, of bytes, of this length, and nobody else has it.
        unsafe { slice::from_raw_parts_mut(self.0.data_ptr().cast(), self.0.numel()) }
    }

    /// Copies the first `elements` values, in this dtype, to a tensor (elements,) on a device, and waits for the copy.
    ///
    /// # Errors
    /// [`TchError`] if out of memory.
    pub fn copied(&self, elements: i64, kind: Kind, device: Device) -> Result<Tensor, TchError> {
        let bytes = elements * kind.elt_size_in_bytes() as i64;
        self.0.f_narrow(0, 0, bytes)?.f_view_dtype(kind)?.f_to_device(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staged_bytes_become_numbers() {
        let mut staging = Staging::new(16, Device::Cpu).unwrap();
        staging.bytes()[..8].copy_from_slice(&[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]);
        let numbers = staging.copied(2, Kind::Float, Device::Cpu).unwrap();
        assert_eq!(Vec::<f32>::try_from(numbers).unwrap(), [1.0, -2.0]);
    }
}

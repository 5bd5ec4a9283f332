//! Tensors to a GPU through memory that it reaches by itself, so that nobody has to wait for what it was asked before.
#![expect(unsafe_code, reason = "a tensor's memory is written by a file's reader")]

use std::slice;

use tch::{Device, Kind, TchError, Tensor};

/// A tensor on another device. Where that is a GPU, this returns before the numbers are there, and whatever uses them comes after.
pub fn to_device(tensor: &Tensor, device: Device) -> Tensor {
    if tensor.device() == Device::Cpu && device.is_cuda() {
        // Differs: `pin_memory` would warn at each call that it is given a device, which tch must give.
        tensor.internal_pin_memory(device).to_device_(device, tensor.kind(), true, false)
    } else {
        tensor.to_device(device)
    }
}

/// Memory for bytes that are to become a tensor on a device.
#[derive(Debug)]
pub struct Staging(Tensor);

impl Staging {
    /// So many bytes, in memory that a GPU reaches by itself if `device` is one.
    ///
    /// # Errors
    /// [`TchError`] if there is no memory.
    pub fn new(bytes: usize, device: Device) -> Result<Self, TchError> {
        let memory = Tensor::f_zeros([bytes as i64], (Kind::Uint8, Device::Cpu))?;
        Ok(Self(if device.is_cuda() { memory.f_internal_pin_memory(device)? } else { memory }))
    }

    /// The bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the tensor is contiguous, of bytes, of this length, and nobody else has it.
        unsafe { slice::from_raw_parts_mut(self.0.data_ptr().cast(), self.0.numel()) }
    }

    /// A copy on a device of the first `elements` that the bytes are in this dtype, (elements,); waits for it.
    ///
    /// # Errors
    /// [`TchError`] if there is no memory.
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

//! Copies tensors from a GPU without waiting for work that was launched later.

use tch::{Device, Tensor};

use crate::kernels::gpu::library::event::Event;

/// A tensor being copied to the CPU.
#[derive(Debug)]
pub struct ReadBack {
    tensor: Tensor,
    /// Completion of the copy; `None` if the tensor is still on its device.
    arrival: Option<Event>,
}

impl ReadBack {
    /// Starts copying a tensor, after all work that this thread has launched on its device so far.
    pub fn of(tensor: &Tensor) -> Self {
        let device = tensor.device();
        if !device.is_cuda() {
            return Self { tensor: tensor.shallow_clone(), arrival: None };
        }
        // libtorch takes memory that the device reaches for such a copy.
        let copied = tensor.to_device_(Device::Cpu, tensor.kind(), true, false);
        match Event::now(device) {
            Some(arrival) => Self { tensor: copied, arrival: Some(arrival) },
            None => Self { tensor: tensor.shallow_clone(), arrival: None },
        }
    }

    /// Waits for the copy and returns the tensor on the CPU.
    pub fn wait(self) -> Tensor {
        match self.arrival {
            Some(arrival) => {
                arrival.wait();
                self.tensor
            }
            None => self.tensor.to_device(Device::Cpu),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_the_cpu_a_tensor_is_there_at_once() {
        let tensor = Tensor::from_slice(&[3.0f32, 4.0]);
        assert_eq!(ReadBack::of(&tensor).wait(), tensor);
    }
}

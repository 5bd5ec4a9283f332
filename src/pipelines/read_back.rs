//! Tensors from a GPU without a wait for what it was asked since.

use tch::{Device, Tensor};

use crate::kernels::gpu::library::event::Event;

/// A tensor on its way to the CPU.
#[derive(Debug)]
pub struct ReadBack {
    tensor: Tensor,
    /// When it is there; without one it is still on its device.
    arrival: Option<Event>,
}

impl ReadBack {
    /// Sends a tensor on its way, behind what this thread has asked of its device so far.
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

    /// The tensor on the CPU; waits for that alone.
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

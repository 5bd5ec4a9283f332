//! CUDA: opening libtorch's CUDA half, the library that a GPU adds, and copies between host and device.

pub mod cuda;
pub mod library;
pub mod transfer;

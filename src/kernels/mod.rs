//! Low-level kernels and access to libtorch, CUDA, oneDNN, OpenMP and the CPU; the only module with `unsafe` code.

#[cfg(feature = "engine")]
pub mod cpu;
#[cfg(feature = "engine")]
pub mod gpu;
pub mod standard_output;

//! Low-level kernels and access to libtorch, CUDA, oneDNN, OpenMP and the CPU; the only module with `unsafe` code.

pub mod cpu;
pub mod gpu;
pub mod standard_output;

//! Low-level kernels and access to libtorch, CUDA, oneDNN, OpenMP and the CPU; the only module with `unsafe` code.

pub mod cpu;
pub mod cuda;
pub mod cuda_library;
pub mod flash_attention;
pub mod fused;
pub mod onednn;
mod openmp;
pub mod spin;
pub mod standard_output;
pub mod transfer;
#[cfg(target_arch = "x86_64")]
mod vector;

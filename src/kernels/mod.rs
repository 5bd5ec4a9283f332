//! What reaches into libtorch and the machine itself; the only room with `unsafe`.

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

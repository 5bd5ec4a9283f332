//! What this machine's processor does natively, and how much of it there is.

pub mod flash_attention;
pub mod fused;
pub mod onednn;
mod openmp;
pub mod spin;
#[cfg(target_arch = "x86_64")]
mod vector;

use std::thread;

/// Whether the CPU multiplies bf16 by instructions of its own, so that bf16 is faster than fp32, not slower.
///
/// Every x86-64 processor with AMX has AVX-512 BF16 too, so one flag stands for both.
pub fn cpu_has_native_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    let native = std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(target_arch = "aarch64")]
    let native = std::arch::is_aarch64_feature_detected!("bf16");
    native
}

/// Threads for the networks: as many as libtorch would take by itself, and at most as many as this process may run at once.
///
/// libtorch counts processors; a container's CPU limit (a quota of its control group) may be less, and threads that spin while they
/// wait for one another would spend it.
pub fn default_threads() -> usize {
    let by_libtorch = tch::get_num_threads().max(1) as usize;
    thread::available_parallelism().map_or(by_libtorch, |it| by_libtorch.min(it.get()))
}

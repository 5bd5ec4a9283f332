//! CPU features and thread counts.

pub mod flash_attention;
pub mod fused;
pub mod heap;
pub mod onednn;
mod openmp;
pub mod spin;
#[cfg(target_arch = "x86_64")]
mod tensor_memory;
#[cfg(target_arch = "x86_64")]
mod vector;

use std::thread;

/// Whether the CPU has native bf16 multiplication (AVX-512 BF16), without which bf16 is slower than fp32.
///
/// Every x86-64 processor with AMX has AVX-512 BF16 too, so one flag stands for both.
pub fn cpu_has_native_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    let native = std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(target_arch = "aarch64")]
    let native = std::arch::is_aarch64_feature_detected!("bf16");
    native
}

/// Number of threads for the networks: libtorch's default, limited to the CPUs that this process may use at once.
///
/// libtorch counts processors, but a container's CPU quota (cgroup) may be smaller, and threads that busy-wait for each
/// other would use it up.
pub fn default_threads() -> usize {
    let by_libtorch = tch::get_num_threads().max(1) as usize;
    thread::available_parallelism().map_or(by_libtorch, |it| by_libtorch.min(it.get()))
}

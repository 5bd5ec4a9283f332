//! What this machine's processor does natively.

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

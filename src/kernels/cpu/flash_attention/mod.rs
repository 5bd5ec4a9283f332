//! Flash attention on CPUs with native bf16: online softmax over blocks of keys, without storing probabilities.
//!
//! The algorithm of Flash Attention (Dao et al., arXiv 2205.14135) for CPUs with AVX512-BF16, on which libtorch's own
//! bf16 kernel reaches a fifth of the peak (docs/performance.md). It also returns the log-sum-exp of each query's
//! logits, from which single probabilities follow without a second softmax.

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod native;
#[cfg(target_arch = "x86_64")]
mod pack;
#[cfg(target_arch = "x86_64")]
mod rows;

use tch::Tensor;

#[cfg(target_arch = "x86_64")]
use crate::kernels::cpu::vector;

/// Result of [`attend`].
#[derive(Debug)]
pub struct AttentionOutput {
    /// (N, H, Q, D) in bf16, stored as (N, Q, H, D), so that heads are concatenated without a copy.
    pub output: Tensor,
    /// ln Σ exp(logit) of each query, (N, H, Q) in fp32; -inf where a query has no finite logit, whose output is 0.
    pub log_sum_exp: Tensor,
}

/// Whether this CPU has the instructions.
pub fn is_available() -> bool {
    #[cfg(target_arch = "x86_64")]
    return vector::is_available();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// softmax(query·keyᵀ·scale)·value. `None` if the caller must use libtorch: without the instructions, on another
/// device, in another dtype than bf16, for an odd head size, non-contiguous rows, or an unusable scale.
///
/// `query` is (N, H, Q, D), `key` and `value` are (N, H, K, D), with any strides except the last.
pub fn attend(query: &Tensor, key: &Tensor, value: &Tensor, scale: f64) -> Option<AttentionOutput> {
    #[cfg(target_arch = "x86_64")]
    return native::attend(query, key, value, scale);
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (query, key, value, scale);
        None
    }
}

/// Adds the mean over heads of exp(query·keyᵀ·scale - `log_sum_exp`) to `sum`, where `log_sum_exp` is from [`attend`].
///
/// `query` is (H, Q, D), `key` (H, K, D), `log_sum_exp` (H, Q) and `sum` (Q, K), contiguous in fp32: views of one batch
/// row of [`attend`]'s inputs and outputs, for as many queries as `sum` has rows.
pub fn add_mean_probs(
    query: &Tensor,
    key: &Tensor,
    log_sum_exp: &Tensor,
    scale: f64,
    sum: &mut Tensor,
) {
    #[cfg(target_arch = "x86_64")]
    native::add_mean_probs(query, key, log_sum_exp, scale, sum);
    #[cfg(not(target_arch = "x86_64"))]
    unreachable!("nothing was attended here: {query:?} {key:?} {log_sum_exp:?} {scale} {sum:?}");
}

//! The processor's own limit: products of bf16 pairs from registers, on each of libtorch's threads at once.
#![expect(unsafe_code, reason = "vector instructions")]

use std::{thread, time::Instant};

/// Instructions of one thread: about a second.
const ROUNDS: u64 = 100_000_000;

/// Independent sums, more than a product takes cycles.
const SUMS: usize = 12;

/// 10⁹ operations a second over all threads, a product and its addition being two; `None` without the instruction.
pub(crate) fn bf16_products() -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512bf16") {
        let threads = tch::get_num_threads() as usize;
        let start = Instant::now();
        thread::scope(|scope| {
            for _ in 0..threads {
                // SAFETY: the feature was just found.
                scope.spawn(|| unsafe { products() });
            }
        });
        // 16 lanes of a pair each.
        let operations = threads as f64 * (ROUNDS * SUMS as u64 * 16 * 2 * 2) as f64;
        return Some(operations / start.elapsed().as_secs_f64() / 1e9);
    }
    None
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
fn products() {
    use std::{
        arch::x86_64::{_mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_set1_ps, _mm512_setzero_ps},
        hint::black_box,
    };
    let mut sums = [_mm512_setzero_ps(); SUMS];
    let [left, right] = [0.999f32, 1e-3].map(|it| {
        let pair = _mm512_set1_ps(black_box(it));
        _mm512_cvtne2ps_pbh(pair, pair)
    });
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = _mm512_dpbf16_ps(*sum, left, right);
        }
    }
    black_box(sums);
}

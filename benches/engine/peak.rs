//! Peak throughput of the processor: multiply-adds from registers alone, on all of libtorch's threads at once.
#![expect(unsafe_code, reason = "vector instructions")]

use std::{thread, time::Instant};

use tch::Kind;

/// Instructions per thread and accumulator, about a second's worth.
const ROUNDS: u64 = 100_000_000;

/// Independent accumulators, enough to hide the instruction's latency.
const SUMS: usize = 12;

/// A multiply-add instruction.
struct Instruction {
    /// Runs it [`ROUNDS`] times for each of [`SUMS`] accumulators; the CPU must support it.
    run: unsafe fn(),
    /// Operations per instruction; a multiply-add counts as two.
    operations: u64,
}

/// 10⁹ operations per second over all threads with factors of `kind`; `None` if no instruction is implemented for it.
pub(crate) fn products(kind: Kind) -> Option<f64> {
    let Instruction { run, operations } = widest(kind)?;
    let threads = tch::get_num_threads() as u64;
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            // SAFETY: `widest` gives what this processor has.
            scope.spawn(|| unsafe { run() });
        }
    });
    let made = threads * ROUNDS * SUMS as u64 * operations;
    Some(made as f64 / start.elapsed().as_secs_f64() / 1e9)
}

#[cfg(not(target_arch = "x86_64"))]
fn widest(_: Kind) -> Option<Instruction> {
    None
}

#[cfg(target_arch = "x86_64")]
fn widest(kind: Kind) -> Option<Instruction> {
    match kind {
        Kind::BFloat16 if is_x86_feature_detected!("avx512bf16") => {
            Some(Instruction { run: x86::bf16_pairs, operations: 16 * 2 * 2 })
        }
        Kind::Float if is_x86_feature_detected!("avx512f") => {
            Some(Instruction { run: x86::sixteen_floats, operations: 16 * 2 })
        }
        Kind::Float if is_x86_feature_detected!("fma") => {
            Some(Instruction { run: x86::eight_floats, operations: 8 * 2 })
        }
        _ => None,
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::{
        arch::x86_64::{
            _mm256_fmadd_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm512_cvtne2ps_pbh,
            _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_set1_ps, _mm512_setzero_ps,
        },
        hint::black_box,
    };

    use super::{ROUNDS, SUMS};

    const FACTORS: [f32; 2] = [0.999, 1e-3];

    /// Repeats an instruction on each accumulator; a macro, since a function would not inherit its caller's target
    /// features.
    macro_rules! add_up {
        ($zero:expr, |$sum:ident| $next:expr) => {{
            let mut sums = [$zero; SUMS];
            for _ in 0..ROUNDS {
                for $sum in &mut sums {
                    *$sum = $next;
                }
            }
            black_box(sums);
        }};
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn bf16_pairs() {
        let [left, right] = FACTORS.map(|it| {
            let pair = _mm512_set1_ps(black_box(it));
            _mm512_cvtne2ps_pbh(pair, pair)
        });
        add_up!(_mm512_setzero_ps(), |sum| _mm512_dpbf16_ps(*sum, left, right));
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn sixteen_floats() {
        let [left, right] = FACTORS.map(|it| _mm512_set1_ps(black_box(it)));
        add_up!(_mm512_setzero_ps(), |sum| _mm512_fmadd_ps(left, right, *sum));
    }

    #[target_feature(enable = "avx,fma")]
    pub(super) fn eight_floats() {
        let [left, right] = FACTORS.map(|it| _mm256_set1_ps(black_box(it)));
        add_up!(_mm256_setzero_ps(), |sum| _mm256_fmadd_ps(left, right, *sum));
    }
}

//! Helpers for AVX-512 kernels: conversion between bf16 and fp32 registers, and the exponential.
#![expect(unsafe_code, reason = "loads, stores and reinterpretation of registers")]
#![allow(clippy::wildcard_imports, reason = "the names of instructions say where they are from")]

use std::{arch::x86_64::*, mem};

use crate::kernels::cpu::openmp;

/// fp32 values per register.
pub(super) const LANES: usize = 16;

/// Whether the CPU has AVX-512 with bf16 dot products, and libtorch has an OpenMP team.
pub(super) fn is_available() -> bool {
    openmp::has_team()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512bf16")
}

/// 2^x with a relative error below 3e-7 over the range of fp32; 0 for -inf, NaN for NaN.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn exp2(x: __m512) -> __m512 {
    /// Minimax polynomial of degree 5 for 2^x on -1/2..1/2, with a relative error of at most 7.5e-8.
    const COEFFICIENTS: [f32; 6] =
        [1.000_000_1, 0.693_146_94, 0.240_221_2, 0.055_507_13, 0.009_675_541, 0.001_327_647_2];
    // Of two operands that are not ordered the second is taken, so that NaN stays NaN.
    let x = _mm512_max_ps(_mm512_set1_ps(-160.0), x);
    let whole = _mm512_roundscale_ps::<_MM_FROUND_NO_EXC>(x);
    let rest = _mm512_sub_ps(x, whole);
    let mut power = _mm512_set1_ps(COEFFICIENTS[5]);
    for &coefficient in COEFFICIENTS[..5].iter().rev() {
        power = _mm512_fmadd_ps(power, rest, _mm512_set1_ps(coefficient));
    }
    _mm512_scalef_ps(power, whole)
}

/// Rounds to bf16: `even` to the low half of each lane's 32-bit word, `odd` to the high half.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn pair(even: __m512, odd: __m512, interleave: __m512i) -> __m512i {
    // SAFETY: both have 64 bytes, any bits of which are a value.
    let halves = unsafe { mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(odd, even)) };
    _mm512_permutexvar_epi16(interleave, halves)
}

/// Permutation that interleaves the two halves of a register.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn interleave() -> __m512i {
    let order: [i16; 2 * LANES] = std::array::from_fn(|at| (at / 2 + at % 2 * LANES) as i16);
    // SAFETY: `order` has the 64 bytes of a register.
    unsafe { _mm512_loadu_si512(order.as_ptr().cast()) }
}

/// Mask of the first `count` of a register's 32 bf16 values, or of all.
#[inline]
pub(super) fn first(count: usize) -> __mmask32 {
    if count >= 2 * LANES { !0 } else { (1 << count) - 1 }
}

/// Loads the bf16 values of `mask` as fp32, split into even and odd positions; the others are 0.
///
/// # Safety
/// The values of `mask` must be valid for reads.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn load_bf16(start: *const u16, mask: __mmask32) -> [__m512; 2] {
    // SAFETY: the caller's promise; what the mask leaves out is not read.
    let words = unsafe { _mm512_maskz_loadu_epi16(mask, start.cast()) };
    let (even, odd) =
        (_mm512_slli_epi32::<16>(words), _mm512_and_si512(words, _mm512_set1_epi32(!0xffff)));
    [_mm512_castsi512_ps(even), _mm512_castsi512_ps(odd)]
}

/// Rounds and stores the values of `mask`, the inverse of [`load_bf16`].
///
/// # Safety
/// The places of `mask` must be valid for writes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn store_bf16(
    start: *mut u16,
    mask: __mmask32,
    [even, odd]: [__m512; 2],
    interleave: __m512i,
) {
    let words = pair(even, odd, interleave);
    // SAFETY: the caller's promise; what the mask leaves out is not written.
    unsafe {
        if mask == !0 {
            _mm512_storeu_si512(start.cast(), words);
        } else {
            _mm512_mask_storeu_epi16(start.cast(), mask, words);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn load(floats: &[f32; LANES]) -> __m512 {
    // SAFETY: sixteen floats have the 64 bytes of a register.
    unsafe { _mm512_loadu_ps(floats.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn store(floats: &mut [f32; LANES], x: __m512) {
    // SAFETY: sixteen floats have the 64 bytes of a register.
    unsafe { _mm512_storeu_ps(floats.as_mut_ptr(), x) }
}

//! The group norm's loops over channels, for AVX-512 with bf16.
//!
//! A block of 32 channels is one bf16 register and two fp32 registers, one for even and one for odd channels: splitting
//! them takes a shift and a mask, and no value crosses lanes before the result is rounded.
#![expect(unsafe_code, reason = "loads and stores of registers")]
#![allow(clippy::wildcard_imports, reason = "the names of instructions say where they are from")]

use std::{arch::x86_64::*, f32::consts::LOG2_E};

use super::norm::Activation;
use crate::kernels::cpu::vector::{
    LANES, exp2, first, interleave, load, load_bf16, store, store_bf16,
};

/// Channels per bf16 register.
pub(super) const BLOCK: usize = 2 * LANES;

/// One value per channel of a block: even channels, then odd ones.
pub(super) type Floats = [[f32; LANES]; 2];

/// Mean and variance of some pixels, for each channel of a block.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
pub(super) struct Moments {
    pub(super) means: Floats,
    /// Sums of squared differences from the means.
    pub(super) squares: Floats,
}

/// A norm as scale and offset for each channel of a block.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
pub(super) struct Affine {
    pub(super) factors: Floats,
    pub(super) summands: Floats,
}

/// Computes the moments of some pixels of `channels` channels, block by block.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn find_moments(pixels: &[u16], channels: usize, moments: &mut [Moments]) {
    assert_eq!(moments.len(), channels.div_ceil(BLOCK));
    let count = pixels.len() / channels;
    let share = _mm512_set1_ps(1.0 / count as f32);
    for (block, moments) in moments.iter_mut().enumerate() {
        let mask = first(channels - block * BLOCK);
        let of_pixel = |pixel: usize| {
            // SAFETY: `pixel` is below `count`, and the mask ends with the pixel's channels.
            unsafe { load_bf16(pixels.as_ptr().add(pixel * channels + block * BLOCK), mask) }
        };
        // 1. means: a sum of so few bf16 numbers of like size is exact
        let mut sums = [_mm512_setzero_ps(); 2];
        for pixel in 0..count {
            let xs = of_pixel(pixel);
            for half in 0..2 {
                sums[half] = _mm512_add_ps(sums[half], xs[half]);
            }
        }
        let means = sums.map(|it| _mm512_mul_ps(it, share));
        // 2. squares, about the means so that no digits cancel; the pixels are in the nearest cache by now
        let mut squares = [_mm512_setzero_ps(); 2];
        for pixel in 0..count {
            let xs = of_pixel(pixel);
            for half in 0..2 {
                let difference = _mm512_sub_ps(xs[half], means[half]);
                squares[half] = _mm512_fmadd_ps(difference, difference, squares[half]);
            }
        }
        for half in 0..2 {
            store(&mut moments.means[half], means[half]);
            store(&mut moments.squares[half], squares[half]);
        }
    }
}

/// Writes the norm and activation of some pixels of `channels` channels.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn normalize(
    input: &[u16],
    output: &mut [u16],
    channels: usize,
    affines: &[Affine],
    activation: Activation,
) {
    assert_eq!((input.len(), affines.len()), (output.len(), channels.div_ceil(BLOCK)));
    let interleave = interleave();
    for pixel in 0..input.len() / channels {
        for (block, affine) in affines.iter().enumerate() {
            let (at, mask) = (pixel * channels + block * BLOCK, first(channels - block * BLOCK));
            // SAFETY: the pixel is in `input`, and the mask ends with its channels.
            let mut xs = unsafe { load_bf16(input.as_ptr().add(at), mask) };
            for (half, xs) in xs.iter_mut().enumerate() {
                let (factors, summands) = (&affine.factors[half], &affine.summands[half]);
                *xs = _mm512_fmadd_ps(*xs, load(factors), load(summands));
                if activation == Activation::Silu {
                    *xs = silu(*xs);
                }
            }
            // SAFETY: the same place in `output`, which is as long.
            unsafe { store_bf16(output.as_mut_ptr().add(at), mask, xs, interleave) };
        }
    }
}

/// x / (1 + exp(-x)).
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn silu(x: __m512) -> __m512 {
    let power = exp2(_mm512_mul_ps(x, _mm512_set1_ps(-LOG2_E)));
    _mm512_div_ps(x, _mm512_add_ps(power, _mm512_set1_ps(1.0)))
}

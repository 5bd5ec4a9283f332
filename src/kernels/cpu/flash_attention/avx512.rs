//! Inner loops of the attention kernel, for AVX-512 with bf16 dot products (`vdpbf16ps`).
//!
//! Scores are computed transposed (keys × queries) with one query per lane: any even head size fills the registers, the
//! running maximum and sum of a query need no reduction across lanes, and a pair of a key's channels is one broadcast
//! 32-bit word.
#![expect(unsafe_code, reason = "loads, gathers and reinterpretation of registers")]
#![expect(clippy::cast_ptr_alignment, reason = "the gather takes any address")]
#![allow(clippy::wildcard_imports, reason = "the names of instructions say where they are from")]

use std::{arch::x86_64::*, f32::consts::LOG2_E, mem};

use super::{
    pack::{KEY_BLOCK, KEY_TILE, PackedHead},
    rows::{OutputBlock, TensorRows},
};
use crate::kernels::cpu::vector::{LANES, exp2, interleave, load, pair, store};

/// Query registers per tile, one query per lane: with [`KEY_TILE`] keys it uses 24 of the 32 registers as accumulators.
const VECTORS: usize = 4;

/// Queries per call.
pub(super) const QUERY_BLOCK: usize = LANES * VECTORS;

/// One fp32 value per query of a block.
pub(super) type Queries = [[f32; LANES]; VECTORS];

/// Scratch memory of one thread.
#[derive(Debug)]
pub(super) struct Scratch {
    /// (channel pairs, queries).
    queries: Vec<[__m512i; VECTORS]>,
    /// (keys of a block, queries).
    scores: Vec<[__m512; VECTORS]>,
    /// (key pairs of a block, queries).
    probs: Vec<[__m512i; VECTORS]>,
    /// (channels, queries).
    output: Vec<[__m512; VECTORS]>,
}

impl Scratch {
    pub(super) fn new(dim: usize) -> Self {
        // SAFETY: any bits are a value of a register, so zeros are.
        let (words, floats) = unsafe { (mem::zeroed(), mem::zeroed()) };
        Self {
            queries: vec![words; dim / 2],
            scores: vec![floats; KEY_BLOCK],
            probs: vec![words; KEY_BLOCK / 2],
            output: vec![floats; dim.next_multiple_of(4)],
        }
    }
}

/// Attention of at most [`QUERY_BLOCK`] queries to every key of a head; `output` and `log_sum_exp` are those of the
/// queries.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn attend<const TILE: usize>(
    query: TensorRows<'_>,
    head: &PackedHead<'_>,
    scale: f32,
    scratch: &mut Scratch,
    mut output: OutputBlock<'_>,
    log_sum_exp: &mut [f32],
) {
    assert_eq!(output.size(), (query.count(), query.dim()));
    assert_eq!((log_sum_exp.len(), head.dim), output.size());
    let zero = _mm512_setzero_ps();
    let factor = _mm512_set1_ps(scale * LOG2_E);
    let interleave = interleave();
    load_queries(query, &mut scratch.queries);
    scratch.output.fill([zero; VECTORS]);
    let mut max = [_mm512_set1_ps(f32::NEG_INFINITY); VECTORS];
    let mut sum = [zero; VECTORS];

    for start in (0..head.keys).step_by(KEY_BLOCK) {
        let count = KEY_BLOCK.min(head.keys - start);
        let pairs = count.div_ceil(2);

        // 1. scores of the block, and the maximum up to here
        let block_max = score_block(head, start, count, &scratch.queries, &mut scratch.scores);
        let mut rescale = [zero; VECTORS];
        let mut reference = [zero; VECTORS];
        for v in 0..VECTORS {
            let new_max = _mm512_max_ps(max[v], block_max[v]);
            // A query whose every logit is -inf so far is shifted by nothing: -inf minus -inf is no number.
            reference[v] = _mm512_mask_mov_ps(new_max, is_neg_infinity(new_max), zero);
            rescale[v] = exp2(_mm512_mul_ps(_mm512_sub_ps(max[v], reference[v]), factor));
            sum[v] = _mm512_mul_ps(sum[v], rescale[v]);
            max[v] = new_max;
        }

        // 2. unnormalized probabilities, two keys to a word
        if count < 2 * pairs {
            scratch.scores[count] = [_mm512_set1_ps(f32::NEG_INFINITY); VECTORS];
        }
        for (probs, scores) in scratch.probs[..pairs].iter_mut().zip(scratch.scores.chunks_exact(2))
        {
            for v in 0..VECTORS {
                let [even, odd] = [scores[0][v], scores[1][v]]
                    .map(|it| exp2(_mm512_mul_ps(_mm512_sub_ps(it, reference[v]), factor)));
                sum[v] = _mm512_add_ps(sum[v], _mm512_add_ps(even, odd));
                probs[v] = pair(even, odd, interleave);
            }
        }

        // 3. their sum of the values, on top of what there is
        for (tile, output) in scratch.output.chunks_exact_mut(TILE).enumerate() {
            let values = head.values_of::<TILE>(tile, start / 2);
            add_values::<TILE>(&scratch.probs[..pairs], values, rescale, output);
        }
    }

    // 4. normalize, and turn channels by queries to rows
    let pairs = head.dim / 2;
    for v in 0..VECTORS {
        let live = query.count().saturating_sub(v * LANES).min(LANES);
        // A query with no finite logit attends to nothing, as in libtorch.
        let some = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(sum[v], zero);
        let inverse = _mm512_maskz_div_ps(some, _mm512_set1_ps(1.0), sum[v]);
        for (channels, at) in scratch.output.chunks_exact(2).take(pairs).zip((0..).step_by(2)) {
            let [even, odd] = [channels[0][v], channels[1][v]].map(|it| _mm512_mul_ps(it, inverse));
            let words: [u32; LANES] = words_of(pair(even, odd, interleave));
            for (lane, &word) in words[..live].iter().enumerate() {
                // SAFETY: row `v * LANES + lane` is below `query.count()`, and `at + 1` below `head.dim`.
                unsafe { output.write_pair(v * LANES + lane, at, word) };
            }
        }
        let (max, sum) = (floats_of(max[v]), floats_of(sum[v]));
        for lane in 0..live {
            log_sum_exp[v * LANES + lane] = max[lane] * scale + sum[lane].ln();
        }
    }
}

/// Adds one head's probabilities times `weight` to `map` (keys × queries), for at most [`QUERY_BLOCK`] queries, with
/// the `log_sum_exp` that [`attend`] returned for them.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn add_probs(
    query: TensorRows<'_>,
    head: &PackedHead<'_>,
    scale: f32,
    log_sum_exp: &[f32],
    weight: f32,
    scratch: &mut Scratch,
    map: &mut [Queries],
) {
    let (factor, weight) = (_mm512_set1_ps(scale * LOG2_E), _mm512_set1_ps(weight));
    let mut shift = [[f32::INFINITY; LANES]; VECTORS];
    for (shift, &log_sum_exp) in shift.as_flattened_mut().iter_mut().zip(log_sum_exp) {
        // A query that attends to nothing has no share anywhere.
        *shift =
            if log_sum_exp == f32::NEG_INFINITY { f32::INFINITY } else { log_sum_exp * LOG2_E };
    }
    load_queries(query, &mut scratch.queries);
    for (start, map) in (0..head.keys).step_by(KEY_BLOCK).zip(map.chunks_mut(KEY_BLOCK)) {
        score_block(head, start, map.len(), &scratch.queries, &mut scratch.scores);
        for (map, scores) in map.iter_mut().zip(&scratch.scores) {
            for v in 0..VECTORS {
                let probs = exp2(_mm512_fmsub_ps(scores[v], factor, load(&shift[v])));
                let sum = _mm512_fmadd_ps(probs, weight, load(&map[v]));
                store(&mut map[v], sum);
            }
        }
    }
}

/// Scores of the keys `start..start + count`, and their maximum.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn score_block(
    head: &PackedHead<'_>,
    start: usize,
    count: usize,
    queries: &[[__m512i; VECTORS]],
    scores: &mut [[__m512; VECTORS]],
) -> [__m512; VECTORS] {
    let mut max = [_mm512_set1_ps(f32::NEG_INFINITY); VECTORS];
    for at in (0..count).step_by(KEY_TILE) {
        let width = KEY_TILE.min(count - at);
        let keys = head.keys_of(start + at, width);
        let scores = &mut scores[at..at + width];
        match width {
            1 => score::<1>(queries, keys, scores, &mut max),
            2 => score::<2>(queries, keys, scores, &mut max),
            3 => score::<3>(queries, keys, scores, &mut max),
            4 => score::<4>(queries, keys, scores, &mut max),
            5 => score::<5>(queries, keys, scores, &mut max),
            _ => score::<KEY_TILE>(queries, keys, scores, &mut max),
        }
    }
    max
}

/// Scores of N keys; `keys` is packed by channel pairs.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn score<const N: usize>(
    queries: &[[__m512i; VECTORS]],
    keys: &[i32],
    scores: &mut [[__m512; VECTORS]],
    max: &mut [__m512; VECTORS],
) {
    let mut sums = [[_mm512_setzero_ps(); VECTORS]; N];
    for (queries, keys) in queries.iter().zip(keys.as_chunks::<N>().0) {
        add_products(&mut sums, queries, keys);
    }
    for (scores, sums) in scores.iter_mut().zip(&sums) {
        *scores = *sums;
        for v in 0..VECTORS {
            max[v] = _mm512_max_ps(max[v], sums[v]);
        }
    }
}

/// Rescales N channels of the output, and adds the block's values weighted by `probs`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn add_values<const N: usize>(
    probs: &[[__m512i; VECTORS]],
    values: &[i32],
    rescale: [__m512; VECTORS],
    output: &mut [[__m512; VECTORS]],
) {
    let mut sums = [[_mm512_setzero_ps(); VECTORS]; N];
    for (sums, output) in sums.iter_mut().zip(output.iter()) {
        for v in 0..VECTORS {
            sums[v] = _mm512_mul_ps(output[v], rescale[v]);
        }
    }
    for (probs, values) in probs.iter().zip(values.as_chunks::<N>().0) {
        add_products(&mut sums, probs, values);
    }
    output.copy_from_slice(&sums);
}

/// Adds the dot products of each lane's bf16 pair with N broadcast pairs.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn add_products<const N: usize>(
    sums: &mut [[__m512; VECTORS]; N],
    lanes: &[__m512i; VECTORS],
    words: &[i32; N],
) {
    for (sums, &word) in sums.iter_mut().zip(words) {
        let word = bf16(_mm512_set1_epi32(word));
        for v in 0..VECTORS {
            sums[v] = _mm512_dpbf16_ps(sums[v], bf16(lanes[v]), word);
        }
    }
}

/// Loads query rows transposed to (channel pairs, queries); missing rows repeat the last one.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn load_queries(query: TensorRows<'_>, queries: &mut [[__m512i; VECTORS]]) {
    assert_eq!(queries.len(), query.dim() / 2);
    let (last, bytes) = (query.count() - 1, query.stride() * size_of::<u16>());
    assert!(i32::try_from(last * bytes).is_ok(), "the rows are too far apart");
    let offsets: [i32; QUERY_BLOCK] = std::array::from_fn(|row| (row.min(last) * bytes) as i32);
    let start = query.start().cast::<i32>();
    for (v, offsets) in offsets.as_chunks::<LANES>().0.iter().enumerate() {
        // SAFETY: sixteen integers have the 64 bytes of a register.
        let offsets = unsafe { _mm512_loadu_si512(offsets.as_ptr().cast()) };
        for (pair, queries) in queries.iter_mut().enumerate() {
            // SAFETY: each offset is that of one of the rows, which have a word for each pair.
            queries[v] = unsafe { _mm512_i32gather_epi32::<1>(offsets, start.add(pair)) };
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn is_neg_infinity(x: __m512) -> __mmask16 {
    _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(x, _mm512_set1_ps(f32::NEG_INFINITY))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn bf16(words: __m512i) -> __m512bh {
    // SAFETY: both have 64 bytes, any bits of which are a value.
    unsafe { mem::transmute(words) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn floats_of(x: __m512) -> [f32; LANES] {
    let mut floats = [0.0; LANES];
    store(&mut floats, x);
    floats
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn words_of(x: __m512i) -> [u32; LANES] {
    // SAFETY: both have 64 bytes, any bits of which are a value.
    unsafe { mem::transmute(x) }
}

//! Packs keys and values in the order in which the inner loops read them, once per call for all queries.

use std::mem::MaybeUninit;

use super::rows::TensorRows;

/// Keys per tile.
pub(super) const KEY_TILE: usize = 6;

/// Keys between two rescalings, so that a block's scores and probabilities stay in the L1 and L2 caches. A multiple of
/// [`KEY_TILE`].
pub(super) const KEY_BLOCK: usize = 96;

/// One head's keys and values, packed.
#[derive(Debug, Clone, Copy)]
pub(super) struct PackedHead<'a> {
    pub(super) dim: usize,
    pub(super) keys: usize,
    key_words: &'a [i32],
    value_words: &'a [i32],
}

impl<'a> PackedHead<'a> {
    /// From words written by [`pack_keys`] and [`pack_values`]; `value_words` is empty if values are not needed.
    pub(super) fn new(
        dim: usize,
        keys: usize,
        key_words: &'a [i32],
        value_words: &'a [i32],
    ) -> Self {
        Self { dim, keys, key_words, value_words }
    }

    /// The words of a tile of `width` keys from key `start` on: (dim / 2, width).
    #[inline]
    pub(super) fn keys_of(&self, start: usize, width: usize) -> &'a [i32] {
        let pairs = self.dim / 2;
        &self.key_words[start * pairs..(start + width) * pairs]
    }

    /// The words of the `tile`-th `TILE` channels from key pair `pair` on: (pairs, `TILE`).
    #[inline]
    pub(super) fn values_of<const TILE: usize>(&self, tile: usize, pair: usize) -> &'a [i32] {
        let pairs = self.keys.div_ceil(2);
        &self.value_words[(tile * pairs + pair) * TILE..(tile + 1) * pairs * TILE]
    }
}

/// Words that [`pack_keys`] writes for a head.
pub(super) fn key_words(dim: usize, keys: usize) -> usize {
    keys * (dim / 2)
}

/// Words that [`pack_values`] writes for a head.
pub(super) fn value_words(dim: usize, keys: usize, tile: usize) -> usize {
    dim.next_multiple_of(tile) * keys.div_ceil(2)
}

/// Packs keys by tile, then channel pair, then key; writes all of `words`.
pub(super) fn pack_keys(key: TensorRows<'_>, words: &mut [MaybeUninit<i32>]) {
    let pairs = key.dim() / 2;
    for block in (0..key.count()).step_by(KEY_BLOCK) {
        let block_end = (block + KEY_BLOCK).min(key.count());
        for start in (block..block_end).step_by(KEY_TILE) {
            let width = KEY_TILE.min(block_end - start);
            let tile = &mut words[start * pairs..(start + width) * pairs];
            for at in 0..width {
                let (halves, _) = key.row(start + at).as_chunks::<2>();
                for (words, &[low, high]) in tile.chunks_exact_mut(width).zip(halves) {
                    words[at].write(word(low, high));
                }
            }
        }
    }
}

/// Packs values by groups of `tile` channels, then key pair, then channel; writes all of `words`. Entries past the last
/// channel or key are zero.
pub(super) fn pack_values(value: TensorRows<'_>, tile: usize, words: &mut [MaybeUninit<i32>]) {
    let pairs = value.count().div_ceil(2);
    for (at, words) in words.chunks_exact_mut(pairs * tile).enumerate() {
        let channels = at * tile..((at + 1) * tile).min(value.dim());
        for (pair, words) in words.chunks_exact_mut(tile).enumerate() {
            words.fill(MaybeUninit::new(0));
            let even = &value.row(2 * pair)[channels.clone()];
            if 2 * pair + 1 < value.count() {
                let odd = &value.row(2 * pair + 1)[channels.clone()];
                for ((written, &low), &high) in words.iter_mut().zip(even).zip(odd) {
                    written.write(word(low, high));
                }
            } else {
                for (written, &low) in words.iter_mut().zip(even) {
                    written.write(word(low, 0));
                }
            }
        }
    }
}

/// Two bf16 values as a word.
fn word(low: u16, high: u16) -> i32 {
    (u32::from(low) | u32::from(high) << 16).cast_signed()
}

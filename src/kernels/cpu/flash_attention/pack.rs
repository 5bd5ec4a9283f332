//! Packs keys and values in the order in which the inner loops read them, once per call for all queries.
#![expect(unsafe_code, reason = "rows of tensors behind pointers")]
#![expect(clippy::cast_ptr_alignment, reason = "words are read from any address")]

use std::mem::MaybeUninit;

/// Keys per tile.
pub(super) const KEY_TILE: usize = 6;

/// Keys between two rescalings, so that a block's scores and probabilities stay in the L1 and L2 caches. A multiple of
/// [`KEY_TILE`].
pub(super) const KEY_BLOCK: usize = 96;

/// Rows of `dim` bf16 elements, `stride` elements apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct TensorRows {
    pub(super) start: *mut u16,
    pub(super) stride: usize,
    pub(super) count: usize,
    pub(super) dim: usize,
}

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

/// Packs keys by tile, then channel pair, then key.
///
/// # Safety
/// The rows must be valid.
pub(super) unsafe fn pack_keys(key: TensorRows, words: &mut [MaybeUninit<i32>]) {
    let pairs = key.dim / 2;
    for block in (0..key.count).step_by(KEY_BLOCK) {
        let block_end = (block + KEY_BLOCK).min(key.count);
        for start in (block..block_end).step_by(KEY_TILE) {
            let width = KEY_TILE.min(block_end - start);
            let tile = &mut words[start * pairs..(start + width) * pairs];
            for at in 0..width {
                // SAFETY: row `start + at` is there and has `pairs` words, aligned to 16 bits.
                let row = unsafe { key.start.add((start + at) * key.stride) }.cast::<i32>();
                for pair in 0..pairs {
                    // SAFETY: as above.
                    tile[pair * width + at].write(unsafe { row.add(pair).read_unaligned() });
                }
            }
        }
    }
}

/// Packs values by groups of `tile` channels, then key pair, then channel. Entries past the last channel or key are
/// zero.
///
/// # Safety
/// The rows must be valid.
pub(super) unsafe fn pack_values(value: TensorRows, tile: usize, words: &mut [MaybeUninit<i32>]) {
    let pairs = value.count.div_ceil(2);
    for (at, words) in words.chunks_exact_mut(pairs * tile).enumerate() {
        let channels = at * tile..((at + 1) * tile).min(value.dim);
        for (pair, words) in words.chunks_exact_mut(tile).enumerate() {
            words.fill(MaybeUninit::new(0));
            // SAFETY: row `2 * pair` is there.
            let even = unsafe { value.start.add(2 * pair * value.stride) };
            let has_odd = 2 * pair + 1 < value.count;
            for (word, channel) in words.iter_mut().zip(channels.clone()) {
                // SAFETY: the channel is in the row, and the next row is there where it is read.
                let (low, high) = unsafe {
                    let odd = even.add(value.stride + channel);
                    (*even.add(channel), if has_odd { *odd } else { 0 })
                };
                word.write((u32::from(low) | u32::from(high) << 16).cast_signed());
            }
        }
    }
}

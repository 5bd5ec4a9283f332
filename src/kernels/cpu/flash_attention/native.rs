//! The attention kernel on tensors: checks, packing, distribution over libtorch's threads.
#![expect(unsafe_code, reason = "tensors' memory is read and written by several threads")]

use std::{mem::MaybeUninit, slice};

use tch::{Device, Kind, Tensor};

use super::{
    AttentionOutput,
    avx512::{self, QUERY_BLOCK, QueryBlock, Scratch},
    pack::{self, PackedHead, TensorRows},
};
use crate::kernels::cpu::{
    openmp::{Shared, share},
    vector,
};

/// See [`super::attend`].
pub(super) fn attend(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    scale: f64,
) -> Option<AttentionOutput> {
    let (queries, keys, values) = (Layer::of(query)?, Layer::of(key)?, Layer::of(value)?);
    let shape = |it: &Layer| (it.batch, it.heads, it.dim);
    let fits = shape(&queries) == shape(&keys)
        && shape(&queries) == shape(&values)
        && keys.rows == values.rows;
    if !vector::is_available() || !fits || scale <= 0.0 {
        return None;
    }
    let attend = match queries.dim % 5 {
        0 => attend_by_tiles::<5>,
        _ => attend_by_tiles::<4>,
    };
    Some(attend(queries, keys, values, scale as f32))
}

/// The whole layer, with `TILE` output channels at a time.
fn attend_by_tiles<const TILE: usize>(
    query: Layer,
    key: Layer,
    value: Layer,
    scale: f32,
) -> AttentionOutput {
    let Layer { batch, heads, rows, dim, .. } = query;
    let [n, h, q, d] = [batch, heads, rows, dim].map(|it| it as i64);
    let output = Tensor::empty([n, q, h, d], (Kind::BFloat16, Device::Cpu)).transpose(1, 2);
    let log_sum_exp = Tensor::empty([n, h, q], (Kind::Float, Device::Cpu));
    let output_heads = Layer::of(&output).expect("a tensor of a layout that the kernel takes");
    let normalizers = Shared::new(log_sum_exp.data_ptr().cast::<f32>());

    let keys = Packed::new(batch * heads, pack::key_words(dim, key.rows), |head, words| {
        // SAFETY: rows of a live tensor.
        unsafe { pack::pack_keys(key.head(head), words) };
    });
    let values =
        Packed::new(batch * heads, pack::value_words(dim, key.rows, TILE), |head, words| {
            // SAFETY: rows of a live tensor.
            unsafe { pack::pack_values(value.head(head), TILE, words) };
        });
    let blocks = rows.div_ceil(QUERY_BLOCK);
    share(
        batch * heads * blocks,
        || Scratch::new(dim),
        |scratch, task| {
            let (head, start) = (task / blocks, task % blocks * QUERY_BLOCK);
            // SAFETY: the processor has the features, and no other task has these rows of the output.
            unsafe {
                avx512::attend::<TILE>(
                    query.head(head).block(start),
                    &PackedHead::new(dim, key.rows, keys.of(head), values.of(head)),
                    scale,
                    scratch,
                    output_heads.head(head).block(start),
                    normalizers.at(head * rows + start),
                );
            }
        },
    );
    AttentionOutput { output, log_sum_exp }
}

/// See [`super::add_mean_probs`].
pub(super) fn add_mean_probs(
    query: &Tensor,
    key: &Tensor,
    log_sum_exp: &Tensor,
    scale: f64,
    sum: &mut Tensor,
) {
    let heads = |it: &Tensor| Layer::of(&it.unsqueeze(0)).expect("views of what was attended");
    let (query, key) = (heads(query), heads(key));
    let log_sum_exp = log_sum_exp.contiguous();
    let normalizers = Shared::new(log_sum_exp.data_ptr().cast::<f32>());
    assert!(sum.is_contiguous() && sum.kind() == Kind::Float && sum.device() == Device::Cpu);
    assert_eq!(sum.size(), [query.rows as i64, key.rows as i64]);
    let map = Shared::new(sum.data_ptr().cast::<f32>());

    let keys = Packed::new(key.heads, pack::key_words(key.dim, key.rows), |head, words| {
        // SAFETY: rows of a live tensor.
        unsafe { pack::pack_keys(key.head(head), words) };
    });
    let new_scratch = || (Scratch::new(query.dim), vec![avx512::Queries::default(); key.rows]);
    share(query.rows.div_ceil(QUERY_BLOCK), new_scratch, |(scratch, mean), block| {
        let start = block * QUERY_BLOCK;
        mean.fill(avx512::Queries::default());
        for head in 0..query.heads {
            let packed = PackedHead::new(key.dim, key.rows, keys.of(head), &[]);
            // SAFETY: the processor has the features, or nothing would have been attended.
            unsafe {
                avx512::add_probs(
                    query.head(head).block(start),
                    &packed,
                    scale as f32,
                    normalizers.at(head * query.rows + start),
                    1.0 / query.heads as f32,
                    scratch,
                    mean,
                );
            }
        }
        for row in start..(start + QUERY_BLOCK).min(query.rows) {
            // SAFETY: a row of the map that no other task has.
            let sums = unsafe { slice::from_raw_parts_mut(map.at(row * key.rows), key.rows) };
            for (sum, mean) in sums.iter_mut().zip(mean.iter()) {
                *sum += mean.as_flattened()[row - start];
            }
        }
    });
}

/// A bf16 CPU tensor (N, H, L, D) whose rows of D elements are contiguous.
#[derive(Debug, Clone, Copy)]
struct Layer {
    start: Shared<u16>,
    batch: usize,
    heads: usize,
    rows: usize,
    dim: usize,
    strides: [usize; 3],
}

impl Layer {
    fn of(tensor: &Tensor) -> Option<Self> {
        let usable = tensor.device() == Device::Cpu && tensor.kind() == Kind::BFloat16;
        let [batch, heads, rows, dim] = <[i64; 4]>::try_from(tensor.size()).ok()?;
        let [batch_stride, head_stride, row_stride, 1] =
            <[i64; 4]>::try_from(tensor.stride()).ok()?
        else {
            return None;
        };
        let filled = batch > 0 && heads > 0 && rows > 0 && dim > 0 && dim % 2 == 0;
        // Rows of a block are addressed by 32 bits.
        let near = row_stride < i64::from(i32::MAX) / (2 * QUERY_BLOCK as i64);
        (usable && filled && near).then(|| Self {
            start: Shared::new(tensor.data_ptr().cast()),
            batch: batch as usize,
            heads: heads as usize,
            rows: rows as usize,
            dim: dim as usize,
            strides: [batch_stride, head_stride, row_stride].map(|it| it as usize),
        })
    }

    /// The rows of one head of one batch row, by flat index.
    fn head(&self, at: usize) -> TensorRows {
        let [batch, head, row] = self.strides;
        // SAFETY: a head of the tensor.
        let start = unsafe { self.start.at(at / self.heads * batch + at % self.heads * head) };
        TensorRows { start, stride: row, count: self.rows, dim: self.dim }
    }
}

impl TensorRows {
    /// At most [`QUERY_BLOCK`] rows from `start` on.
    fn block(&self, start: usize) -> QueryBlock {
        // SAFETY: a row of the tensor.
        let first = unsafe { self.start.add(start * self.stride) };
        QueryBlock(Self { start: first, count: QUERY_BLOCK.min(self.count - start), ..*self })
    }
}

/// Packed words of every head.
struct Packed {
    words: Box<[i32]>,
    per_head: usize,
}

impl Packed {
    /// Calls `pack` to write all words of each head.
    fn new(
        heads: usize,
        per_head: usize,
        pack: impl Fn(usize, &mut [MaybeUninit<i32>]) + Sync,
    ) -> Self {
        let mut words = Box::new_uninit_slice(heads * per_head);
        let start = Shared::new(words.as_mut_ptr());
        share(
            heads,
            || (),
            |(), head| {
                // SAFETY: each head's words are its own.
                let words =
                    unsafe { slice::from_raw_parts_mut(start.at(head * per_head), per_head) };
                pack(head, words);
            },
        );
        // SAFETY: all of them are written.
        Self { words: unsafe { words.assume_init() }, per_head }
    }

    fn of(&self, head: usize) -> &[i32] {
        &self.words[head * self.per_head..(head + 1) * self.per_head]
    }
}

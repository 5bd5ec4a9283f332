//! The attention kernel on tensors: checks, packing, distribution over libtorch's threads.
#![expect(unsafe_code, reason = "tensors' memory is read and written by several threads")]

use std::{mem::MaybeUninit, slice};

use tch::{Device, Kind, Tensor};

use super::{
    AttentionOutput,
    avx512::{self, QUERY_BLOCK, Scratch},
    pack::{self, PackedHead},
    rows::{OutputRows, TensorRows},
};
use crate::kernels::cpu::{
    openmp::share,
    tensor_memory::{values, values_mut},
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
    let shape = |it: &Layer<'_>| (it.batch, it.heads, it.dim);
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
    query: Layer<'_>,
    key: Layer<'_>,
    value: Layer<'_>,
    scale: f32,
) -> AttentionOutput {
    let Layer { batch, heads, rows, dim, .. } = query;
    let [n, h, q, d] = [batch, heads, rows, dim].map(|it| it as i64);
    let mut output = Tensor::empty([n, q, h, d], (Kind::BFloat16, Device::Cpu));
    let mut log_sum_exp = Tensor::empty([n, h, q], (Kind::Float, Device::Cpu));
    let normalizers = values_mut::<f32>(&mut log_sum_exp).expect("new and not empty");
    let memory = values_mut(&mut output).expect("new and not empty");
    let (keys, packed_values) = (Packed::keys(&key), Packed::values(&value, TILE));

    let rows_of_output = OutputRows::new(memory, heads, rows, dim);
    let blocks = normalizers.chunks_mut(rows).enumerate().flat_map(|(head, normalizers)| {
        let blocks = normalizers.chunks_mut(QUERY_BLOCK).zip((0..).step_by(QUERY_BLOCK));
        blocks.map(move |(normalizers, start)| (head, start, normalizers))
    });
    share(
        blocks,
        || Scratch::new(dim),
        |scratch, (head, start, normalizers)| {
            let packed = PackedHead::new(dim, key.rows, keys.of(head), packed_values.of(head));
            let query = query.head(head).block(start, QUERY_BLOCK);
            // SAFETY: `is_available` has found the CPU's features, and each task has another block.
            unsafe {
                let output = rows_of_output.block(head, start, QUERY_BLOCK);
                avx512::attend::<TILE>(query, &packed, scale, scratch, output, normalizers);
            }
        },
    );
    AttentionOutput { output: output.transpose(1, 2), log_sum_exp }
}

/// See [`super::add_mean_probs`].
pub(super) fn add_mean_probs(
    query: &Tensor,
    key: &Tensor,
    log_sum_exp: &Tensor,
    scale: f64,
    sum: &mut Tensor,
) {
    let (query, key) = (query.unsqueeze(0), key.unsqueeze(0));
    let layer = |it| Layer::of(it).expect("a view of what was attended");
    let (query, key) = (layer(&query), layer(&key));
    let log_sum_exp = log_sum_exp.contiguous();
    let normalizers = values::<f32>(&log_sum_exp).expect("a view of what was returned");
    assert_eq!(sum.size(), [query.rows as i64, key.rows as i64]);
    let map = values_mut::<f32>(sum).expect("a contiguous sum in fp32, on the CPU");

    let keys = Packed::keys(&key);
    let new_scratch = || (Scratch::new(query.dim), vec![avx512::Queries::default(); key.rows]);
    let blocks = map.chunks_mut(QUERY_BLOCK * key.rows).zip((0..).step_by(QUERY_BLOCK));
    share(blocks, new_scratch, |(scratch, mean), (sums, start)| {
        mean.fill(avx512::Queries::default());
        for head in 0..query.heads {
            let packed = PackedHead::new(key.dim, key.rows, keys.of(head), &[]);
            let query_block = query.head(head).block(start, QUERY_BLOCK);
            let normalizers = &normalizers[head * query.rows + start..][..query_block.count()];
            let weight = 1.0 / query.heads as f32;
            // SAFETY: the CPU has the features, or nothing would have been attended.
            unsafe {
                avx512::add_probs(
                    query_block,
                    &packed,
                    scale as f32,
                    normalizers,
                    weight,
                    scratch,
                    mean,
                );
            }
        }
        for (row, sums) in sums.chunks_mut(key.rows).enumerate() {
            for (sum, mean) in sums.iter_mut().zip(mean.iter()) {
                *sum += mean.as_flattened()[row];
            }
        }
    });
}

/// A bf16 CPU tensor (N, H, L, D) whose rows of D elements are contiguous.
#[derive(Debug, Clone, Copy)]
struct Layer<'a> {
    /// From the first element to the last.
    values: &'a [u16],
    batch: usize,
    heads: usize,
    rows: usize,
    dim: usize,
    strides: [usize; 3],
}

impl<'a> Layer<'a> {
    /// While it is in use, nothing may change the tensor's memory.
    fn of(tensor: &'a Tensor) -> Option<Self> {
        let usable = tensor.device() == Device::Cpu && tensor.kind() == Kind::BFloat16;
        let size = <[i64; 4]>::try_from(tensor.size()).ok()?.map(|it| it as usize);
        let [batch, heads, rows, dim] = size;
        let [batch_stride, head_stride, row_stride, 1] =
            <[i64; 4]>::try_from(tensor.stride()).ok()?
        else {
            return None;
        };
        let filled = batch > 0 && heads > 0 && rows > 0 && dim > 0 && dim % 2 == 0;
        // Rows of a block are addressed by 32 bits.
        let near = row_stride < i64::from(i32::MAX) / (2 * QUERY_BLOCK as i64);
        if !usable || !filled || !near {
            return None;
        }
        let strides = [batch_stride, head_stride, row_stride].map(|it| it as usize);
        let last: usize = strides.iter().zip(size).map(|(stride, size)| stride * (size - 1)).sum();
        // SAFETY: the elements of a live tensor from the first to the last are in its storage; strides aren't negative.
        let values = unsafe { slice::from_raw_parts(tensor.data_ptr().cast(), last + dim) };
        Some(Self { values, batch, heads, rows, dim, strides })
    }

    /// The rows of one head of one batch row, by flat index.
    fn head(&self, at: usize) -> TensorRows<'a> {
        let [batch, head, row] = self.strides;
        let first = at / self.heads * batch + at % self.heads * head;
        TensorRows::new(&self.values[first..], row, self.rows, self.dim)
    }
}

/// Packed words of every head.
struct Packed {
    words: Box<[i32]>,
    per_head: usize,
}

impl Packed {
    fn keys(key: &Layer<'_>) -> Self {
        // SAFETY: all words are written.
        unsafe { Self::new(key, pack::key_words(key.dim, key.rows), pack::pack_keys) }
    }

    /// `tile` is the number of channels that are packed together.
    fn values(value: &Layer<'_>, tile: usize) -> Self {
        let per_head = pack::value_words(value.dim, value.rows, tile);
        // SAFETY: all words are written.
        unsafe { Self::new(value, per_head, |rows, words| pack::pack_values(rows, tile, words)) }
    }

    /// # Safety
    /// `pack` must write all words that it is given, which are `per_head`.
    unsafe fn new(
        layer: &Layer<'_>,
        per_head: usize,
        pack: impl Fn(TensorRows<'_>, &mut [MaybeUninit<i32>]) + Sync,
    ) -> Self {
        let mut words = Box::new_uninit_slice(layer.batch * layer.heads * per_head);
        share(
            words.chunks_mut(per_head).enumerate(),
            || (),
            |(), (head, words)| pack(layer.head(head), words),
        );
        // SAFETY: all of them are written, by the caller's promise.
        Self { words: unsafe { words.assume_init() }, per_head }
    }

    fn of(&self, head: usize) -> &[i32] {
        &self.words[head * self.per_head..(head + 1) * self.per_head]
    }
}

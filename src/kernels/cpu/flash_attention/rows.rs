//! Rows of one head in a tensor's memory: read by all threads, written by one.
#![expect(
    unsafe_code,
    reason = "rows between those of other threads are written through a pointer"
)]

use std::marker::PhantomData;

/// Rows of `dim` bf16 values, `stride` values apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct TensorRows<'a> {
    values: &'a [u16],
    stride: usize,
    count: usize,
    dim: usize,
}

impl<'a> TensorRows<'a> {
    /// The rows from the first of `values` on.
    ///
    /// # Panics
    /// If there are fewer values.
    pub(super) fn new(values: &'a [u16], stride: usize, count: usize, dim: usize) -> Self {
        assert!(count > 0, "no rows");
        Self { values: &values[..(count - 1) * stride + dim], stride, count, dim }
    }

    /// At most `most` rows from row `start` on.
    ///
    /// # Panics
    /// If there is no such row.
    pub(super) fn block(&self, start: usize, most: usize) -> Self {
        let count = most.min(self.count.saturating_sub(start));
        Self::new(&self.values[start * self.stride..], self.stride, count, self.dim)
    }

    /// The values of a row.
    #[inline]
    pub(super) fn row(&self, at: usize) -> &'a [u16] {
        &self.values[at * self.stride..][..self.dim]
    }

    /// The first value, from which `(count - 1) * stride + dim` can be read.
    #[inline]
    pub(super) fn start(&self) -> *const u16 {
        self.values.as_ptr()
    }

    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn dim(&self) -> usize {
        self.dim
    }
}

/// The whole output, (N, Q, H, D), of which each task writes rows of its own.
#[derive(Debug)]
pub(super) struct OutputRows<'a> {
    start: *mut u16,
    /// H, Q and D.
    heads: usize,
    rows: usize,
    dim: usize,
    /// Number of heads of all batch rows.
    all_heads: usize,
    values: PhantomData<&'a mut [u16]>,
}

// SAFETY: the memory is reached through blocks only, and no two blocks in use have a row in common
// (`OutputRows::block`).
unsafe impl Sync for OutputRows<'_> {}

impl<'a> OutputRows<'a> {
    /// # Panics
    /// If `values` are not whole batch rows.
    pub(super) fn new(values: &'a mut [u16], heads: usize, rows: usize, dim: usize) -> Self {
        assert!(values.len().is_multiple_of(heads * rows * dim), "not whole batch rows");
        let all_heads = values.len() / (rows * dim);
        Self { start: values.as_mut_ptr(), heads, rows, dim, all_heads, values: PhantomData }
    }

    /// At most `most` rows from row `start` on, of a head by its index among those of all batch rows.
    ///
    /// # Safety
    /// No two blocks that are in use may have a row in common.
    ///
    /// # Panics
    /// If there is no such head or row.
    pub(super) unsafe fn block(&self, head: usize, start: usize, most: usize) -> OutputBlock<'_> {
        assert!(head < self.all_heads && start < self.rows, "beyond the output");
        let (batch_row, head) = (head / self.heads, head % self.heads);
        let first = ((batch_row * self.rows + start) * self.heads + head) * self.dim;
        OutputBlock {
            // SAFETY: the row's first value lies within the slice of `new`, by the assertion.
            start: unsafe { self.start.add(first) },
            stride: self.heads * self.dim,
            count: most.min(self.rows - start),
            dim: self.dim,
            rows: PhantomData,
        }
    }
}

/// Rows of the output that belong to one task.
#[derive(Debug)]
pub(super) struct OutputBlock<'a> {
    start: *mut u16,
    stride: usize,
    count: usize,
    dim: usize,
    rows: PhantomData<&'a mut [u16]>,
}

impl OutputBlock<'_> {
    /// Number of rows, and of values of a row.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.count, self.dim)
    }

    /// Writes two values of a row, from value `at` on.
    ///
    /// # Safety
    /// `row` and `at + 1` must be within [`Self::size`].
    #[inline]
    pub(super) unsafe fn write_pair(&mut self, row: usize, at: usize, pair: u32) {
        // SAFETY: both values are in the block by the caller's promise, and the block is this task's own.
        unsafe { self.start.add(row * self.stride + at).cast::<u32>().write_unaligned(pair) };
    }
}

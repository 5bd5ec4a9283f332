//! Where each cell of the latents copies from: its attention to the picture that is edited, by the offset from its own
//! place.
//!
//! Of a model whose latents and picture share one sequence, the cell x(c) and the picture's cell r(d) are attended to
//! like any other. The mean over heads of P[x(c), r(d)] is summed over layers and calls, as one running sum in fp32 for
//! each cell and each offset d - c of at most `REACH` cells, with one more for all d. A block of queries is computed at
//! a time, so that no matrix of all cells by all is ever kept.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tch::{Device, Kind, Tensor};

use crate::attention::{
    processor::{Attempt, AttnProcessor},
    qkv::{Attended, Qkv},
    role::Role,
    site::{AttnSite, Keys, Span},
};
use crate::edit::grid::{Field, Grid};
use crate::editing::watched_blocks::WatchedBlocks;

/// Greatest offset, in cells: 80 pixels where a cell has 16.
const REACH: i64 = 5;

/// Offsets along one side.
const SIDE: i64 = 2 * REACH + 1;

/// Cells around the strongest offset over whose mean the offset is told.
const AROUND: i64 = 2;

/// Maximum number of fp32 probabilities of a block's head mean: 1 MiB.
const BLOCK: i64 = 256 << 10;

/// Maximum number of fp32 probabilities of all heads, where the attention's kernel gives no log-sum-exp: 16 MiB.
const CHUNK: i64 = 4 << 20;

/// The attention processor that sums where cells copy from; [`CopyStore::field`] gives access to it.
#[derive(Debug)]
pub struct CopyStore {
    /// Indices of the calls that are summed.
    summed: Range<usize>,
    blocks: WatchedBlocks,
    field: SharedCopyField,
    /// Number of calls begun.
    begun: usize,
    /// What was summed before this call, should it be retried.
    before: Option<[Tensor; 2]>,
}

/// A sum that is shared with a running [`CopyStore`]; `None` before the first layer that attends to a picture.
pub type SharedCopyField = Arc<Mutex<Option<CopyField>>>;

/// The running sum, on the device of the calls.
#[derive(Debug)]
pub struct CopyField {
    /// Grid of the cells.
    grid: Grid,
    /// For each cell and offset, row by row, (n, SIDE²).
    near: Tensor,
    /// For each cell over the whole picture, (n, 1).
    all: Tensor,
    /// Row and column of each cell, (n, 1).
    places: [Tensor; 2],
    /// Rows and columns of each offset, (1, SIDE²).
    offsets: [Tensor; 2],
}

// === impl CopyStore ===

impl CopyStore {
    /// A store without a sum, of the calls whose index is in `summed`.
    pub fn new(blocks: WatchedBlocks, summed: Range<usize>) -> Self {
        Self { summed, blocks, field: SharedCopyField::default(), begun: 0, before: None }
    }

    /// A handle to the sum, to read it after the store was moved into a call.
    pub fn field(&self) -> SharedCopyField {
        Arc::clone(&self.field)
    }

    /// Whether it sums in the call that has begun.
    pub(super) fn sums_now(&self) -> bool {
        self.summed.contains(&self.begun.saturating_sub(1))
    }

    fn lock(&self) -> MutexGuard<'_, Option<CopyField>> {
        self.field.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AttnProcessor for CopyStore {
    fn begin(&mut self, attempt: Attempt) {
        match attempt {
            Attempt::First => {
                self.begun += 1;
                let kept = self.sums_now();
                let before = self.lock().as_ref().filter(|_| kept).map(CopyField::sums);
                self.before = before;
            }
            Attempt::Again => {
                let before = self.before.as_ref();
                let mut field = self.lock();
                match (field.as_mut(), before) {
                    (Some(field), Some(before)) => field.restore(before),
                    // What the failed try began with was nothing.
                    _ => *field = None,
                }
            }
        }
    }

    fn watches(&self, site: &AttnSite) -> bool {
        self.sums_now() && site.keys.picture().is_some() && self.blocks.holds(site)
    }

    fn visit(&mut self, site: &AttnSite, qkv: &Qkv<'_>, attended: &Attended) {
        let Keys::Joint { latents, .. } = site.keys else { return };
        let Some(picture) = site.keys.picture() else { return };
        let grid = Grid { height: site.height, width: site.width };
        let device = qkv.query.device();
        let row = qkv.row_of(Role::Text);
        let mut field = self.lock();
        field.get_or_insert_with(|| CopyField::new(grid, device)).add(
            qkv,
            attended,
            row,
            [latents, picture],
        );
    }
}

// === impl CopyField ===

impl CopyField {
    fn new(grid: Grid, device: Device) -> Self {
        let Grid { height, width } = grid;
        let cells = height * width;
        let sums = |columns: i64| Tensor::zeros([cells, columns], (Kind::Float, device));
        let numbers =
            |from: i64, count: i64| Tensor::arange_start(from, from + count, (Kind::Int64, device));
        let (cell, offset) = (numbers(0, cells).unsqueeze(1), numbers(0, SIDE * SIDE).unsqueeze(0));
        let split = |it: &Tensor, columns: i64| {
            [it.divide_scalar_mode(columns, "floor"), it.remainder(columns)]
        };
        Self {
            grid,
            near: sums(SIDE * SIDE),
            all: sums(1),
            places: split(&cell, width),
            offsets: split(&offset, SIDE).map(|it| it - REACH),
        }
    }

    /// The grid of its cells.
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// Bytes that it keeps, whatever the number of layers and calls.
    pub fn bytes(&self) -> usize {
        let Self { near, all, places, offsets, .. } = self;
        let tensors = [near, all].into_iter().chain(places).chain(offsets);
        tensors.map(|it| it.numel() * it.kind().elt_size_in_bytes()).sum()
    }

    /// Copies of what was summed.
    fn sums(&self) -> [Tensor; 2] {
        [self.near.copy(), self.all.copy()]
    }

    fn restore(&mut self, [near, all]: &[Tensor; 2]) {
        self.near.copy_(near);
        self.all.copy_(all);
    }

    /// Adds one layer's head mean, a block of queries at a time.
    fn add(&mut self, qkv: &Qkv<'_>, attended: &Attended, row: i64, [queries, picture]: [Span; 2]) {
        let _no_grad = tch::no_grad_guard();
        let (heads, keys) = (qkv.query.size()[1], qkv.key.size()[2]);
        let block = (BLOCK / picture.length).min(CHUNK / (heads * keys)).clamp(1, queries.length);
        let options = (Kind::Float, self.near.device());
        let mut start = 0;
        while start < queries.length {
            let length = block.min(queries.length - start);
            let mut probs = Tensor::zeros([length, picture.length], options);
            let parts = [Span { start: queries.start + start, length }, picture];
            qkv.add_mean_probs(attended, row, parts, &mut probs);
            let (index, is_on) = self.looked_at(start, length);
            let near = probs.gather(1, &index, false) * is_on;
            let _ = self.near.narrow(0, start, length).g_add_(&near);
            let all = probs.sum_dim_intlist([1i64].as_slice(), true, Kind::Float);
            let _ = self.all.narrow(0, start, length).g_add_(&all);
            start += length;
        }
    }

    /// For each of some cells and each offset the index of the cell there, and whether it is on the grid.
    fn looked_at(&self, start: i64, length: i64) -> (Tensor, Tensor) {
        let Grid { height, width } = self.grid;
        let along = |axis: usize, side: i64| {
            let at = self.places[axis].narrow(0, start, length) + &self.offsets[axis];
            let is_on = at.ge(0).logical_and(&at.lt(side));
            (at.clamp(0, side - 1), is_on)
        };
        let ((rows, on_rows), (columns, on_columns)) = (along(0, height), along(1, width));
        (rows * width + columns, on_rows.logical_and(&on_columns))
    }

    /// How much of each cell's attention to the picture is to its own place and the cells around it, 0 to 1.
    pub fn own_share(&self) -> Field {
        let is_near = |it: &Tensor| it.abs().le(1);
        let [rows, columns] = &self.offsets;
        let is_near = is_near(rows).logical_and(&is_near(columns));
        let near = (&self.near * is_near).sum_dim_intlist([1i64].as_slice(), true, Kind::Float);
        let share = (near / self.all.clamp_min(1e-12)).clamp(0.0, 1.0);
        Field { grid: self.grid, values: numbers(&share) }
    }

    /// How far from its own place each cell copies, by columns and rows in cells: the mean around the strongest offset,
    /// less what all offsets have. `None` where that lies at the end of what is looked at, or of the picture.
    pub fn offsets(&self) -> Vec<Option<[f64; 2]>> {
        let Grid { height, width } = self.grid;
        let count = (SIDE * SIDE) as usize;
        let values = numbers(&self.near);
        let cells = values.chunks(count).zip(0i64..);
        let offset = |(cell, index): (&[f32], i64)| {
            strongest(cell, [index / width, index % width], [height, width])
        };
        cells.map(offset).collect()
    }
}

/// The offset that a cell copies from most, by columns and rows; the cell is at a row and a column of a grid.
fn strongest(cell: &[f32], [y, x]: [i64; 2], [height, width]: [i64; 2]) -> Option<[f64; 2]> {
    let is_on =
        |dy: i64, dx: i64| (0..height).contains(&(y + dy)) && (0..width).contains(&(x + dx));
    let at = |dy: i64, dx: i64| cell[((dy + REACH) * SIDE + dx + REACH) as usize];
    let all = || (-REACH..=REACH).flat_map(|dy| (-REACH..=REACH).map(move |dx| (dy, dx)));
    let mut on: Vec<f32> =
        all().filter(|&(dy, dx)| is_on(dy, dx)).map(|(dy, dx)| at(dy, dx)).collect();
    let middle = on.len() / 2;
    let floor = *on.select_nth_unstable_by(middle, f32::total_cmp).1;
    let (dy, dx) = all()
        .filter(|&(dy, dx)| is_on(dy, dx))
        .max_by(|one, other| at(one.0, one.1).total_cmp(&at(other.0, other.1)))?;
    let ends = [(dy - AROUND, dx - AROUND), (dy + AROUND, dx + AROUND)];
    let is_seen = |(dy, dx): (i64, i64)| dy.abs() <= REACH && dx.abs() <= REACH && is_on(dy, dx);
    if !ends.into_iter().all(is_seen) {
        return None;
    }
    let (mut sum, mut right, mut down) = (0.0, 0.0, 0.0);
    for (dy, dx) in (dy - AROUND..=dy + AROUND)
        .flat_map(|dy| (dx - AROUND..=dx + AROUND).map(move |dx| (dy, dx)))
    {
        let weight = f64::from((at(dy, dx) - floor).max(0.0));
        (sum, right, down) = (sum + weight, right + weight * dx as f64, down + weight * dy as f64);
    }
    (sum > 0.0).then(|| [right / sum, down / sum])
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    let flat = tensor.to_device(Device::Cpu).contiguous().view(-1);
    Vec::<f32>::try_from(flat).expect("a field is a vector of numbers")
}

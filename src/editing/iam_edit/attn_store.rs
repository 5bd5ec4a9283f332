//! ISAM and ICAM: the self- and cross-attention maps of the localization run, averaged while it runs.
//!
//! Paper, "Instruction Attention Maps": averages over layers, heads and timesteps. One running sum in fp32 per map,
//! nothing is kept per step or layer. Of the three guidance branches only the one with instruction and image counts.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tch::{Device, Kind, Tensor};

use crate::attention::{
    processor::{Attempt, AttnProcessor, CallShape, GuestTensors, Replayable},
    qkv::{Attended, Qkv},
    role::Role,
    site::{AttnKind, AttnSite, Stage},
};
use crate::edit::grid::Grid;

/// Longest side of ISAM's grid; finer levels are pooled to it, so that memory stays bounded at any picture size.
const MAX_GRID_SIDE: i64 = 64;

/// Maximum number of fp32 probabilities computed at a time: 16 MiB.
const CHUNK: i64 = 4 << 20;

/// Maximum number of 16-bit probabilities if one kernel handles all queries at once: 256 MiB.
const ONCE: i64 = 128 << 20;

/// The U-Net levels whose attention is averaged; only the down and up blocks are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchedLevels {
    /// Level of self-attention.
    pub isam: usize,
    /// Level of cross-attention.
    pub icam: usize,
}

/// The attention processor that averages maps; [`AttnStore::maps`] gives access to them.
#[derive(Debug)]
pub struct AttnStore {
    levels: WatchedLevels,
    /// Indices of the calls to average over.
    averaged: Range<usize>,
    maps: SharedMaps,
    /// Number of calls begun.
    begun: usize,
    /// Number of sites added in this call.
    added: usize,
    /// Number of sites that a failed attempt of this call had already added.
    added_before: usize,
}

/// Maps shared with a running [`AttnStore`].
pub type SharedMaps = Arc<Mutex<AttnMaps>>;

/// The two running averages, on the device of the calls.
#[derive(Debug, Default)]
pub struct AttnMaps {
    /// Self-attention between cells, (n, n).
    pub isam: Option<AttnMap>,
    /// Cross-attention from cells to tokens, (m, T).
    pub icam: Option<AttnMap>,
}

/// A running average over calls.
#[derive(Debug)]
pub struct AttnMap {
    /// Grid of the rows.
    pub grid: Grid,
    /// Pooling, if the grid is coarser than the level.
    pooling: Option<Pooling>,
    sum: Tensor,
    calls: u32,
    /// Number of queries of a site that were added before its visit failed.
    added: i64,
}

impl WatchedLevels {
    /// The given levels, or for a level without such attention in the down and up blocks the nearest one that has it,
    /// preferring the finer of two.
    ///
    /// `None` if the U-Net has no such attention at all.
    pub fn nearest(sites: &[AttnSite], isam: usize, icam: usize) -> Option<Self> {
        let nearest = |kind: AttnKind, wanted: usize| {
            let watched = sites.iter().filter(|site| site.kind == kind && site.stage != Stage::Mid);
            watched.map(|site| site.level).min_by_key(|&level| (level.abs_diff(wanted), level))
        };
        Some(Self {
            isam: nearest(AttnKind::SelfAttn, isam)?,
            icam: nearest(AttnKind::CrossAttn, icam)?,
        })
    }
}

impl AttnStore {
    /// A store without maps, which averages over the calls whose index is in `averaged`.
    pub fn new(levels: WatchedLevels, averaged: Range<usize>) -> Self {
        let maps = SharedMaps::default();
        Self { levels, averaged, maps, begun: 0, added: 0, added_before: 0 }
    }

    /// A handle to the maps, to read them after the store was moved into a call.
    pub fn maps(&self) -> SharedMaps {
        Arc::clone(&self.maps)
    }

    fn lock(&self) -> MutexGuard<'_, AttnMaps> {
        // A visit that finds no memory panics; its sums hold what it added until then.
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AttnProcessor for AttnStore {
    fn begin(&mut self, attempt: Attempt) {
        self.added_before = match attempt {
            Attempt::First => {
                self.begun += 1;
                0
            }
            Attempt::Again => self.added_before.max(self.added),
        };
        self.added = 0;
    }

    fn watches(&self, site: &AttnSite) -> bool {
        let level = match site.kind {
            AttnKind::SelfAttn => self.levels.isam,
            AttnKind::CrossAttn => self.levels.icam,
        };
        let call = self.begun.saturating_sub(1);
        self.averaged.contains(&call) && site.stage != Stage::Mid && site.level == level
    }

    fn visit(&mut self, site: &AttnSite, qkv: &Qkv<'_>, attended: &Attended) {
        if self.added < self.added_before {
            self.added += 1;
            return;
        }
        let row = qkv.row_of(Role::Text);
        let mut maps = self.lock();
        let (tokens, device) = (qkv.key.size()[2], qkv.key.device());
        maps.of(site, tokens, device).add(qkv, attended, row);
        drop(maps);
        self.added += 1;
    }

    fn replayable(&mut self, call: &CallShape<'_>) -> Option<&mut dyn Replayable> {
        let mut maps = self.lock();
        // What a failed try added is skipped site by site, and within a site query by query.
        if self.added_before > 0 || maps.are_within_a_site() {
            return None;
        }
        for site in call.sites.iter().filter(|site| self.watches(site)) {
            maps.of(site, call.tokens, call.device);
        }
        drop(maps);
        Some(self)
    }
}

impl Replayable for AttnStore {
    fn work(&self) -> &'static str {
        "average"
    }

    fn tensors(&self) -> GuestTensors {
        let maps = self.lock();
        let sums = [&maps.isam, &maps.icam].into_iter().flatten().map(|it| it.sum.shallow_clone());
        GuestTensors { read: vec![], changed: sums.collect() }
    }

    fn over(&self, tensors: GuestTensors) -> Box<dyn AttnProcessor> {
        let maps = self.lock();
        let mut sums = tensors.changed.into_iter();
        let mut over = |map: &Option<AttnMap>| {
            map.as_ref().map(|it| it.over(sums.next().expect("each map has a sum")))
        };
        let maps = AttnMaps { isam: over(&maps.isam), icam: over(&maps.icam) };
        let store = Self::new(self.levels, 0..usize::MAX);
        *store.lock() = maps;
        Box::new(store)
    }

    fn replayed(&mut self, visited: &[AttnSite]) {
        let mut maps = self.lock();
        for site in visited {
            let map = maps.slot(site.kind).as_mut();
            map.expect("a map was made for each site before the call").calls += 1;
        }
        drop(maps);
        self.added += visited.len();
    }
}

impl AttnMaps {
    fn slot(&mut self, kind: AttnKind) -> &mut Option<AttnMap> {
        match kind {
            AttnKind::SelfAttn => &mut self.isam,
            AttnKind::CrossAttn => &mut self.icam,
        }
    }

    /// Whether a visit failed after it had added some of its queries.
    fn are_within_a_site(&self) -> bool {
        [&self.isam, &self.icam].into_iter().flatten().any(|it| it.added > 0)
    }

    /// The map for a site, created if it does not exist yet.
    fn of(&mut self, site: &AttnSite, tokens: i64, device: Device) -> &mut AttnMap {
        self.slot(site.kind).get_or_insert_with(|| AttnMap::new(site, tokens, device))
    }
}

impl AttnMap {
    fn new(site: &AttnSite, tokens: i64, device: Device) -> Self {
        let grid = pooled_grid(site);
        let cells = grid.height * grid.width;
        let columns = match site.kind {
            AttnKind::SelfAttn => cells,
            AttnKind::CrossAttn => tokens,
        };
        let sum = Tensor::zeros([cells, columns], (Kind::Float, device));
        Self { grid, pooling: Pooling::new(site, grid, device), sum, calls: 0, added: 0 }
    }

    /// An empty map like this one, over another sum tensor.
    fn over(&self, sum: Tensor) -> Self {
        let pooling = self.pooling.as_ref().map(Pooling::shallow_clone);
        Self { grid: self.grid, pooling, sum, calls: 0, added: 0 }
    }

    /// The average, (rows of the grid, keys) in fp32 on the CPU; each row sums to 1.
    pub fn mean(&self) -> Tensor {
        (&self.sum / f64::from(self.calls.max(1))).to_device(Device::Cpu)
    }

    /// Adds one layer's head-averaged probabilities, in chunks of queries, and continues where a failed visit stopped.
    fn add(&mut self, qkv: &Qkv<'_>, attended: &Attended, row: i64) {
        let (heads, queries, keys) = (qkv.query.size()[1], qkv.query.size()[2], qkv.key.size()[2]);
        let options = (Kind::Float, self.sum.device());
        let chunk = if qkv.adds_at_once() { ONCE } else { CHUNK };
        let chunk = (chunk / (heads * keys)).clamp(1, queries);
        while self.added < queries {
            let start = self.added;
            let length = chunk.min(queries - start);
            match &self.pooling {
                None => {
                    let mut sum = self.sum.narrow(0, start, length);
                    qkv.add_mean_probs(attended, row, start, &mut sum);
                }
                Some(pooling) => {
                    let mut probs = Tensor::zeros([length, keys], options);
                    qkv.add_mean_probs(attended, row, start, &mut probs);
                    pooling.add(&mut self.sum, &probs, start);
                }
            }
            self.added += length;
        }
        self.added = 0;
        self.calls += 1;
    }
}

/// Pooling from a level finer than ISAM's grid to the grid's cells.
#[derive(Debug)]
struct Pooling {
    /// For each cell of the level, the index of its grid cell.
    cells: Tensor,
    /// For each cell of the level, 1 / the number of cells that share its grid cell.
    shares: Tensor,
    grid: Grid,
}

impl Pooling {
    /// `None` if level and grid are the same.
    fn new(site: &AttnSite, grid: Grid, device: Device) -> Option<Self> {
        if (site.height, site.width) == (grid.height, grid.width) {
            return None;
        }
        let mut cells = Vec::with_capacity((site.height * site.width) as usize);
        for y in 0..site.height {
            for x in 0..site.width {
                cells
                    .push(y * grid.height / site.height * grid.width + x * grid.width / site.width);
            }
        }
        let mut counts = vec![0.0f32; (grid.height * grid.width) as usize];
        for &cell in &cells {
            counts[cell as usize] += 1.0;
        }
        let shares: Vec<f32> = cells.iter().map(|&cell| 1.0 / counts[cell as usize]).collect();
        Some(Self {
            cells: Tensor::from_slice(&cells).to_device(device),
            shares: Tensor::from_slice(&shares).to_device(device),
            grid,
        })
    }

    /// Shallow clone.
    fn shallow_clone(&self) -> Self {
        let Self { cells, shares, grid } = self;
        Self { cells: cells.shallow_clone(), shares: shares.shallow_clone(), grid: *grid }
    }

    /// Adds the rows from `start` on of a level's map (q, K): summed over the keys of a grid cell, averaged over its
    /// queries.
    fn add(&self, sum: &mut Tensor, probs: &Tensor, start: i64) {
        let (queries, columns) = (probs.size()[0], self.grid.height * self.grid.width);
        let keyed = Tensor::zeros([queries, columns], (Kind::Float, sum.device()));
        let keyed = keyed.index_add(1, &self.cells, probs); // (q, n)
        let weighted = keyed * self.shares.narrow(0, start, queries).unsqueeze(1);
        let _ = sum.index_add_(0, &self.cells.narrow(0, start, queries), &weighted);
    }
}

/// The grid of a site's map: the site's own; for self-attention scaled down to at most [`MAX_GRID_SIDE`].
fn pooled_grid(site: &AttnSite) -> Grid {
    let &AttnSite { height, width, .. } = site;
    match site.kind {
        AttnKind::SelfAttn => {
            let longer = height.max(width).max(MAX_GRID_SIDE);
            let side = |cells: i64| ((cells * MAX_GRID_SIDE + longer / 2) / longer).max(1);
            Grid { height: side(height), width: side(width) }
        }
        AttnKind::CrossAttn => Grid { height, width },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(height: i64, width: i64) -> AttnSite {
        let (stage, kind) = (Stage::Up, AttnKind::SelfAttn);
        AttnSite { stage, block: 0, attention: 0, transformer: 0, kind, level: 1, height, width }
    }

    /// One call over random Q, K, V of `cells` cells.
    fn stored(site: &AttnSite) -> (Tensor, Tensor) {
        tch::manual_seed(7);
        let shape = [3, 2, site.height * site.width, 4];
        let [query, key, value] = [0; 3].map(|_| Tensor::randn(shape, (Kind::Float, Device::Cpu)));
        let qkv = Qkv { query, key, value, scale: 0.5, roles: &Role::TRIPLE };
        let mut store = AttnStore::new(WatchedLevels { isam: 1, icam: 1 }, 0..1);
        let maps = store.maps();
        assert!(store.watches(site));
        store.visit(site, &qkv, &qkv.attend());
        let probs = qkv.probs(0, 0, shape[2]).mean_dim([0i64].as_slice(), false, Kind::Float);
        (maps.lock().unwrap().isam.as_ref().unwrap().mean(), probs)
    }

    #[test]
    fn the_map_is_the_head_mean_of_the_text_branch() {
        let (mean, probs) = stored(&site(5, 3));
        assert!((mean - probs).abs().max().double_value(&[]) < 1e-7);
    }

    #[test]
    fn a_grid_above_64_is_pooled_in_its_proportions_and_rows_still_sum_to_one() {
        let (mean, probs) = stored(&site(4, 128));
        assert_eq!(mean.size(), [128, 128]);
        // Of 2 x 64 cells, each of two rows and columns: keys of a cell are summed, queries averaged.
        let pooled = probs.view([2i64, 2, 64, 2, 2, 2, 64, 2].as_slice());
        let pooled = pooled.sum_dim_intlist([5i64, 7].as_slice(), false, Kind::Float);
        let pooled = pooled.mean_dim([1i64, 3].as_slice(), false, Kind::Float).view([128, 128]);
        assert!((&mean - pooled).abs().max().double_value(&[]) < 1e-6);
        let sums = mean.sum_dim_intlist([1i64].as_slice(), false, Kind::Float);
        assert!((sums - 1.0).abs().max().double_value(&[]) < 1e-5);
    }
}

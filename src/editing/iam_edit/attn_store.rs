//! ISAM and ICAM: the self- and cross-attention maps of the localization run, averaged while it runs.
//!
//! Paper, "Instruction Attention Maps": maps averaged over layers, heads and timesteps. One running sum in fp32 per
//! map, nothing kept per step or layer; of a sample's rows only the one with instruction and picture is watched.
//! Where prompt and image share one sequence, a layer gives both: from the latents' cells to each other, and to the
//! prompt's tokens.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tch::{Device, Kind, Tensor};

use crate::attention::{
    processor::{Attempt, AttnProcessor, CallShape, GuestTensors, Replayable},
    qkv::{Attended, Qkv},
    role::Role,
    site::{AttnSite, Keys, Span, Stage},
};
use crate::edit::grid::Grid;
use crate::editing::iam_edit::pooling::Pooling;

/// Longest side of ISAM's grid; finer levels are pooled to it, so that memory stays bounded at any picture size.
const MAX_GRID_SIDE: i64 = 64;

/// Maximum number of fp32 probabilities computed at a time: 16 MiB.
const CHUNK: i64 = 4 << 20;

/// Maximum number of 16-bit probabilities if one kernel handles all queries at once: 256 MiB.
const ONCE: i64 = 128 << 20;

/// Which levels are watched; in a U-Net only its down and up stages are. A diffusion transformer has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchedLevels {
    /// Of self-attention.
    pub isam: Option<usize>,
    /// Of cross-attention.
    pub icam: Option<usize>,
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
    /// How often a site was added to a map in this call.
    added: usize,
    /// How often a failed try of this call did so already.
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
    /// Whether rows are brought to a sum of 1, since their keys are not all that the layers attend to.
    is_part: bool,
    sum: Tensor,
    calls: u32,
    /// Number of queries of a site that were added before its visit failed.
    added: i64,
}

/// One of the two maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Isam,
    Icam,
}

impl WatchedLevels {
    /// The given levels, or for a level without such attention in the down and up blocks the nearest one that has it,
    /// preferring the finer of two.
    ///
    /// `None` if the network has no such attention at all.
    pub fn nearest(sites: &[AttnSite], isam: usize, icam: usize) -> Option<Self> {
        let nearest = |wanted: usize, sees: fn(Keys) -> bool| {
            let watched = sites.iter().filter(|it| sees(it.keys) && it.stage != Stage::Mid);
            let apart = |level: &Option<usize>| level.map(|it| it.abs_diff(wanted));
            watched.map(|it| it.level).min_by_key(|level| (apart(level), *level))
        };
        Some(Self { isam: nearest(isam, Keys::has_image)?, icam: nearest(icam, Keys::has_text)? })
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

    /// The maps that a site adds to in this call.
    fn fed_by(&self, site: &AttnSite) -> impl Iterator<Item = Which> + use<> {
        let call = self.begun.saturating_sub(1);
        let watched = self.averaged.contains(&call) && site.stage != Stage::Mid;
        let isam = watched && site.keys.has_image() && site.level == self.levels.isam;
        let icam = watched && site.keys.has_text() && site.level == self.levels.icam;
        [isam.then_some(Which::Isam), icam.then_some(Which::Icam)].into_iter().flatten()
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
        self.fed_by(site).next().is_some()
    }

    fn visit(&mut self, site: &AttnSite, qkv: &Qkv<'_>, attended: &Attended) {
        let row = qkv.row_of(Role::Text);
        let (keys, device) = (qkv.key.size()[2], qkv.key.device());
        for which in self.fed_by(site) {
            if self.added >= self.added_before {
                let parts = [site.cells(), which.keys(site.keys, keys)];
                self.lock().of(which, site, keys, device).add(qkv, attended, row, parts);
            }
            self.added += 1;
        }
    }

    fn replayable(&mut self, call: &CallShape<'_>) -> Option<&mut dyn Replayable> {
        let mut maps = self.lock();
        // What a failed try added is skipped site by site, and within a site query by query.
        if self.added_before > 0 || maps.are_within_a_site() {
            return None;
        }
        for site in call.sites {
            for which in self.fed_by(site) {
                maps.of(which, site, call.tokens, call.device);
            }
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
        for which in visited.iter().flat_map(|it| self.fed_by(it)).collect::<Vec<_>>() {
            let mut maps = self.lock();
            let map = maps.slot(which).as_mut();
            map.expect("a map was made for each site before the call").calls += 1;
            drop(maps);
            self.added += 1;
        }
    }
}

impl Which {
    /// The keys that it has of a layer with `all`.
    fn keys(self, keys: Keys, all: i64) -> Span {
        match self {
            Self::Isam => keys.image(all),
            Self::Icam => keys.text(all),
        }
    }
}

impl AttnMaps {
    fn slot(&mut self, which: Which) -> &mut Option<AttnMap> {
        match which {
            Which::Isam => &mut self.isam,
            Which::Icam => &mut self.icam,
        }
    }

    /// Whether a visit failed after it had added some of its queries.
    fn are_within_a_site(&self) -> bool {
        [&self.isam, &self.icam].into_iter().flatten().any(|it| it.added > 0)
    }

    /// The map that a site with so many keys adds to, made where there is none yet.
    fn of(&mut self, which: Which, site: &AttnSite, keys: i64, device: Device) -> &mut AttnMap {
        self.slot(which).get_or_insert_with(|| AttnMap::new(which, site, keys, device))
    }
}

impl AttnMap {
    fn new(which: Which, site: &AttnSite, keys: i64, device: Device) -> Self {
        let (grid, columns) = match which {
            Which::Isam => {
                let grid = pooled_grid(site);
                (grid, grid.height * grid.width)
            }
            Which::Icam => {
                let grid = Grid { height: site.height, width: site.width };
                (grid, which.keys(site.keys, keys).length)
            }
        };
        let sum = Tensor::zeros([grid.height * grid.width, columns], (Kind::Float, device));
        let pooling = Pooling::new(site, grid, device);
        let is_part = which == Which::Isam && site.keys.has_text();
        Self { grid, pooling, is_part, sum, calls: 0, added: 0 }
    }

    /// An empty map like this one, over another sum tensor.
    fn over(&self, sum: Tensor) -> Self {
        let pooling = self.pooling.as_ref().map(Pooling::shallow_clone);
        Self { grid: self.grid, pooling, is_part: self.is_part, sum, calls: 0, added: 0 }
    }

    /// The average, (rows of the grid, keys) in fp32 on the CPU; each row sums to 1, but for ICAM where tokens are a
    /// part of the layers' keys.
    pub fn mean(&self) -> Tensor {
        let mean = (&self.sum / f64::from(self.calls.max(1))).to_device(Device::Cpu);
        if self.is_part {
            return &mean / mean.sum_dim_intlist([1i64].as_slice(), true, Kind::Float);
        }
        mean
    }

    /// Adds one layer's head mean, a chunk of queries at a time, from where a visit of it that failed left off.
    fn add(&mut self, qkv: &Qkv<'_>, attended: &Attended, row: i64, [queries, keys]: [Span; 2]) {
        let heads = qkv.query.size()[1];
        let options = (Kind::Float, self.sum.device());
        let chunk = if qkv.adds_at_once() { ONCE } else { CHUNK };
        let chunk = (chunk / (heads * qkv.key.size()[2])).clamp(1, queries.length);
        while self.added < queries.length {
            let start = self.added;
            let length = chunk.min(queries.length - start);
            let parts = [Span { start: queries.start + start, length }, keys];
            match &self.pooling {
                None => {
                    let mut sum = self.sum.narrow(0, start, length);
                    qkv.add_mean_probs(attended, row, parts, &mut sum);
                }
                Some(pooling) => {
                    let mut probs = Tensor::zeros([length, keys.length], options);
                    qkv.add_mean_probs(attended, row, parts, &mut probs);
                    pooling.add(&mut self.sum, &probs, start);
                }
            }
            self.added += length;
        }
        self.added = 0;
        self.calls += 1;
    }
}

/// ISAM's grid of a site: the site's own, or one of its proportions within [`MAX_GRID_SIDE`].
fn pooled_grid(site: &AttnSite) -> Grid {
    let &AttnSite { height, width, .. } = site;
    let longer = height.max(width).max(MAX_GRID_SIDE);
    let side = |cells: i64| ((cells * MAX_GRID_SIDE + longer / 2) / longer).max(1);
    Grid { height: side(height), width: side(width) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(height: i64, width: i64) -> AttnSite {
        let (stage, keys, level) = (Stage::Up, Keys::Image, Some(1));
        AttnSite { stage, block: 0, attention: 0, transformer: 0, keys, level, height, width }
    }

    /// One call over random Q, K, V of `cells` cells.
    fn stored(site: &AttnSite) -> (Tensor, Tensor) {
        tch::manual_seed(7);
        let shape = [3, 2, site.height * site.width, 4];
        let [query, key, value] = [0; 3].map(|_| Tensor::randn(shape, (Kind::Float, Device::Cpu)));
        let qkv = Qkv { query, key, value, scale: 0.5, roles: &Role::TRIPLE, unrotated: None };
        let mut store = AttnStore::new(WatchedLevels { isam: Some(1), icam: Some(1) }, 0..1);
        let maps = store.maps();
        assert!(store.watches(site));
        store.visit(site, &qkv, &qkv.attend());
        let probs =
            qkv.probs(0, Span::first(shape[2])).mean_dim([0i64].as_slice(), false, Kind::Float);
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

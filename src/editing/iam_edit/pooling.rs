//! Pooling of attention maps: from a level of the network to a coarser grid.

use tch::{Device, Kind, Tensor};

use crate::attention::site::AttnSite;
use crate::edit::grid::Grid;

/// Pooling from a level finer than ISAM's grid to the grid's cells.
#[derive(Debug)]
pub(super) struct Pooling {
    /// For each cell of the level, the index of its grid cell.
    cells: Tensor,
    /// For each cell of the level, 1 / the number of cells that share its grid cell.
    shares: Tensor,
    grid: Grid,
}

impl Pooling {
    /// `None` if level and grid are the same.
    pub(super) fn new(site: &AttnSite, grid: Grid, device: Device) -> Option<Self> {
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
    pub(super) fn shallow_clone(&self) -> Self {
        let Self { cells, shares, grid } = self;
        Self { cells: cells.shallow_clone(), shares: shares.shallow_clone(), grid: *grid }
    }

    /// Adds the rows from `start` on of a level's map (q, K): summed over the keys of a grid cell, averaged over its
    /// queries.
    pub(super) fn add(&self, sum: &mut Tensor, probs: &Tensor, start: i64) {
        let (queries, columns) = (probs.size()[0], self.grid.height * self.grid.width);
        let keyed = Tensor::zeros([queries, columns], (Kind::Float, sum.device()));
        let keyed = keyed.index_add(1, &self.cells, probs); // (q, n)
        let weighted = keyed * self.shares.narrow(0, start, queries).unsqueeze(1);
        let _ = sum.index_add_(0, &self.cells.narrow(0, start, queries), &weighted);
    }
}

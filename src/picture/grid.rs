//! Conversion between pixels and a model's latent grid, by torch's index rules, so that masks and maps agree on cells.

use std::ops::Range;

use crate::picture::{mask::Mask, size::Size};

/// Downsamples a mask: 1 for each grid cell that contains a pixel to edit, else 0, row-major (torch:
/// `adaptive_max_pool2d`).
///
/// `grid` is the size in cells.
pub fn max_pool(mask: &Mask, grid: Size) -> Vec<f32> {
    let size = mask.size();
    let data = mask.as_image().as_raw();
    let width = size.width as usize;
    let mut cells = Vec::with_capacity(grid.pixels() as usize);
    for row in 0..grid.height {
        let rows = pool_range(row, grid.height, size.height);
        for column in 0..grid.width {
            let columns = pool_range(column, grid.width, size.width);
            let holds_edit = rows.clone().any(|y| {
                data[y * width + columns.start..y * width + columns.end].iter().any(|it| *it > 0)
            });
            cells.push(f32::from(u8::from(holds_edit)));
        }
    }
    cells
}

/// The pixels of one cell, from the floor of its start to the ceiling of its end; neighboring cells may share a pixel.
fn pool_range(cell: u32, cells: u32, pixels: u32) -> Range<usize> {
    let (cell, cells, pixels) = (u64::from(cell), u64::from(cells), u64::from(pixels));
    let start = cell * pixels / cells;
    let end = ((cell + 1) * pixels).div_ceil(cells);
    start as usize..end as usize
}

/// Upsamples a row-major grid to one value per pixel (torch: `interpolate(mode="nearest")`).
///
/// # Panics
/// If `values` does not hold one value per cell of `grid`.
pub fn upsample_nearest<T: Copy>(values: &[T], grid: Size, to: Size) -> Vec<T> {
    assert_eq!(values.len() as u64, grid.pixels(), "a {grid} grid has one value a cell");
    let columns: Vec<usize> = (0..to.width).map(|x| nearest(x, grid.width, to.width)).collect();
    let mut out = Vec::with_capacity(to.pixels() as usize);
    for y in 0..to.height {
        let row = nearest(y, grid.height, to.height) * grid.width as usize;
        out.extend(columns.iter().map(|column| values[row + column]));
    }
    out
}

/// The cell that a pixel takes its value from, computed in `f32` since torch's rounding depends on it.
fn nearest(pixel: u32, cells: u32, pixels: u32) -> usize {
    let cell = if pixels == cells {
        pixel
    } else if pixels == 2 * cells {
        pixel / 2
    } else {
        let scale = cells as f32 / pixels as f32;
        ((pixel as f32 * scale) as u32).min(cells - 1)
    };
    cell as usize
}

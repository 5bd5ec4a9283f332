//! Agreement of a mask or a heat map with the true mask: `IoU`, precision, recall, pointing game.

use crate::measures::region::Region;

/// Agreement of a found mask with the true one. Ratios with a zero denominator are 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overlap {
    /// Intersection over union (Jaccard index), 0 to 1.
    pub iou: f64,
    /// Pixels in both over those of the found mask, 0 to 1.
    pub precision: f64,
    /// Pixels in both over those of the true mask, 0 to 1.
    pub recall: f64,
}

impl Overlap {
    /// Compares two masks of one picture.
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn of(found: &Region, truth: &Region) -> Self {
        let both = found.intersection(truth).count() as f64;
        let (found, truth) = (found.count() as f64, truth.count() as f64);
        let over = |whole: f64| if whole > 0.0 { both / whole } else { 0.0 };
        Self { iou: over(found + truth - both), precision: over(found), recall: over(truth) }
    }
}

/// Whether the greatest cell of a heat map lies on the object (Zhang et al., "Top-down Neural Attention by Excitation
/// Backprop", 2016): the pixel at the middle of the cell belongs to `truth`. Of equal cells the first one counts.
///
/// `values` holds width × height of `grid` numbers, row by row. Differs: without the paper's tolerance of 15 pixels.
///
/// # Panics
/// If there are not as many values as cells, or none.
pub fn pointing_game(values: &[f32], grid: (u32, u32), truth: &Region) -> bool {
    assert_eq!(values.len(), grid.0 as usize * grid.1 as usize, "one value a cell");
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    let (column, row) = (best as u32 % grid.0, best as u32 / grid.0);
    let (width, height) = truth.dimensions();
    // The middle of the cell, in pixels, rounded down.
    let middle = |cell: u32, cells: u32, side: u32| {
        let doubled = u64::from(2 * cell + 1) * u64::from(side);
        (doubled / u64::from(2 * cells)) as u32
    };
    truth.contains(middle(column, grid.0, width), middle(row, grid.1, height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_counts_pixels() {
        let found = Region::from_fn(10, 10, |x, y| x < 4 && y < 5); // 20 pixels
        let truth = Region::from_fn(10, 10, |x, y| (2..8).contains(&x) && y < 5); // 30 pixels, 10 of them found
        let overlap = Overlap::of(&found, &truth);
        assert_eq!(overlap, Overlap { iou: 0.25, precision: 0.5, recall: 1.0 / 3.0 });
    }

    #[test]
    fn an_empty_mask_scores_nothing() {
        let nothing = Region::from_fn(4, 4, |_, _| false);
        let overlap = Overlap::of(&nothing, &Region::all(4, 4));
        assert_eq!(overlap, Overlap { iou: 0.0, precision: 0.0, recall: 0.0 });
    }

    #[test]
    fn the_pointing_game_takes_the_middle_of_the_greatest_cell() {
        let values = [0.0, 0.1, 0.9, 0.2]; // the lower left cell of 2 x 2: its middle is the pixel (2, 6) of 8 x 8
        assert!(pointing_game(&values, (2, 2), &Region::from_fn(8, 8, |x, y| (x, y) == (2, 6))));
        assert!(!pointing_game(&values, (2, 2), &Region::from_fn(8, 8, |x, y| (x, y) == (3, 6))));
    }
}

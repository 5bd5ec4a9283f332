//! Maps over a picture: a grid of cells, and a value for each.

/// Height and width of an attention map, in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grid {
    /// Rows.
    pub height: i64,
    /// Columns.
    pub width: i64,
}

/// A value for each cell of a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Of `values`.
    pub grid: Grid,
    /// Row by row.
    pub values: Vec<f32>,
}

impl Field {
    /// Min-max normalization to 0..=1 (as in Watch Your Steps); zeros if all values are equal.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        let min = self.values.iter().copied().fold(f32::INFINITY, f32::min);
        let max = self.values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let range = if max > min { max - min } else { f32::INFINITY };
        self.values.iter_mut().for_each(|it| *it = (*it - min) / range);
        self
    }
}

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

    /// Which cells are above a threshold; where none is, those with the highest value.
    pub fn above(&self, threshold: f64) -> Vec<bool> {
        let highest = self.values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let none = f64::from(highest) <= threshold;
        let is_in = |value: f32| if none { value >= highest } else { f64::from(value) > threshold };
        self.values.iter().map(|&it| is_in(it)).collect()
    }

    /// The mean of each cell and its neighbors on the grid.
    #[must_use]
    pub fn smoothed(&self) -> Self {
        let Grid { height, width } = self.grid;
        let near = |at: i64, of: i64| (at - 1).max(0)..(at + 2).min(of);
        let cells = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
        let mean = |(y, x)| {
            let rows = near(y, height).flat_map(|y| near(x, width).map(move |x| y * width + x));
            let values: Vec<f32> = rows.map(|cell| self.values[cell as usize]).collect();
            values.iter().sum::<f32>() / values.len() as f32
        };
        Self { grid: self.grid, values: cells.map(mean).collect() }
    }
}

/// The cells of a grid that are chosen and whose neighbors along both axes are too; an edge of the grid is no border.
pub fn eroded(grid: Grid, chosen: &[bool]) -> Vec<bool> {
    around(grid, |y, x, near| {
        let cross = [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)];
        cross.iter().all(|(dy, dx)| near(y + dy, x + dx).is_none_or(|cell| chosen[cell]))
    })
}

/// The cells of a grid that have a chosen one within so many rows and columns.
pub fn dilated(grid: Grid, chosen: &[bool], reach: i64) -> Vec<bool> {
    around(grid, |y, x, near| {
        let mut square = (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dy, dx)));
        square.any(|(dy, dx)| near(y + dy, x + dx).is_some_and(|cell| chosen[cell]))
    })
}

/// What holds of each cell, by its row, its column, and the index of a cell at a place, if it is on the grid.
fn around(
    grid: Grid,
    holds: impl Fn(i64, i64, &dyn Fn(i64, i64) -> Option<usize>) -> bool,
) -> Vec<bool> {
    let Grid { height, width } = grid;
    let near = |y: i64, x: i64| {
        let is_on = (0..height).contains(&y) && (0..width).contains(&x);
        is_on.then(|| (y * width + x) as usize)
    };
    (0..height * width).map(|cell| holds(cell / width, cell % width, &near)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid { height: 5, width: 7 };

    fn drawn(rows: [&str; 5]) -> Vec<bool> {
        rows.concat().chars().map(|it| it == '#').collect()
    }

    #[test]
    fn erosion_takes_what_is_thin_and_dilation_gives_a_square() {
        let chosen = drawn(["##.....", "##.....", "...###.", "...###.", "...###."]);
        let core = eroded(GRID, &chosen);
        assert_eq!(core, drawn(["#......", ".......", ".......", "....#..", "....#.."]));
        let grown = dilated(GRID, &core, 1);
        assert_eq!(grown, drawn(["##.....", "##.....", "...###.", "...###.", "...###."]));
        assert_eq!(dilated(GRID, &core, 9), vec![true; 35]);
    }

    #[test]
    fn a_field_is_smoothed_over_the_cells_that_it_has() {
        let mut values = vec![0.0; 35];
        values[0] = 9.0;
        let smooth = Field { grid: GRID, values }.smoothed();
        assert!((smooth.values[0] - 9.0 / 4.0).abs() < 1e-6);
        assert!((smooth.values[8] - 1.0).abs() < 1e-6);
        assert!((smooth.values[1] - 9.0 / 6.0).abs() < 1e-6);
        assert!(smooth.values[2].abs() < 1e-6);
    }
}

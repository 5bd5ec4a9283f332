//! How far the result of an edit moved and grew beside its picture, told from where each cell copied from.

use crate::edit::grid::Grid;
use crate::picture::{align::Displacement, size::Size};

/// Cells within this of where the drift puts them agree with it, in cells.
const AGREES: f64 = 0.25;

/// Share of the cells that must agree before a drift is undone.
const SURE: f64 = 0.5;

/// Fewest cells that a drift is told from.
const FEWEST: usize = 8;

/// Displacement anywhere in the picture below which nothing is undone, in pixels: resampling costs more than it gives.
const LEAST: f64 = 0.5;

/// A global displacement of the result, in pixels of the input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// How the result lies beside the picture.
    pub displacement: Displacement,
    /// Share of the cells, of all that could be told, that moved by it to a quarter of a cell, 0 to 1.
    pub agreement: f64,
    /// Whether it was undone in the result.
    pub is_undone: bool,
}

impl Drift {
    /// The drift by which each cell's offset is told best: where it copied from, less its own place, by columns and rows
    /// in cells; `None` where that could not be told.
    ///
    /// The zoom is the median of what the offsets of two cells, half a grid apart, say; the shift is the median of what is
    /// left. So up to half of the cells may say something else. `None` if too few cells could be told.
    pub fn of(offsets: &[Option<[f64; 2]>], grid: Grid, covered: Size) -> Option<Self> {
        let Grid { height, width } = grid;
        let at = |y: i64, x: i64| offsets[(y * width + x) as usize];
        let cells = || (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
        let told = cells().filter(|&(y, x)| at(y, x).is_some()).count();
        if told < FEWEST {
            return None;
        }

        // 1. How offsets grow with the distance from the middle.
        let far = [(width / 2).max(1), (height / 2).max(1)];
        let slope = |(y, x): (i64, i64), axis: usize| {
            let (y2, x2) = if axis == 0 { (y, x + far[0]) } else { (y + far[1], x) };
            let other = if y2 < height && x2 < width { at(y2, x2)? } else { return None };
            Some((other[axis] - at(y, x)?[axis]) / far[axis] as f64)
        };
        let slopes = cells().flat_map(|cell| [0, 1].map(|axis| slope(cell, axis))).flatten();
        let slopes: Vec<f64> = slopes.collect();
        let slope = if slopes.len() < FEWEST { 0.0 } else { median(slopes).max(-0.5) };

        // 2. What is left, the same for all.
        let middle = [(width as f64 - 1.0) / 2.0, (height as f64 - 1.0) / 2.0];
        let left = |(y, x): (i64, i64)| {
            let place = [x as f64 - middle[0], y as f64 - middle[1]];
            at(y, x).map(|offset| [0, 1].map(|axis| offset[axis] - slope * place[axis]))
        };
        let rest: Vec<[f64; 2]> = cells().filter_map(left).collect();
        let shift = [0, 1].map(|axis| median(rest.iter().map(|it| it[axis]).collect()));
        let agree = |it: &&[f64; 2]| (0..2).all(|axis| (it[axis] - shift[axis]).abs() <= AGREES);
        let agreement = rest.iter().filter(agree).count() as f64 / rest.len() as f64;

        // 3. The result has at a place p what the picture has at p + shift + slope · (p - middle).
        let zoom = 1.0 / (1.0 + slope);
        let cell =
            [f64::from(covered.width) / width as f64, f64::from(covered.height) / height as f64];
        let [right, down] = [0, 1].map(|axis| -shift[axis] * zoom * cell[axis]);
        let displacement = Displacement { right, down, zoom };
        Some(Self { displacement, agreement, is_undone: false })
    }

    /// Whether most cells agree on it.
    pub fn is_sure(&self) -> bool {
        self.agreement >= SURE
    }

    /// Whether it should be undone in a picture of this size: most cells agree, and it can be seen.
    pub fn is_worth_undoing(&self, covered: Size) -> bool {
        self.is_sure() && self.displacement.greatest(covered) >= LEAST
    }
}

/// The median of some numbers, the upper of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid { height: 20, width: 32 };
    const COVERED: Size = Size { width: 512, height: 320 };

    /// Offsets of a result that lies so beside its picture.
    fn offsets(Displacement { right, down, zoom }: Displacement) -> Vec<Option<[f64; 2]>> {
        let cells = (0..GRID.height).flat_map(|y| (0..GRID.width).map(move |x| (y, x)));
        let offset = |at: i64, cells: i64, moved: f64| {
            let place = at as f64 - (cells as f64 - 1.0) / 2.0;
            // Of the picture's place q the result has it at zoom · q + moved.
            (place - moved / 16.0) / zoom - place
        };
        let told = |(y, x)| Some([offset(x, GRID.width, right), offset(y, GRID.height, down)]);
        cells.map(told).collect()
    }

    #[test]
    fn shift_and_zoom_are_told_though_a_third_of_the_cells_say_something_else() {
        for (right, down, zoom) in
            [(0.0, 0.0, 1.0), (5.0, -3.0, 1.0), (0.0, 0.0, 1.04), (-9.5, 2.25, 0.97)]
        {
            let mut offsets = offsets(Displacement { right, down, zoom });
            for (index, offset) in offsets.iter_mut().enumerate() {
                match index % 6 {
                    0 => *offset = Some([3.0, -2.0]),
                    3 => *offset = None,
                    _ => {}
                }
            }
            let drift = Drift::of(&offsets, GRID, COVERED).unwrap();
            let found = drift.displacement;
            let apart = [found.right - right, found.down - down, (found.zoom - zoom) * 256.0];
            assert!(apart.iter().all(|it| it.abs() < 0.1), "{right} {down} {zoom}: {found:?}");
            assert!(drift.agreement > 0.75, "{drift:?}");
            let is_moved = (right, down, zoom) != (0.0, 0.0, 1.0);
            assert_eq!(drift.is_worth_undoing(COVERED), is_moved, "{drift:?}");
        }
    }

    #[test]
    fn cells_that_agree_on_nothing_say_nothing() {
        let random = |index: usize| (index as f64 * 12.9898).sin() * 43758.5453 % 4.0;
        let offsets = (0..640).map(|it| Some([random(it), random(it + 999)])).collect::<Vec<_>>();
        let drift = Drift::of(&offsets, GRID, COVERED).unwrap();
        assert!(!drift.is_worth_undoing(COVERED), "{drift:?}");
        assert_eq!(Drift::of(&vec![None; 640], GRID, COVERED), None);
    }
}

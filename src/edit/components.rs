//! Connected parts of clusters: two houses that look alike are one cluster, and two things.

use std::collections::BTreeMap;

use crate::edit::grid::Grid;

/// A part of less than one cell in so many goes to the neighbor that it touches most: it is the ragged border of
/// something else.
const LEAST_SHARE: usize = 400;

/// Most parts, as many as clusters can be told apart and named; of more, the smallest go to their neighbors, too.
const MOST: usize = 32;

/// The connected parts of clusters: a number from 0 for each cell, in the order of the parts' first cells.
///
/// Cells are connected by their sides and corners. `labels` holds one cluster per cell of `grid`, row by row.
pub fn connected(labels: &[i64], grid: Grid) -> Vec<i64> {
    let least = labels.len().div_ceil(LEAST_SHARE);
    let mut parts = flooded(labels, grid);
    loop {
        let mut sizes: BTreeMap<i64, usize> = BTreeMap::new();
        for &it in &parts {
            *sizes.entry(it).or_default() += 1;
        }
        let smallest = sizes.iter().min_by_key(|(part, size)| (**size, **part));
        let Some((&part, &size)) = smallest.filter(|_| sizes.len() > 1) else { break };
        if size >= least && sizes.len() <= MOST {
            break;
        }
        let to = most_touched(&parts, part, grid);
        parts.iter_mut().filter(|it| **it == part).for_each(|it| *it = to);
    }
    renumbered(&parts)
}

/// Each connected stretch of equal labels as a number of its own.
fn flooded(labels: &[i64], grid: Grid) -> Vec<i64> {
    let mut parts = vec![-1; labels.len()];
    let mut count = 0;
    let mut open = vec![];
    for start in 0..labels.len() {
        if parts[start] >= 0 {
            continue;
        }
        parts[start] = count;
        open.push(start);
        while let Some(cell) = open.pop() {
            for next in neighbors(cell, grid) {
                if parts[next] < 0 && labels[next] == labels[cell] {
                    parts[next] = count;
                    open.push(next);
                }
            }
        }
        count += 1;
    }
    parts
}

/// The other part that a part's cells have most neighbors in.
fn most_touched(parts: &[i64], part: i64, grid: Grid) -> i64 {
    let mut touched: BTreeMap<i64, usize> = BTreeMap::new();
    for cell in (0..parts.len()).filter(|&it| parts[it] == part) {
        for next in neighbors(cell, grid).filter(|&it| parts[it] != part) {
            *touched.entry(parts[next]).or_default() += 1;
        }
    }
    let most = touched.into_iter().max_by_key(|&(part, count)| (count, -part));
    most.map_or(part, |it| it.0)
}

/// The cells around a cell.
pub fn neighbors(cell: usize, grid: Grid) -> impl Iterator<Item = usize> {
    let (height, width) = (grid.height as usize, grid.width as usize);
    let (y, x) = (cell / width, cell % width);
    let rows = y.saturating_sub(1)..(y + 2).min(height);
    rows.flat_map(move |row| {
        (x.saturating_sub(1)..(x + 2).min(width)).map(move |column| row * width + column)
    })
    .filter(move |&it| it != cell)
}

fn renumbered(parts: &[i64]) -> Vec<i64> {
    let mut numbers = BTreeMap::new();
    let mut number = |part: i64| {
        let next = numbers.len() as i64;
        *numbers.entry(part).or_insert(next)
    };
    parts.iter().map(|&it| number(it)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels from rows of digits.
    fn parts(rows: &[&str]) -> Vec<i64> {
        let labels: Vec<i64> =
            rows.iter().flat_map(|it| it.bytes().map(|it| i64::from(it - b'0'))).collect();
        let grid = Grid { height: rows.len() as i64, width: rows[0].len() as i64 };
        connected(&labels, grid)
    }

    #[test]
    fn two_things_of_one_cluster_are_two_parts() {
        let found = parts(&["1100111", "1100111", "0000000"]);
        assert_eq!(found[..7], [0, 0, 1, 1, 2, 2, 2]);
        assert_eq!(found[14..], [1; 7]);
    }

    #[test]
    fn corners_connect() {
        let found = parts(&["1100", "1100", "0011", "0011"]);
        assert_eq!(found.iter().max(), Some(&1));
    }

    #[test]
    fn crumbs_go_to_what_they_touch_most() {
        let grid = Grid { height: 30, width: 30 };
        // Two cells of their own in a corner of the left half, most of whose neighbors are of that.
        let label = |x: usize, y: usize| {
            if y == 4 && (13..15).contains(&x) { 2 } else { i64::from(x >= 15) }
        };
        let labels: Vec<i64> = (0..900).map(|it| label(it % 30, it / 30)).collect();
        let found = connected(&labels, grid);
        assert_eq!(found.iter().max(), Some(&1));
        assert_eq!(found[4 * 30 + 14], found[0]);
    }

    #[test]
    fn a_picture_of_one_cluster_is_one_part_and_few_cells_stay() {
        assert_eq!(parts(&["00", "00"]), [0; 4]);
        assert_eq!(parts(&["01"]), [0, 1]);
    }
}

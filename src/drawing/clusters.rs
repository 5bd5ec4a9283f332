//! Cluster map: the clusters of a localization as numbered, colored regions.

use std::cmp::Reverse;

use image::{Rgb, RgbImage, imageops};

use crate::drawing::{
    canvas::Canvas,
    heat::covered,
    palette::{cluster_color, ink_on, mix},
    text::{Style, Weight},
};

/// A segmentation, with a score and a selection flag for each cluster.
#[derive(Debug, Clone, Copy)]
pub struct DrawnClusters<'a> {
    labels: &'a [u8],
    grid: (u32, u32),
    scores: &'a [f32],
    selected: &'a [bool],
    /// Size of the grid relative to the picture, at least 1: the model may see the picture with padding on the right
    /// and below.
    covers: (f32, f32),
}

impl<'a> DrawnClusters<'a> {
    /// `labels` holds width × height of `grid` labels, row by row; `scores` and `selected` have one entry a label.
    ///
    /// # Panics
    /// If a length does not match or a label has no score.
    pub fn new(
        labels: &'a [u8],
        grid: (u32, u32),
        scores: &'a [f32],
        selected: &'a [bool],
    ) -> Self {
        let cells = grid.0 as usize * grid.1 as usize;
        assert!(
            cells > 0 && labels.len() == cells,
            "{} labels for a grid of {grid:?}",
            labels.len()
        );
        assert_eq!(scores.len(), selected.len(), "one score and one choice a cluster");
        let known = labels.iter().all(|&label| usize::from(label) < scores.len());
        assert!(known, "a label beyond the {} clusters", scores.len());
        Self { labels, grid, scores, selected, covers: (1.0, 1.0) }
    }

    /// Sets how many times as wide and high as the picture the grid is; the picture is in its upper left corner.
    #[must_use]
    pub fn covering(self, covers: (f32, f32)) -> Self {
        Self { covers, ..self }
    }

    /// (width, height) in cells.
    pub fn grid(&self) -> (u32, u32) {
        self.grid
    }

    /// Number of clusters, empty ones included.
    pub fn count(&self) -> usize {
        self.scores.len()
    }

    /// Labels by decreasing score; ties by label, NaN last.
    pub fn ranking(&self) -> Vec<usize> {
        let mut labels: Vec<usize> = (0..self.count()).collect();
        let key = |label: usize| match self.scores[label] {
            score if score.is_nan() => f32::NEG_INFINITY,
            score => score,
        };
        labels.sort_by(|&a, &b| key(b).total_cmp(&key(a)));
        labels
    }

    /// The displayed number of each label: 1 has the highest score.
    pub fn numbers(&self) -> Vec<usize> {
        let mut numbers = vec![0; self.count()];
        for (place, label) in self.ranking().into_iter().enumerate() {
            numbers[label] = place + 1;
        }
        numbers
    }

    /// A cluster's share of the picture's area, 0..=1.
    pub fn area(&self, label: usize) -> f64 {
        let cells = self.labels.iter().filter(|&&it| usize::from(it) == label).count();
        cells as f64 / self.labels.len() as f64
    }

    /// A cluster's score.
    pub fn score(&self, label: usize) -> f32 {
        self.scores[label]
    }

    /// Labels of the clusters that matter ([`that_matter`]), by decreasing score.
    pub fn that_matter(&self) -> Vec<usize> {
        let clusters: Vec<(f32, bool)> =
            (0..self.count()).map(|label| (self.scores[label], self.selected[label])).collect();
        let matter = that_matter(&clusters);
        self.ranking().into_iter().filter(|label| matter.contains(label)).collect()
    }

    /// Whether a cluster is selected for the edit.
    pub fn is_selected(&self, label: usize) -> bool {
        self.selected[label]
    }

    /// Anchor of a cluster's number: the point of its largest connected component that is farthest from the component's
    /// boundary, as (x, y, distance to that boundary) in cells. `None` for an empty cluster.
    pub fn visual_center(&self, label: usize) -> Option<(f32, f32, f32)> {
        let part = self.largest_part(label)?;
        let depths = self.depths(&part);
        let deepest = part.iter().map(|&cell| depths[cell]).fold(0.0, f32::max);
        let column = |cell: usize| (cell % self.grid.0 as usize) as f32 + 0.5;
        let row = |cell: usize| (cell / self.grid.0 as usize) as f32 + 0.5;
        let mean = |of: &dyn Fn(usize) -> f32, cells: &[usize]| {
            cells.iter().map(|&cell| of(cell)).sum::<f32>() / cells.len() as f32
        };
        let (x, y) = (mean(&column, &part), mean(&row, &part));
        // A wide part has a whole ridge of deepest cells: the point of it nearest to the centroid looks central.
        let ridge: Vec<usize> =
            part.into_iter().filter(|&cell| depths[cell] > deepest - 0.01).collect();
        let far = |cell: usize| (column(cell) - x).hypot(row(cell) - y);
        let nearest = ridge.iter().copied().min_by(|&a, &b| far(a).total_cmp(&far(b)))?;
        let around: Vec<usize> = ridge
            .into_iter()
            .filter(|&cell| {
                (column(cell) - column(nearest)).abs() < 1.5
                    && (row(cell) - row(nearest)).abs() < 1.5
            })
            .collect();
        Some((mean(&column, &around), mean(&row, &around), deepest))
    }

    /// The cells of a cluster's largest 4-connected component.
    fn largest_part(&self, label: usize) -> Option<Vec<usize>> {
        let (width, height) = (self.grid.0 as usize, self.grid.1 as usize);
        let mut seen: Vec<bool> = self.labels.iter().map(|&it| usize::from(it) != label).collect();
        let mut parts = vec![];
        for start in 0..seen.len() {
            if std::mem::replace(&mut seen[start], true) {
                continue;
            }
            let mut part = vec![start];
            let mut next = 0;
            while let Some(&cell) = part.get(next) {
                next += 1;
                let (x, y) = (cell % width, cell / width);
                let neighbors = [
                    (x > 0).then(|| cell - 1),
                    (x + 1 < width).then_some(cell + 1),
                    (y > 0).then(|| cell - width),
                    (y + 1 < height).then_some(cell + width),
                ];
                for neighbor in neighbors.into_iter().flatten() {
                    if !std::mem::replace(&mut seen[neighbor], true) {
                        part.push(neighbor);
                    }
                }
            }
            parts.push(part);
        }
        parts.into_iter().min_by_key(|part| Reverse(part.len()))
    }

    /// Distance of each cell's center from the boundary of its component; the grid's border counts as a boundary. A
    /// two-pass chamfer transform with weights 1 and √2.
    fn depths(&self, part: &[usize]) -> Vec<f32> {
        const STRAIGHT: f32 = 1.0;
        const DIAGONAL: f32 = std::f32::consts::SQRT_2;
        let stride = self.grid.0 as usize + 2; // an empty cell all around
        let padded = |cell: usize| {
            let (x, y) = (cell % self.grid.0 as usize, cell / self.grid.0 as usize);
            (y + 1) * stride + x + 1
        };
        let mut distance = vec![0.0f32; stride * (self.grid.1 as usize + 2)];
        for &cell in part {
            distance[padded(cell)] = f32::INFINITY;
        }
        let mut sweep = |at: usize, neighbors: [(usize, f32); 4]| {
            let least = neighbors.iter().map(|&(from, cost)| distance[from] + cost);
            distance[at] = least.fold(distance[at], f32::min);
        };
        let mut cells: Vec<usize> = part.iter().map(|&cell| padded(cell)).collect();
        cells.sort_unstable();
        for &at in &cells {
            let above = at - stride;
            sweep(
                at,
                [
                    (at - 1, STRAIGHT),
                    (above - 1, DIAGONAL),
                    (above, STRAIGHT),
                    (above + 1, DIAGONAL),
                ],
            );
        }
        for &at in cells.iter().rev() {
            let below = at + stride;
            sweep(
                at,
                [
                    (at + 1, STRAIGHT),
                    (below - 1, DIAGONAL),
                    (below, STRAIGHT),
                    (below + 1, DIAGONAL),
                ],
            );
        }
        (0..self.labels.len()).map(|cell| (distance[padded(cell)] - 0.5).max(0.0)).collect()
    }
}

/// Indices of the clusters that matter for an edit, of scores and flags of selection in any order: those that are
/// selected, or score at least a tenth of the best. NaN scores don't matter.
pub fn that_matter(clusters: &[(f32, bool)]) -> Vec<usize> {
    const SHARE: f32 = 0.1;
    let best = clusters.iter().map(|it| it.0).fold(f32::NEG_INFINITY, f32::max);
    let matters =
        |&(score, selected): &(f32, bool)| selected || score > 0.0 && score >= SHARE * best;
    (0..clusters.len()).filter(|&index| matters(&clusters[index])).collect()
}

/// Draws the clusters at `size`, cells as solid blocks, each cluster with its number, and an outline around the
/// selected ones. Colors follow the numbers, not the labels.
pub fn cluster_map(clusters: &DrawnClusters, size: (u32, u32)) -> RgbImage {
    let numbers = clusters.numbers();
    let cells = Cells::of(clusters, size);
    let map = RgbImage::from_fn(size.0, size.1, |x, y| cluster_color(numbers[cells.label(x, y)]));
    cells.marked(map)
}

/// Draws the clusters over the gray picture, at its size: those that matter strong, the others pale.
pub fn cluster_overlay(clusters: &DrawnClusters, picture: &RgbImage) -> RgbImage {
    /// Opacity of clusters that matter, and of others.
    const OPACITY: (f32, f32) = (0.75, 0.4);
    let size = picture.dimensions();
    let numbers = clusters.numbers();
    let matter = clusters.that_matter();
    let cells = Cells::of(clusters, size);
    let grey = imageops::grayscale(picture);
    let map = RgbImage::from_fn(size.0, size.1, |x, y| {
        let label = cells.label(x, y);
        let share = if matter.contains(&label) { OPACITY.0 } else { OPACITY.1 };
        mix(Rgb([grey.get_pixel(x, y)[0]; 3]), cluster_color(numbers[label]), share)
    });
    cells.marked(map)
}

/// The cells of clusters on a picture.
struct Cells<'a> {
    clusters: &'a DrawnClusters<'a>,
    /// Size of the picture with the padding that the grid covers.
    covered: (u32, u32),
}

impl<'a> Cells<'a> {
    fn of(clusters: &'a DrawnClusters<'a>, size: (u32, u32)) -> Self {
        Self { clusters, covered: covered(size, clusters.covers) }
    }

    /// The label at a pixel.
    fn label(&self, x: u32, y: u32) -> usize {
        let (columns, rows) = self.clusters.grid();
        let scaled = |at: u32, cells: u32, side: u32| {
            (u64::from(at) * u64::from(cells) / u64::from(side)) as usize
        };
        let (column, row) = (scaled(x, columns, self.covered.0), scaled(y, rows, self.covered.1));
        usize::from(self.clusters.labels[row * columns as usize + column])
    }

    /// The map with an outline around the selected clusters, and each cluster's number.
    fn marked(&self, map: RgbImage) -> RgbImage {
        /// Smallest and largest font size of a number, relative to the square root of the map's area.
        const NUMBER: (f32, f32) = (0.05, 0.11);
        /// Largest minimum font size relative to the shorter side, for narrow maps.
        const CROWDED: f32 = 0.09;
        /// Width of the outline around selected clusters, relative to the square root of the map's area.
        const LINE: f32 = 1.0 / 110.0;
        /// Width of the halo around a number, relative to its font size.
        const HALO: f32 = 0.09;

        let clusters = self.clusters;
        let size = map.dimensions();
        let mut canvas = Canvas::over(map);
        let side = (size.0 as f32 * size.1 as f32).sqrt();
        canvas.contour(
            &|x, y| clusters.is_selected(self.label(x, y)),
            (side * LINE).max(2.0),
            Rgb([0; 3]),
            Rgb([255; 3]),
        );
        let least = (side * NUMBER.0).min(size.0.min(size.1) as f32 * CROWDED);
        let (columns, rows) = clusters.grid();
        let cell = (self.covered.0 as f32 / columns as f32, self.covered.1 as f32 / rows as f32);
        let numbers = clusters.numbers();
        for label in clusters.ranking().into_iter().rev() {
            let Some((x, y, depth)) = clusters.visual_center(label) else { continue };
            let color = ink_on(cluster_color(numbers[label]));
            let em = (depth * cell.0.min(cell.1)).clamp(least, side * NUMBER.1);
            let ink = Style { weight: Weight::SemiBold, em, color };
            let halo = Style { color: Rgb([255 - color[0]; 3]), ..ink };
            let (x, y, number) = (x * cell.0, y * cell.1, numbers[label].to_string());
            for turn in 0..16 {
                let (sin, cos) = (f32::from(turn as u8) * std::f32::consts::TAU / 16.0).sin_cos();
                halo.draw_centered(&mut canvas, x + cos * em * HALO, y + sin * em * HALO, &number);
            }
            ink.draw_centered(&mut canvas, x, y, &number);
        }
        canvas.into_image()
    }
}

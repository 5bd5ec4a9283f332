//! Legend of a cluster map: number and color, score, area, selection.

use image::RgbImage;

use crate::drawing::{
    canvas::Canvas,
    clusters::DrawnClusters,
    palette::{HAIRLINE, INK, MUTED, PAPER, cluster_color, ink_on, mix},
    text::{Style, Weight, percent},
};

/// Minimum column width for swatch, score, area and check mark.
const NARROW: u32 = 184;

/// Minimum column width that also fits a score bar.
const WIDE: u32 = 250;

/// Height of the header row.
const HEAD: u32 = 30;

/// Minimum and maximum row height, and the maximum in a narrow column.
const ROW: (u32, u32) = (24, 46);
const NARROW_ROW: u32 = 28;

/// Row height below which the legend uses more columns.
const COMFORTABLE_ROW: u32 = 34;

/// Gap between the legend's columns.
const GAP: u32 = 22;

/// Draws the legend `width` pixels wide, by decreasing score, at least `height` high.
pub(super) fn legend(clusters: &DrawnClusters, width: u32, height: u32) -> RgbImage {
    let count = clusters.count().max(1) as u32;
    let most = ((width + GAP) / (NARROW + GAP)).max(1);
    let comfortable = (height.saturating_sub(HEAD) / COMFORTABLE_ROW).max(1);
    let columns = count.div_ceil(comfortable).min(most);
    let rows = count.div_ceil(columns);
    let column_width = ((width + GAP) / columns - GAP).min(460);
    let tallest = if column_width < WIDE { NARROW_ROW } else { ROW.1 };
    let row_height = (height.saturating_sub(HEAD) / rows).clamp(ROW.0, tallest);

    let mut canvas = Canvas::new(width, HEAD + rows * row_height, PAPER);
    for (place, label) in clusters.ranking().into_iter().enumerate() {
        let (column, row) = (place as u32 / rows, place as u32 % rows);
        let table =
            LegendColumn { left: column * (column_width + GAP), width: column_width, row_height };
        if row == 0 {
            table.head(&mut canvas);
        }
        table.row(&mut canvas, HEAD + row * row_height, place + 1, clusters, label);
    }
    canvas.into_image()
}

/// One column of the legend.
struct LegendColumn {
    left: u32,
    width: u32,
    row_height: u32,
}

impl LegendColumn {
    /// Right edges of score, area and check mark.
    fn stops(&self) -> [f32; 3] {
        let right = (self.left + self.width) as f32;
        [right - 110.0, right - 30.0, right]
    }

    fn head(&self, canvas: &mut Canvas) {
        let style = Style { weight: Weight::Regular, em: 19.0, color: MUTED };
        let [score, area, _] = self.stops();
        style.draw_line_to(canvas, score, 0, "score");
        style.draw_line_to(canvas, area, 0, "area");
    }

    fn row(
        &self,
        canvas: &mut Canvas,
        top: u32,
        number: usize,
        clusters: &DrawnClusters,
        label: usize,
    ) {
        let selected = clusters.is_selected(label);
        let weight = if selected { Weight::SemiBold } else { Weight::Regular };
        let em = (self.row_height as f32 * 0.62).clamp(18.0, 22.0);
        let style = Style { weight, em, color: INK };
        let middle = top + self.row_height / 2;
        let line = middle - style.line_height() / 2;

        let color = cluster_color(number);
        let side = (self.row_height - 4).min(34);
        let swatch = top + (self.row_height - side) / 2;
        canvas.plaque(self.left..self.left + side, swatch..swatch + side, 5.0, color);
        let digits =
            Style { weight: Weight::SemiBold, em: side as f32 * 0.58, color: ink_on(color) };
        digits.draw_centered(
            canvas,
            (self.left + side / 2) as f32,
            middle as f32,
            &number.to_string(),
        );

        let [score_at, area_at, selected_at] = self.stops();
        let score = clusters.score(label);
        if self.width >= WIDE {
            let (from, to) = (self.left + side + 14, score_at as u32 - 62);
            let rows = middle - 4..middle + 4;
            let filled = (to.saturating_sub(from)) as f32 * score.clamp(0.0, 1.0);
            canvas.plaque(from..to, rows.clone(), 4.0, HAIRLINE);
            canvas.plaque(from..from + filled.round() as u32, rows, 4.0, mix(color, INK, 0.1));
        }
        style.draw_line_to(canvas, score_at, line, &format!("{score:.2}"));
        style.draw_line_to(canvas, area_at, line, &percent(clusters.area(label)));
        if selected {
            style.draw_line_to(canvas, selected_at, line, "✓");
        }
    }
}

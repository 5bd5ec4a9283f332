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

/// Draws the legend `width` pixels wide, at least `height` high: the clusters that matter by decreasing score, and how
/// many others there are.
pub(super) fn legend(clusters: &DrawnClusters, width: u32, height: u32) -> RgbImage {
    let shown = clusters.that_matter();
    let others: Vec<usize> =
        clusters.ranking().into_iter().filter(|label| !shown.contains(label)).collect();
    let lines = (shown.len() + usize::from(!others.is_empty())).max(1) as u32;
    let most = ((width + GAP) / (NARROW + GAP)).max(1);
    let comfortable = (height.saturating_sub(HEAD) / COMFORTABLE_ROW).max(1);
    let columns = lines.div_ceil(comfortable).min(most);
    let rows = lines.div_ceil(columns);
    let column_width = ((width + GAP) / columns - GAP).min(460);
    let tallest = if column_width < WIDE { NARROW_ROW } else { ROW.1 };
    let row_height = (height.saturating_sub(HEAD) / rows).clamp(ROW.0, tallest);

    let mut canvas = Canvas::new(width, HEAD + rows * row_height, PAPER);
    let numbers = clusters.numbers();
    for line in 0..lines {
        let (column, row) = (line / rows, line % rows);
        let table =
            LegendColumn { left: column * (column_width + GAP), width: column_width, row_height };
        if row == 0 {
            table.head(&mut canvas);
        }
        let top = HEAD + row * row_height;
        match shown.get(line as usize) {
            Some(&label) => table.row(&mut canvas, top, numbers[label], clusters, label),
            None => table.others(&mut canvas, top, clusters, &others),
        }
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
    /// The line for all clusters that don't matter: how many, their greatest score, their area.
    fn others(&self, canvas: &mut Canvas, top: u32, clusters: &DrawnClusters, others: &[usize]) {
        let em = (self.row_height as f32 * 0.62).clamp(18.0, 22.0);
        let style = Style { weight: Weight::Regular, em, color: MUTED };
        let line = top + self.row_height / 2 - style.line_height() / 2;
        let [score, area, _] = self.stops();
        let room = (score - 60.0) as u32 - self.left;
        let text = format!("{} others", others.len());
        style.draw_line(canvas, self.left, line, &style.cut(&text, room));
        if let Some(&best) = others.first() {
            style.draw_line_to(canvas, score, line, &at_most(clusters.score(best)));
        }
        let share = others.iter().map(|&label| clusters.area(label)).sum();
        style.draw_line_to(canvas, area, line, &percent(share));
    }
}

/// A score as an upper bound of two decimals.
fn at_most(score: f32) -> String {
    if score < 0.005 { "< 0.01".to_owned() } else { format!("≤ {score:.2}") }
}

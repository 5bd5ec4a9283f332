//! Page layout: title, labelled values, rows of tiles and filmstrips on a grid of columns, from top to bottom.

use std::ops::Range;

use image::RgbImage;

use crate::drawing::{
    Fact,
    canvas::Canvas,
    palette::{HAIRLINE, INK, MUTED, PAPER, heat_color},
    text::{Style, Weight},
};

/// Page width in pixels. The smallest text is 19 pixels high, 12.7 if the page is shown 1200 pixels wide.
const WIDTH: u32 = 1800;

/// Margin around the page. With one gutter, the width between the margins divides evenly into 1 to 5 columns and their
/// halves.
const MARGIN: u32 = 71;

/// Space between columns.
const GUTTER: u32 = 22;

/// Space between blocks.
const BLOCK: u32 = 40;

/// Maximum height of a tile's picture.
const PICTURE_HEIGHT: u32 = 700;

/// Space between a caption and its picture.
const CAPTION_GAP: u32 = 8;

const TITLE: Style = Style { weight: Weight::SemiBold, em: 46.0, color: INK };
const LONG_TITLE: Style = Style { em: 34.0, ..TITLE };
const HEADING: Style = Style { weight: Weight::SemiBold, em: 25.0, color: INK };
const VALUE: Style = Style { weight: Weight::Regular, em: 24.0, color: INK };
const NOTE: Style = Style { weight: Weight::Regular, em: 20.0, color: MUTED };

/// A picture with a heading.
pub(super) struct Tile {
    pub(super) heading: String,
    pub(super) note: String,
    pub(super) image: RgbImage,
    pub(super) edge: Edge,
    /// Labels of the two ends of the heat scale.
    pub(super) scale: Option<(String, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    Framed,
    Bare,
}

pub(super) struct Page {
    canvas: Canvas,
    columns: u32,
    y: u32,
}

impl Page {
    /// An empty page for pictures of this size; wide pictures get few columns, tall ones many.
    pub(super) fn for_pictures((width, height): (u32, u32)) -> Self {
        let columns = match f64::from(width.max(1)) / f64::from(height.max(1)) {
            aspect if aspect > 4.0 => 1,
            aspect if aspect > 2.2 => 2,
            aspect if aspect > 1.55 => 3,
            aspect if aspect > 0.6 => 4,
            _ => 5,
        };
        Self { canvas: Canvas::new(WIDTH, 2000, PAPER), columns, y: MARGIN }
    }

    /// Maximum size of a tile's picture.
    pub(super) fn tile_bounds(&self) -> (u32, u32) {
        (self.column_width(), PICTURE_HEIGHT)
    }

    /// Maximum size of a filmstrip's frame: two fit in a tile's width.
    pub(super) fn frame_bounds(&self) -> (u32, u32) {
        ((self.column_width() - GUTTER) / 2, PICTURE_HEIGHT / 2)
    }

    /// The title, in a smaller font if it is long.
    pub(super) fn title(&mut self, text: &str) {
        /// Maximum lines of a title in the large and in the small font; longer ones are truncated.
        const LINES: (usize, usize) = (2, 5);
        let width = WIDTH - 2 * MARGIN;
        let mut style = TITLE;
        if style.wrap(text, width, LINES.0 + 1).len() > LINES.0 {
            style = LONG_TITLE;
        }
        for line in style.wrap(text, width, LINES.1) {
            let top = self.take(style.line_height());
            style.draw_line(&mut self.canvas, MARGIN, top, &line);
        }
        self.take(BLOCK / 3);
    }

    /// Labelled values, each spanning as many grid cells as it needs.
    pub(super) fn facts(&mut self, facts: &[Fact]) {
        /// Maximum lines of one value; longer ones are truncated.
        const LINES: usize = 3;
        /// Minimum space between two values.
        const FACT_GAP: u32 = 14;
        let cells = if self.columns < 3 { 8 } else { self.columns * 2 };
        let pitch = (WIDTH - 2 * MARGIN + GUTTER) / cells;
        let (mut cell, mut top, mut tallest) = (0, self.y, 0);
        for Fact { label, value } in facts {
            let wanted = NOTE.width(label).max(VALUE.width(value)).ceil() as u32 + FACT_GAP;
            let span = wanted.div_ceil(pitch).clamp(1, cells);
            if cell + span > cells {
                self.take(tallest + GUTTER / 2);
                (cell, top, tallest) = (0, self.y, 0);
            }
            let left = MARGIN + cell * pitch;
            let width = (span * pitch - FACT_GAP).min(WIDTH - MARGIN - left);
            let values = VALUE.wrap(value, width, LINES);
            let height = NOTE.line_height() + values.len() as u32 * VALUE.line_height();
            self.reserve(height);
            NOTE.draw_line(&mut self.canvas, left, top, &NOTE.cut(label, width));
            for (i, line) in values.iter().enumerate() {
                let y = top + NOTE.line_height() + i as u32 * VALUE.line_height();
                VALUE.draw_line(&mut self.canvas, left, y, line);
            }
            cell += span;
            tallest = tallest.max(height);
        }
        self.take(tallest);
    }

    /// Tiles from left to right, row by row.
    pub(super) fn tiles(&mut self, tiles: &[Tile]) {
        let width = self.column_width();
        for row in tiles.chunks(self.columns as usize) {
            self.take(BLOCK - GUTTER / 2);
            let height = row.iter().map(Tile::height).max().unwrap_or(0);
            let top = self.take(height);
            for (i, tile) in row.iter().enumerate() {
                tile.draw(&mut self.canvas, MARGIN + i as u32 * (width + GUTTER), top, width);
            }
        }
    }

    /// Maximum number of frames of a filmstrip: about eight, in full rows.
    pub(super) fn frames(&self) -> usize {
        const FRAMES: usize = 8;
        FRAMES - FRAMES % self.frames_per_row().min(FRAMES)
    }

    /// A heading and small frames, each labelled below.
    pub(super) fn filmstrip(&mut self, heading: &str, note: &str, frames: &[(String, RgbImage)]) {
        self.take(BLOCK);
        let top = self.take(HEADING.line_height() + CAPTION_GAP);
        let end = HEADING.draw_line(&mut self.canvas, MARGIN, top, heading);
        let drop = (HEADING.line_height() - NOTE.line_height()) * 3 / 5; // onto one baseline
        NOTE.draw_line(&mut self.canvas, end.ceil() as u32 + 14, top + drop, note);
        let (width, pitch) = (self.frame_bounds().0, self.column_width() + GUTTER);
        for (i, row) in frames.chunks(self.frames_per_row()).enumerate() {
            if i > 0 {
                self.take(GUTTER / 2);
            }
            let height = row.iter().map(|(_, image)| image.height()).max().unwrap_or(0);
            let top = self.take(height + 2 + NOTE.line_height());
            for ((label, image), i) in row.iter().zip(0..) {
                let left = MARGIN + i / 2 * pitch + i % 2 * (width + GUTTER);
                self.canvas.paste_framed(image, left, top);
                NOTE.draw_line(&mut self.canvas, left, top + height + 2, &NOTE.cut(label, width));
            }
        }
    }

    /// A thin horizontal line across the page.
    pub(super) fn rule(&mut self) {
        let top = self.take(BLOCK) + BLOCK * 2 / 3;
        self.canvas.rectangle(MARGIN..WIDTH - MARGIN, top..top + 2, HAIRLINE);
        self.y += GUTTER / 2;
    }

    pub(super) fn finish(mut self) -> RgbImage {
        self.canvas.set_height(self.y + MARGIN);
        self.canvas.into_image()
    }

    fn frames_per_row(&self) -> usize {
        self.columns as usize * 2
    }

    fn column_width(&self) -> u32 {
        (WIDTH - 2 * MARGIN + GUTTER) / self.columns - GUTTER
    }

    /// Reserves `height` pixels and returns their top edge.
    fn take(&mut self, height: u32) -> u32 {
        self.reserve(height);
        let top = self.y;
        self.y += height;
        top
    }

    /// Grows the canvas so that `height` more pixels fit.
    fn reserve(&mut self, height: u32) {
        let needed = self.y + height + MARGIN;
        if needed > self.canvas.size().1 {
            self.canvas.set_height(needed * 3 / 2);
        }
    }
}

impl Tile {
    /// Heading and note.
    fn caption_height() -> u32 {
        HEADING.line_height() + NOTE.line_height() + CAPTION_GAP
    }

    fn height(&self) -> u32 {
        /// Height of the heat scale including its labels.
        const SCALE: u32 = 48;
        let scale = if self.scale.is_some() { SCALE } else { 0 };
        Self::caption_height() + self.image.height() + scale
    }

    fn draw(&self, canvas: &mut Canvas, left: u32, top: u32, width: u32) {
        HEADING.draw_line(canvas, left, top, &HEADING.cut(&self.heading, width));
        let below = top + HEADING.line_height();
        NOTE.draw_line(canvas, left, below, &NOTE.cut(&self.note, width));
        let below = top + Self::caption_height();
        match self.edge {
            Edge::Framed => canvas.paste_framed(&self.image, left, below),
            Edge::Bare => canvas.paste(&self.image, left, below),
        }
        if let Some((low, high)) = &self.scale {
            /// Maximum width of the heat scale; if wider, its ends can't be read together.
            const WIDEST: u32 = 560;
            let right = left + self.image.width().clamp(width.min(200), WIDEST);
            let bar = below + self.image.height() + 9;
            heat_bar(canvas, left..right, bar..bar + 12);
            NOTE.draw_line(canvas, left, bar + 13, low);
            NOTE.draw_line_to(canvas, right as f32, bar + 13, high);
        }
    }
}

/// The heat scale, from the lowest to the highest color.
fn heat_bar(canvas: &mut Canvas, columns: Range<u32>, rows: Range<u32>) {
    let last = (columns.len() as f32 - 1.0).max(1.0);
    let size = (columns.len() as u32, rows.len() as u32);
    let image = RgbImage::from_fn(size.0, size.1, |x, _| heat_color(x as f32 / last));
    canvas.paste_framed(&image, columns.start, rows.start);
}

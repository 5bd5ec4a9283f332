//! Page layout, from top to bottom: a title, the largest picture with small ones beside it, rows of tiles, filmstrips,
//! labelled values. All stand on one grid of four columns.

use image::RgbImage;

use crate::drawing::{
    Fact,
    canvas::Canvas,
    palette::{HAIRLINE, INK, PAPER},
    scale::fitted_size,
    text::{Style, Weight},
    tile::{HEADING, NOTE, Tile, VALUE},
};

/// Page width in pixels. The smallest text is 20 pixels high, 13 if the page is shown 1200 pixels wide.
const WIDTH: u32 = 1800;

/// Margin around the page. With one gutter, the width between the margins divides evenly into 1 to 5 columns.
const MARGIN: u32 = 71;

/// Width between the margins.
const CONTENT: u32 = WIDTH - 2 * MARGIN;

/// Space between columns.
const GUTTER: u32 = 22;

/// Space between blocks, and between rows of one block.
const BLOCK: u32 = 44;
const ROW: u32 = 30;

/// Columns of the grid.
const COLUMNS: u32 = 4;

/// Labelled values in a row across the page.
const FACTS: u32 = 9;

/// Frames in a filmstrip's row.
const FRAMES: u32 = 5;

/// Maximum height of the largest picture, of one beside it, of one in a row, and of a filmstrip's frame.
const LARGEST_HEIGHT: u32 = 1240;
const TILE_HEIGHT: u32 = 620;
const FRAME_HEIGHT: u32 = 400;

/// Aspect ratio beyond which the largest picture takes the page's whole width, with the others below it.
const PANORAMA: f64 = 2.4;

const TITLE: Style = Style { weight: Weight::SemiBold, em: 46.0, color: INK };
const LONG_TITLE: Style = Style { em: 34.0, ..TITLE };

/// Sizes and places of the largest picture and of those that go with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lead {
    /// Size of the largest picture.
    pub(super) main: (u32, u32),
    /// Size of each of the others.
    pub(super) others: (u32, u32),
    /// Columns of the others.
    columns: u32,
    /// Whether they stand below the largest picture, not beside it.
    below: bool,
}

impl Lead {
    /// The arrangement for pictures of this size, `others` of which go with the largest one.
    pub(super) fn of(picture: (u32, u32), others: usize) -> Self {
        let others = others as u32;
        let fitted = |bounds: (u32, u32)| fitted_size(picture, bounds);
        let aspect = f64::from(picture.0.max(1)) / f64::from(picture.1.max(1));
        if aspect > PANORAMA {
            let columns = match others {
                0..=3 => others.max(1),
                more => {
                    if more % 3 == 0 {
                        3
                    } else {
                        2
                    }
                }
            };
            let main = fitted((CONTENT, TILE_HEIGHT));
            let others = fitted((column_width(columns.max(2)), TILE_HEIGHT / 2));
            return Self { main, others, columns, below: true };
        }
        let half = (CONTENT - GUTTER) / 2;
        if others == 0 || others > 3 {
            let others = fitted((column_width(COLUMNS), TILE_HEIGHT));
            let main = fitted((half, LARGEST_HEIGHT));
            return Self { main, others, columns: 2, below: false };
        }
        // One column of them, as high as the largest picture with what stands below it.
        let rows = f64::from(others);
        let texts = f64::from(Tile::CAPTION + ROW);
        let width = f64::from(CONTENT - GUTTER);
        // rows · h + (rows − 1) · texts = H, and aspect · (H + h) = width
        let small = (width / aspect - (rows - 1.0) * texts) / (rows + 1.0);
        let large = (rows * small + (rows - 1.0) * texts).min(f64::from(LARGEST_HEIGHT) * 0.8);
        let small = ((large - (rows - 1.0) * texts) / rows).clamp(60.0, large * 0.6);
        let bounds = |height: f64| (half * 2, height.round() as u32);
        Self {
            main: fitted(bounds(large)),
            others: fitted(bounds(small)),
            columns: 1,
            below: false,
        }
    }
}

/// Width of one of `columns` equal columns.
pub(super) fn column_width(columns: u32) -> u32 {
    (CONTENT + GUTTER) / columns - GUTTER
}

/// Width of `span` neighboring columns of `columns`.
pub(super) fn spanned_width(columns: u32, span: u32) -> u32 {
    span * (column_width(columns) + GUTTER) - GUTTER
}

/// Maximum size of a picture in a row of so many columns.
pub(super) fn tile_bounds(columns: u32) -> (u32, u32) {
    (column_width(columns), TILE_HEIGHT)
}

/// Maximum size of a filmstrip's frame.
pub(super) fn frame_bounds() -> (u32, u32) {
    (column_width(FRAMES), FRAME_HEIGHT)
}

/// Maximum number of frames of a filmstrip of one row.
pub(super) fn frames() -> usize {
    FRAMES as usize
}

pub(super) struct Page {
    canvas: Canvas,
    y: u32,
}

impl Page {
    pub(super) fn new() -> Self {
        Self { canvas: Canvas::new(WIDTH, 2000, PAPER), y: MARGIN }
    }

    /// The title, in a smaller font if it is long.
    pub(super) fn title(&mut self, text: &str) {
        /// Maximum lines of a title in the large and in the small font; longer ones are truncated.
        const LINES: (usize, usize) = (2, 5);
        let mut style = TITLE;
        if style.wrap(text, CONTENT, LINES.0 + 1).len() > LINES.0 {
            style = LONG_TITLE;
        }
        for line in style.wrap(text, CONTENT, LINES.1) {
            let top = self.take(style.line_height());
            style.draw_line(&mut self.canvas, MARGIN, top, &line);
        }
        self.take(ROW);
    }

    /// The largest picture with values below it, and the others beside it or below.
    pub(super) fn lead(&mut self, lead: &Lead, main: &Tile, facts: &[Fact], others: &[Tile]) {
        let top = self.y;
        let width = if lead.below { CONTENT } else { lead.main.0.max(column_width(COLUMNS)) };
        let height = main.height(width);
        self.reserve(height);
        main.draw(&mut self.canvas, MARGIN, top, width);
        self.y += height;
        if !facts.is_empty() {
            self.y += ROW / 2;
            self.facts_within(width, (width / column_width(COLUMNS)).max(1), facts);
        }
        if lead.below {
            self.tiles(lead.columns, others);
            return;
        }
        let (left, end) = (MARGIN + width + GUTTER, self.y);
        self.y = top;
        let column = lead.others.0.max(column_width(COLUMNS + 1));
        for (i, row) in others.chunks(lead.columns as usize).enumerate() {
            if i > 0 {
                self.take(ROW);
            }
            self.row(left, column, row);
        }
        self.y = self.y.max(end);
    }

    /// Tiles from left to right, row by row; the last one may be wider than its column.
    pub(super) fn tiles(&mut self, columns: u32, tiles: &[Tile]) {
        for row in tiles.chunks(columns as usize) {
            self.take(BLOCK);
            self.row(MARGIN, column_width(columns), row);
        }
    }

    fn row(&mut self, left: u32, width: u32, row: &[Tile]) {
        let width_of = |tile: &Tile| tile.image.width().max(width);
        let height = row.iter().map(|tile| tile.height(width_of(tile))).max().unwrap_or(0);
        let top = self.take(height);
        let mut left = left;
        for tile in row {
            tile.draw(&mut self.canvas, left, top, width_of(tile));
            left += width_of(tile) + GUTTER;
        }
    }

    /// Labelled values across the page, after a thin line.
    pub(super) fn facts(&mut self, facts: &[Fact]) {
        self.rule();
        self.facts_within(CONTENT, FACTS, facts);
    }

    /// Labelled values from the left margin, each over as many of the `cells` as it needs.
    fn facts_within(&mut self, width: u32, cells: u32, facts: &[Fact]) {
        /// Maximum lines of one value; longer ones are truncated.
        const LINES: usize = 3;
        /// Minimum space between two values.
        const FACT_GAP: u32 = 14;
        let pitch = (width + GUTTER) / cells;
        let (mut cell, mut top, mut tallest) = (0, self.y, 0);
        for Fact { label, value } in facts {
            let wanted = NOTE.width(label).max(VALUE.width(value)).ceil() as u32 + FACT_GAP;
            let span = wanted.div_ceil(pitch).clamp(1, cells);
            if cell + span > cells {
                self.take(tallest + FACT_GAP);
                (cell, top, tallest) = (0, self.y, 0);
            }
            let left = MARGIN + cell * pitch;
            let width = (span * pitch - FACT_GAP).min(MARGIN + width - left);
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

    /// A heading and small frames, each labelled below.
    pub(super) fn filmstrip(&mut self, heading: &str, note: &str, frames: &[(String, RgbImage)]) {
        self.take(BLOCK);
        let top = self.take(HEADING.line_height() + Tile::CAPTION_GAP);
        let end = HEADING.draw_line(&mut self.canvas, MARGIN, top, heading);
        let drop = (HEADING.line_height() - NOTE.line_height()) * 3 / 5; // onto one baseline
        NOTE.draw_line(&mut self.canvas, end.ceil() as u32 + 14, top + drop, note);
        let width = column_width(FRAMES);
        for (i, row) in frames.chunks(FRAMES as usize).enumerate() {
            if i > 0 {
                self.take(GUTTER / 2);
            }
            let height = row.iter().map(|(_, image)| image.height()).max().unwrap_or(0);
            let top = self.take(height + 2 + NOTE.line_height());
            let mut left = MARGIN;
            for (label, image) in row {
                self.canvas.paste_framed(image, left, top);
                NOTE.draw_line(&mut self.canvas, left, top + height + 2, &NOTE.cut(label, width));
                left += width + GUTTER;
            }
        }
    }

    /// A thin horizontal line across the page.
    fn rule(&mut self) {
        let top = self.take(BLOCK) + BLOCK * 2 / 3;
        self.canvas.rectangle(MARGIN..WIDTH - MARGIN, top..top + 2, HAIRLINE);
        self.y += GUTTER / 2;
    }

    pub(super) fn finish(mut self) -> RgbImage {
        self.canvas.set_height(self.y + MARGIN);
        self.canvas.into_image()
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

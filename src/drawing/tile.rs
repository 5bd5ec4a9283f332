//! A picture of a page with its heading, a note, a scale and a text below.

use std::ops::Range;

use image::RgbImage;

use crate::drawing::{
    Fact,
    canvas::Canvas,
    palette::{INK, MUTED, heat_color},
    text::{Style, Weight},
};

/// Headings of tiles and filmstrips.
pub(super) const HEADING: Style = Style { weight: Weight::SemiBold, em: 25.0, color: INK };

/// Small texts.
pub(super) const NOTE: Style = Style { weight: Weight::Regular, em: 20.0, color: MUTED };

/// Values and texts below a picture.
pub(super) const VALUE: Style = Style { weight: Weight::Regular, em: 24.0, color: INK };

/// Maximum lines of the value below a picture.
const LINES: usize = 3;

/// Height of the heat scale including its labels.
const SCALE: u32 = 46;

/// Maximum width of the heat scale; if wider, its ends can't be read together.
const WIDEST_SCALE: u32 = 560;

/// A picture with a heading.
#[derive(Debug)]
pub(super) struct Tile {
    pub(super) heading: String,
    /// Small text below the heading.
    pub(super) note: String,
    pub(super) image: RgbImage,
    pub(super) edge: Edge,
    /// Labels of the two ends of the heat scale.
    pub(super) scale: Option<(String, String)>,
    /// A labelled value below the picture.
    pub(super) below: Option<Fact>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    Framed,
    Bare,
}

impl Tile {
    /// Space between a caption and its picture.
    pub(super) const CAPTION_GAP: u32 = 8;

    /// Height of heading and note, with the space below them.
    pub(super) const CAPTION: u32 = 33 + 26 + Self::CAPTION_GAP;

    /// A framed picture with a heading and a note.
    pub(super) fn new(
        heading: impl Into<String>,
        note: impl Into<String>,
        image: RgbImage,
    ) -> Self {
        let (heading, note) = (heading.into(), note.into());
        Self { heading, note, image, edge: Edge::Framed, scale: None, below: None }
    }

    /// Height in a column of this width.
    pub(super) fn height(&self, width: u32) -> u32 {
        let scale = if self.scale.is_some() { SCALE } else { 0 };
        let below = match &self.below {
            Some(Fact { value, .. }) => {
                let lines = VALUE.wrap(value, width, LINES).len() as u32;
                Self::CAPTION_GAP + NOTE.line_height() + lines * VALUE.line_height()
            }
            None => 0,
        };
        Self::CAPTION + self.image.height() + scale + below
    }

    pub(super) fn draw(&self, canvas: &mut Canvas, left: u32, top: u32, width: u32) {
        HEADING.draw_line(canvas, left, top, &HEADING.cut(&self.heading, width));
        let note = top + HEADING.line_height();
        NOTE.draw_line(canvas, left, note, &NOTE.cut(&self.note, width));
        let mut top = top + Self::CAPTION;
        match self.edge {
            Edge::Framed => canvas.paste_framed(&self.image, left, top),
            Edge::Bare => canvas.paste(&self.image, left, top),
        }
        top += self.image.height();
        if let Some((low, high)) = &self.scale {
            let right = left + self.image.width().clamp(width.min(200), WIDEST_SCALE);
            heat_bar(canvas, left..right, top + 9..top + 21);
            NOTE.draw_line(canvas, left, top + 20, low);
            NOTE.draw_line_to(canvas, right as f32, top + 20, high);
            top += SCALE;
        }
        let Some(Fact { label, value }) = &self.below else { return };
        top += Self::CAPTION_GAP;
        NOTE.draw_line(canvas, left, top, &NOTE.cut(label, width));
        top += NOTE.line_height();
        for line in VALUE.wrap(value, width, LINES) {
            VALUE.draw_line(canvas, left, top, &line);
            top += VALUE.line_height();
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

//! Text rendering in one font of two weights: measuring, wrapping, truncating, drawing.
//!
//! The font covers Latin, Greek and Cyrillic; any other character is drawn as an empty box.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, GlyphId, PxScale, ScaleFont};
use image::Rgb;

use crate::drawing::canvas::Canvas;

static REGULAR: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    FontRef::try_from_slice(include_bytes!("../../assets/fonts/Inter-Regular.otf"))
        .expect("the shipped font is well formed")
});

static SEMI_BOLD: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    FontRef::try_from_slice(include_bytes!("../../assets/fonts/Inter-SemiBold.otf"))
        .expect("the shipped font is well formed")
});

/// Cap height relative to the em (the font's OS/2 table: 2048 of 2816).
const CAP_HEIGHT: f32 = 0.727;

/// The font's glyph id for missing characters.
const MISSING: GlyphId = GlyphId(0);

/// Width of the box for a missing character, relative to the em.
const MISSING_WIDTH: f32 = 0.7;

/// Line height relative to the em.
const LINE_HEIGHT: f32 = 1.3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    Regular,
    SemiBold,
}

/// Font weight, size and color; `em` is the font size in pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) weight: Weight,
    pub(super) em: f32,
    pub(super) color: Rgb<u8>,
}

impl Style {
    /// Line height in pixels.
    pub(super) fn line_height(self) -> u32 {
        (self.em * LINE_HEIGHT).round() as u32
    }

    /// Width of one line in pixels.
    pub(super) fn width(self, text: &str) -> f32 {
        text.chars().map(|letter| self.advance(letter)).sum()
    }

    /// The text truncated to `width` pixels, with "…" if it is cut.
    pub(super) fn cut(self, text: &str, width: u32) -> String {
        if self.width(text) <= width as f32 { text.to_owned() } else { self.elide(text, width) }
    }

    /// Breaks a text into lines of at most `width` pixels at white space, and inside a word that is wider than a line.
    /// At most `lines` lines; the last one ends in "…" if there is more.
    pub(super) fn wrap(self, text: &str, width: u32, lines: usize) -> Vec<String> {
        let mut wrapped: Vec<String> = vec![];
        let mut line = String::new();
        let mut rest: Vec<&str> = text.split_whitespace().rev().collect();
        while wrapped.len() < lines {
            let Some(word) = rest.pop() else { break };
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if self.width(&longer) <= width as f32 {
                line = longer;
            } else if line.is_empty() {
                let (head, tail) = word.split_at(self.break_in(word, width));
                wrapped.push(head.to_owned());
                rest.extend((!tail.is_empty()).then_some(tail));
            } else {
                wrapped.push(std::mem::take(&mut line));
                rest.push(word);
            }
        }
        if wrapped.len() < lines {
            wrapped.extend((!line.is_empty()).then_some(line));
        } else if let (false, Some(last)) = (rest.is_empty(), wrapped.last_mut()) {
            *last = self.elide(last, width);
        }
        wrapped
    }

    /// Draws one line with the top of its capitals at `y`; returns the x coordinate of its end.
    fn draw(self, canvas: &mut Canvas, x: f32, y: f32, text: &str) -> f32 {
        let baseline = y + self.em * CAP_HEIGHT;
        let mut at = x;
        for letter in text.chars() {
            let id = self.font().glyph_id(letter);
            let glyph = id.with_scale_and_position(self.scale(), ab_glyph::point(at, baseline));
            if id == MISSING {
                self.draw_box(canvas, at, y);
            } else if let Some(outline) = self.font().outline_glyph(glyph) {
                let corner = outline.px_bounds().min;
                outline.draw(|column, row, coverage| {
                    let (x, y) = (corner.x as i32 + column as i32, corner.y as i32 + row as i32);
                    canvas.blend(x, y, self.color, coverage);
                });
            }
            at += self.advance(letter);
        }
        at
    }

    /// Draws the box for a missing character, from the top of the capitals at `y` to the baseline.
    fn draw_box(self, canvas: &mut Canvas, x: f32, y: f32) {
        let pen = (self.em / 14.0).round().max(1.0) as i32;
        let (left, right) =
            ((x + self.em * 0.06) as i32, (x + self.em * (MISSING_WIDTH - 0.06)) as i32);
        let (top, bottom) = (y as i32, (y + self.em * CAP_HEIGHT) as i32);
        for row in top..bottom {
            for column in left..right {
                let edge =
                    (column - left).min(right - 1 - column).min(row - top).min(bottom - 1 - row);
                if edge < pen {
                    canvas.blend(column, row, self.color, 1.0);
                }
            }
        }
    }

    /// Width of one character.
    fn advance(self, letter: char) -> f32 {
        let font = self.font().as_scaled(self.scale());
        match font.glyph_id(letter) {
            MISSING => self.em * MISSING_WIDTH,
            id => font.h_advance(id),
        }
    }

    /// Draws one line of text whose line box starts at `y`; returns the x coordinate of its end.
    pub(super) fn draw_line(self, canvas: &mut Canvas, x: u32, y: u32, text: &str) -> f32 {
        self.draw(canvas, x as f32, self.capitals_at(y), text)
    }

    /// Draws one line, right-aligned at `right`.
    pub(super) fn draw_line_to(self, canvas: &mut Canvas, right: f32, y: u32, text: &str) {
        self.draw(canvas, right - self.width(text), self.capitals_at(y), text);
    }

    /// Draws one line centered at a point.
    pub(super) fn draw_centered(self, canvas: &mut Canvas, x: f32, y: f32, text: &str) {
        let top = y - self.em * CAP_HEIGHT / 2.0;
        self.draw(canvas, x - self.width(text) / 2.0, top, text);
    }

    /// Top of the capitals in a line box that starts at `y`.
    fn capitals_at(self, y: u32) -> f32 {
        y as f32 + self.em * (LINE_HEIGHT - CAP_HEIGHT) / 2.0
    }

    /// As much of a text as fits into `width` pixels with "…" after it.
    fn elide(self, text: &str, width: u32) -> String {
        let room = width as f32 - self.width("…");
        let kept = &text[..self.fits(text, room)];
        format!("{}…", kept.trim_end())
    }

    /// Byte index up to which a word fits, at least one character.
    fn break_in(self, word: &str, width: u32) -> usize {
        let first = word.chars().next().map_or(0, char::len_utf8);
        self.fits(word, width as f32).max(first)
    }

    /// Byte index up to which a text is at most `room` pixels wide.
    fn fits(self, text: &str, room: f32) -> usize {
        let mut width = 0.0;
        let too_far = text.char_indices().find(|&(_, letter)| {
            width += self.advance(letter);
            width > room
        });
        too_far.map_or(text.len(), |(at, _)| at)
    }

    fn font(self) -> &'static FontRef<'static> {
        match self.weight {
            Weight::Regular => &REGULAR,
            Weight::SemiBold => &SEMI_BOLD,
        }
    }

    /// `ab_glyph` scales by ascent plus descent, not by the em.
    fn scale(self) -> PxScale {
        let font = self.font();
        let units = font.units_per_em().expect("the shipped font states its em");
        PxScale::from(self.em * font.height_unscaled() / units)
    }
}

/// A fraction 0..=1 as a percentage, with one decimal below 10 %.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 9.95 && percent > 0.0 {
        format!("{percent:.1}%")
    } else {
        format!("{percent:.0}%")
    }
}

//! Canvas: an image of fixed width that grows downwards, with the drawing primitives of contact sheets.

use std::ops::Range;

use image::{Rgb, RgbImage, imageops};

use crate::drawing::palette::mix;

#[derive(Debug)]
pub(super) struct Canvas {
    image: RgbImage,
    background: Rgb<u8>,
}

impl Canvas {
    pub(super) fn new(width: u32, height: u32, background: Rgb<u8>) -> Self {
        Self { image: RgbImage::from_pixel(width, height, background), background }
    }

    /// A canvas over an existing image.
    pub(super) fn over(image: RgbImage) -> Self {
        Self { image, background: Rgb([255; 3]) }
    }

    pub(super) fn size(&self) -> (u32, u32) {
        self.image.dimensions()
    }

    /// Crops or extends the canvas to this height.
    pub(super) fn set_height(&mut self, height: u32) {
        let width = self.image.width();
        let mut image = RgbImage::from_pixel(width, height, self.background);
        imageops::replace(&mut image, &self.image, 0, 0);
        self.image = image;
    }

    pub(super) fn into_image(self) -> RgbImage {
        self.image
    }

    /// Alpha-blends `color` over one pixel with a coverage of 0..=1; pixels outside the canvas are ignored.
    pub(super) fn blend(&mut self, x: i32, y: i32, color: Rgb<u8>, coverage: f32) {
        if x < 0 || y < 0 || coverage <= 0.0 {
            return;
        }
        if let Some(pixel) = self.image.get_pixel_mut_checked(x as u32, y as u32) {
            *pixel = mix(*pixel, color, coverage.min(1.0));
        }
    }

    pub(super) fn rectangle(&mut self, columns: Range<u32>, rows: Range<u32>, color: Rgb<u8>) {
        for y in rows {
            for x in columns.clone() {
                self.blend(x as i32, y as i32, color, 1.0);
            }
        }
    }

    /// Fills a rectangle with corners rounded by `radius` pixels.
    pub(super) fn plaque(
        &mut self,
        columns: Range<u32>,
        rows: Range<u32>,
        radius: f32,
        color: Rgb<u8>,
    ) {
        let corner = |at: u32, range: &Range<u32>| {
            let middle = at as f32 + 0.5;
            let (low, high) = (range.start as f32 + radius, range.end as f32 - radius);
            (low - middle).max(middle - high).max(0.0)
        };
        for y in rows.clone() {
            for x in columns.clone() {
                let distance = corner(x, &columns).hypot(corner(y, &rows));
                self.blend(x as i32, y as i32, color, radius + 0.5 - distance);
            }
        }
    }

    pub(super) fn paste(&mut self, image: &RgbImage, x: u32, y: u32) {
        imageops::replace(&mut self.image, image, i64::from(x), i64::from(y));
    }

    /// Pastes an image with a faint frame, so that the edge of a light image is visible.
    pub(super) fn paste_framed(&mut self, image: &RgbImage, x: u32, y: u32) {
        /// Opacity of the gray frame.
        const FRAME: f32 = 0.35;
        self.paste(image, x, y);
        let (width, height) = image.dimensions();
        for (column, row, _) in image.enumerate_pixels() {
            if column == 0 || row == 0 || column == width - 1 || row == height - 1 {
                self.blend((x + column) as i32, (y + row) as i32, Rgb([128; 3]), FRAME);
            }
        }
    }

    /// Draws the boundary of the region where `inside` holds, `thickness` pixels wide, with a `casing` on both sides
    /// that keeps it visible on any background.
    pub(super) fn contour(
        &mut self,
        inside: &dyn Fn(u32, u32) -> bool,
        thickness: f32,
        color: Rgb<u8>,
        casing: Rgb<u8>,
    ) {
        let (width, height) = self.size();
        let half = thickness / 2.0;
        let cased = half + (half * 0.75).max(0.75);
        let reach = cased.ceil() as i32;
        let mut distance = vec![f32::INFINITY; (width * height) as usize]; // to the nearest piece of the line
        let mut mark = |x: f32, y: f32| {
            let (left, top) = (x.floor() as i32, y.floor() as i32);
            for row in (top - reach).max(0)..=(top + reach).min(height as i32 - 1) {
                for column in (left - reach).max(0)..=(left + reach).min(width as i32 - 1) {
                    let to = (column as f32 + 0.5 - x).hypot(row as f32 + 0.5 - y);
                    let nearest = &mut distance[row as usize * width as usize + column as usize];
                    *nearest = nearest.min(to);
                }
            }
        };
        for y in 0..height {
            for x in 0..width {
                if x + 1 < width && inside(x, y) != inside(x + 1, y) {
                    mark(x as f32 + 1.0, y as f32 + 0.5);
                }
                if y + 1 < height && inside(x, y) != inside(x, y + 1) {
                    mark(x as f32 + 0.5, y as f32 + 1.0);
                }
            }
        }
        for (index, &to) in distance.iter().enumerate().filter(|(_, to)| to.is_finite()) {
            let (x, y) = (index as i32 % width as i32, index as i32 / width as i32);
            self.blend(x, y, casing, cased + 0.5 - to);
            self.blend(x, y, color, half + 0.5 - to);
        }
    }
}

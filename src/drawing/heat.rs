//! Heat maps of attention: one value a cell, drawn smoothly, alone or over the picture.

use image::{ImageBuffer, Luma, RgbImage, imageops, imageops::FilterType};

use crate::drawing::palette::{heat_color, mix};

/// One value for each cell of a grid, row by row.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    values: &'a [f32],
    grid: (u32, u32),
    /// How many times as wide and high as the picture the grid is, at least 1.
    covers: (f32, f32),
}

impl<'a> Field<'a> {
    /// `values` are width × height of `grid`, in any range; what is not finite counts as the least.
    ///
    /// # Panics
    /// If there are not width × height values, or none.
    pub fn new(values: &'a [f32], grid: (u32, u32)) -> Self {
        let cells = grid.0 as usize * grid.1 as usize;
        assert!(
            cells > 0 && values.len() == cells,
            "{} values for a grid of {grid:?}",
            values.len()
        );
        Self { values, grid, covers: (1.0, 1.0) }
    }

    /// The field of a grid that is so many times as wide and high as the picture in its upper left corner.
    #[must_use]
    pub fn covering(self, covers: (f32, f32)) -> Self {
        Self { covers, ..self }
    }

    /// The least and the greatest value; (0, 0) if none is finite.
    pub fn range(&self) -> (f32, f32) {
        let finite = || self.values.iter().copied().filter(|value| value.is_finite());
        let low = finite().fold(f32::INFINITY, f32::min);
        if low.is_finite() { (low, finite().fold(low, f32::max)) } else { (0.0, 0.0) }
    }

    /// (width, height) in cells.
    pub fn grid(&self) -> (u32, u32) {
        self.grid
    }

    /// The field over a picture of `size`, and what it covers beyond, with its range taken to 0..=1; all 0 where the field is flat.
    fn spread(&self, size: (u32, u32)) -> ImageBuffer<Luma<f32>, Vec<f32>> {
        let (low, high) = self.range();
        let unit = |value: f32| {
            if value.is_finite() && high > low { (value - low) / (high - low) } else { 0.0 }
        };
        let cells: Vec<f32> = self.values.iter().map(|&value| unit(value)).collect();
        let cells = ImageBuffer::from_raw(self.grid.0, self.grid.1, cells)
            .expect("the grid holds as many cells as values");
        let (width, height) = covered(size, self.covers);
        imageops::resize(&cells, width, height, FilterType::CatmullRom)
    }
}

/// So many times a size, in whole pixels and not below it.
pub(crate) fn covered(size: (u32, u32), times: (f32, f32)) -> (u32, u32) {
    let side = |it: u32, times: f32| ((it as f32 * times).round() as u32).max(it);
    (side(size.0, times.0), side(size.1, times.1))
}

/// Draws a field as colors at `size`, its least value black and its greatest light yellow, bicubic between cells.
pub fn heat_map(field: &Field, size: (u32, u32)) -> RgbImage {
    let spread = field.spread(size);
    RgbImage::from_fn(size.0, size.1, |x, y| heat_color(spread.get_pixel(x, y)[0]))
}

/// Draws a field over a greyed picture, at the picture's size; the lower the value, the more of the picture shows.
pub fn heat_overlay(field: &Field, picture: &RgbImage) -> RgbImage {
    /// Share of the color where the field is greatest.
    const OPAQUE: f32 = 0.85;
    let spread = field.spread(picture.dimensions());
    let grey = imageops::grayscale(picture);
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let (value, grey) = (spread.get_pixel(x, y)[0], grey.get_pixel(x, y)[0]);
        mix(image::Rgb([grey; 3]), heat_color(value), OPAQUE * value.sqrt())
    })
}

//! Heat maps of attention, alone or overlaid on the picture.

use image::{ImageBuffer, Luma, RgbImage, imageops, imageops::FilterType};

use crate::drawing::palette::{heat_color, mix};

/// A scalar field: one value per grid cell, in row-major order.
#[derive(Debug, Clone, Copy)]
pub struct ScalarField<'a> {
    values: &'a [f32],
    grid: (u32, u32),
    /// Size of the grid relative to the picture, at least 1: the model may see the picture with padding on the right
    /// and below.
    covers: (f32, f32),
}

impl<'a> ScalarField<'a> {
    /// `values` are width × height of `grid`, in any range; NaN and infinity count as the minimum.
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

    /// Sets how many times as wide and high as the picture the grid is; the picture is in its upper left corner.
    #[must_use]
    pub fn covering(self, covers: (f32, f32)) -> Self {
        Self { covers, ..self }
    }

    /// Minimum and maximum; (0, 0) if no value is finite.
    pub fn range(&self) -> (f32, f32) {
        let finite = || self.values.iter().copied().filter(|value| value.is_finite());
        let low = finite().fold(f32::INFINITY, f32::min);
        if low.is_finite() { (low, finite().fold(low, f32::max)) } else { (0.0, 0.0) }
    }

    /// (width, height) in cells.
    pub fn grid(&self) -> (u32, u32) {
        self.grid
    }

    /// The field interpolated over a picture of `size` and the padding that it covers, normalized to 0..=1; all 0 if
    /// the field is constant.
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

/// A size multiplied by `times`, rounded to whole pixels and at least the size itself.
pub(crate) fn covered(size: (u32, u32), times: (f32, f32)) -> (u32, u32) {
    let side = |it: u32, times: f32| ((it as f32 * times).round() as u32).max(it);
    (side(size.0, times.0), side(size.1, times.1))
}

/// Draws a field in colors at `size`, from black (minimum) to light yellow (maximum), with bicubic interpolation.
pub fn heat_map(field: &ScalarField, size: (u32, u32)) -> RgbImage {
    let spread = field.spread(size);
    RgbImage::from_fn(size.0, size.1, |x, y| heat_color(spread.get_pixel(x, y)[0]))
}

/// Overlays a field on the gray picture at the picture's size; the lower the value, the more transparent.
pub fn heat_overlay(field: &ScalarField, picture: &RgbImage) -> RgbImage {
    /// Opacity of the color at the maximum.
    const OPAQUE: f32 = 0.85;
    let spread = field.spread(picture.dimensions());
    let grey = imageops::grayscale(picture);
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let (value, grey) = (spread.get_pixel(x, y)[0], grey.get_pixel(x, y)[0]);
        mix(image::Rgb([grey; 3]), heat_color(value), OPAQUE * value.sqrt())
    })
}

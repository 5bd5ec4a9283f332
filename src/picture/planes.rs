//! Planes of numbers over a picture: box means, greatest values, and interpolation at another size.

use crate::picture::size::Size;

/// A number for each pixel.
#[derive(Debug, Clone)]
pub(super) struct Plane {
    size: Size,
    values: Vec<f32>,
}

impl Plane {
    /// One value a pixel, row by row.
    pub(super) fn new(size: Size, values: Vec<f32>) -> Self {
        assert_eq!(values.len() as u64, size.pixels(), "there is one value a pixel");
        Self { size, values }
    }

    /// Row by row.
    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Means over windows of `2 · radius + 1` a side, cropped at the picture's border.
    pub(super) fn blurred(&self, radius: usize) -> Self {
        Self { size: self.size, values: box_mean(&self.values, self.size, radius) }
    }

    /// The greatest value in each window of `2 · radius + 1` a side.
    pub(super) fn spread(&self, radius: usize) -> Self {
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let greatest = |values: &[f32], index: usize, stride: usize, at: usize, length: usize| {
            let window = at.saturating_sub(radius)..(at + radius + 1).min(length);
            let first = index - at * stride;
            window.map(|it| values[first + it * stride]).fold(f32::NEG_INFINITY, f32::max)
        };
        let along = |values: &[f32], stride: usize, length: usize| -> Vec<f32> {
            let at = |index: usize| index / stride % length;
            (0..values.len()).map(|it| greatest(values, it, stride, at(it), length)).collect()
        };
        let rows = along(&self.values, 1, width);
        Self { size: self.size, values: along(&rows, width, height) }
    }

    /// Each value, changed.
    pub(super) fn mapped(&self, of: impl Fn(f32) -> f32) -> Self {
        Self { size: self.size, values: self.values.iter().map(|&it| of(it)).collect() }
    }

    /// Each value with that of another plane of this size.
    pub(super) fn zipped(&self, other: &Self, of: impl Fn(f32, f32) -> f32) -> Self {
        let pairs = self.values.iter().zip(&other.values);
        Self { size: self.size, values: pairs.map(|(&one, &other)| of(one, other)).collect() }
    }

    /// The value between pixels.
    pub(super) fn at(&self, column: Between, row: Between) -> f32 {
        interpolated(&self.values, self.size.width, column, row)
    }
}

/// The two pixels of a smaller grid around the center of one of a larger grid, and the weight of the second.
pub(super) type Between = (usize, usize, f32);

/// A size whose longer side is at most `longest`, in proportion.
pub(super) fn shrunk_to(size: Size, longest: u32) -> Size {
    let side = size.width.max(size.height);
    if side <= longest {
        return size;
    }
    let scale = f64::from(longest) / f64::from(side);
    let shrunk = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
    Size::new(shrunk(size.width), shrunk(size.height))
}

/// [`Between`] of every column of a larger grid.
pub(super) fn columns(width: u32, small: u32) -> Vec<Between> {
    (0..width).map(|x| between(x, width, small)).collect()
}

/// Bilinear interpolation.
pub(super) fn interpolated(
    values: &[f32],
    width: u32,
    (left, right, along): Between,
    (top, bottom, down): Between,
) -> f32 {
    let row = |y: usize| {
        let (a, b) = (values[y * width as usize + left], values[y * width as usize + right]);
        a + (b - a) * along
    };
    let (a, b) = (row(top), row(bottom));
    a + (b - a) * down
}

/// Of one pixel, a row or a column.
pub(super) fn between(pixel: u32, pixels: u32, small: u32) -> Between {
    let place = (f64::from(pixel) + 0.5) * f64::from(small) / f64::from(pixels) - 0.5;
    let place = place.clamp(0.0, f64::from(small - 1));
    let first = place as usize;
    (first, (first + 1).min(small as usize - 1), (place - first as f64) as f32)
}

/// Means over windows of `2 · radius + 1` a side, cropped at the picture's border.
pub(super) fn box_mean(values: &[f32], size: Size, radius: usize) -> Vec<f32> {
    let (width, height) = (size.width as usize, size.height as usize);
    let mut rows = vec![0.0f32; values.len()];
    for y in 0..height {
        let row = &values[y * width..(y + 1) * width];
        slide(width, radius, |x| row[x], |x, mean| rows[y * width + x] = mean);
    }
    let mut out = vec![0.0f32; values.len()];
    for x in 0..width {
        slide(height, radius, |y| rows[y * width + x], |y, mean| out[y * width + x] = mean);
    }
    out
}

/// Moving average along a line.
fn slide(length: usize, radius: usize, at: impl Fn(usize) -> f32, mut put: impl FnMut(usize, f32)) {
    let mut sum: f64 = (0..radius.min(length)).map(|i| f64::from(at(i))).sum();
    for center in 0..length {
        if center + radius < length {
            sum += f64::from(at(center + radius));
        }
        if center > radius {
            sum -= f64::from(at(center - radius - 1));
        }
        let count = (center + radius + 1).min(length) - center.saturating_sub(radius);
        put(center, (sum / count as f64) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_cut_off_at_the_border() {
        let found = box_mean(&[1.0, 2.0, 6.0], Size::new(3, 1), 1);
        assert_eq!(found, [1.5, 3.0, 4.0]);
        assert_eq!(box_mean(&[1.0, 2.0, 6.0], Size::new(1, 3), 5), [3.0, 3.0, 3.0]);
    }

    #[test]
    fn the_greatest_value_of_a_window_spreads() {
        let mut values = vec![0.0; 15];
        values[7] = 3.0;
        let spread = Plane::new(Size::new(5, 3), values).spread(1);
        assert_eq!(spread.values()[..5], [0.0, 3.0, 3.0, 3.0, 0.0]);
        assert_eq!(spread.values().iter().filter(|&&it| it > 0.0).count(), 9);
    }
}

//! The part of a picture that a model sees, which may also reach beyond its right and lower edge.

use image::{ImageBuffer, Pixel, RgbImage};

use crate::picture::{mask::Mask, size::Size};

/// A rectangle in pixels of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Columns to its left.
    pub left: u32,
    /// Rows above it.
    pub top: u32,
    /// Its size; what is beyond the picture's edges repeats the last columns and rows.
    pub size: Size,
}

impl Frame {
    /// From the upper left corner.
    pub fn first(size: Size) -> Self {
        Self { left: 0, top: 0, size }
    }

    /// The middle of a picture, a pixel further to the upper left corner where it can't be (Pillow: `Image.crop`).
    pub fn middle(of: Size, size: Size) -> Self {
        let before = |of: u32, size: u32| of.saturating_sub(size) / 2;
        Self { left: before(of.width, size.width), top: before(of.height, size.height), size }
    }

    /// The same part of a picture that was resized.
    #[must_use]
    pub fn resized(self, from: Size, to: Size) -> Self {
        let along = |at: u32, from: u32, to: u32| {
            (f64::from(at) * f64::from(to) / f64::from(from)).round() as u32
        };
        let width = along(self.size.width, from.width, to.width);
        let height = along(self.size.height, from.height, to.height);
        Self {
            left: along(self.left, from.width, to.width),
            top: along(self.top, from.height, to.height),
            size: Size::new(width.max(1), height.max(1)),
        }
    }

    /// Cuts it out of a picture.
    pub fn cut<P: Pixel>(
        self,
        image: &ImageBuffer<P, Vec<P::Subpixel>>,
    ) -> ImageBuffer<P, Vec<P::Subpixel>> {
        let (right, bottom) = (image.width() - 1, image.height() - 1);
        let pixel = |x: u32, y: u32| {
            *image.get_pixel((x + self.left).min(right), (y + self.top).min(bottom))
        };
        ImageBuffer::from_fn(self.size.width, self.size.height, pixel)
    }

    /// A picture with this part replaced by another picture of the frame's size.
    pub fn put(self, part: &RgbImage, onto: &RgbImage) -> RgbImage {
        let inside = |x: u32, y: u32| {
            let (x, y) = (x.checked_sub(self.left)?, y.checked_sub(self.top)?);
            part.get_pixel_checked(x, y)
        };
        let pixel = |x, y| *inside(x, y).unwrap_or_else(|| onto.get_pixel(x, y));
        ImageBuffer::from_fn(onto.width(), onto.height(), pixel)
    }

    /// Cuts it out of a mask.
    pub fn cut_mask(self, mask: &Mask) -> Mask {
        let part = self.cut(mask.as_image());
        Mask::from_fn(self.size, |x, y| part.get_pixel(x, y).0[0] > 0)
    }

    /// A mask of a picture from one of this part; around it the part's edges go on.
    pub fn put_mask(self, part: &Mask, size: Size) -> Mask {
        let part = part.as_image();
        let (right, bottom) = (part.width() - 1, part.height() - 1);
        Mask::from_fn(size, |x, y| {
            let (x, y) = (x.saturating_sub(self.left), y.saturating_sub(self.top));
            part.get_pixel(x.min(right), y.min(bottom)).0[0] > 0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 7]))
    }

    #[test]
    fn what_is_cut_out_can_be_put_back() {
        let (all, size) = (picture(9, 7), Size::new(9, 7));
        let frame = Frame::middle(size, Size::new(4, 4));
        assert_eq!((frame.left, frame.top), (2, 1));
        let part = frame.cut(&all);
        assert_eq!(part.get_pixel(0, 0).0, [2, 1, 7]);
        assert_eq!(frame.put(&part, &all), all);
        let changed = frame.put(&RgbImage::new(4, 4), &all);
        assert_eq!(changed.get_pixel(1, 1), all.get_pixel(1, 1));
        assert_eq!(changed.get_pixel(2, 1).0, [0; 3]);
        assert_eq!(changed.get_pixel(6, 4), all.get_pixel(6, 4));

        // Beyond the edges the last columns and rows are repeated, and cut off again.
        let frame = Frame::first(Size::new(12, 8));
        assert_eq!(frame.cut(&all).get_pixel(11, 7).0, [8, 6, 7]);
        assert_eq!(frame.put(&frame.cut(&all), &all), all);
    }

    #[test]
    fn a_mask_of_a_part_goes_on_around_it() {
        let (size, frame) = (Size::new(9, 7), Frame { left: 2, top: 1, size: Size::new(4, 4) });
        let mask = Mask::from_fn(size, |x, _| x < 4);
        let part = frame.cut_mask(&mask);
        assert_eq!(part, Mask::from_fn(frame.size, |x, _| x < 2));
        assert_eq!(frame.put_mask(&part, size), mask);
    }

    #[test]
    fn a_part_of_a_resized_picture_is_the_same_part() {
        let frame = Frame { left: 4, top: 0, size: Size::new(16, 32) };
        let resized = frame.resized(Size::new(24, 32), Size::new(48, 65));
        assert_eq!(resized, Frame { left: 8, top: 0, size: Size::new(32, 65) });
    }
}

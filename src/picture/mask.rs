//! Edit masks: which pixels of a picture may change.

use image::{GrayImage, Luma};

use crate::picture::{
    Picture,
    boxes::PixelBox,
    distance,
    error::PictureError,
    note::Note,
    painted::{LIGHT, Reading},
    resample::{Filter, reframed, resize_gray},
    size::Size,
};

/// Maximum radius of dilation and feathering, in pixels.
pub const MAX_RADIUS: u32 = 512;

/// Tolerance on the aspect ratios of mask and picture, relative: one pixel of rounding on a side of fifty.
const ASPECT_TOLERANCE: f64 = 0.02;

/// A radius in pixels, at most [`MAX_RADIUS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Radius(u16);

impl Radius {
    /// A fraction (0 to 1) of the shorter side, rounded to whole pixels and clamped to [`MAX_RADIUS`].
    pub fn of_share(share: f64, size: Size) -> Self {
        let pixels = (share * f64::from(size.width.min(size.height))).round();
        Self((pixels as u32).min(MAX_RADIUS) as u16)
    }

    /// Half of it, rounded down.
    #[must_use]
    pub fn halved(self) -> Self {
        Self(self.0 / 2)
    }

    /// The radius in pixels.
    pub fn pixels(self) -> u32 {
        u32::from(self.0)
    }
}

impl TryFrom<u32> for Radius {
    type Error = PictureError;

    fn try_from(found: u32) -> Result<Radius, PictureError> {
        if found > MAX_RADIUS {
            return Err(PictureError::RadiusTooLarge { found, limit: MAX_RADIUS });
        }
        Ok(Radius(found as u16))
    }
}

/// A binary mask: 255 where the picture may change, 0 where it must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask(GrayImage);

impl Mask {
    /// The mask of the pixels (column, row) for which `is_edited` holds.
    pub fn from_fn(size: Size, is_edited: impl Fn(u32, u32) -> bool) -> Mask {
        let value = |x, y| Luma([if is_edited(x, y) { u8::MAX } else { 0 }]);
        Mask(GrayImage::from_fn(size.width, size.height, value))
    }

    /// The union of boxes, which must lie within `size`.
    pub fn from_boxes(size: Size, boxes: &[PixelBox]) -> Mask {
        Mask::from_fn(size, |x, y| {
            boxes.iter().any(|it| (it.x0..it.x1).contains(&x) && (it.y0..it.y1).contains(&y))
        })
    }

    /// Reads a painted mask for a picture of `size`.
    ///
    /// A mask of another size but the same aspect ratio, within 2 %, is resized (bilinear, then thresholded) with a
    /// note. `name` is the mask's name in errors.
    ///
    /// # Errors
    /// [`PictureError::MaskAspect`], [`PictureError::EmptyMask`], and the errors of [`Reading::levels`].
    pub fn from_picture(
        name: &str,
        painted: &Picture,
        reading: Reading,
        size: Size,
    ) -> Result<(Mask, Option<Note>), PictureError> {
        let found = painted.size();
        let aspect = |it: Size| f64::from(it.width) / f64::from(it.height);
        if (aspect(found) / aspect(size) - 1.0).abs() > ASPECT_TOLERANCE {
            return Err(PictureError::MaskAspect { name: name.to_owned(), found, expected: size });
        }
        let mut mask = reading.levels(name, painted)?;
        let mut note = None;
        if found != size {
            mask = resize_gray(&mask, size, Filter::Bilinear);
            note = Some(Note::MaskResized { from: found, to: size });
        }
        for value in mask.iter_mut() {
            *value = if *value >= LIGHT { u8::MAX } else { 0 };
        }
        let mask = Mask(mask);
        if mask.is_empty() {
            return Err(PictureError::EmptyMask { name: name.to_owned() });
        }
        Ok((mask, note))
    }

    /// Width and height in pixels.
    pub fn size(&self) -> Size {
        Size { width: self.0.width(), height: self.0.height() }
    }

    /// The mask as an image of 0 and 255.
    pub fn as_image(&self) -> &GrayImage {
        &self.0
    }

    /// Whether no pixel is selected.
    pub fn is_empty(&self) -> bool {
        self.0.as_raw().iter().all(|it| *it == 0)
    }

    /// Fraction of selected pixels, 0 to 1.
    pub fn area_share(&self) -> f64 {
        let edited = self.0.as_raw().iter().filter(|it| **it > 0).count();
        edited as f64 / self.size().pixels() as f64
    }

    /// The union of two masks.
    ///
    /// # Panics
    /// If the sizes differ.
    #[must_use]
    pub fn union(mut self, other: &Mask) -> Mask {
        assert_eq!(self.size(), other.size(), "masks of one picture have one size");
        for (here, there) in self.0.iter_mut().zip(other.0.iter()) {
            *here |= there;
        }
        self
    }

    /// The pixels of both masks.
    ///
    /// # Panics
    /// If the sizes differ.
    #[must_use]
    pub fn intersection(mut self, other: &Mask) -> Mask {
        assert_eq!(self.size(), other.size(), "masks of one picture have one size");
        for (here, there) in self.0.iter_mut().zip(other.0.iter()) {
            *here &= there;
        }
        self
    }

    /// Whether it holds a pixel.
    pub fn holds(&self, x: u32, y: u32) -> bool {
        self.0.get_pixel(x, y).0[0] > 0
    }

    /// The middle of its pixels, in shares of the picture's sides; that of the picture if it is empty.
    pub fn middle(&self) -> (f64, f64) {
        let held = self.0.enumerate_pixels().filter(|it| it.2.0[0] > 0);
        let (mut x, mut y, mut count) = (0.0, 0.0, 0.0);
        for (column, row, _) in held {
            x += f64::from(column) + 0.5;
            y += f64::from(row) + 0.5;
            count += 1.0;
        }
        if count == 0.0 {
            return (0.5, 0.5);
        }
        let size = self.size();
        (x / count / f64::from(size.width), y / count / f64::from(size.height))
    }

    /// The mask cropped or padded like a picture by [`reframed`].
    #[must_use]
    pub fn reframed(&self, size: Size) -> Mask {
        if self.size() == size { self.clone() } else { Mask(reframed(&self.0, size)) }
    }

    /// The complement.
    #[must_use]
    pub fn inverted(mut self) -> Mask {
        for value in self.0.iter_mut() {
            *value = !*value;
        }
        self
    }

    /// Dilation: all pixels whose centers lie within `radius` of the center of a selected pixel.
    #[must_use]
    pub fn dilated(self, radius: Radius) -> Mask {
        let size = self.size();
        let width = size.width as usize;
        let limit = u32::from(radius.0).pow(2);
        let mut out = Vec::with_capacity(size.pixels() as usize);
        let is_marked = |index: usize| self.0.as_raw()[index] > 0;
        distance::for_each_row(width, size.height as usize, radius.0, is_marked, |_, squares| {
            out.extend(squares.iter().map(|it| if *it <= limit { u8::MAX } else { 0 }));
        });
        Mask(gray(size, out))
    }

    /// Alpha of the edit per pixel, 0 to 255: 0 outside the mask, and inside 255 · min(1, `d / radius`), where `d` is
    /// the distance to the nearest pixel outside.
    ///
    /// The ramp lies entirely inside, so that no pixel outside the mask changes; the picture's border does not count as
    /// outside.
    pub fn feathered(&self, radius: Radius) -> GrayImage {
        let size = self.size();
        let width = size.width as usize;
        let reach = u32::from(radius.0).max(1);
        let ramp: Vec<u8> = (0..=(reach + 1).pow(2))
            .map(|square| (f64::from(square).sqrt() / f64::from(reach)).min(1.0))
            .map(|share| (share * 255.0).round() as u8)
            .collect();
        let mut out = Vec::with_capacity(size.pixels() as usize);
        let is_outside = |index: usize| self.0.as_raw()[index] == 0;
        distance::for_each_row(
            width,
            size.height as usize,
            reach as u16,
            is_outside,
            |_, squares| {
                out.extend(squares.iter().map(|it| ramp[*it as usize]));
            },
        );
        gray(size, out)
    }
}

fn gray(size: Size, values: Vec<u8>) -> GrayImage {
    GrayImage::from_raw(size.width, size.height, values).expect("there is one value a pixel")
}

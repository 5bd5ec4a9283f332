//! Picture sizes, and the size at which a model sees a picture: resized, or padded to a multiple of the model's stride.

use std::fmt;

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Size {
    /// The size of `width` columns and `height` rows.
    pub fn new(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    /// Width times height.
    pub fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Scales so that the longer side is `longer`, and rounds each side to the nearest multiple of `multiple`.
    ///
    /// Halves round up, and no side falls below one multiple. Both arguments are at least 1.
    #[must_use]
    pub fn fit(self, longer: u32, multiple: u32) -> Size {
        let from = u64::from(self.width.max(self.height));
        let step = from * u64::from(multiple);
        let side = |it: u32| {
            // round(it · longer / from / multiple), in whole numbers
            let multiples = (2 * u64::from(it) * u64::from(longer) + step) / (2 * step);
            multiples.max(1) as u32 * multiple
        };
        Size { width: side(self.width), height: side(self.height) }
    }

    /// The same proportions in at most so many pixels, each side rounded down (diffusers:
    /// `Flux2ImageProcessor._resize_to_target_area`).
    #[must_use]
    pub fn within(self, pixels: u64) -> Size {
        if self.pixels() <= pixels {
            return self;
        }
        let scale = (pixels as f64 / self.pixels() as f64).sqrt();
        let side = |it: u32| ((f64::from(it) * scale) as u32).max(1);
        Size { width: side(self.width), height: side(self.height) }
    }

    /// Rounds each side down to a multiple of `multiple`, at least one.
    #[must_use]
    pub fn cropped(self, multiple: u32) -> Size {
        let side = |it: u32| (it / multiple).max(1) * multiple;
        Size { width: side(self.width), height: side(self.height) }
    }

    /// Rounds each side up to a multiple of `multiple`.
    ///
    /// Differs: diffusers' `VaeImageProcessor` rounds down, and so loses up to `multiple - 1` columns and rows.
    #[must_use]
    pub fn native(self, multiple: u32) -> Size {
        let side = |it: u32| it.next_multiple_of(multiple);
        Size { width: side(self.width), height: side(self.height) }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

//! Pixel differences of two pictures within a region: mean, PSNR, share of changed pixels.

use image::RgbImage;

use crate::measures::region::Region;

/// A pixel counts as changed if any channel differs by more than this, in levels of 0..=255; rounding, JPEG or an
/// autoencoder usually stay below.
pub const CHANGED_ABOVE: u8 = 8;

/// The PSNR assigned to equal pictures, in dB, so that means exist; a single level of difference in a 512×512 picture
/// gives 102 dB.
pub const PSNR_OF_EQUAL: f64 = 100.0;

/// Difference of two pictures within a region, over its pixels and three channels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Mean absolute difference, in levels of 255.
    pub mean: f64,
    /// Mean squared difference, in levels².
    pub mean_square: f64,
    /// Greatest absolute difference of any channel, in levels.
    pub greatest: u8,
    /// Share of the pixels with a channel that differs by more than [`CHANGED_ABOVE`], 0 to 1.
    pub share: f64,
}

impl Change {
    /// Compares two pictures within a region; `None` if it holds no pixel.
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn within(region: &Region, one: &RgbImage, other: &RgbImage) -> Option<Self> {
        assert_eq!(one.dimensions(), other.dimensions(), "compared pictures have one size");
        assert_eq!(one.dimensions(), region.dimensions(), "a region has its picture's size");
        let (mut sum, mut squares, mut greatest, mut changed) = (0u64, 0u64, 0u8, 0usize);
        for ((a, b), inside) in one.pixels().zip(other.pixels()).zip(region.as_slice()) {
            if !inside {
                continue;
            }
            let differences: [u8; 3] =
                std::array::from_fn(|channel| a[channel].abs_diff(b[channel]));
            for difference in differences {
                sum += u64::from(difference);
                squares += u64::from(difference).pow(2);
            }
            let most = differences.into_iter().max().unwrap_or(0);
            greatest = greatest.max(most);
            changed += usize::from(most > CHANGED_ABOVE);
        }
        let count = region.count();
        let samples = (3 * count) as f64;
        (count > 0).then(|| Self {
            mean: sum as f64 / samples,
            mean_square: squares as f64 / samples,
            greatest,
            share: changed as f64 / count as f64,
        })
    }

    /// Peak signal-to-noise ratio in dB, 10 · log10(255² / mean square), at most [`PSNR_OF_EQUAL`].
    pub fn psnr(&self) -> f64 {
        (10.0 * (255.0f64.powi(2) / self.mean_square).log10()).min(PSNR_OF_EQUAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn only_the_region_counts() {
        let one = RgbImage::from_pixel(4, 4, Rgb([100, 100, 100]));
        let mut other = one.clone();
        other.put_pixel(0, 0, Rgb([100, 110, 90]));
        other.put_pixel(3, 3, Rgb([0, 0, 0]));
        let left = Region::from_fn(4, 4, |x, _| x < 2); // 8 pixels, one of them differs
        let change = Change::within(&left, &one, &other).unwrap();
        assert!((change.mean - 20.0 / 24.0).abs() < 1e-12);
        assert!((change.mean_square - 200.0 / 24.0).abs() < 1e-12);
        assert_eq!((change.greatest, change.share), (10, 0.125));
        // 10 · log10(65025 / 8.3333)
        assert!((change.psnr() - 38.922_616).abs() < 1e-5);
    }

    #[test]
    fn equal_pictures_differ_by_nothing() {
        let one = RgbImage::from_pixel(4, 4, Rgb([1, 2, 3]));
        let change = Change::within(&Region::all(4, 4), &one, &one).unwrap();
        assert_eq!(change, Change { mean: 0.0, mean_square: 0.0, greatest: 0, share: 0.0 });
        assert!((change.psnr() - PSNR_OF_EQUAL).abs() < f64::EPSILON);
    }

    #[test]
    fn an_empty_region_has_no_figures() {
        let one = RgbImage::new(2, 2);
        assert_eq!(Change::within(&Region::all(2, 2).complement(), &one, &one), None);
    }
}

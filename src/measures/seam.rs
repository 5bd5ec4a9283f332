//! How visible the border of an edited region is: the steps between the pixels on its two sides.

use image::RgbImage;

use crate::measures::region::Region;

/// Mean absolute difference, in levels, between neighbors of which one lies in the region and one does not; `None`
/// where the region has no border.
///
/// Neighbors share a side. An edit that fits its surroundings has steps like those of its source.
///
/// # Panics
/// If the sizes differ.
pub fn steps_across(region: &Region, image: &RgbImage) -> Option<f64> {
    assert_eq!(region.dimensions(), image.dimensions(), "a region has its picture's size");
    let (width, height) = region.dimensions();
    let (mut sum, mut count) = (0u64, 0u64);
    let mut step = |one: (u32, u32), other: (u32, u32)| {
        if region.contains(one.0, one.1) != region.contains(other.0, other.1) {
            let (one, other) = (image.get_pixel(one.0, one.1), image.get_pixel(other.0, other.1));
            sum += one.0.iter().zip(other.0).map(|(a, b)| u64::from(a.abs_diff(b))).sum::<u64>();
            count += 3;
        }
    };
    for y in 0..height {
        for x in 0..width {
            if x + 1 < width {
                step((x, y), (x + 1, y));
            }
            if y + 1 < height {
                step((x, y), (x, y + 1));
            }
        }
    }
    (count > 0).then(|| sum as f64 / count as f64)
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn only_steps_across_the_border_count() {
        // Two columns of a ramp in the region, whose step to the third is 30.
        let image = RgbImage::from_fn(4, 2, |x, _| Rgb([[0, 100, 130, 255][x as usize]; 3]));
        let region = Region::from_fn(4, 2, |x, _| x < 2);
        assert_eq!(steps_across(&region, &image), Some(30.0));
        assert_eq!(steps_across(&Region::all(4, 2), &image), None);
    }
}

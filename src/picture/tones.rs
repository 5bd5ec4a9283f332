//! The colors of some of a picture's pixels.

use image::{Pixel, Rgb, RgbImage};

use crate::picture::color_names::Lab;

/// The median color of some pixels, and those of their lighter and their darker half.
pub fn tones(picture: &RgbImage, holds: impl Fn(u32, u32) -> bool) -> Option<[Lab; 3]> {
    let pixels = picture.enumerate_pixels().filter(|it| holds(it.0, it.1));
    let mut colors: Vec<Rgb<u8>> = pixels.map(|it| *it.2).collect();
    colors.sort_by_key(|it| it.to_luma().0[0]);
    let (darker, lighter) = colors.split_at(colors.len() / 2);
    let of = |part: &[Rgb<u8>]| median_of(part.iter().copied()).map(Lab::of);
    let whole = of(&colors)?;
    Some([whole, of(lighter)?, of(darker).unwrap_or(whole)])
}

/// The median of each channel over some pixels.
pub fn median(picture: &RgbImage, holds: impl Fn(u32, u32) -> bool) -> Option<Rgb<u8>> {
    let pixels = picture.enumerate_pixels().filter(|it| holds(it.0, it.1));
    median_of(pixels.map(|it| *it.2))
}

/// The median of each channel; `None` of no color.
pub fn median_of(colors: impl Iterator<Item = Rgb<u8>>) -> Option<Rgb<u8>> {
    let mut channels = [vec![], vec![], vec![]];
    for color in colors {
        channels.iter_mut().zip(color.0).for_each(|(channel, value)| channel.push(value));
    }
    if channels[0].is_empty() {
        return None;
    }
    Some(Rgb(channels.map(|mut channel| {
        let middle = channel.len() / 2;
        *channel.select_nth_unstable(middle).1
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pixels_have_no_color() {
        let picture = RgbImage::new(4, 4);
        assert!(
            tones(&picture, |_, _| false).is_none() && median(&picture, |_, _| false).is_none()
        );
        assert_eq!(median(&picture, |x, _| x == 1), Some(Rgb([0; 3])));
    }
}

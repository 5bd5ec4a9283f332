//! Interpretation of a painted mask: from its colors and alpha to a level per pixel.

use image::{GrayImage, Rgb};

use crate::picture::{Picture, error::PictureError, size::Size};

/// Luma or alpha from which a pixel counts as light, or as present.
pub(super) const LIGHT: u8 = 128;

/// Distance from the paint's mean color, in levels of red − green or blue − green, from which a pixel has another
/// color.
const OTHER_COLOR: i32 = 48;

/// Percentage of the paint that may be dark or of another color, as resizing and compression leave at edges.
const STRAY_PERCENT: u64 = 2;

/// How a painted mask's pixels are interpreted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Light paint marks what may change; dark or transparent pixels stay.
    ///
    /// Without transparency the luma (ITU-R BT.601) alone decides. With it, the opaque pixels must be of one light
    /// color, since beside a picture or dark paint transparency could mean either.
    LightPaint,
    /// Transparent pixels may change, as in OpenAI's images API; opaque ones stay, whatever their color.
    Transparent,
}

impl Reading {
    /// Level per pixel, 0 to 255; pixels are edited from 128 on. `name` is the mask's name in errors.
    ///
    /// # Errors
    /// [`PictureError::TransparentMask`], [`PictureError::AmbiguousMask`], [`PictureError::OpaqueMask`].
    pub fn levels(self, name: &str, painted: &Picture) -> Result<GrayImage, PictureError> {
        match self {
            Reading::LightPaint => light_paint(name, painted),
            Reading::Transparent => transparent(name, painted),
        }
    }
}

fn light_paint(name: &str, painted: &Picture) -> Result<GrayImage, PictureError> {
    let size = painted.size();
    let lumas = painted.rgb.pixels().map(|it| luma(*it));
    let Some(alpha) = painted.alpha.as_ref().filter(|it| it.iter().any(|&it| it < LIGHT)) else {
        return Ok(gray(size, lumas.collect()));
    };
    let pixels = painted.rgb.pixels().zip(alpha.as_raw());
    let there = pixels.filter(|(_, alpha)| **alpha >= LIGHT).map(|(color, _)| *color);
    let there: Vec<Rgb<u8>> = there.collect();
    if there.is_empty() {
        return Err(PictureError::TransparentMask { name: name.to_owned() });
    }
    if !is_light_paint(&there) {
        return Err(PictureError::AmbiguousMask { name: name.to_owned() });
    }
    let over_black = |(luma, alpha): (u8, &u8)| (u32::from(luma) * u32::from(*alpha) / 255) as u8;
    Ok(gray(size, lumas.zip(alpha.as_raw()).map(over_black).collect()))
}

fn transparent(name: &str, painted: &Picture) -> Result<GrayImage, PictureError> {
    let is_clear = |alpha: &GrayImage| alpha.iter().any(|&it| u8::MAX - it >= LIGHT);
    let Some(alpha) = painted.alpha.as_ref().filter(|it| is_clear(it)) else {
        return Err(PictureError::OpaqueMask { name: name.to_owned() });
    };
    Ok(gray(painted.size(), alpha.iter().map(|it| u8::MAX - it).collect()))
}

/// Whether all opaque pixels, except a few strays, are light and of one color.
fn is_light_paint(there: &[Rgb<u8>]) -> bool {
    let count = there.len() as i64;
    let hue = |&Rgb([red, green, blue]): &Rgb<u8>| {
        [i32::from(red) - i32::from(green), i32::from(blue) - i32::from(green)]
    };
    let mean = [0, 1].map(|axis| {
        let sum: i64 = there.iter().map(|it| i64::from(hue(it)[axis])).sum();
        (sum / count) as i32
    });
    let is_other = |color: &Rgb<u8>| {
        let apart =
            hue(color).into_iter().zip(mean).any(|(it, mean)| (it - mean).abs() > OTHER_COLOR);
        apart || luma(*color) < LIGHT
    };
    let strays = there.iter().filter(|it| is_other(it)).count();
    strays as u64 * 100 <= there.len() as u64 * STRAY_PERCENT
}

/// Luma of a pixel, as by Pillow's `convert("L")`.
fn luma(pixel: Rgb<u8>) -> u8 {
    let [red, green, blue] = pixel.0.map(u32::from);
    ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16) as u8
}

fn gray(size: Size, values: Vec<u8>) -> GrayImage {
    GrayImage::from_raw(size.width, size.height, values).expect("there is one value a pixel")
}

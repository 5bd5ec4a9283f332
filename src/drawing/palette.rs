//! Colors: a color-blind-safe palette for clusters, and a perceptually uniform color map for heat maps.

use image::Rgb;

/// Number of distinct cluster colors.
pub const CLUSTER_COLORS: usize = 32;

/// Color of the outline around edit masks and selected clusters: vermilion of [`OKABE_ITO`].
pub const ACCENT: Rgb<u8> = OKABE_ITO[0];

/// Eight colors that are distinguishable under the common kinds of color blindness.
///
/// Source: M. Okabe, K. Ito, "Color Universal Design" (2008), figure 16; here black comes last.
pub const OKABE_ITO: [Rgb<u8>; 8] = [
    Rgb([0xD5, 0x5E, 0x00]), // vermilion
    Rgb([0x56, 0xB4, 0xE9]), // sky blue
    Rgb([0x00, 0x9E, 0x73]), // bluish green
    Rgb([0xF0, 0xE4, 0x42]), // yellow
    Rgb([0x00, 0x72, 0xB2]), // blue
    Rgb([0xE6, 0x9F, 0x00]), // orange
    Rgb([0xCC, 0x79, 0xA7]), // reddish purple
    Rgb([0x00, 0x00, 0x00]), // black
];

/// Seven hues of [`OKABE_ITO`] repeated once lighter and twice darker: white or black (255 or 0), and its share in the
/// mix. Of all shares in steps of 0.05 these maximize the smallest distance between any two of the 32 colors (CIE76 ≥
/// 12.9).
const LIGHTNESS_STEPS: [(u8, f32); 3] = [(255, 0.5), (0, 0.25), (0, 0.5)];

/// The last three colors.
const GREYS: [u8; 3] = [240, 170, 100];

/// Matplotlib's `inferno` (CC0) sampled at every 1/32: perceptually uniform, with increasing lightness.
#[expect(clippy::unreadable_literal, reason = "colors are read as RRGGBB")]
const INFERNO: [u32; 33] = [
    0x000004, 0x040312, 0x0B0724, 0x150B37, 0x210C4A, 0x2F0A5B, 0x3D0965, 0x4A0C6B, 0x57106E,
    0x64156E, 0x71196E, 0x7D1E6D, 0x8A226A, 0x972766, 0xA32C61, 0xB0315B, 0xBC3754, 0xC63D4D,
    0xD04545, 0xDA4E3C, 0xE35933, 0xEB6429, 0xF1711F, 0xF67E14, 0xF98C0A, 0xFB9B06, 0xFCAA0F,
    0xFBBA1F, 0xF9C932, 0xF5D949, 0xF2E865, 0xF3F586, 0xFCFFA4,
];

/// Background of a page.
pub(super) const PAPER: Rgb<u8> = Rgb([0xFC, 0xFC, 0xFA]);

/// Primary text, contrast 17:1 on [`PAPER`].
pub(super) const INK: Rgb<u8> = Rgb([0x1A, 0x1A, 0x1F]);

/// Labels and notes, contrast 6:1 on [`PAPER`].
pub(super) const MUTED: Rgb<u8> = Rgb([0x62, 0x62, 0x6B]);

/// Lines and empty bars.
pub(super) const HAIRLINE: Rgb<u8> = Rgb([0xDA, 0xDA, 0xDD]);

/// The color of the cluster with this number, from 1; colors repeat beyond [`CLUSTER_COLORS`].
///
/// # Panics
/// If `number` is 0.
pub fn cluster_color(number: usize) -> Rgb<u8> {
    assert!(number > 0, "clusters are numbered from 1");
    let hues = OKABE_ITO.len() - 1; // black has no hue
    match (number - 1) % CLUSTER_COLORS {
        first if first < OKABE_ITO.len() => OKABE_ITO[first],
        more => {
            let (step, hue) = ((more - OKABE_ITO.len()) / hues, (more - OKABE_ITO.len()) % hues);
            match LIGHTNESS_STEPS.get(step) {
                Some(&(toward, share)) => mix(OKABE_ITO[hue], Rgb([toward; 3]), share),
                None => Rgb([GREYS[hue]; 3]),
            }
        }
    }
}

/// The color of a value in 0..=1, from black over red to light yellow; values outside, and NaN, take the nearest end.
pub fn heat_color(value: f32) -> Rgb<u8> {
    let last = INFERNO.len() - 1;
    let position = value.clamp(0.0, 1.0) * last as f32; // `as usize` takes NaN to 0
    let below = (position as usize).min(last - 1);
    let share = if position.is_nan() { 0.0 } else { position - below as f32 };
    mix(rgb(INFERNO[below]), rgb(INFERNO[below + 1]), share)
}

/// Linear mix of two colors with `share` (0..=1) of `to`, per channel.
pub(super) fn mix(from: Rgb<u8>, to: Rgb<u8>, share: f32) -> Rgb<u8> {
    let channel = |i: usize| {
        let (from, to) = (f32::from(from[i]), f32::from(to[i]));
        (from + (to - from) * share).round().clamp(0.0, 255.0) as u8
    };
    Rgb([channel(0), channel(1), channel(2)])
}

/// Black or white, whichever has the higher contrast on `background`.
pub(super) fn ink_on(background: Rgb<u8>) -> Rgb<u8> {
    /// Luminance at which black and white have equal contrast: sqrt(1.05 · 0.05) − 0.05 (WCAG 2.1's contrast ratio).
    const EQUAL_CONTRAST: f32 = 0.179;
    Rgb([if luminance(background) > EQUAL_CONTRAST { 0 } else { 255 }; 3])
}

/// Relative luminance of an sRGB color in 0..=1 (WCAG 2.1).
pub(super) fn luminance(color: Rgb<u8>) -> f32 {
    let linear = |channel: u8| {
        let value = f32::from(channel) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * linear(color[0]) + 0.7152 * linear(color[1]) + 0.0722 * linear(color[2])
}

fn rgb(hex: u32) -> Rgb<u8> {
    let [_, red, green, blue] = hex.to_be_bytes();
    Rgb([red, green, blue])
}

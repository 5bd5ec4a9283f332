//! Cluster colors are distinguishable, also with color blindness.

use image::Rgb;
use retouch::drawing::palette::{CLUSTER_COLORS, OKABE_ITO, cluster_color, heat_color};

#[test]
fn any_two_cluster_colors_can_be_told_apart() {
    let colors: Vec<Rgb<u8>> = (1..=CLUSTER_COLORS).map(cluster_color).collect();
    let distance = nearest_pair(&colors, &SEEN_AS_IS);
    assert!(distance >= 12.9, "{distance}");
}

#[test]
fn first_eight_cluster_colors_stay_apart_for_the_color_blind() {
    for (name, matrix) in COLOR_BLINDNESS {
        // About 2 is just noticeable; side by side in a map, 8 is plain.
        let distance = nearest_pair(&OKABE_ITO, &matrix);
        assert!(distance >= 8.0, "{name}: {distance}");
    }
}

#[test]
fn heat_colors_grow_lighter_all_the_way() {
    let lightness: Vec<f64> =
        (0..=255).map(|i| lab(linear(heat_color(i as f32 / 255.0)))[0]).collect();
    // A color is rounded to whole levels, so two neighbors may fall together.
    assert!(lightness.windows(8).all(|run| run[7] > run[0]));
    assert!(lightness[0] < 1.0 && lightness[255] > 97.0);
    assert_eq!(heat_color(f32::NAN), heat_color(0.0));
    assert_eq!(heat_color(7.0), heat_color(1.0));
}

/// How linear RGB looks to an eye, row by row.
type Eye = [[f64; 3]; 3];

const SEEN_AS_IS: Eye = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// Full dichromacy: Machado, Oliveira, Fernandes, "A physiologically-based model for simulation of color vision
/// deficiency" (2009), severity 1.0.
const COLOR_BLINDNESS: [(&str, Eye); 3] = [
    (
        "protanopia",
        [
            [0.152_286, 1.052_583, -0.204_868],
            [0.114_503, 0.786_281, 0.099_216],
            [-0.003_882, -0.048_116, 1.051_998],
        ],
    ),
    (
        "deuteranopia",
        [
            [0.367_322, 0.860_646, -0.227_968],
            [0.280_085, 0.672_501, 0.047_413],
            [-0.011_820, 0.042_940, 0.968_881],
        ],
    ),
    (
        "tritanopia",
        [
            [1.255_528, -0.076_749, -0.178_779],
            [-0.078_411, 0.930_809, 0.147_602],
            [0.004_733, 0.691_367, 0.303_900],
        ],
    ),
];

/// The least CIE76 distance of two of these colors.
fn nearest_pair(colors: &[Rgb<u8>], eye: &Eye) -> f64 {
    let seen: Vec<[f64; 3]> = colors
        .iter()
        .map(|&color| {
            let light = linear(color);
            lab(eye.map(|row| (0..3).map(|i| row[i] * light[i]).sum::<f64>().clamp(0.0, 1.0)))
        })
        .collect();
    let mut least = f64::INFINITY;
    for (i, a) in seen.iter().enumerate() {
        for b in &seen[i + 1..] {
            let distance: f64 = (0..3).map(|k| (a[k] - b[k]).powi(2)).sum();
            least = least.min(distance.sqrt());
        }
    }
    least
}

fn linear(color: Rgb<u8>) -> [f64; 3] {
    color.0.map(|channel| match f64::from(channel) / 255.0 {
        low if low <= 0.04045 => low / 12.92,
        high => ((high + 0.055) / 1.055).powf(2.4),
    })
}

/// The relative luminance of WCAG 2.1, from 0 to 1.
pub(crate) fn luminance(color: Rgb<u8>) -> f64 {
    let [red, green, blue] = linear(color);
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

/// CIELAB of linear sRGB, white point D65.
fn lab([red, green, blue]: [f64; 3]) -> [f64; 3] {
    let curve = |t: f64| if t > 0.008_856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 };
    let x = curve((0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505);
    let y = curve(0.2126 * red + 0.7152 * green + 0.0722 * blue);
    let z = curve((0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089);
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

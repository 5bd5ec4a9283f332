//! Drawn pictures: the order of cluster numbers, maps, masks, differences.

use image::{GrayImage, Luma, Rgb, RgbImage};
use retouch::drawing::{
    clusters::{DrawnClusters, cluster_map, that_matter},
    difference::{Changed, difference},
    heat::{ScalarField, heat_map, heat_overlay},
    mask_overlay::{editable_share, mask_overlay},
    palette::{ACCENT, CLUSTER_COLORS, cluster_color, heat_color},
    scale::{evenly_chosen, fitted_size, preview},
};

use crate::palette::luminance;

// === clusters ===

#[test]
fn clusters_are_numbered_by_falling_score() {
    let scores = [0.2, 0.9, f32::NAN, 0.2, 0.5];
    let clusters = DrawnClusters::new(&[0, 1, 2, 3], (2, 2), &scores, &[false; 5]);
    assert_eq!(clusters.ranking(), [1, 4, 0, 3, 2]);
    assert_eq!(clusters.numbers(), [3, 1, 5, 4, 2]);
}

#[test]
fn clusters_matter_if_they_are_selected_or_score_a_tenth_of_the_best() {
    let clusters = [(0.5, true), (0.049, false), (0.06, false), (0.0, true), (f32::NAN, false)];
    assert_eq!(that_matter(&clusters), [0, 2, 3]);
    assert_eq!(that_matter(&[(0.0, false); 3]), [0; 0], "where none scores, none matters");
}

#[test]
fn cluster_map_paints_each_cell_in_the_color_of_its_number() {
    let labels: Vec<u8> = (0..64).map(|cell| cell % 8 / 4 * 2 + cell / 32).collect();
    let clusters = DrawnClusters::new(&labels, (8, 8), &[0.1, 0.4, 0.3, 0.2], &[false; 4]);
    let map = cluster_map(&clusters, (243, 161));
    assert_eq!(map.dimensions(), (243, 161));
    for (x, y, label) in [(0, 0, 0), (0, 160, 1), (242, 0, 2), (242, 160, 3)] {
        assert_eq!(*map.get_pixel(x, y), cluster_color(clusters.numbers()[label]));
    }
}

#[test]
fn number_stands_inside_the_largest_part_of_its_cluster() {
    // A ring around a disk, whose centroid is outside of it, and a far speck of the disk's label.
    let labels: Vec<u8> = (0..32 * 32)
        .map(|cell| {
            let (x, y) = (f64::from(cell % 32) - 15.5, f64::from(cell / 32) - 15.5);
            match x.hypot(y) {
                disk if disk < 5.0 => 0,
                ring if ring < 11.0 => 1,
                _ => {
                    if x < -15.0 && y < -15.0 {
                        0
                    } else {
                        2
                    }
                }
            }
        })
        .collect();
    let clusters = DrawnClusters::new(&labels, (32, 32), &[0.9, 0.5, 0.1], &[true, false, false]);
    for label in 0..3 {
        let (x, y, depth) = clusters.visual_center(label).unwrap();
        assert_eq!(usize::from(labels[y as usize * 32 + x as usize]), label);
        assert!(depth > 2.0, "cluster {label} has room for its number: {depth}");
    }
    let (x, y, _) = clusters.visual_center(0).unwrap();
    assert!((x - 16.0).abs() < 1.0 && (y - 16.0).abs() < 1.0, "the disk's middle, not ({x}, {y})");
}

#[test]
fn number_reads_on_every_cluster_color() {
    for number in 1..=CLUSTER_COLORS {
        // One cluster covers the map; as many empty ones score higher as it takes.
        let mut scores = vec![1.0; number];
        scores[0] = 0.0;
        let selected = vec![false; number];
        let clusters = DrawnClusters::new(&[0; 16], (4, 4), &scores, &selected);
        let map = cluster_map(&clusters, (120, 120));
        let ground = luminance(cluster_color(number));
        let best = map
            .pixels()
            .map(|&pixel| (luminance(pixel), ground))
            .map(|(a, b)| (a.max(b) + 0.05) / (a.min(b) + 0.05))
            .fold(0.0, f64::max);
        assert!(best >= 4.5, "number {number} has contrast {best}"); // WCAG 2.1, level AA
    }
}

#[test]
fn a_line_runs_around_selected_clusters_only() {
    let labels: Vec<u8> = (0..64).map(|cell| u8::from(cell % 8 >= 4)).collect();
    let seam = |selected: &[bool]| {
        let map =
            cluster_map(&DrawnClusters::new(&labels, (8, 8), &[0.1, 0.9], selected), (200, 200));
        *map.get_pixel(100, 20)
    };
    assert_eq!(seam(&[false, true]), Rgb([0; 3]));
    assert_eq!(seam(&[false, false]), cluster_color(1));
    assert_eq!(seam(&[true, true]), cluster_color(1));
}

// === heat ===

#[test]
fn heat_map_spans_black_to_light_whatever_the_range() {
    let mut values = vec![3.0; 15 * 15];
    values[7 * 15 + 7] = 3.001;
    let map = heat_map(&ScalarField::new(&values, (15, 15)), (150, 90));
    assert_eq!(map.dimensions(), (150, 90));
    assert_eq!(*map.get_pixel(0, 0), heat_color(0.0));
    assert!(luminance(*map.get_pixel(75, 45)) > 0.8);
}

#[test]
fn flat_or_broken_fields_are_black() {
    for values in [[0.5; 4], [f32::NAN; 4], [f32::INFINITY; 4]] {
        let map = heat_map(&ScalarField::new(&values, (2, 2)), (9, 9));
        assert!(map.pixels().all(|&pixel| pixel == heat_color(0.0)), "{values:?}");
    }
    assert_eq!(ScalarField::new(&[f32::NAN, 2.0, -1.0, f32::NAN], (4, 1)).range(), (-1.0, 2.0));
}

#[test]
fn heat_overlay_shows_the_greyed_picture_where_attention_is_least() {
    let picture = RgbImage::from_pixel(60, 40, Rgb([200, 30, 90]));
    let overlay = heat_overlay(&ScalarField::new(&[0.0, 0.0, 1.0], (3, 1)), &picture);
    let Rgb([red, green, blue]) = *overlay.get_pixel(2, 20);
    assert!(red == green && green == blue);
    let Rgb([red, _, blue]) = *overlay.get_pixel(58, 20);
    assert!(red > blue.saturating_add(50));
}

// === mask ===

#[test]
fn mask_overlay_keeps_colors_inside_and_greys_the_rest() {
    let picture = RgbImage::from_pixel(200, 100, Rgb([10, 120, 40]));
    let mask = GrayImage::from_fn(50, 25, |x, _| Luma([if x < 25 { 255 } else { 0 }]));
    let overlay = mask_overlay(&picture, &mask);
    assert_eq!(overlay.dimensions(), (200, 100));
    assert_eq!(*overlay.get_pixel(40, 50), Rgb([10, 120, 40]));
    let Rgb([red, green, blue]) = *overlay.get_pixel(170, 50);
    assert!(red == green && green == blue);
    assert!((95..105).any(|x| *overlay.get_pixel(x, 50) == ACCENT), "the line follows the edge");
    assert!((editable_share(&mask) - 0.5).abs() < 1e-9);
}

#[test]
fn mask_over_everything_leaves_the_picture_as_it_is() {
    let picture = gradient(64, 48);
    assert_eq!(mask_overlay(&picture, &GrayImage::from_pixel(64, 48, Luma([255]))), picture);
}

// === difference and scale ===

#[test]
fn difference_counts_the_pixels_that_changed_and_those_outside_the_mask() {
    let source = gradient(20, 10);
    let mask = GrayImage::from_fn(20, 10, |x, _| Luma([if x < 10 { 255 } else { 0 }]));
    let mut result = source.clone();
    result.get_pixel_mut(3, 4)[2] ^= 0x40;
    let inside = difference(&result, &source, Some(&mask));
    assert_eq!((inside.everywhere.pixels, inside.everywhere.of), (1, 200));
    assert!((inside.everywhere.mean - 64.0 / 600.0).abs() < 1e-9);
    assert_eq!(inside.outside, Some(Changed { pixels: 0, of: 100, mean: 0.0 }));

    result.get_pixel_mut(15, 4)[0] ^= 3;
    let beyond = difference(&result, &source, Some(&mask)).outside.unwrap();
    assert_eq!((beyond.pixels, beyond.of), (1, 100));
    assert!((beyond.mean - 3.0 / 300.0).abs() < 1e-9);
    // A mask over everything has no outside, and neither has an edit without one.
    let all = GrayImage::from_pixel(20, 10, Luma([255]));
    assert_eq!(difference(&result, &source, Some(&all)).outside, None);
    assert_eq!(difference(&result, &source, None).outside, None);
    assert_eq!(difference(&gradient(40, 20), &source, None).image.dimensions(), (20, 10));
}

#[test]
fn the_same_change_has_the_same_color_in_every_difference() {
    let source = RgbImage::from_pixel(8, 8, Rgb([100; 3]));
    let drawn = |levels: [u8; 3]| {
        let mut result = source.clone();
        for (x, level) in (0..).zip(levels) {
            result.get_pixel_mut(x, 0)[1] += level;
        }
        difference(&result, &source, None).image
    };
    let (small, large) = (drawn([16, 0, 0]), drawn([16, 64, 150]));
    assert_eq!(small.get_pixel(0, 0), large.get_pixel(0, 0));
    assert_eq!(*large.get_pixel(1, 0), heat_color(1.0));
    assert_eq!(*large.get_pixel(2, 0), heat_color(1.0));
    assert_eq!(*small.get_pixel(1, 0), heat_color(0.0));
}

#[test]
fn small_pictures_are_enlarged_crisp_and_large_ones_smooth() {
    let checks =
        |side: u32| RgbImage::from_fn(side, side, |x, y| Rgb([((x + y) % 2 * 255) as u8; 3]));
    let whole = preview(&checks(4), (40, 40));
    assert!(whole.enumerate_pixels().all(|(x, y, p)| p[0] == ((x / 10 + y / 10) % 2 * 255) as u8));
    let odd = preview(&checks(4), (43, 43));
    let grey = odd.pixels().filter(|p| !matches!(p[0], 0 | 255)).count();
    assert!(grey <= 43 * 6, "only the seams of the pixels may be mixed, not {grey} pixels");
    let smooth = preview(&checks(130), (260, 260));
    assert!(smooth.pixels().any(|p| (64..192).contains(&p[0])));
    let picture = gradient(70, 30);
    assert_eq!(preview(&picture, (70, 30)), picture);
}

#[test]
fn fitted_pictures_keep_their_proportions_and_their_bounds() {
    assert_eq!(fitted_size((64, 64), (398, 700)), (398, 398));
    assert_eq!(fitted_size((3000, 200), (398, 700)), (398, 27));
    assert_eq!(fitted_size((200, 3000), (398, 700)), (47, 700));
    assert_eq!(fitted_size((10000, 1), (300, 300)), (300, 1));
}

#[test]
fn frames_are_chosen_evenly_with_both_ends() {
    assert_eq!(evenly_chosen(20, 8), [0, 3, 5, 8, 11, 14, 16, 19]);
    assert_eq!(evenly_chosen(3, 8), [0, 1, 2]);
    assert_eq!(evenly_chosen(9, 1), [8]);
    assert!(evenly_chosen(0, 8).is_empty() && evenly_chosen(5, 0).is_empty());
}

// === support ===

/// Red from left to right, green from top to bottom.
pub(crate) fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 128])
    })
}

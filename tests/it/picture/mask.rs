//! Masks: thresholding, growing, and compositing.

use image::{GrayImage, Luma, Rgb, RgbImage};
use rand::{Rng, SeedableRng, rngs::StdRng};
use retouch::picture::{
    Picture,
    blend::{RoundTrip, blended},
    boxes::{BoxSpec, PixelBox},
    grid::{max_pool, upsample_nearest},
    mask::{MAX_RADIUS, Mask, Radius},
    note::Note,
    painted::Reading,
    size::Size,
};

use super::{fault, fixture, scene};

fn radius(pixels: u32) -> Radius {
    Radius::try_from(pixels).unwrap()
}

/// Masks from empty over sparse to full, of odd sizes.
fn masks() -> Vec<Mask> {
    let mut random = StdRng::seed_from_u64(20);
    let mut masks = Vec::new();
    for (width, height) in [(37, 23), (16, 50), (1, 9), (9, 1)] {
        for share in [0.0, 0.01, 0.3, 0.97, 1.0] {
            let bits: Vec<bool> = (0..width * height).map(|_| random.random_bool(share)).collect();
            let size = Size::new(width, height);
            masks.push(Mask::from_fn(size, |x, y| bits[(y * width + x) as usize]));
        }
    }
    masks
}

/// The distance to the nearest pixel of `value`, by looking at each.
fn distance(mask: &Mask, x: u32, y: u32, value: u8) -> f64 {
    let pixels = mask.as_image().enumerate_pixels();
    let squares = pixels.filter(|(_, _, it)| it.0[0] == value).map(|(other_x, other_y, _)| {
        f64::from(x.abs_diff(other_x)).powi(2) + f64::from(y.abs_diff(other_y)).powi(2)
    });
    squares.fold(f64::INFINITY, f64::min).sqrt()
}

#[test]
fn dilating_marks_what_lies_within_the_radius() {
    for mask in masks() {
        for pixels in [0, 1, 2, 5, 11, MAX_RADIUS] {
            let dilated = mask.clone().dilated(radius(pixels));
            for (x, y, value) in dilated.as_image().enumerate_pixels() {
                let within = distance(&mask, x, y, 255) <= f64::from(pixels);
                assert_eq!(value.0[0], if within { 255 } else { 0 }, "{x},{y} by {pixels}");
            }
        }
    }
}

#[test]
fn the_feather_ramps_inward_by_exact_distance() {
    for mask in masks() {
        for pixels in [0, 1, 2, 5, 11, MAX_RADIUS] {
            let alpha = mask.feathered(radius(pixels));
            for (x, y, value) in alpha.enumerate_pixels() {
                let share = distance(&mask, x, y, 0) / f64::from(pixels.max(1));
                let expected = (share.min(1.0) * 255.0).round() as u8;
                assert_eq!(value.0[0], expected, "{x},{y} by {pixels}");
            }
        }
    }
}

#[test]
fn radii_have_a_limit() {
    let expected = "a radius of 513 pixels is too large, use at most 512";
    assert_eq!(fault(Radius::try_from(MAX_RADIUS + 1)), expected);
}

#[test]
fn boxes_unite_invert_and_have_an_area() {
    let size = Size::new(100, 50);
    let resolve = |it: &str| it.parse::<BoxSpec>().unwrap().resolve(size).unwrap();
    let boxes: [PixelBox; 2] = ["0,0,20,50", "50%,0%,60%,50%"].map(resolve);
    let both = Mask::from_boxes(size, &boxes);
    let [left, right] = boxes.map(|it| Mask::from_boxes(size, &[it]));
    assert_eq!(left.union(&right), both);
    assert!((both.area_share() - 0.25).abs() < 1e-12);
    let pixel = |mask: &Mask, x, y| mask.as_image().get_pixel(x, y).0[0];
    for (x, y, value) in [(19, 49, 255), (20, 49, 0), (50, 24, 255), (50, 25, 0), (60, 0, 0)] {
        assert_eq!(pixel(&both, x, y), value, "{x},{y}");
    }
    let inverted = both.clone().inverted();
    assert!((inverted.area_share() - 0.75).abs() < 1e-12);
    assert!(both.clone().union(&inverted).inverted().is_empty());
    assert!(!both.is_empty());
}

fn painted(width: u32, height: u32, color: impl Fn(u32, u32) -> [u8; 3]) -> Picture {
    Picture::opaque(RgbImage::from_fn(width, height, |x, y| Rgb(color(x, y))))
}

#[test]
fn a_painted_mask_marks_the_light_pixels() {
    let levels = painted(256, 64, |x, _| [x as u8; 3]);
    let (mask, note) =
        Mask::from_picture("m.png", &levels, Reading::LightPaint, Size::new(256, 64)).unwrap();
    assert_eq!(note, None);
    for (x, _, value) in mask.as_image().enumerate_pixels() {
        assert_eq!(value.0[0], if x >= 128 { 255 } else { 0 });
    }
    // Pure green is lighter than half (150), pure red (76) and blue (29) are not.
    let colors = painted(30, 20, |x, _| [[255, 0, 0], [0, 255, 0], [0, 0, 255]][x as usize / 10]);
    let (mask, _) =
        Mask::from_picture("m.png", &colors, Reading::LightPaint, Size::new(30, 20)).unwrap();
    assert_eq!(mask, Mask::from_fn(Size::new(30, 20), |x, _| (10..20).contains(&x)));
}

#[test]
fn a_mask_of_the_same_aspect_is_resized_with_a_note() {
    let half = painted(64, 48, |x, _| [if x < 32 { 255 } else { 0 }; 3]);
    for size in [Size::new(640, 480), Size::new(32, 24), Size::new(641, 480), Size::new(650, 480)] {
        let (mask, note) = Mask::from_picture("m.png", &half, Reading::LightPaint, size).unwrap();
        assert_eq!(note, Some(Note::MaskResized { from: Size::new(64, 48), to: size }));
        assert_eq!(mask.size(), size);
        assert!((mask.area_share() - 0.5).abs() < 0.02, "{}", mask.area_share());
    }
}

#[test]
fn masks_that_mark_nothing_or_belong_elsewhere_are_errors() {
    let gray = |width, height, level: u8| painted(width, height, move |_, _| [level; 3]);
    let read = |mask: &Picture| {
        Mask::from_picture("m.png", mask, Reading::LightPaint, Size::new(640, 480))
    };
    let empty = "the mask m.png is empty, paint the area to edit white";
    assert_eq!(fault(read(&gray(640, 480, 0))), empty);
    assert_eq!(fault(read(&gray(64, 48, 127))), empty);
    for (width, height) in [(480, 640), (640, 640), (320, 250), (660, 480)] {
        let expected = format!(
            "the mask m.png is {width}x{height}, the picture 640x480, give a mask of the same aspect"
        );
        assert_eq!(fault(read(&gray(width, height, 255))), expected);
    }
}

#[test]
fn outside_the_mask_the_original_is_kept_bit_for_bit() {
    let (original, edited) = (scene(64, 48), RgbImage::from_pixel(64, 48, Rgb([200, 3, 77])));
    let mask = Mask::from_fn(Size::new(64, 48), |x, y| x.abs_diff(30) + y.abs_diff(20) < 15);
    let alpha = mask.feathered(radius(4));
    // Edited everywhere, so that nothing has a color of its own to go by.
    let trip = RoundTrip { edited: &edited, unedited: &RgbImage::new(64, 48), cell: 2.0 };
    let out = blended(trip, &original, &alpha);
    let mut between = 0;
    for (x, y, pixel) in out.enumerate_pixels() {
        match (mask.as_image().get_pixel(x, y).0[0], alpha.get_pixel(x, y).0[0]) {
            (0, alpha) => assert_eq!((alpha, pixel), (0, original.get_pixel(x, y))),
            (_, 255) => assert_eq!(pixel, edited.get_pixel(x, y)),
            (_, alpha) => {
                between += 1;
                let share = f64::from(alpha) / 255.0;
                let pair = original.get_pixel(x, y).0.into_iter().zip(edited.get_pixel(x, y).0);
                for (found, (from, to)) in pixel.0.into_iter().zip(pair) {
                    let exact = f64::from(from) * (1.0 - share) + f64::from(to) * share;
                    assert!((f64::from(found) - exact).abs() <= 0.5 + 1e-9);
                }
            }
        }
    }
    assert!(between > 50, "the ramp is seen");
}

#[test]
fn grids_follow_torchs_index_rules() {
    let recorded: serde_json::Value = serde_json::from_slice(&fixture("grids.json")).unwrap();
    let numbers = |it: &serde_json::Value| -> Vec<u32> {
        it.as_array().unwrap().iter().map(|it| it.as_u64().unwrap() as u32).collect()
    };
    let number = |it: &serde_json::Value| it.as_u64().unwrap() as u32;
    for case in recorded["nearest"].as_array().unwrap() {
        let (from, to) = (number(&case["from"]), number(&case["to"]));
        let expected = numbers(&case["index"]);
        let values: Vec<u32> = (0..from).collect();
        let rows = upsample_nearest(&values, Size::new(from, 1), Size::new(to, 1));
        let columns = upsample_nearest(&values, Size::new(1, from), Size::new(1, to));
        assert_eq!((&rows, &columns), (&expected, &expected), "{from} to {to}");
    }
    for case in recorded["pooled"].as_array().unwrap() {
        let size = Size::new(number(&case["width"]), number(&case["height"]));
        let bits = numbers(&case["mask"]);
        let mask = Mask::from_fn(size, |x, y| bits[(y * size.width + x) as usize] == 1);
        let pooled = max_pool(&mask, Size::new(number(&case["columns"]), number(&case["rows"])));
        let pooled: Vec<u32> = pooled.into_iter().map(|it| it as u32).collect();
        assert_eq!(pooled, numbers(&case["pooled"]), "{size}");
    }
}

#[test]
fn an_enlarged_grid_keeps_rows_and_columns_apart() {
    let grid = upsample_nearest(&['a', 'b', 'c', 'd', 'e', 'f'], Size::new(3, 2), Size::new(6, 4));
    assert_eq!(grid.iter().collect::<String>(), "aabbccaabbccddeeffddeeff");
}

#[test]
fn a_mask_is_saved_as_black_and_white() {
    let mask = Mask::from_fn(Size::new(3, 1), |x, _| x == 1);
    assert_eq!(*mask.as_image(), GrayImage::from_fn(3, 1, |x, _| Luma([u8::from(x == 1) * 255])));
}

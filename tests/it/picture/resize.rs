//! Working sizes, and resizing that equals Pillow's bit for bit.

use image::{GrayImage, RgbImage};
use retouch::picture::{
    resample::{Filter, resize_gray, resize_rgb},
    size::Size,
};

use super::{fixture, read};

fn rgb(name: &str) -> RgbImage {
    image::load_from_memory(&fixture(name)).unwrap().into_rgb8()
}

fn gray(name: &str) -> GrayImage {
    image::load_from_memory(&fixture(name)).unwrap().into_luma8()
}

#[test]
fn resized_pictures_equal_pillows_bit_for_bit() {
    let source = rgb("resize_source.png");
    let cases = [
        (Filter::Lanczos, "lanczos", &[(32, 24), (100, 80), (61, 20), (128, 47), (7, 5)][..]),
        (Filter::Bicubic, "bicubic", &[(32, 24), (100, 80)]),
        (Filter::Bilinear, "bilinear", &[(32, 24), (100, 80)]),
        (Filter::Box, "box", &[(32, 24), (100, 80)]),
    ];
    for (filter, name, sizes) in cases {
        for &(width, height) in sizes {
            let expected = rgb(&format!("resize_{name}_{width}x{height}.png"));
            let found = resize_rgb(&source, Size { width, height }, filter);
            let differing =
                found.as_raw().iter().zip(expected.as_raw()).filter(|(a, b)| a != b).count();
            assert_eq!(found.dimensions(), expected.dimensions());
            assert_eq!(differing, 0, "{name} to {width}x{height}: samples that differ");
        }
    }
    let found = resize_gray(&gray("resize_gray_source.png"), Size::new(32, 80), Filter::Bilinear);
    assert_eq!(found, gray("resize_gray_bilinear_32x80.png"));
}

#[test]
fn the_same_size_changes_nothing() {
    let picture = read(&fixture("picture.png")).unwrap().picture;
    assert_eq!(resize_rgb(&picture.rgb, picture.size(), Filter::Lanczos), *picture.rgb);
}

#[test]
fn fit_brings_the_longer_side_to_n_in_whole_multiples() {
    let cases = [
        ((512, 512), 512, 64, (512, 512)),
        ((4000, 3000), 512, 64, (512, 384)),
        ((3000, 4000), 512, 64, (384, 512)),
        ((1920, 1080), 512, 64, (512, 320)), // 288 is 4.5 multiples: a half rounds up
        ((1920, 1079), 512, 64, (512, 256)),
        ((160, 20), 64, 16, (64, 16)), // 8 pixels are half a multiple
        ((128, 16), 512, 64, (512, 64)),
        ((16, 128), 64, 32, (32, 64)), // never less than one multiple
        ((100, 100), 500, 64, (512, 512)),
    ];
    for ((width, height), longer, multiple, expected) in cases {
        let found = Size::new(width, height).fit(longer, multiple);
        assert_eq!((found.width, found.height), expected, "{width}x{height}");
    }
}

#[test]
fn native_raises_to_multiples() {
    for (from, multiple, to) in
        [((517, 300), 8, (520, 304)), ((16, 20), 32, (32, 32)), ((64, 48), 8, (64, 48))]
    {
        let found = Size::new(from.0, from.1).native(multiple);
        assert_eq!((found.width, found.height), to);
    }
}

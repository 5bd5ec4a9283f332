//! Painted masks with transparency: which pixels they mark, and ambiguous ones that are refused.

use std::{io::Cursor, sync::Arc};

use image::{
    DynamicImage, GrayAlphaImage, GrayImage, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba,
    RgbaImage,
};
use retouch::picture::{Picture, mask::Mask, painted::Reading, size::Size};

use super::{fault, fixture, read, scene};

const SIZE: Size = Size { width: 64, height: 64 };
const WHITE: [u8; 3] = [255; 3];
const BLACK: [u8; 3] = [0; 3];

/// Where the paint is: a rectangle of 15.2 % of the picture.
fn is_painted(x: u32, y: u32) -> bool {
    (4..30).contains(&x) && (8..32).contains(&y)
}

/// Paint of one color on ground of another that is transparent.
fn painted(paint: [u8; 3], ground: [u8; 3]) -> RgbaImage {
    RgbaImage::from_fn(64, 64, |x, y| {
        let ([r, g, b], alpha) = if is_painted(x, y) { (paint, 255) } else { (ground, 0) };
        Rgba([r, g, b, alpha])
    })
}

/// The mask that a file with this image means.
fn mask_of(image: impl Into<DynamicImage>, format: ImageFormat) -> Result<Mask, String> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    mask_in(&bytes.into_inner())
}

fn mask_in(file: &[u8]) -> Result<Mask, String> {
    let picture = read(file).unwrap().picture;
    let mask = Mask::from_picture("m.png", &picture, Reading::LightPaint, picture.size());
    match mask {
        Ok((mask, _)) => Ok(mask),
        refused => Err(fault(refused)),
    }
}

fn expected() -> Mask {
    Mask::from_fn(SIZE, is_painted)
}

#[test]
fn light_paint_marks_whatever_color_the_transparent_ground_has() {
    for paint in [WHITE, [200; 3], [255, 255, 0], [0, 255, 0]] {
        for ground in [WHITE, BLACK, [255, 0, 0], [90, 200, 17]] {
            for format in [ImageFormat::Png, ImageFormat::WebP] {
                let mask = mask_of(painted(paint, ground), format);
                assert_eq!(mask, Ok(expected()), "{paint:?} on {ground:?} as {format:?}");
            }
        }
    }
    assert!((expected().area_share() - 0.152).abs() < 0.001);
}

#[test]
fn an_opaque_masks_alpha_says_nothing() {
    for alpha in [255, 200, 128] {
        let image = RgbaImage::from_fn(64, 64, |x, y| {
            let [r, g, b] = if is_painted(x, y) { [230, 240, 250] } else { [9, 100, 30] };
            Rgba([r, g, b, alpha])
        });
        assert_eq!(mask_of(image, ImageFormat::Png), Ok(expected()), "{alpha}");
    }
}

#[test]
fn gray_with_alpha_and_palettes_are_read_in_the_same_way() {
    let both = GrayAlphaImage::from_fn(64, 64, |x, y| {
        LumaA(if is_painted(x, y) { [255, 255] } else { [0, 0] })
    });
    assert_eq!(mask_of(both, ImageFormat::Png), Ok(expected()));
    let alone = GrayAlphaImage::from_fn(64, 64, |x, y| {
        LumaA([255, if is_painted(x, y) { 255 } else { 0 }])
    });
    assert_eq!(mask_of(alone, ImageFormat::Png), Ok(expected()));

    // Two colors: white, and a transparent one that is white, too.
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 64, 64);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette([WHITE, WHITE].concat());
    encoder.set_trns([0, 255].as_slice());
    let indices: Vec<u8> = (0..64 * 64).map(|it| u8::from(is_painted(it % 64, it / 64))).collect();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&indices).unwrap();
    writer.finish().unwrap();
    assert_eq!(mask_in(&bytes), Ok(expected()));
}

#[test]
fn a_soft_edge_ends_where_it_is_half_there() {
    let image = RgbaImage::from_fn(64, 64, |x, _| Rgba([255, 255, 255, (x * 4) as u8]));
    let mask = mask_of(image, ImageFormat::Png).unwrap();
    assert_eq!(mask, Mask::from_fn(SIZE, |x, _| x >= 32));
}

#[test]
fn transparency_counts_when_a_mask_is_resized() {
    let small = image::imageops::resize(
        &painted(WHITE, WHITE),
        32,
        32,
        image::imageops::FilterType::Nearest,
    );
    let mut bytes = Cursor::new(Vec::new());
    small.write_to(&mut bytes, ImageFormat::Png).unwrap();
    let picture = read(bytes.get_ref()).unwrap().picture;
    let (mask, note) = Mask::from_picture("m.png", &picture, Reading::LightPaint, SIZE).unwrap();
    assert!(note.is_some());
    assert_eq!(mask, expected());
}

#[test]
fn what_may_mean_either_is_refused_with_its_remedy() {
    let ambiguous = "the mask m.png is ambiguous: it has both transparency and dark paint or a picture; \
                     give a mask without transparency, \
                     white = may change, or white paint alone on transparent ground";
    // A picture with a hole: a scene, and one that is light all over.
    let hole = |color: &dyn Fn(u32, u32) -> [u8; 3]| {
        RgbaImage::from_fn(64, 64, |x, y| {
            let [r, g, b] = color(x, y);
            Rgba([r, g, b, if is_painted(x, y) { 0 } else { 255 }])
        })
    };
    let colors = scene(64, 64);
    let pastel = |x: u32, y: u32| {
        [[255, 200, 200], [200, 255, 200], [220, 220, 255]][((x / 8 + y / 8) % 3) as usize]
    };
    let halves = RgbaImage::from_fn(64, 64, |x, y| match (is_painted(x, y), x < 10) {
        (true, true) => Rgba([0, 0, 0, 255]),
        (true, false) => Rgba([255; 4]),
        _ => Rgba([0; 4]),
    });
    let cases = [
        ("a picture with a hole", hole(&|x, y| colors.get_pixel(x, y).0)),
        ("a light picture with a hole", hole(&pastel)),
        ("black with a hole", hole(&|_, _| BLACK)),
        ("black paint", painted(BLACK, BLACK)),
        ("black paint on white", painted(BLACK, WHITE)),
        ("red paint", painted([255, 0, 0], WHITE)),
        ("black and white paint", halves),
    ];
    for (name, image) in cases {
        assert_eq!(mask_of(image, ImageFormat::Png), Err(ambiguous.to_owned()), "{name}");
    }
    let nothing = RgbaImage::from_pixel(64, 64, Rgba([255, 255, 255, 0]));
    let expected = "the mask m.png is fully transparent, paint the area to edit white";
    assert_eq!(mask_of(nothing, ImageFormat::Png), Err(expected.to_owned()));
}

#[test]
fn without_transparency_any_picture_is_a_mask_by_its_luma() {
    let image = RgbImage::from_fn(64, 64, |x, y| Rgb(if is_painted(x, y) { WHITE } else { BLACK }));
    assert_eq!(mask_of(image, ImageFormat::Png), Ok(expected()));
    let levels = GrayImage::from_fn(64, 64, |x, _| Luma([(x * 4) as u8]));
    let mask = mask_of(levels, ImageFormat::Png).unwrap();
    assert_eq!(mask, Mask::from_fn(SIZE, |x, _| x >= 32));
    let picture = read(&fixture("picture.png")).unwrap().picture;
    let opaque =
        Picture { alpha: Some(Arc::new(GrayImage::from_pixel(40, 30, Luma([255])))), ..picture };
    let read = |it: &Picture| Reading::LightPaint.levels("m.png", it).unwrap();
    assert_eq!(read(&opaque), read(&Picture { alpha: None, ..opaque.clone() }));
}

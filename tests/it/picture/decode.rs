//! Decoding of every supported kind of file, and of damaged files.

use std::io::Cursor;

use image::{
    ExtendedColorType, ImageEncoder,
    codecs::{jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder},
    metadata::Orientation,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use retouch::picture::{
    container::{parts, segment},
    decode::{InputLimits, decode, read_bytes},
    format::FileFormat,
    note::Note,
};

use super::{fault, fixture, read, scene};

fn png(width: u32, height: u32, color: ExtendedColorType, samples: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes).write_image(samples, width, height, color).unwrap();
    bytes
}

#[test]
fn content_tells_the_format_and_every_kind_becomes_rgb() {
    let expected = read(&fixture("picture.png")).unwrap().picture.rgb;
    let cases = [
        ("picture.png", FileFormat::Png, 0.0),
        ("palette.png", FileFormat::Png, 30.0),
        ("progressive.jpg", FileFormat::Jpeg, 8.0),
        ("lossy.webp", FileFormat::WebP, 8.0),
        ("animated.png", FileFormat::Png, 0.0),
        ("animated.webp", FileFormat::WebP, 0.0),
    ];
    for (name, format, tolerance) in cases {
        let decoded = read(&fixture(name)).unwrap();
        assert_eq!(decoded.format, format, "{name}");
        assert_eq!(decoded.picture.alpha, None, "{name}");
        let pairs = decoded.picture.rgb.as_raw().iter().zip(expected.as_raw());
        let sum: f64 = pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
        let mean = sum / expected.as_raw().len() as f64;
        assert!(mean <= tolerance, "{name}: {mean} levels off on average");
    }
}

#[test]
fn gray_pictures_have_three_equal_channels() {
    for name in ["gray.jpg", "one_bit.png"] {
        let decoded = read(&fixture(name)).unwrap();
        assert!(decoded.picture.rgb.pixels().all(|it| it.0[0] == it.0[1] && it.0[1] == it.0[2]));
        assert_eq!(decoded.notes, [], "{name}");
    }
}

#[test]
fn an_animation_gives_its_first_frame_and_a_note() {
    for name in ["animated.png", "animated.webp"] {
        assert_eq!(read(&fixture(name)).unwrap().notes, [Note::Animated], "{name}");
    }
}

#[test]
fn sixteen_bits_are_rounded_to_the_nearest_of_eight() {
    let levels: Vec<u16> = (0..256).map(|it| (it * 257) as u16).collect();
    let nearby = |offset: i32| -> Vec<u16> {
        levels.iter().map(|&it| (i32::from(it) + offset).clamp(0, 65_535) as u16).collect()
    };
    for offset in [-128, -127, 0, 127, 128] {
        let samples: Vec<u8> = nearby(offset).iter().flat_map(|it| it.to_ne_bytes()).collect();
        let decoded = read(&png(16, 16, ExtendedColorType::L16, &samples)).unwrap();
        assert_eq!(decoded.notes, [Note::SixteenBit]);
        let reds: Vec<u8> = decoded.picture.rgb.pixels().map(|it| it.0[0]).collect();
        assert_eq!(reds, (0..=255).collect::<Vec<u8>>(), "{offset}");
    }
}

#[test]
fn alpha_is_kept_apart_as_it_was() {
    let samples: Vec<u8> = (0..16 * 16 * 4).map(|it| (it * 7) as u8).collect();
    let decoded = read(&png(16, 16, ExtendedColorType::Rgba8, &samples)).unwrap();
    let alpha = decoded.picture.alpha.unwrap();
    for (index, pixel) in samples.chunks(4).enumerate() {
        assert_eq!(alpha.as_raw()[index], pixel[3]);
        assert_eq!(decoded.picture.rgb.as_raw()[index * 3..][..3], pixel[..3]);
    }
    for name in ["palette_transparent.png", "lossy_alpha.webp"] {
        assert!(read(&fixture(name)).unwrap().picture.is_transparent(), "{name}");
    }
}

/// An EXIF block whose only entry is the orientation, in either byte order.
fn exif(orientation: u8) -> Vec<u8> {
    if orientation.is_multiple_of(2) {
        let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
        exif
    } else {
        let mut exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
        exif.extend([0, orientation, 0, 0, 0, 0, 0, 0]);
        exif
    }
}

#[test]
fn exif_orientation_is_applied_in_each_format() {
    let stored = scene(32, 24);
    for number in 1..=8 {
        let mut expected = image::DynamicImage::ImageRgb8(stored.clone());
        expected.apply_orientation(Orientation::from_exif(number).unwrap());
        let (width, height) = (expected.width(), expected.height());
        assert_eq!((width, height), if number < 5 { (32, 24) } else { (24, 32) });

        let mut files = [Vec::new(), Vec::new(), Vec::new()];
        let [png, webp, jpeg] = &mut files;
        let mut encoder = PngEncoder::new(png);
        encoder.set_exif_metadata(exif(number)).unwrap();
        encoder.write_image(stored.as_raw(), 32, 24, ExtendedColorType::Rgb8).unwrap();
        let mut encoder = WebPEncoder::new_lossless(webp);
        encoder.set_exif_metadata(exif(number)).unwrap();
        encoder.write_image(stored.as_raw(), 32, 24, ExtendedColorType::Rgb8).unwrap();
        let mut encoder = JpegEncoder::new_with_quality(jpeg, 100);
        encoder.set_exif_metadata(exif(number)).unwrap();
        encoder.write_image(stored.as_raw(), 32, 24, ExtendedColorType::Rgb8).unwrap();

        for (index, bytes) in files.iter().enumerate() {
            let found = read(bytes).unwrap().picture.rgb;
            assert_eq!((found.width(), found.height()), (width, height), "{number}");
            if index < 2 {
                assert_eq!(found.as_raw(), expected.as_bytes(), "orientation {number}");
            }
        }
    }
}

#[test]
fn a_gray_profile_is_not_attached_to_rgb() {
    let mut profile = vec![0; 132];
    for (space, kept) in [(b"RGB ", true), (b"GRAY", false), (b"CMYK", false)] {
        profile[16..20].copy_from_slice(space);
        let mut bytes = Vec::new();
        let mut encoder = PngEncoder::new(&mut bytes);
        encoder.set_icc_profile(profile.clone()).unwrap();
        encoder.write_image(&[9; 256], 16, 16, ExtendedColorType::L8).unwrap();
        let decoded = read(&bytes).unwrap();
        assert_eq!(decoded.picture.icc.as_deref(), kept.then_some(profile.as_slice()));
        assert_eq!(decoded.notes.len(), usize::from(!kept));
    }
}

#[test]
fn whatever_is_cut_off_is_an_error() {
    let files = ["picture.png", "progressive.jpg", "gray.jpg", "lossy.webp", "lossy_alpha.webp"];
    for name in files {
        let bytes = fixture(name);
        for length in 12..bytes.len() {
            let message = fault(read(&bytes[..length]));
            assert!(message.starts_with("it is a truncated "), "{name} at {length}: {message}");
        }
    }
}

#[test]
fn bad_files_are_named_with_their_remedy() {
    let flat = |width: u32, height: u32| {
        let samples = vec![9; (width * height) as usize];
        png(width, height, ExtendedColorType::L8, &samples)
    };
    // A bomb: a header that promises 60000 by 60000 pixels, with its checksum, in front of a small image.
    let mut bomb = fixture("picture.png");
    bomb[16..24].copy_from_slice(&[0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60]);
    bomb[29..33].copy_from_slice(&0x0FB0_E215_u32.to_be_bytes());
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "it is empty, use a PNG, JPEG or WebP image"),
        (b"GIF89a".to_vec(), "it looks like a GIF image, use a PNG"),
        (b"%PDF-1.7".to_vec(), "it looks like a PDF document, use"),
        (b"II*\0....".to_vec(), "it looks like a TIFF or raw camera image, use"),
        (b"\0\0\0\x1cftypheic".to_vec(), "it looks like a HEIC image, use"),
        (b"hello\nworld".to_vec(), "it looks like text (\"hello\\nworld\"), use"),
        (b"\0\x01\x02".to_vec(), "it looks like unknown binary data (00 01 02), use"),
        (fixture("cmyk.jpg"), "it is a CMYK JPEG image, convert it to RGB first"),
        (flat(15, 40), "it is 15x40, each side must have at least 16 pixels, enlarge it"),
        (
            flat(129, 16),
            "it is 129x16, the longer side may be at most 8 times the shorter, crop it",
        ),
        (
            flat(16, 129),
            "it is 16x129, the longer side may be at most 8 times the shorter, crop it",
        ),
        (bomb, "it is 60000x60000, which exceeds the limit of 67108864 pixels, shrink it"),
    ];
    for (bytes, expected) in cases {
        let message = fault(read(&bytes));
        assert!(message.starts_with(expected), "{message}\n  instead of {expected}");
    }
    assert!(read(&flat(128, 16)).is_ok() && read(&flat(16, 16)).is_ok());
}

#[test]
fn a_jpeg_of_endless_scans_is_refused() {
    let bytes = fixture("progressive.jpg");
    let ends: Vec<_> = parts(FileFormat::Jpeg, &bytes).map(|it| it.unwrap()).collect();
    let [.., before, scan, _] = &ends[..] else { panic!("a scan comes before the end mark") };
    assert_eq!(scan.tag, segment::SOS);
    let again = bytes[before.end..scan.end].repeat(100);
    let bomb = [&bytes[..scan.end], &again, &bytes[scan.end..]].concat();
    let expected =
        "it is a JPEG image of more than 100 scans, open and save it again in an image editor";
    assert_eq!(fault(read(&bomb)), expected);
}

#[test]
fn a_profile_that_unfolds_without_end_is_not_unfolded() {
    let mut profile = vec![0; 65 << 20];
    profile[16..20].copy_from_slice(b"RGB ");
    let mut bytes = Vec::new();
    let mut encoder = PngEncoder::new(&mut bytes);
    encoder.set_icc_profile(profile).unwrap();
    encoder.write_image(&[9; 256], 16, 16, ExtendedColorType::L8).unwrap();
    assert!(bytes.len() < 1 << 20);
    assert_eq!(read(&bytes).map_or(None, |it| it.picture.icc), None);
}

#[test]
fn orientation_is_found_where_only_some_programs_put_it() {
    let stored = scene(32, 24);
    let upright = (24, 32);
    // WebP, with the header that belongs to JPEG in front of the EXIF data.
    let mut bytes = Vec::new();
    let mut encoder = WebPEncoder::new_lossless(&mut bytes);
    encoder.set_exif_metadata([b"Exif\0\0", &exif(6)[..]].concat()).unwrap();
    encoder.write_image(stored.as_raw(), 32, 24, ExtendedColorType::Rgb8).unwrap();
    assert_eq!(read(&bytes).unwrap().picture.rgb.dimensions(), upright);
    // PNG, behind the pixels: moved there from its place in front of them.
    let mut bytes = Vec::new();
    let mut encoder = PngEncoder::new(&mut bytes);
    encoder.set_exif_metadata(exif(6)).unwrap();
    encoder.write_image(stored.as_raw(), 32, 24, ExtendedColorType::Rgb8).unwrap();
    let end = bytes.len() - 12;
    let chunks: Vec<_> = parts(FileFormat::Png, &bytes).map(|it| it.unwrap()).collect();
    let index = chunks.iter().position(|it| it.tag == *b"eXIf").unwrap();
    let chunk = chunks[index - 1].end..chunks[index].end;
    let moved =
        [&bytes[..chunk.start], &bytes[chunk.end..end], &bytes[chunk], &bytes[end..]].concat();
    assert_eq!(read(&moved).unwrap().picture.rgb.dimensions(), upright);
}

#[test]
fn limits_hold_before_anything_is_decoded() {
    let bytes = fixture("picture.png");
    let limits = InputLimits { bytes: 1000, pixels: 40 * 30 };
    let expected = "it exceeds the limit of 1000 bytes, shrink or recompress it";
    assert_eq!(fault(decode("it", &bytes, limits)), expected);
    assert_eq!(fault(read_bytes("it", Cursor::new(&bytes), limits)), expected);
    let limits = InputLimits { bytes: bytes.len() as u64, pixels: 40 * 30 };
    assert_eq!(read_bytes("it", Cursor::new(&bytes), limits).unwrap(), bytes);
    assert!(decode("it", &bytes, limits).is_ok());
    let limits = InputLimits { pixels: 40 * 30 - 1, ..limits };
    assert!(fault(decode("it", &bytes, limits)).contains("the limit of 1199 pixels"));
}

#[test]
fn damaged_bytes_never_panic() {
    let mut random = StdRng::seed_from_u64(20);
    let names = ["picture.png", "palette.png", "progressive.jpg", "gray.jpg", "animated.png"];
    let more = ["lossy.webp", "lossy_alpha.webp", "animated.webp", "cmyk.jpg"];
    for name in names.into_iter().chain(more) {
        let whole = fixture(name);
        let mut refused = 0;
        for _ in 0..400 {
            let mut bytes = whole.clone();
            for _ in 0..random.random_range(1..8) {
                let at = random.random_range(0..bytes.len());
                bytes[at] = random.random();
            }
            // A small cap, so that a header that lies about its size costs no memory.
            let limits = InputLimits { bytes: 1 << 20, pixels: 1 << 16 };
            refused += usize::from(decode("it", &bytes, limits).is_err());
        }
        assert!(refused > 0, "{name}: no damage was noticed");
    }
}

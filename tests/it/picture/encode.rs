//! Pixels, alpha, ICC profile and settings survive writing and reading back.

use std::sync::Arc;

use image::{GrayImage, Luma};
use retouch::picture::{
    Picture,
    encode::{self, OutputFormat, Quality, Tags, check},
    error::PictureError,
    format::FileFormat,
    metadata::{Metadata, Policy},
    settings::read_settings,
};

use super::{fault, read, scene};

const SETTINGS: &str =
    r#"{"instruction":"turn the <red> hat & \"scarf\" into 帽子","steps":100,"seed":7}"#;

fn picture() -> Picture {
    let mut icc = vec![7; 3000];
    icc[16..20].copy_from_slice(b"RGB ");
    Picture {
        alpha: Some(Arc::new(GrayImage::from_fn(40, 30, |x, y| Luma([(x * y) as u8])))),
        icc: Some(icc.into()),
        ..Picture::opaque(scene(40, 30))
    }
}

/// Encodes with a record and nothing of an input's.
fn encode(picture: &Picture, format: OutputFormat, record: &str) -> Result<Vec<u8>, PictureError> {
    let tags = Tags { record, metadata: &Metadata::default(), policy: Policy::Keep };
    encode::encode(picture, format, &tags)
}

fn jpeg() -> OutputFormat {
    OutputFormat::new(FileFormat::Jpeg, None).unwrap()
}

#[test]
fn lossless_formats_give_back_every_bit() {
    for format in [OutputFormat::Png, OutputFormat::WebP] {
        for picture in [picture(), Picture { alpha: None, icc: None, ..picture() }] {
            let bytes = encode(&picture, format, SETTINGS).unwrap();
            let decoded = read(&bytes).unwrap();
            assert_eq!(decoded.picture, picture);
            assert_eq!(decoded.format, format.file_format());
            assert!(!format.is_lossy());
        }
    }
}

#[test]
fn jpeg_keeps_the_profile_and_comes_close() {
    let smooth =
        image::RgbImage::from_fn(64, 48, |x, y| image::Rgb([x as u8 * 3, y as u8 * 4, 90]));
    let picture = Picture { alpha: None, rgb: Arc::new(smooth), ..picture() };
    let decoded = read(&encode(&picture, jpeg(), SETTINGS).unwrap()).unwrap();
    assert_eq!(decoded.picture.icc, picture.icc);
    let pairs = decoded.picture.rgb.as_raw().iter().zip(picture.rgb.as_raw());
    let worst = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(worst <= 8, "{worst} levels off"); // quality 95 on a gradient; 60 would be twice as far off
}

#[test]
fn settings_come_back_from_every_format() {
    let picture = Picture { alpha: None, ..picture() };
    let texts = [SETTINGS, "", "{}", "&amp; \r\n\t &#13; </x>", &"é".repeat(10_000)];
    for format in [OutputFormat::Png, OutputFormat::WebP, jpeg()] {
        for settings in texts {
            let bytes = encode(&picture, format, settings).unwrap();
            assert_eq!(
                read_settings("it", &bytes).unwrap().as_deref(),
                Some(settings),
                "{format:?}"
            );
        }
    }
    assert_eq!(read_settings("it", &super::fixture("picture.png")).unwrap(), None);
    assert!(fault(read_settings("it", b"hello")).starts_with("it looks like text"));
    let bytes = encode(&picture, OutputFormat::Png, SETTINGS).unwrap();
    assert_eq!(
        fault(read_settings("it", &bytes[..40])),
        "it is a truncated PNG image, fetch or export it again"
    );
}

#[test]
fn jpeg_refuses_what_it_cannot_hold() {
    let expected = "the picture has transparent pixels, which JPEG cannot keep, write PNG or WebP";
    assert_eq!(fault(encode(&picture(), jpeg(), SETTINGS)), expected);
    let opaque = GrayImage::from_pixel(40, 30, Luma([255]));
    let picture = Picture { alpha: Some(Arc::new(opaque)), ..picture() };
    let bytes = encode(&picture, jpeg(), SETTINGS).unwrap();
    assert_eq!(read(&bytes).unwrap().picture.alpha, None);
    let message = fault(encode(&picture, jpeg(), &"x".repeat(70_000)));
    assert!(message.ends_with("a JPEG file, which takes at most 65504, write PNG"), "{message}");
}

#[test]
fn quality_is_for_lossy_formats_alone() {
    let quality = Quality::try_from(80).unwrap();
    assert_eq!(
        OutputFormat::new(FileFormat::Jpeg, Some(quality)).unwrap(),
        OutputFormat::Jpeg(quality)
    );
    for (format, name) in [(FileFormat::Png, "PNG"), (FileFormat::WebP, "WebP")] {
        let message = fault(OutputFormat::new(format, Some(quality)));
        assert!(message.starts_with(&format!("{name} output is lossless and takes no quality")));
    }
    for found in [0, 101, 256] {
        let message = fault(Quality::try_from(found));
        assert_eq!(message, format!("quality {found} is out of range, use 1 to 100"));
    }
    let sizes: Vec<usize> = [10, 50, 100]
        .map(|it| OutputFormat::Jpeg(Quality::try_from(it).unwrap()))
        .map(|it| encode(&Picture::opaque(scene(64, 64)), it, "").unwrap().len())
        .into();
    assert!(sizes.is_sorted() && sizes[0] < sizes[2], "{sizes:?}");
}

#[test]
fn extensions_name_formats() {
    let cases =
        [("a.png", FileFormat::Png), ("a.JPG", FileFormat::Jpeg), ("a.b.jpeg", FileFormat::Jpeg)];
    for (path, format) in cases.into_iter().chain([("x/a.webp", FileFormat::WebP)]) {
        assert_eq!(FileFormat::of_path(path.as_ref()).unwrap(), format);
    }
    for path in ["a.gif", "a", ".png", "a."] {
        let message = fault(FileFormat::of_path(path.as_ref()).map_err(Into::into));
        assert_eq!(
            message,
            format!("`{path}` has an unsupported extension, use .png, .jpg or .webp")
        );
    }
}

#[test]
fn what_a_format_cannot_hold_is_known_before_it_is_encoded() {
    let long = |side| Picture::opaque(scene(side, 1));
    assert!(check(&picture(), jpeg()).is_err(), "alpha");
    for (format, side) in [(OutputFormat::WebP, 16_384), (jpeg(), 65_535)] {
        check(&long(side), format).unwrap();
        encode(&long(side), format, SETTINGS).unwrap();
        assert!(check(&long(side + 1), format).is_err());
        assert!(encode(&long(side + 1), format, SETTINGS).is_err());
    }
    check(&long(65_536), OutputFormat::Png).unwrap();
}

//! Metadata of the file itself: color, resolution, provenance, signatures.

use std::sync::Arc;

use exif::Tag;
use retouch::picture::{
    Picture,
    container::{self, parts},
    format::FileFormat,
    metadata::Policy,
    note::Note,
    settings::read_settings,
};

use super::{
    FORMATS, RECORD, SOURCE_TYPE, Said, bodies, camera, edited, exif_of, file, property, shown,
    told, xmp,
};
use crate::picture::{read, scene};

#[test]
fn color_chunks_of_a_png_stay_bit_for_bit() {
    let primaries: Vec<u8> = [31_270_u32, 32_900, 68_000, 32_000, 26_500, 69_000, 15_000, 6_000]
        .iter()
        .flat_map(|it| it.to_be_bytes())
        .collect();
    let chunks = [
        (*b"gAMA", 100_000_u32.to_be_bytes().to_vec()),
        (*b"cHRM", primaries),
        (*b"cICP", vec![12, 13, 0, 1]),
        (*b"sRGB", vec![1]),
        (*b"mDCV", vec![7; 24]),
        (*b"cLLI", vec![9; 8]),
    ];
    for chunk in &chunks {
        let said = Said { more: vec![chunk.clone()], ..Said::default() };
        let input = read(&file(FileFormat::Png, &said)).unwrap();
        assert_eq!(input.notes, []);
        for policy in [Policy::Keep, Policy::Color] {
            let bytes = edited(&input, FileFormat::Png, policy);
            assert_eq!(bodies(&bytes, FileFormat::Png, chunk.0), [&chunk.1[..]]);
            assert_eq!(told(&input, FileFormat::Png, policy), "");
            let name = std::str::from_utf8(&chunk.0).unwrap();
            for format in [FileFormat::Jpeg, FileFormat::WebP] {
                let told = told(&input, format, policy);
                let is_told = told.contains(&format!("({name}), which {format} can't store"));
                assert_eq!(is_told, name != "sRGB", "{told}");
            }
        }
        let bytes = edited(&input, FileFormat::Png, Policy::Strip);
        assert!(bodies(&bytes, FileFormat::Png, chunk.0).is_empty());
        assert_eq!(told(&input, FileFormat::Jpeg, Policy::Strip), "");
    }
    let all = Said { more: chunks.to_vec(), ..Said::default() };
    let bytes = edited(&read(&file(FileFormat::Png, &all)).unwrap(), FileFormat::Png, Policy::Keep);
    let tags: Vec<[u8; 4]> = parts(FileFormat::Png, &bytes).map(|it| it.unwrap().tag).collect();
    let pixels = tags.iter().position(|it| it == b"IDAT").unwrap();
    assert!(chunks.iter().all(|(tag, _)| tags[..pixels].contains(tag)));
}

#[test]
fn what_says_no_more_than_srgb_is_no_loss() {
    let said =
        Said { more: vec![(*b"gAMA", 45_455_u32.to_be_bytes().to_vec())], ..Said::default() };
    let input = read(&file(FileFormat::Png, &said)).unwrap();
    assert_eq!(told(&input, FileFormat::Jpeg, Policy::Keep), "");
}

#[test]
fn high_dynamic_range_is_warned_of() {
    for (transfer, expected) in [(16, true), (18, true), (13, false)] {
        let said = Said { more: vec![(*b"cICP", vec![9, transfer, 0, 1])], ..Said::default() };
        let notes = read(&file(FileFormat::Png, &said)).unwrap().notes;
        assert_eq!(notes.contains(&Note::HighDynamicRange), expected, "{transfer}");
    }
}

#[test]
fn every_output_says_what_made_it_and_strip_says_nothing_else() {
    let said = Said { exif: Some(camera(true)), ..Said::default() };
    let mut icc = vec![7; 300];
    icc[16..20].copy_from_slice(b"RGB ");
    let mut input = read(&file(FileFormat::Png, &said)).unwrap();
    input.picture = Picture { icc: Some(icc.into()), ..input.picture };
    for format in FORMATS {
        for policy in [Policy::Keep, Policy::Color, Policy::Strip] {
            let bytes = edited(&input, format, policy);
            let packet = xmp(&bytes, format);
            let iptc = |name| {
                property(&packet, "http://iptc.org/std/Iptc4xmpExt/2008-02-29/", name).unwrap()
            };
            assert_eq!(iptc("DigitalSourceType"), SOURCE_TYPE);
            assert_eq!(iptc("AISystemUsed"), "retouch");
            assert_eq!(iptc("AISystemVersionUsed"), env!("CARGO_PKG_VERSION"));
            let kept = policy != Policy::Strip;
            let record = read_settings("it", &bytes).unwrap();
            assert_eq!(record.as_deref(), kept.then_some(RECORD), "{format} {policy:?}");
            assert_eq!(read(&bytes).unwrap().picture.icc.is_some(), kept);
            let text = String::from_utf8_lossy(&bytes);
            assert_eq!(text.contains("bee"), kept, "the prompt is in the record alone");
        }
    }
}

#[test]
fn the_resolution_survives_each_format() {
    let phys = |x: u32, y: u32, unit: u8| {
        (*b"pHYs", [&x.to_be_bytes()[..], &y.to_be_bytes(), &[unit]].concat())
    };
    let png = |chunk| file(FileFormat::Png, &Said { more: vec![chunk], ..Said::default() });
    // 300 and 150 dots an inch.
    let mut input = read(&png(phys(11_811, 5906, 1))).unwrap();
    for format in [FileFormat::Jpeg, FileFormat::WebP, FileFormat::Png] {
        let bytes = edited(&input, format, Policy::Keep);
        match format {
            FileFormat::Jpeg => {
                let [header] = &bodies(&bytes, format, container::segment::APP0)[..] else {
                    panic!()
                };
                assert_eq!(header[7..12], [1, 1, 44, 0, 150]);
            }
            FileFormat::WebP => {
                let fields = exif_of(&bytes);
                assert_eq!(shown(&fields, Tag::XResolution).unwrap(), "300");
                assert_eq!(shown(&fields, Tag::YResolution).unwrap(), "150");
            }
            FileFormat::Png => {
                assert_eq!(bodies(&bytes, format, *b"pHYs"), [phys(11_811, 5906, 1).1]);
            }
        }
        input = read(&bytes).unwrap();
        input.picture.rgb = Arc::new(scene(40, 24));
    }
    // A ratio alone.
    let input = read(&png(phys(3, 2, 0))).unwrap();
    let bytes = edited(&input, FileFormat::Jpeg, Policy::Keep);
    let [header] = &bodies(&bytes, FileFormat::Jpeg, container::segment::APP0)[..] else {
        panic!()
    };
    assert_eq!(header[7..12], [0, 0, 3, 0, 2]);
    let bytes = edited(&read(&bytes).unwrap(), FileFormat::Png, Policy::Keep);
    assert_eq!(bodies(&bytes, FileFormat::Png, *b"pHYs"), [phys(3, 2, 0).1]);
}

#[test]
fn content_credentials_are_dropped_and_told() {
    for (format, tag) in [
        (FileFormat::Png, *b"caBX"),
        (FileFormat::Jpeg, container::segment::APP11),
        (FileFormat::WebP, *b"C2PA"),
    ] {
        let manifest = b"JP\0\x01\0\0\0\x01jumbmanifest".to_vec();
        let said = Said { more: vec![(tag, manifest)], ..Said::default() };
        let input = read(&file(format, &said)).unwrap();
        for policy in [Policy::Keep, Policy::Color, Policy::Strip] {
            let bytes = edited(&input, format, policy);
            assert!(!bytes.windows(8).any(|it| it == b"manifest"));
            assert!(told(&input, format, policy).contains("C2PA"));
        }
    }
}

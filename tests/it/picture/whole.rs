//! Truncated image files are refused instead of being filled up silently.

use std::io::Cursor;

use image::{ExtendedColorType, ImageEncoder, ImageFormat, codecs::jpeg::JpegEncoder};
use retouch::picture::{
    container::{Part, parts, segment},
    error::PictureError,
    format::FileFormat,
    note::Note,
};

use super::{fault, fixture, read, scene};

const EOI: [u8; 2] = [0xFF, 0xD9];

fn baseline() -> Vec<u8> {
    let mut bytes = Vec::new();
    let picture = scene(120, 88);
    let encoder = JpegEncoder::new_with_quality(&mut bytes, 90);
    encoder.write_image(picture.as_raw(), 120, 88, ExtendedColorType::Rgb8).unwrap();
    bytes
}

fn parts_of(format: FileFormat, bytes: &[u8]) -> Vec<Part<'_>> {
    parts(format, bytes).map(|it| it.unwrap()).collect()
}

fn assert_incomplete(bytes: &[u8], what: &str) {
    let message = fault(read(bytes));
    assert!(
        message.starts_with("it is a JPEG image of which a part is missing"),
        "{what}: {message}"
    );
}

/// Files of every kind of coding that the tests have.
const JPEGS: [&str; 5] =
    ["progressive.jpg", "gray.jpg", "restarts.jpg", "progressive_restarts.jpg", "odd_sampling.jpg"];

#[test]
fn whole_files_are_taken_without_a_word() {
    for bytes in JPEGS.map(fixture).into_iter().chain([baseline()]) {
        assert_eq!(read(&bytes).unwrap().notes, []);
    }
}

#[test]
fn a_scan_that_ends_early_is_refused_wherever_it_does() {
    for bytes in JPEGS.map(fixture).into_iter().chain([baseline()]) {
        for (index, scan) in parts_of(FileFormat::Jpeg, &bytes).iter().enumerate() {
            if scan.tag != segment::SOS {
                continue;
            }
            let length = scan.coded.len();
            // The last bytes may be what fills up; some scans are a few bytes long.
            for kept in [0, length / 4, length / 2, length * 9 / 10, length.saturating_sub(3)] {
                let start = scan.end - length;
                let alone = [&bytes[..start + kept], &EOI].concat();
                assert_incomplete(&alone, &format!("part {index}, {kept} of {length}"));
                if kept < length.saturating_sub(2) {
                    let cut_out = [&bytes[..start + kept], &bytes[scan.end..]].concat();
                    assert_incomplete(
                        &cut_out,
                        &format!("part {index} cut out, {kept} of {length}"),
                    );
                }
            }
        }
    }
}

#[test]
fn a_progressive_file_needs_each_of_its_scans() {
    for name in ["progressive.jpg", "progressive_restarts.jpg"] {
        let bytes = fixture(name);
        let parts = parts_of(FileFormat::Jpeg, &bytes);
        let scans = parts.iter().filter(|it| it.tag == segment::SOS);
        let ends: Vec<usize> = scans.map(|it| it.end).collect();
        for (index, end) in ends[..ends.len() - 1].iter().enumerate() {
            assert_incomplete(&[&bytes[..*end], &EOI].concat(), &format!("{name}, {index} scans"));
        }
    }
}

#[test]
fn restart_markers_must_all_be_there_and_in_order() {
    for name in ["restarts.jpg", "progressive_restarts.jpg"] {
        let bytes = fixture(name);
        let parts = parts_of(FileFormat::Jpeg, &bytes);
        let scan = parts.iter().find(|it| it.tag == segment::SOS).unwrap();
        let start = scan.end - scan.coded.len();
        let is_restart = |pair: &[u8]| pair[0] == 0xFF && (0xD0..=0xD7).contains(&pair[1]);
        let marker = start + scan.coded.windows(2).position(is_restart).unwrap();
        let missing = [&bytes[..marker], &bytes[marker + 2..]].concat();
        assert_incomplete(&missing, "one is missing");
        let mut renumbered = bytes.clone();
        renumbered[marker + 1] = 0xD5;
        assert_incomplete(&renumbered, "one has another number");
        let Some(next) = scan.coded[marker + 2 - start..].windows(2).position(is_restart) else {
            continue;
        };
        let without = [&bytes[..marker], &bytes[marker + 2 + next..]].concat();
        assert_incomplete(&without, "an interval is missing");
    }
}

#[test]
fn fill_bytes_before_a_marker_are_no_data() {
    let bytes = fixture("restarts.jpg");
    let parts = parts_of(FileFormat::Jpeg, &bytes);
    let scan = parts.iter().find(|it| it.tag == segment::SOS).unwrap();
    let filled: Vec<u8> =
        scan.coded.chunk_by(|_, next| *next != 0xFF).fold(vec![], |mut all, it| {
            if it.len() > 1 && (0xD0..=0xD7).contains(&it[1]) {
                all.extend([0xFF; 3]);
            }
            all.extend(it);
            all
        });
    assert!(filled.len() > scan.coded.len());
    let start = scan.end - scan.coded.len();
    let padded = [&bytes[..start], &filled, &[0xFF; 2], &bytes[scan.end..]].concat();
    assert_eq!(read(&padded).unwrap().picture, read(&bytes).unwrap().picture);
}

#[test]
fn more_data_than_the_picture_takes_is_told() {
    let bytes = baseline();
    let parts = parts_of(FileFormat::Jpeg, &bytes);
    let scan = parts.iter().find(|it| it.tag == segment::SOS).unwrap();
    let more = [&bytes[..scan.end], &[0x5A; 200], &bytes[scan.end..]].concat();
    assert_eq!(read(&more).unwrap().notes, [Note::SurplusData]);
}

#[test]
fn a_height_that_comes_behind_the_picture_is_refused() {
    let mut bytes = baseline();
    let parts = parts_of(FileFormat::Jpeg, &bytes);
    let frame = parts.iter().find(|it| segment::is_frame(it.tag)).unwrap();
    let height = frame.end - frame.body.len() + 1;
    let scan = parts.iter().find(|it| it.tag == segment::SOS).unwrap().end;
    let dnl = [0xFF, 0xDC, 0, 4, bytes[height], bytes[height + 1]];
    bytes.splice(scan..scan, dnl);
    bytes[height..height + 2].fill(0);
    fault(read(&bytes));
}

/// A PNG file with its image data replaced by those that `change` makes of the compressed stream.
fn with_data(bytes: &[u8], change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut out = bytes[..8].to_vec();
    let mut data = Vec::new();
    let chunks = parts_of(FileFormat::Png, bytes);
    let put = |out: &mut Vec<u8>, tag: &[u8], body: &[u8]| {
        out.extend((body.len() as u32).to_be_bytes());
        out.extend(tag);
        out.extend(body);
        out.extend(crc([tag, body].concat()).to_be_bytes());
    };
    for chunk in chunks {
        match &chunk.tag {
            b"IDAT" => data.extend(chunk.body),
            b"IEND" => {
                put(&mut out, b"IDAT", &change(&data));
                put(&mut out, b"IEND", &[]);
            }
            tag => put(&mut out, tag, chunk.body),
        }
    }
    out
}

/// The checksum of PNG chunks (PNG, annex D).
fn crc(bytes: Vec<u8>) -> u32 {
    !bytes.into_iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |it, _| (it >> 1) ^ (0xEDB8_8320 * (it & 1)))
    })
}

#[test]
fn a_png_without_all_of_its_rows_is_refused() {
    for name in ["picture.png", "palette.png", "one_bit.png", "interlaced.png"] {
        let bytes = fixture(name);
        assert_eq!(with_data(&bytes, <[u8]>::to_vec).len(), {
            let whole = read(&with_data(&bytes, <[u8]>::to_vec)).unwrap();
            assert_eq!(whole.picture, read(&bytes).unwrap().picture);
            with_data(&bytes, <[u8]>::to_vec).len()
        });
        for tenths in 0..10 {
            let cut = with_data(&bytes, |data| data[..data.len() * tenths / 10].to_vec());
            assert!(read(&cut).is_err(), "{name}, {tenths} tenths");
        }
        let mut flipped = bytes.clone();
        let at = flipped.len() / 2;
        flipped[at] ^= 4;
        assert!(read(&flipped).is_err(), "{name}: a wrong checksum");
    }
}

/// A WebP file with its image chunk cut to a share of itself, and all lengths put right.
fn cut_webp(bytes: &[u8], tag: [u8; 4], tenths: usize) -> Vec<u8> {
    let mut out = bytes[..12].to_vec();
    for chunk in parts_of(FileFormat::WebP, bytes) {
        let kept = if chunk.tag == tag { chunk.body.len() * tenths / 10 } else { chunk.body.len() };
        out.extend(chunk.tag);
        out.extend((kept as u32).to_le_bytes());
        out.extend(&chunk.body[..kept]);
        out.extend(vec![0; kept % 2]);
    }
    let length = (out.len() as u32 - 8).to_le_bytes();
    out[4..8].copy_from_slice(&length);
    out
}

#[test]
fn a_webp_without_all_of_its_data_is_refused() {
    let mut lossless = Cursor::new(Vec::new());
    scene(120, 88).write_to(&mut lossless, ImageFormat::WebP).unwrap();
    let cases = [
        (lossless.into_inner(), *b"VP8L"),
        (fixture("lossy.webp"), *b"VP8 "),
        (fixture("lossy_alpha.webp"), *b"VP8 "),
        (fixture("lossy_alpha.webp"), *b"ALPH"),
        (fixture("animated.webp"), *b"ANMF"),
    ];
    for (bytes, tag) in cases {
        assert!(read(&cut_webp(&bytes, tag, 10)).is_ok());
        for tenths in 0..10 {
            let cut = cut_webp(&bytes, tag, tenths);
            assert!(read(&cut).is_err(), "{tag:?}, {tenths} tenths");
        }
    }
    let bytes = fixture("lossy.webp");
    let mut longer = bytes.clone();
    longer[4] = longer[4].wrapping_add(2);
    assert!(matches!(read(&longer), Err(PictureError::Truncated { .. })));
    let mut shorter = bytes;
    shorter[5] -= 1;
    assert!(read(&shorter).is_err());
}

//! Malformed and oversized metadata.

use rand::{Rng, SeedableRng, rngs::StdRng};
use retouch::picture::{
    encode::{Tags, encode},
    format::FileFormat,
    metadata::Policy,
    settings::read_settings,
};

use super::{FORMATS, PACKET, RDF, RECORD, Said, camera, edited, file, output, text, told};
use crate::picture::read;

#[test]
fn damaged_or_huge_metadata_is_dropped_with_a_note() {
    let nested = format!(
        "<x:xmpmeta xmlns:x='adobe:ns:meta/'><r:RDF xmlns:r='{RDF}'><r:Description xmlns:o='o'>{}{}\
         </r:Description></r:RDF></x:xmpmeta>",
        "<o:a>".repeat(5000),
        "</o:a>".repeat(5000),
    );
    let bomb = "<!DOCTYPE a [<!ENTITY b 'bbbbbbbb'><!ENTITY c '&b;&b;&b;'>]><a>&c;</a>".to_owned();
    let huge = format!("<a>{}</a>", "x".repeat(2 << 20));
    for (packet, word) in [
        ("<x:xmpmeta".to_owned(), "XMP, which is damaged"),
        (nested, "XMP, which is damaged"),
        (bomb, "XMP, which is damaged"),
        (huge, "XMP, which is too large"),
    ] {
        for format in [FileFormat::Png, FileFormat::WebP] {
            let said = Said { xmp: Some(packet.clone()), ..Said::default() };
            let input = read(&file(format, &said)).unwrap();
            let told = told(&input, format, Policy::Keep);
            // A text chunk has the same limit.
            assert!(told.contains(word) || told.contains("text, which is too large"), "{told}");
            assert_eq!(
                read_settings("it", &edited(&input, format, Policy::Keep)).unwrap().as_deref(),
                Some(RECORD)
            );
        }
    }
    // Entries that all point to the same bytes.
    let mut tiff = b"II*\0\x08\0\0\0".to_vec();
    let count = 3000_u16;
    tiff.extend(count.to_le_bytes());
    for index in 0..count {
        tiff.extend((0xC000 + index).to_le_bytes());
        tiff.extend(7_u16.to_le_bytes());
        tiff.extend(30_000_u32.to_le_bytes());
        tiff.extend(8_u32.to_le_bytes());
    }
    tiff.extend([0; 4]);
    for exif in [b"MM\0*".to_vec(), vec![], tiff, vec![0; 2 << 20]] {
        let input = read(&file(FileFormat::Png, &Said { exif: Some(exif), ..Said::default() }));
        let told = told(&input.unwrap(), FileFormat::Png, Policy::Keep);
        assert!(told.contains("EXIF, which is"), "{told}");
    }
    let long = text("Inventory", &"x".repeat(200 << 10));
    let said = Said { more: vec![long, (*b"zTXt", b"A\0\0zz".to_vec())], ..Said::default() };
    let told = told(&read(&file(FileFormat::Png, &said)).unwrap(), FileFormat::Png, Policy::Keep);
    assert!(told.contains("text, which is too large") && told.contains("text, which is damaged"));
}

#[test]
fn changed_bytes_of_metadata_never_panic() {
    let mut random = StdRng::seed_from_u64(20);
    for format in FORMATS {
        let said = Said {
            exif: Some(camera(true)),
            xmp: Some(PACKET.to_owned()),
            more: match format {
                FileFormat::Png => {
                    vec![text("Author", "Ada"), (*b"iTXt", b"A\0\0\0\0\0b".to_vec())]
                }
                FileFormat::Jpeg => vec![(
                    [0xFF, 0xED, 0, 0],
                    b"Photoshop 3.0\08BIM\x04\x04\0\0\0\0\0\x08\x1C\x02\x50\0\x03Ada".to_vec(),
                )],
                FileFormat::WebP => vec![],
            },
        };
        let whole = file(format, &said);
        let mut read_well = 0;
        for _ in 0..400 {
            let mut bytes = whole.clone();
            for _ in 0..random.random_range(1..6) {
                let at = random.random_range(0..bytes.len());
                bytes[at] = random.random();
            }
            let Ok(input) = read(&bytes) else { continue };
            read_well += 1;
            for to in FORMATS {
                let tags = Tags { record: RECORD, metadata: &input.metadata, policy: Policy::Keep };
                let bytes = encode(&input.picture, output(to), &tags).unwrap();
                assert!(read(&bytes).is_ok());
                input.metadata.notes(Policy::Keep, to);
            }
        }
        assert!(read_well > 20, "{format}: {read_well}");
    }
}

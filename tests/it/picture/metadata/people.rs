//! Metadata from people and cameras: EXIF, XMP, IPTC, text chunks.

use exif::{Context, In, Tag};
use retouch::picture::{
    container,
    encode::{Tags, encode},
    format::FileFormat,
    metadata::Policy,
    settings::read_settings,
};

use super::{
    DC, FORMATS, PACKET, RECORD, SOURCE_TYPE, Said, bodies, camera, edited, exif_of, file, output,
    property, shown, text, told, xmp,
};
use crate::picture::read;

#[test]
fn exif_is_kept_between_all_formats_less_what_an_edit_makes_untrue() {
    for (from, to) in FORMATS.into_iter().flat_map(|from| FORMATS.map(|to| (from, to))) {
        for little_endian in [true, false] {
            let exif = Some(camera(little_endian));
            let input = read(&file(from, &Said { exif, ..Said::default() })).unwrap();
            assert_eq!(input.picture.rgb.dimensions(), (24, 40), "turned upright");
            let bytes = edited(&input, to, Policy::Keep);
            let fields = exif_of(&bytes);
            let tag = |it| shown(&fields, it);
            assert_eq!(tag(Tag::Artist).unwrap(), "\"Ada Lovelace\"", "{from} to {to}");
            assert_eq!(tag(Tag::Copyright).unwrap(), "\"(c) 2024 Ada\"");
            assert_eq!(tag(Tag::DateTime).unwrap(), "2024-05-01 10:20:30");
            assert_eq!(tag(Tag::DateTimeOriginal).unwrap(), "2024-04-30 09:00:00");
            assert_eq!(tag(Tag::FNumber).unwrap(), "4");
            let value = |it| fields.iter().find(|field| field.tag == it).unwrap().value.get_uint(0);
            assert_eq!(value(Tag::Orientation), Some(1));
            let sides = [Tag::ImageWidth, Tag::PixelXDimension, Tag::PixelYDimension].map(value);
            assert_eq!(sides, [24, 24, 40].map(Some));
            assert_eq!(tag(Tag::XResolution).unwrap(), "200", "it turned with the picture");
            assert!(fields.iter().all(|it| it.ifd_num == In::PRIMARY), "no thumbnail");
            assert!(fields.iter().all(|it| it.tag.context() != Context::Gps), "no position");
            assert_eq!(tag(Tag::MakerNote), None);
            assert!(!bytes.windows(9).any(|it| it == b"thumbnail"));
            // Read again, it stays upright.
            assert_eq!(read(&bytes).unwrap().picture.rgb.dimensions(), (24, 40));
            let told = told(&input, to, Policy::Keep);
            for part in ["GPS", "thumbnail", "maker's notes"] {
                assert!(told.contains(part), "{told}");
            }
            for policy in [Policy::Color, Policy::Strip] {
                let bytes = edited(&input, to, policy);
                assert!(exif_of(&bytes).is_empty(), "{policy:?}");
                assert!(!bytes.windows(8).any(|it| it == b"Lovelace"));
                assert_eq!(self::told(&input, to, policy), "");
            }
        }
    }
}

#[test]
fn xmp_is_merged_into_that_of_the_output() {
    for (from, to) in FORMATS.into_iter().flat_map(|from| FORMATS.map(|to| (from, to))) {
        let input =
            read(&file(from, &Said { xmp: Some(PACKET.to_owned()), ..Said::default() })).unwrap();
        let bytes = edited(&input, to, Policy::Keep);
        let packet = xmp(&bytes, to);
        let get = |namespace: &str, name: &str| property(&packet, namespace, name);
        let own = "http://example.com/own/";
        assert_eq!(get(DC, "rights").unwrap(), "(c) Ada & Bob <them>", "{from} to {to}");
        assert_eq!(get(DC, "creator").unwrap(), "AdaBob");
        assert_eq!(get("http://ns.adobe.com/photoshop/1.0/", "DateCreated").unwrap(), "2024-05-01");
        assert_eq!(get("http://ns.adobe.com/tiff/1.0/", "Make").unwrap(), "Maker");
        assert_eq!(get("http://ns.adobe.com/xap/1.0/", "CreatorTool").unwrap(), "Other 1.0");
        assert_eq!(get(own, "number").unwrap(), "7");
        assert!(get(own, "nested").unwrap().contains("deep"));
        for (namespace, name) in [
            ("http://ns.adobe.com/tiff/1.0/", "Orientation"),
            ("http://ns.adobe.com/exif/1.0/", "GPSLatitude"),
            ("http://ns.adobe.com/exif/1.0/", "PixelXDimension"),
            ("http://ns.adobe.com/xap/1.0/", "Thumbnails"),
            (own, "made"),
        ] {
            assert_eq!(get(namespace, name), None, "{name}");
        }
        let source = get("http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "DigitalSourceType");
        assert_eq!(source.unwrap(), SOURCE_TYPE);
        assert_eq!(read_settings("it", &bytes).unwrap().as_deref(), Some(RECORD));
        let told = told(&input, to, Policy::Keep);
        for part in ["GPS", "thumbnail", "another program's prompt"] {
            assert!(told.contains(part), "{told}");
        }
    }
}

#[test]
fn an_edit_of_an_edit_holds_one_record() {
    for (first, second) in FORMATS.into_iter().flat_map(|from| FORMATS.map(|to| (from, to))) {
        let input =
            read(&file(first, &Said { xmp: Some(PACKET.to_owned()), ..Said::default() })).unwrap();
        let tags = Tags { record: "{\"old\":1}", metadata: &input.metadata, policy: Policy::Keep };
        let once = read(&encode(&input.picture, output(first), &tags).unwrap()).unwrap();
        let twice = edited(&once, second, Policy::Keep);
        assert_eq!(read_settings("it", &twice).unwrap().as_deref(), Some(RECORD));
        assert!(!String::from_utf8_lossy(&twice).contains("old"), "{first} to {second}");
        assert_eq!(property(&xmp(&twice, second), DC, "creator").unwrap(), "AdaBob");
    }
}

#[test]
fn texts_of_a_png_are_kept_under_the_names_of_the_format() {
    let said = Said {
        more: vec![
            text("Copyright", "2024 Ada & Co"),
            text("Author", "Ada"),
            text("Creation Time", "Sun, 06 Nov 1994 08:49:37 GMT"),
            text("Comment", "by hand"),
            text("Inventory", "42"),
            text("Software", "other"),
            text("parameters", "a bee\nSteps: 20, Sampler: Euler, Seed: 7"),
            text("prompt", "{\"3\": {\"inputs\": {}, \"class_type\": \"KSampler\"}}"),
            (*b"iTXt", "Title\0\0\0\0\0帽子".as_bytes().to_vec()),
        ],
        ..Said::default()
    };
    let input = read(&file(FileFormat::Png, &said)).unwrap();
    let texts = |bytes: &[u8]| {
        let plain = bodies(bytes, FileFormat::Png, *b"tEXt");
        let plain = plain.iter().map(|it| String::from_utf8_lossy(it).replace('\0', "="));
        plain.collect::<Vec<String>>()
    };
    let png = edited(&input, FileFormat::Png, Policy::Keep);
    let expected = [
        "Copyright=2024 Ada & Co",
        "Author=Ada",
        "Creation Time=Sun, 06 Nov 1994 08:49:37 GMT",
        "Comment=by hand",
        "Inventory=42",
    ];
    assert_eq!(texts(&png), expected);
    assert!(String::from_utf8_lossy(&png).contains("帽子"));
    for format in [FileFormat::Jpeg, FileFormat::WebP] {
        let bytes = edited(&input, format, Policy::Keep);
        let packet = xmp(&bytes, format);
        assert_eq!(property(&packet, DC, "rights").unwrap(), "2024 Ada & Co");
        assert_eq!(property(&packet, DC, "creator").unwrap(), "Ada");
        assert_eq!(property(&packet, DC, "title").unwrap(), "帽子");
        let created = property(&packet, "http://ns.adobe.com/photoshop/1.0/", "DateCreated");
        assert_eq!(created.unwrap(), "1994-11-06T08:49:37Z");
        let told = told(&input, format, Policy::Keep);
        assert!(told.contains("`Inventory`"), "{told}");
        assert_eq!(told.contains("`Comment`"), format == FileFormat::WebP);
    }
    let jpeg = edited(&input, FileFormat::Jpeg, Policy::Keep);
    assert_eq!(bodies(&jpeg, FileFormat::Jpeg, container::segment::COM), [b"by hand".to_vec()]);
    // And back.
    let back = edited(&read(&jpeg).unwrap(), FileFormat::Png, Policy::Keep);
    assert_eq!(texts(&back), ["Comment=by hand"]);
    assert_eq!(property(&xmp(&back, FileFormat::Png), DC, "creator").unwrap(), "Ada");
    for format in FORMATS {
        assert!(told(&input, format, Policy::Keep).contains("another program's prompt"));
        let bytes = edited(&input, format, Policy::Keep);
        assert!(!String::from_utf8_lossy(&bytes).contains("Sampler"), "{format}");
    }
}

#[test]
fn iptc_data_stay_in_a_jpeg_and_become_xmp_elsewhere() {
    let set = |number: u8, text: &str| {
        [&[0x1C, 2, number, 0, text.len() as u8], text.as_bytes()].concat()
    };
    let data = [
        set(80, "Ada"),
        set(116, "(c) Ada"),
        set(55, "20240501"),
        set(60, "102030+0200"),
        set(25, "bee"),
        set(25, "flower"),
    ]
    .concat();
    let resource = |id: u16, body: &[u8]| {
        let mut out = [b"8BIM".as_slice(), &id.to_be_bytes(), &[0, 0]].concat();
        out.extend((body.len() as u32).to_be_bytes());
        out.extend(body);
        out.extend(vec![0; body.len() % 2]);
        out
    };
    let resources = [resource(0x040C, b"JPEGthumb"), resource(0x0404, &data)].concat();
    let body = [b"Photoshop 3.0\0", &resources[..]].concat();
    let said = Said { more: vec![([0xFF, 0xED, 0, 0], body)], ..Said::default() };
    let input = read(&file(FileFormat::Jpeg, &said)).unwrap();
    let jpeg = edited(&input, FileFormat::Jpeg, Policy::Keep);
    let [kept] = &bodies(&jpeg, FileFormat::Jpeg, container::segment::APP13)[..] else { panic!() };
    assert!(kept.windows(data.len()).any(|it| it == data));
    assert!(!kept.windows(5).any(|it| it == b"thumb"));
    assert!(told(&input, FileFormat::Jpeg, Policy::Keep).contains("thumbnail"));
    for format in [FileFormat::Png, FileFormat::WebP] {
        let packet = xmp(&edited(&input, format, Policy::Keep), format);
        assert_eq!(property(&packet, DC, "creator").unwrap(), "Ada");
        assert_eq!(property(&packet, DC, "rights").unwrap(), "(c) Ada");
        assert_eq!(property(&packet, DC, "subject").unwrap(), "beeflower");
        let created = property(&packet, "http://ns.adobe.com/photoshop/1.0/", "DateCreated");
        assert_eq!(created.unwrap(), "2024-05-01T10:20:30+02:00");
    }
}

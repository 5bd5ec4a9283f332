//! Metadata carried from each input format to each output format.

mod damaged;
mod file;
mod people;

use std::io::Cursor;

use exif::{Field, In, Rational, Tag, Value};
use image::{ExtendedColorType, ImageEncoder, codecs::jpeg::JpegEncoder};
use retouch::picture::{
    container::{self, parts},
    decode::Decoded,
    encode::{OutputFormat, Tags, encode},
    format::FileFormat,
    metadata::Policy,
    note::Note,
};

use super::scene;

const FORMATS: [FileFormat; 3] = [FileFormat::Png, FileFormat::Jpeg, FileFormat::WebP];
const RECORD: &str = r#"{"instruction":"make the <bee> a bird"}"#;
const SOURCE_TYPE: &str =
    "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia";
const RDF: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#";
const DC: &str = "http://purl.org/dc/elements/1.1/";

/// What to put into a file of any format.
#[derive(Default)]
struct Said {
    exif: Option<Vec<u8>>,
    xmp: Option<String>,
    /// Chunks of a PNG or a WebP, or segments of a JPEG by the second byte of their marker.
    more: Vec<([u8; 4], Vec<u8>)>,
}

/// A file of 40 by 24 pixels.
fn file(format: FileFormat, said: &Said) -> Vec<u8> {
    let picture = scene(40, 24);
    let (exif, xmp) = (said.exif.clone(), said.xmp.clone().map(String::into_bytes));
    let mut bytes = Vec::new();
    match format {
        FileFormat::Png => {
            let mut encoder = png::Encoder::new(&mut bytes, 40, 24);
            encoder.set_color(png::ColorType::Rgb);
            let mut writer = encoder.write_header().unwrap();
            let mut put = |tag, body: &[u8]| writer.write_chunk(png::chunk::ChunkType(tag), body);
            for (tag, body) in &said.more {
                put(*tag, body).unwrap();
            }
            if let Some(it) = &exif {
                put(*b"eXIf", it).unwrap();
            }
            let header = b"XML:com.adobe.xmp\0\0\0\0\0".to_vec();
            if let Some(it) = &xmp {
                put(*b"iTXt", &[&header, &it[..]].concat()).unwrap();
            }
            writer.write_image_data(picture.as_raw()).unwrap();
            writer.finish().unwrap();
        }
        FileFormat::Jpeg => {
            let encoder = JpegEncoder::new_with_quality(&mut bytes, 90);
            encoder.write_image(picture.as_raw(), 40, 24, ExtendedColorType::Rgb8).unwrap();
            let mut put = |marker: u8, body: Vec<u8>| {
                let length = (body.len() as u16 + 2).to_be_bytes();
                bytes.splice(20..20, [&[0xFF, marker], &length[..], &body].concat());
            };
            for (tag, body) in &said.more {
                put(tag[1], body.clone());
            }
            let header = b"http://ns.adobe.com/xap/1.0/\0".to_vec();
            if let Some(it) = xmp {
                put(0xE1, [&header[..], &it].concat());
            }
            if let Some(it) = exif {
                put(0xE1, [b"Exif\0\0", &it[..]].concat());
            }
        }
        FileFormat::WebP => {
            let mut encoder = image_webp::WebPEncoder::new(&mut bytes);
            if let Some(it) = exif {
                encoder.set_exif_metadata(it);
            }
            if let Some(it) = xmp {
                encoder.set_xmp_metadata(it);
            }
            encoder.encode(picture.as_raw(), 40, 24, image_webp::ColorType::Rgb8).unwrap();
            for (tag, body) in &said.more {
                bytes.extend(tag);
                bytes.extend((body.len() as u32).to_le_bytes());
                bytes.extend(body);
                bytes.extend(vec![0; body.len() % 2]);
            }
            let length = (bytes.len() as u32 - 8).to_le_bytes();
            bytes[4..8].copy_from_slice(&length);
        }
    }
    bytes
}

fn output(format: FileFormat) -> OutputFormat {
    OutputFormat::new(format, None).unwrap()
}

fn edited(input: &Decoded, format: FileFormat, policy: Policy) -> Vec<u8> {
    let tags = Tags { record: RECORD, metadata: &input.metadata, policy };
    encode(&input.picture, output(format), &tags).unwrap()
}

/// What is told of an edit of a file.
fn told(input: &Decoded, format: FileFormat, policy: Policy) -> String {
    let notes = input.metadata.notes(policy, format);
    notes.iter().map(Note::to_string).collect::<Vec<_>>().join("\n")
}

fn bodies(bytes: &[u8], format: FileFormat, tag: [u8; 4]) -> Vec<Vec<u8>> {
    let all = parts(format, bytes).map(|it| it.unwrap());
    all.filter(|it| it.tag == tag).map(|it| it.body.to_vec()).collect()
}

/// The XMP packet of an output.
fn xmp(bytes: &[u8], format: FileFormat) -> String {
    let (tag, header): ([u8; 4], &[u8]) = match format {
        FileFormat::Png => (*b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0"),
        FileFormat::Jpeg => (container::segment::APP1, b"http://ns.adobe.com/xap/1.0/\0"),
        FileFormat::WebP => (*b"XMP ", b""),
    };
    let bodies = bodies(bytes, format, tag);
    let packets: Vec<&[u8]> = bodies.iter().filter_map(|it| it.strip_prefix(header)).collect();
    let [packet] = packets[..] else { panic!("{format}: {} packets", packets.len()) };
    String::from_utf8(packet.to_vec()).unwrap()
}

/// The text of a property, as an attribute or an element, with all items of a list.
fn property(packet: &str, namespace: &str, name: &str) -> Option<String> {
    let document = roxmltree::Document::parse(packet.trim_start_matches('\u{FEFF}')).unwrap();
    let described = document.descendants().filter(|it| it.has_tag_name((RDF, "Description")));
    let mut found = described.filter_map(|node| {
        let element = node.children().find(|it| it.has_tag_name((namespace, name)));
        let text = |it: roxmltree::Node<'_, '_>| {
            it.descendants().filter(roxmltree::Node::is_text).filter_map(|it| it.text()).collect()
        };
        element.map(text).or_else(|| node.attribute((namespace, name)).map(str::to_owned))
    });
    let first = found.next();
    assert_eq!(found.next(), None, "{name} is there twice");
    first
}

fn exif_of(bytes: &[u8]) -> Vec<Field> {
    let read = exif::Reader::new().read_from_container(&mut Cursor::new(bytes));
    read.map(|it| it.fields().cloned().collect()).unwrap_or_default()
}

fn shown(fields: &[Field], tag: Tag) -> Option<String> {
    let field = fields.iter().find(|it| it.tag == tag && it.ifd_num == In::PRIMARY)?;
    Some(field.display_value().to_string())
}

/// An EXIF block of a camera: makers, dates, a position, a thumbnail.
fn camera(little_endian: bool) -> Vec<u8> {
    let ascii = |it: &str| Value::Ascii(vec![it.as_bytes().to_vec()]);
    let ratio = |num| Value::Rational(vec![Rational { num, denom: 1 }]);
    let fields: Vec<Field> = [
        (Tag::Artist, ascii("Ada Lovelace")),
        (Tag::Copyright, ascii("(c) 2024 Ada")),
        (Tag::DateTime, ascii("2024:05:01 10:20:30")),
        (Tag::DateTimeOriginal, ascii("2024:04:30 09:00:00")),
        (Tag::Orientation, Value::Short(vec![6])),
        (Tag::ImageWidth, Value::Long(vec![40])),
        (Tag::PixelXDimension, Value::Short(vec![40])),
        (Tag::PixelYDimension, Value::Short(vec![24])),
        (Tag::XResolution, ratio(300)),
        (Tag::YResolution, ratio(200)),
        (Tag::ResolutionUnit, Value::Short(vec![2])),
        (Tag::MakerNote, Value::Undefined(b"secret".to_vec(), 0)),
        (Tag::GPSLatitudeRef, ascii("N")),
        (Tag::FNumber, ratio(4)),
    ]
    .map(|(tag, value)| Field { tag, ifd_num: In::PRIMARY, value })
    .into();
    let compression =
        Field { tag: Tag::Compression, ifd_num: In::THUMBNAIL, value: Value::Short(vec![6]) };
    let mut writer = exif::experimental::Writer::new();
    for it in &fields {
        writer.push_field(it);
    }
    writer.push_field(&compression);
    writer.set_jpeg(b"thumbnail", In::THUMBNAIL);
    let mut block = Cursor::new(Vec::new());
    writer.write(&mut block, little_endian).unwrap();
    block.into_inner()
}

/// A packet with what people write, and what is not kept, in the ways in which XMP may say it.
const PACKET: &str = r#"<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:dublin="http://purl.org/dc/elements/1.1/">
 <r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <r:Description r:about="uuid:1" xmlns:t="http://ns.adobe.com/tiff/1.0/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
    xmlns:e="http://ns.adobe.com/exif/1.0/" xmlns:own="http://example.com/own/" xmlns:retouch="urn:retouch:edit:1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/" t:Orientation="6" t:Make="Maker" e:GPSLatitude="1,2N" e:PixelXDimension="9"
    photoshop:DateCreated="2024-05-01" own:number="7" retouch:settings="old" xmp:CreatorTool="Other 1.0">
   <dublin:rights><r:Alt><r:li xml:lang="x-default">(c) Ada &amp; Bob &lt;them&gt;</r:li></r:Alt></dublin:rights>
   <dublin:creator><r:Seq><r:li>Ada</r:li><r:li>Bob</r:li></r:Seq></dublin:creator>
   <xmp:Thumbnails><r:Alt><r:li>AAAA</r:li></r:Alt></xmp:Thumbnails>
   <own:nested r:parseType="Resource"><own:deep>deep</own:deep></own:nested>
   <own:made>Steps: 20, Sampler: Euler, Seed: 7</own:made>
  </r:Description>
  <r:Description r:about="uuid:1" xmlns:ext="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    ext:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"/>
 </r:RDF>
</x:xmpmeta><?xpacket end="w"?>"#;

fn text(keyword: &str, text: &str) -> ([u8; 4], Vec<u8>) {
    (*b"tEXt", [keyword.as_bytes(), &[0], text.as_bytes()].concat())
}

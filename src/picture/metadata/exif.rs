//! EXIF: filters the fields to keep and writes them as a new block.

use std::{collections::BTreeSet, io::Cursor};

use ::exif::{Context, Exif, Field, In, Rational, Reader, Tag, Value, experimental::Writer};

use crate::picture::{
    metadata::{
        Density,
        dropped::{self, Dropped},
    },
    size::Size,
};

/// Maximum bytes of an EXIF block that is read.
pub(super) const MOST: usize = 1 << 20;

/// The kept part of an EXIF block.
#[derive(Debug, Default)]
pub(super) struct Cleaned {
    pub(super) block: Option<Vec<u8>>,
    pub(super) density: Option<Density>,
}

/// Fields that describe the layout of pixels or data in the original file. The orientation is not listed, since it is
/// rewritten.
const OF_THE_FILE: [u16; 18] = [
    0x0103, 0x0111, 0x0117, 0x0116, 0x0142, 0x0143, 0x0144, 0x0145, 0x014A, 0x0201, 0x0202, 0x02BC,
    0x83BB, 0x8649, 0x8773, 0xC4A5, 0xC634, 0xEA1C,
];

/// Reads the EXIF block of a picture of this upright size; `turned` if the orientation swapped its sides.
pub(super) fn cleaned(
    tiff: &[u8],
    size: Size,
    turned: bool,
    dropped: &mut BTreeSet<Dropped>,
) -> Result<Cleaned, Dropped> {
    if tiff.len() > MOST {
        return Err(Dropped::TooLarge("EXIF"));
    }
    let malformed = Dropped::Malformed("EXIF");
    let mut reader = Reader::new();
    let read = reader.continue_on_error(true).read_raw(tiff.to_vec());
    let read = read.or_else(|it| it.distill_partial_result(|_| {}));
    let exif = read.map_err(|_| malformed.clone())?;
    let mut fields = kept(&exif, tiff.len(), dropped).ok_or(malformed)?;
    put_right(&mut fields, size, turned);
    let density = density(&fields);
    Ok(Cleaned { block: written(&fields, exif.little_endian()), density })
}

/// Adds the resolution to a block.
pub(super) fn with_density(block: Option<&[u8]>, density: Density) -> Option<Vec<u8>> {
    let read = block.map(|it| Reader::new().read_raw(it.to_vec())).transpose().ok()?;
    let mut fields: Vec<Field> = read.iter().flat_map(Exif::fields).cloned().collect();
    if fields.iter().any(|it| it.tag == Tag::XResolution) {
        return block.map(<[u8]>::to_vec);
    }
    let field = |tag, value| Field { tag, ifd_num: In::PRIMARY, value };
    let ratio = |it: f64| {
        Value::Rational(vec![Rational { num: (it * 1000.0).round() as u32, denom: 1000 }])
    };
    fields.push(field(Tag::XResolution, ratio(density.across)));
    fields.push(field(Tag::YResolution, ratio(density.down)));
    let unit = if density.is_per_inch { 2 } else { 1 };
    fields.push(field(Tag::ResolutionUnit, Value::Short(vec![unit])));
    written(&fields, read.is_some_and(|it| it.little_endian()))
}

/// The fields to keep; `None` if their data overlaps, since rewriting would then expand the block.
fn kept(exif: &Exif, length: usize, dropped: &mut BTreeSet<Dropped>) -> Option<Vec<Field>> {
    let mut fields: Vec<Field> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut total = 0;
    for field in exif.fields() {
        let Tag(context, number) = field.tag;
        total += weight(&field.value);
        if total > length {
            return None;
        }
        if field.ifd_num != In::PRIMARY {
            dropped.insert(Dropped::Thumbnail);
        } else if context == Context::Gps {
            dropped.insert(Dropped::Position);
        } else if field.tag == Tag::MakerNote {
            dropped.insert(Dropped::MakerNotes);
        } else if is_prompt(&field.value) {
            dropped.insert(Dropped::OtherPrompt);
        } else {
            let is_own = context == Context::Tiff && OF_THE_FILE.contains(&number);
            let is_unknown = matches!(field.value, Value::Unknown(..));
            let is_whole = matches!(context, Context::Tiff | Context::Exif);
            if is_whole && !is_own && !is_unknown && seen.insert((is_in_exif(context), number)) {
                fields.push(field.clone());
            }
        }
    }
    Some(fields)
}

fn is_in_exif(context: Context) -> bool {
    context == Context::Exif
}

/// Resets the orientation, and sets the dimensions to the output's.
fn put_right(fields: &mut [Field], size: Size, turned: bool) {
    for field in fields.iter_mut() {
        let side = match field.tag {
            Tag::Orientation => {
                field.value = Value::Short(vec![1]);
                continue;
            }
            Tag::ImageWidth | Tag::PixelXDimension => size.width,
            Tag::ImageLength | Tag::PixelYDimension => size.height,
            Tag::XResolution if turned => {
                field.tag = Tag::YResolution;
                continue;
            }
            Tag::YResolution if turned => {
                field.tag = Tag::XResolution;
                continue;
            }
            _ => continue,
        };
        field.value = Value::Long(vec![side]);
    }
}

fn density(fields: &[Field]) -> Option<Density> {
    let value = |tag: Tag| fields.iter().find(|it| it.tag == tag).map(|it| &it.value);
    let number = |tag: Tag| match value(tag)? {
        Value::Rational(it) => it.first().map(Rational::to_f64),
        _ => None,
    };
    let unit = value(Tag::ResolutionUnit).and_then(|it| it.get_uint(0)).unwrap_or(2);
    let scale = if unit == 3 { 2.54 } else { 1.0 };
    Density::new(number(Tag::XResolution)? * scale, number(Tag::YResolution)? * scale, unit != 1)
}

fn written(fields: &[Field], little_endian: bool) -> Option<Vec<u8>> {
    let mut writer = Writer::new();
    for field in fields {
        writer.push_field(field);
    }
    let mut block = Cursor::new(Vec::new());
    writer.write(&mut block, little_endian).ok()?;
    Some(block.into_inner())
}

fn is_prompt(value: &Value) -> bool {
    let is_prompt = |it: &[u8]| {
        // A comment begins with eight letters for its characters' code, which may be of two bytes each.
        let plain: Vec<u8> = it.iter().copied().filter(|it| *it != 0).collect();
        dropped::is_prompt(&String::from_utf8_lossy(&plain))
    };
    match value {
        Value::Ascii(lines) => lines.iter().any(|it| is_prompt(it)),
        Value::Undefined(bytes, _) | Value::Byte(bytes) => is_prompt(bytes),
        _ => false,
    }
}

/// Size of a value in the block, in bytes.
fn weight(value: &Value) -> usize {
    match value {
        Value::Byte(it) | Value::Undefined(it, _) => it.len(),
        Value::SByte(it) => it.len(),
        Value::Ascii(it) => it.iter().map(|it| it.len() + 1).sum(),
        Value::Short(it) => it.len() * 2,
        Value::SShort(it) => it.len() * 2,
        Value::Long(it) => it.len() * 4,
        Value::SLong(it) => it.len() * 4,
        Value::Float(it) => it.len() * 4,
        Value::Rational(it) => it.len() * 8,
        Value::SRational(it) => it.len() * 8,
        Value::Double(it) => it.len() * 8,
        Value::Unknown(..) => 0,
    }
}

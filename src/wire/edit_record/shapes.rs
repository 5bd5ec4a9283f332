//! Masks in an edit record: as rectangles or a PNG if small, else by digest.

use std::io::Cursor;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::edit::edit_mask::MaskChoice;
use crate::picture::{
    boxes::PixelBox,
    mask::{Mask, Radius},
    size::Size,
};
use crate::wire::edit_record::digests::shown;

/// Most rectangles of a mask in a record.
const MAX_BOXES: usize = 32;
/// Largest PNG of a mask in a record, in bytes; several share it.
const MAX_PNG: usize = 8 << 10;

/// The caller's choice of the mask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskRecord {
    /// The given mask (its pictures and boxes combined) as rectangles x0, y0, x1, y1, half-open, in pixels of the
    /// input; empty if none was given, or if it takes too many.
    pub boxes: Vec<[u32; 4]>,
    /// The given mask as a 1-bit PNG in base64, if it takes too many rectangles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub png: Option<String>,
    /// SHA-256 of the given mask, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Chosen clusters by id, from 1.
    pub clusters: Vec<u8>,
    /// Whether the mask is inverted.
    pub invert: bool,
    /// Dilation in pixels of the input.
    pub dilate: u32,
    /// Feather in pixels of the input.
    pub feather: u32,
}

/// The given mask as far as a record has it.
#[derive(Debug, Clone, PartialEq)]
pub enum Shapes {
    /// No mask was given.
    None,
    /// The record contains it.
    Here(Mask),
    /// It is too large for the record and must be supplied again.
    Elsewhere,
}

/// Why a recorded mask is refused.
#[derive(Debug, thiserror::Error)]
#[error("its record can't be read: its mask {0}")]
pub struct MaskError(String);

impl MaskRecord {
    /// The choices of the first part and of those after it; none of these if all parts have the same.
    pub(super) fn of_parts(first: &MaskChoice, later: &[MaskChoice]) -> (Self, Vec<Self>) {
        let most_png = MAX_PNG / (1 + later.len());
        let first = Self::of(first, most_png);
        let mut later: Vec<Self> = later.iter().map(|it| Self::of(it, most_png)).collect();
        if later.iter().all(|it| *it == first) {
            later.clear();
        }
        (first, later)
    }

    fn of(choice: &MaskChoice, most_png: usize) -> Self {
        let MaskChoice { shapes, clusters, invert, dilate, feather } = choice;
        let boxes = shapes.as_ref().and_then(rectangles);
        let png = match (shapes, &boxes) {
            (Some(shapes), None) => Some(png(shapes)).filter(|it| it.len() <= most_png),
            _ => None,
        };
        Self {
            boxes: boxes.unwrap_or_default(),
            png: png.map(|it| BASE64_STANDARD.encode(it)),
            sha256: shapes.as_ref().map(digest),
            clusters: clusters.clone(),
            invert: *invert,
            dilate: dilate.pixels(),
            feather: feather.pixels(),
        }
    }

    /// The whole choice, for a picture of this size.
    ///
    /// # Errors
    /// [`MaskError`] as of [`Self::shapes`], if the mask is not in the record, or if a radius is out of its range.
    pub fn choice(&self, size: Size) -> Result<MaskChoice, MaskError> {
        let shapes = match self.shapes(size)? {
            Shapes::None => None,
            Shapes::Here(mask) => Some(mask),
            Shapes::Elsewhere => {
                let why =
                    "is one of several and too large for it; make the edits one after the other";
                return Err(MaskError(why.to_owned()));
            }
        };
        let radius = |it: u32| Radius::try_from(it).map_err(|error| MaskError(error.to_string()));
        Ok(MaskChoice {
            shapes,
            clusters: self.clusters.clone(),
            invert: self.invert,
            dilate: radius(self.dilate)?,
            feather: radius(self.feather)?,
        })
    }

    /// The given mask for a picture of this size.
    ///
    /// # Errors
    /// [`MaskError`] if it doesn't fit the picture's size or its own digest.
    pub fn shapes(&self, size: Size) -> Result<Shapes, MaskError> {
        let wrong = |what: &str| MaskError(what.to_owned());
        let mask = match (&self.boxes[..], &self.png, &self.sha256) {
            ([], None, None) => return Ok(Shapes::None),
            ([], None, Some(_)) => return Ok(Shapes::Elsewhere),
            (boxes @ [_, ..], None, Some(_)) if boxes.len() <= MAX_BOXES => {
                let fits = |&[x0, y0, x1, y1]: &[u32; 4]| {
                    x0 < x1 && y0 < y1 && x1 <= size.width && y1 <= size.height
                };
                if !boxes.iter().all(fits) {
                    return Err(wrong("has a box outside the picture"));
                }
                let pixels = |&[x0, y0, x1, y1]: &[u32; 4]| PixelBox { x0, y0, x1, y1 };
                Mask::from_boxes(size, &boxes.iter().map(pixels).collect::<Vec<_>>())
            }
            ([], Some(text), Some(_)) => read_png(text, size).map_err(|why| wrong(&why))?,
            _ => return Err(wrong("is written twice, or has no digest")),
        };
        if self.sha256.as_ref() != Some(&digest(&mask)) {
            return Err(wrong("does not fit its digest"));
        }
        Ok(Shapes::Here(mask))
    }
}

/// SHA-256 of a mask's pixels, in hexadecimal.
pub fn digest(mask: &Mask) -> String {
    let size = mask.size();
    let mut hasher = Sha256::new();
    hasher.update(size.width.to_le_bytes());
    hasher.update(size.height.to_le_bytes());
    hasher.update(mask.as_image().as_raw());
    format!("{:x}", hasher.finalize())
}

/// A mask as few rectangles, merging equal runs of adjacent rows. `None` if it takes too many.
fn rectangles(mask: &Mask) -> Option<Vec<[u32; 4]>> {
    let image = mask.as_image();
    let (mut done, mut open) = (Vec::new(), Vec::<[u32; 4]>::new());
    for (y, row) in (0..).zip(image.rows()) {
        let mut runs = Vec::new();
        let mut start = None;
        for (x, pixel) in (0..).zip(row) {
            match (pixel[0] > 0, start) {
                (true, None) => start = Some(x),
                (false, Some(from)) => {
                    runs.push((from, x));
                    start = None;
                }
                _ => {}
            }
        }
        runs.extend(start.map(|from| (from, image.width())));
        let (kept, ended) = open.into_iter().partition(|it| runs.contains(&(it[0], it[2])));
        (open, done) = (kept, [done, ended].concat());
        for (x0, x1) in runs {
            match open.iter_mut().find(|it| (it[0], it[2]) == (x0, x1)) {
                Some(rectangle) => rectangle[3] = y + 1,
                None => open.push([x0, y, x1, y + 1]),
            }
        }
        if done.len() + open.len() > MAX_BOXES {
            return None;
        }
    }
    done.extend(open);
    Some(done)
}

/// A mask as a 1-bit PNG.
fn png(mask: &Mask) -> Vec<u8> {
    let image = mask.as_image();
    let bits = image.rows().flat_map(|row| {
        let row: Vec<bool> = row.map(|it| it[0] > 0).collect();
        let byte = |bits: &[bool]| {
            bits.iter().enumerate().fold(0, |byte, (at, bit)| byte | (u8::from(*bit) << (7 - at)))
        };
        row.chunks(8).map(byte).collect::<Vec<u8>>()
    });
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, image.width(), image.height());
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    encoder.set_compression(png::Compression::High);
    let written =
        encoder.write_header().and_then(|mut it| it.write_image_data(&bits.collect::<Vec<_>>()));
    written.expect("a picture in memory becomes a PNG in memory");
    bytes
}

fn read_png(text: &str, size: Size) -> Result<Mask, String> {
    let bytes = BASE64_STANDARD.decode(text).map_err(|error| format!("is no base64: {error}"))?;
    let mut decoder = png::Decoder::new(Cursor::new(&bytes));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let failed = |error: png::DecodingError| format!("is no PNG: {}", shown(&error.to_string()));
    let mut reader = decoder.read_info().map_err(failed)?;
    let info = reader.info();
    let one_bit = (png::ColorType::Grayscale, png::BitDepth::One);
    // Checked before decoding, so that the picture's size bounds the memory.
    if (info.width, info.height) != (size.width, size.height)
        || (info.color_type, info.bit_depth) != one_bit
        || info.interlaced
    {
        return Err("is not of the picture's size, or not of one bit a pixel".to_owned());
    }
    let row = size.width.div_ceil(8) as usize;
    let mut bits = vec![0; row * size.height as usize];
    reader.next_frame(&mut bits).map_err(failed)?;
    Ok(Mask::from_fn(size, |x, y| bits[y as usize * row + x as usize / 8] >> (7 - x % 8) & 1 > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(mask: &Mask) -> MaskRecord {
        let choice = MaskChoice { shapes: Some(mask.clone()), ..MaskChoice::default() };
        MaskRecord::of_parts(&choice, &[]).0
    }

    #[test]
    fn a_box_stands_as_itself_and_a_cross_as_three() {
        let size = Size::new(40, 30);
        let one = PixelBox { x0: 3, y0: 4, x1: 20, y1: 30 };
        let mask = Mask::from_boxes(size, &[one]);
        assert_eq!(record(&mask).boxes, [[3, 4, 20, 30]]);
        let cross = Mask::from_boxes(size, &[PixelBox { x0: 0, y0: 10, x1: 40, y1: 12 }, one]);
        assert_eq!(record(&cross).boxes.len(), 3);
        assert_eq!(record(&cross).shapes(size).unwrap(), Shapes::Here(cross));
    }

    #[test]
    fn any_mask_comes_back_or_is_too_large() {
        let size = Size::new(67, 45);
        for step in 1..60 {
            let mask = Mask::from_fn(size, |x, y| (x * x + y * 7 + x * y) % (step + 1) == 0);
            let record = record(&mask);
            assert!(!record.boxes.is_empty() || record.png.is_some());
            assert_eq!(record.shapes(size).unwrap(), Shapes::Here(mask), "{step}");
        }
        let size = Size::new(900, 700);
        // Hashed twice, so that rows differ and the PNG can't be compressed.
        let noise = |x: u32, y: u32| {
            let mixed = (y * size.width + x).wrapping_mul(0x9e37_79b1);
            (mixed ^ mixed >> 15).wrapping_mul(0x85eb_ca77) >> 31 > 0
        };
        let noise = record(&Mask::from_fn(size, noise));
        assert_eq!((noise.boxes.len(), &noise.png), (0, &None));
        assert_eq!(noise.shapes(size).unwrap(), Shapes::Elsewhere);
    }

    #[test]
    fn masks_that_do_not_hold_are_refused() {
        let size = Size::new(40, 30);
        let painted = record(&Mask::from_fn(size, |x, y| (x + y) % 3 == 0));
        let boxed = record(&Mask::from_fn(size, |x, _| x < 8));
        assert!(painted.png.is_some() && boxed.png.is_none());
        let other = Some("00".repeat(32));
        for wrong in [
            MaskRecord { sha256: other.clone(), ..painted.clone() },
            MaskRecord { sha256: other, ..boxed.clone() },
            MaskRecord { sha256: None, ..painted.clone() },
            MaskRecord { png: Some("§".to_owned()), ..painted.clone() },
            MaskRecord { png: Some("AAAA".to_owned()), ..painted.clone() },
            MaskRecord { boxes: boxed.boxes.clone(), ..painted.clone() },
            MaskRecord { boxes: vec![[8, 0, 0, 30]], ..boxed.clone() },
            MaskRecord { boxes: vec![[0, 0, u32::MAX, 30]], ..boxed.clone() },
            MaskRecord { boxes: vec![[0, 0, 8, 30]; 33], ..boxed.clone() },
        ] {
            assert!(wrong.shapes(size).is_err(), "{wrong:?}");
        }
        // A picture of another size is refused.
        assert!(painted.shapes(Size::new(30, 40)).is_err());
        assert!(boxed.shapes(Size::new(40, 20)).is_err());
    }
}

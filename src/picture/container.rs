//! Container structure of image files: PNG and WebP chunks and JPEG segments, walked from the signature to the end
//! marker.
//!
//! The decoders stop at the last pixel and accept files without an end marker; this walk does not.

use crate::picture::{format::FileFormat, signature::PNG_SIGNATURE};

/// Prefix of EXIF data in APP1 segments, and by mistake in some WebP chunks.
const EXIF_HEADER: &[u8] = b"Exif\0\0";

/// One chunk (PNG, WebP) or segment (JPEG) of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// The four letters of a chunk, or `[0xFF, marker, 0, 0]` for a JPEG segment.
    pub tag: [u8; 4],
    /// The content, without the length field.
    pub body: &'a [u8],
    /// The entropy-coded data after a start-of-scan segment, with stuffed bytes and restart markers; else empty.
    pub coded: &'a [u8],
    /// Offset of the next part from the start of the file, in bytes.
    pub end: usize,
}

/// The file ends before its end marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncated;

/// Iterates over the parts of a file whose format [`identify`](crate::picture::signature::identify) has determined; the
/// end marker is the last part.
pub fn parts(format: FileFormat, bytes: &[u8]) -> Parts<'_> {
    let at = match format {
        FileFormat::Png => PNG_SIGNATURE.len(),
        FileFormat::Jpeg => 2,  // behind the start of image
        FileFormat::WebP => 12, // behind "RIFF", its length and "WEBP"
    };
    Parts { format, bytes, at, done: false }
}

/// The TIFF structure of a file's EXIF data, which holds the orientation; `None` for other parts.
pub fn exif<'a>(format: FileFormat, part: &Part<'a>) -> Option<&'a [u8]> {
    match (format, &part.tag) {
        (FileFormat::Png, b"eXIf") => Some(part.body),
        (FileFormat::WebP, b"EXIF") => {
            Some(part.body.strip_prefix(EXIF_HEADER).unwrap_or(part.body))
        }
        (FileFormat::Jpeg, &segment::APP1) => part.body.strip_prefix(EXIF_HEADER),
        _ => None,
    }
}

/// JPEG markers as tags.
pub mod segment {
    /// Application data 0: the JFIF header.
    pub const APP0: [u8; 4] = [0xFF, 0xE0, 0, 0];
    /// Application data 1: EXIF or XMP.
    pub const APP1: [u8; 4] = [0xFF, 0xE1, 0, 0];
    /// Application data 11: JUMBF boxes, among them C2PA manifests.
    pub const APP11: [u8; 4] = [0xFF, 0xEB, 0, 0];
    /// Application data 13: Photoshop's image resources, among them IPTC data.
    pub const APP13: [u8; 4] = [0xFF, 0xED, 0, 0];
    /// A comment.
    pub const COM: [u8; 4] = [0xFF, 0xFE, 0, 0];
    /// Huffman tables.
    pub const DHT: [u8; 4] = [0xFF, 0xC4, 0, 0];
    /// The restart interval.
    pub const DRI: [u8; 4] = [0xFF, 0xDD, 0, 0];
    /// Start of scan; entropy-coded data follows up to the next marker.
    pub const SOS: [u8; 4] = [0xFF, 0xDA, 0, 0];
    /// End of image.
    pub const EOI: [u8; 4] = [0xFF, 0xD9, 0, 0];

    /// Whether a tag is a start of frame, of any coding.
    pub fn is_frame(tag: [u8; 4]) -> bool {
        // Among the frames sit the tables for Huffman (C4) and arithmetic coding (CC), and a reserved marker (C8).
        tag[0] == 0xFF && (0xC0..=0xCF).contains(&tag[1]) && ![0xC4, 0xC8, 0xCC].contains(&tag[1])
    }
}

/// Iterator over the parts of one file; it ends after an error.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    format: FileFormat,
    bytes: &'a [u8],
    at: usize,
    done: bool,
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<Part<'a>, Truncated>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let part = match self.format {
            FileFormat::Png => self.png_chunk(),
            FileFormat::Jpeg => self.jpeg_segment(),
            FileFormat::WebP => match self.webp_chunk() {
                Ok(None) => {
                    self.done = true;
                    return None;
                }
                Ok(Some(part)) => Some(part),
                Err(Truncated) => None,
            },
        };
        let Some(part) = part else {
            self.done = true;
            return Some(Err(Truncated));
        };
        self.at = part.end;
        self.done = part.tag == *b"IEND" || part.tag == segment::EOI;
        Some(Ok(part))
    }
}

impl<'a> Parts<'a> {
    /// Length, tag, body, checksum.
    fn png_chunk(&self) -> Option<Part<'a>> {
        let bytes = self.bytes;
        let length = u32::from_be_bytes(array(bytes, self.at)?) as usize;
        let tag = array(bytes, self.at + 4)?;
        let start = self.at + 8;
        let body = bytes.get(start..start.checked_add(length)?)?;
        let end = start + length + 4;
        (end <= bytes.len()).then_some(Part { tag, body, coded: &[], end })
    }

    /// Marker, length, body; after a start of scan also the entropy-coded data.
    fn jpeg_segment(&self) -> Option<Part<'a>> {
        let bytes = self.bytes;
        let mut at = self.at;
        // Decoders pass over stray bytes between segments, and 0xFF may fill up before a marker.
        while *bytes.get(at)? != 0xFF || matches!(*bytes.get(at + 1)?, 0x00 | 0xFF) {
            at += 1;
        }
        let tag = [0xFF, bytes[at + 1], 0, 0];
        if matches!(tag[1], 0x01 | 0xD0..=0xD9) {
            return Some(Part { tag, body: &[], coded: &[], end: at + 2 }); // these carry no length
        }
        let length = usize::from(u16::from_be_bytes(array(bytes, at + 2)?)).max(2);
        let body = bytes.get(at + 4..at + 2 + length)?;
        let mut end = at + 2 + length;
        let mut coded: &[u8] = &[];
        if tag == segment::SOS {
            // In a scan, 0xFF is followed by zero, a restart marker, or another 0xFF as padding; any other marker ends
            // it.
            let is_end =
                |pair: &[u8]| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0xD0..=0xD7 | 0xFF);
            coded = &bytes[end..];
            coded = &coded[..coded.windows(2).position(is_end)?];
            end += coded.len();
        }
        Some(Part { tag, body, coded, end })
    }

    /// Tag, length, body, and a padding byte after an odd length; `None` at the end given by the RIFF header.
    fn webp_chunk(&self) -> Result<Option<Part<'a>>, Truncated> {
        let bytes = self.bytes;
        let length = |at| Some(u32::from_le_bytes(array(bytes, at)?) as usize);
        let whole = length(4).and_then(|it| it.checked_add(8)).ok_or(Truncated)?;
        let bytes = bytes.get(..whole).ok_or(Truncated)?;
        if self.at >= whole {
            return if self.at > 12 { Ok(None) } else { Err(Truncated) };
        }
        let tag = array(bytes, self.at).ok_or(Truncated)?;
        let body_length = length(self.at + 4).ok_or(Truncated)?;
        let start = self.at + 8;
        let end = start.checked_add(body_length).ok_or(Truncated)?;
        let body = bytes.get(start..end).ok_or(Truncated)?;
        Ok(Some(Part { tag, body, coded: &[], end: end + body_length % 2 }))
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

//! File format detection by the first bytes, independent of the file's name.

use crate::picture::{error::PictureError, format::FileFormat};

/// The PNG signature.
pub const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Identifies the format of an image file; `name` is the file's name in errors.
///
/// # Errors
/// [`PictureError::Empty`], or [`PictureError::NotAnImage`] with what the bytes look like instead.
pub fn identify(name: &str, bytes: &[u8]) -> Result<FileFormat, PictureError> {
    if bytes.is_empty() {
        Err(PictureError::Empty { name: name.to_owned() })
    } else if bytes.starts_with(PNG_SIGNATURE) {
        Ok(FileFormat::Png)
    } else if bytes.starts_with(b"\xFF\xD8\xFF") {
        Ok(FileFormat::Jpeg)
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        Ok(FileFormat::WebP)
    } else {
        Err(PictureError::NotAnImage { name: name.to_owned(), like: likeness(bytes) })
    }
}

/// What an unsupported file looks like by its first bytes.
fn likeness(bytes: &[u8]) -> String {
    const KNOWN: &[(usize, &[u8], &str)] = &[
        (0, b"GIF8", "a GIF image"),
        (0, b"BM", "a BMP image"),
        (0, b"II*\0", "a TIFF or raw camera image"),
        (0, b"MM\0*", "a TIFF or raw camera image"),
        (4, b"ftypavif", "an AVIF image"),
        (4, b"ftyphei", "a HEIC image"),
        (4, b"ftypmif1", "a HEIC image"),
        (4, b"ftyp", "a video"),
        (0, b"\xFF\x0A", "a JPEG XL image"),
        (4, b"JXL ", "a JPEG XL image"),
        (4, b"jP  ", "a JPEG 2000 image"),
        (0, b"8BPS", "a Photoshop document"),
        (0, b"%PDF", "a PDF document"),
        (0, b"PK\x03\x04", "a ZIP archive"),
        (0, b"\x1F\x8B", "a gzip archive"),
        (0, b"version https://git-lfs", "a Git LFS pointer, not the file it points to"),
        (0, b"<svg", "an SVG drawing"),
        (0, b"<?xml", "XML text"),
        (0, b"<", "a web page"),
        (0, b"{", "JSON text"),
    ];
    let starts = |(at, magic, _): &&(usize, &[u8], _)| {
        bytes.get(*at..).is_some_and(|it| it.starts_with(magic))
    };
    if let Some((_, _, like)) = KNOWN.iter().find(starts) {
        return (*like).to_owned();
    }
    let head = &bytes[..bytes.len().min(16)];
    match std::str::from_utf8(head) {
        Ok(text) if !text.chars().any(|it| it.is_control() && !it.is_whitespace()) => {
            format!("text ({text:?})")
        }
        _ => format!("unknown binary data ({})", hex(&head[..head.len().min(8)])),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|it| format!("{it:02x}")).collect();
    digits.join(" ")
}

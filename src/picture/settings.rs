//! The settings of an edit stored in the output image, so that the edit can be reproduced.
//!
//! One JSON text: in PNG an `iTXt` chunk with the keyword `retouch`, in JPEG and WebP the property `settings` of an XMP
//! packet (ISO 16684-1).

use std::borrow::Cow;

use crate::picture::{
    container::{self, Part, segment},
    error::PictureError,
    format::FileFormat,
    signature,
};

/// Keyword of the PNG text chunk.
pub const PNG_KEYWORD: &str = "retouch";

/// Prefix of an APP1 segment with an XMP packet.
pub const JPEG_XMP_HEADER: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

/// Namespace of the XMP property; its prefix is `retouch`.
pub const NAMESPACE: &str = "urn:retouch:edit:1/";

const OPEN: &str = "<retouch:settings>";
const CLOSE: &str = "</retouch:settings>";

/// Reads the settings from an image file's bytes; `None` if it holds none.
///
/// Only the container is read, no pixels. `name` is the file's name in errors.
///
/// # Errors
/// [`PictureError::Empty`], [`PictureError::NotAnImage`], [`PictureError::Truncated`].
pub fn read_settings(name: &str, bytes: &[u8]) -> Result<Option<String>, PictureError> {
    let format = signature::identify(name, bytes)?;
    for part in container::parts(format, bytes) {
        let part = part.map_err(|_| PictureError::Truncated { name: name.to_owned(), format })?;
        if let Some(settings) = settings_of(format, &part) {
            return Ok(Some(settings));
        }
    }
    Ok(None)
}

/// The settings as an XML element of an XMP packet.
pub fn element(settings: &str) -> String {
    // Not an attribute, whose line breaks a reader may turn into spaces.
    format!("{OPEN}{}{CLOSE}", escape(settings))
}

fn settings_of(format: FileFormat, part: &Part<'_>) -> Option<String> {
    match (format, &part.tag) {
        (FileFormat::Png, b"iTXt") => {
            // Keyword, zero, two bytes of compression, language, zero, translated keyword, zero, text.
            let rest = part.body.strip_prefix(PNG_KEYWORD.as_bytes())?.strip_prefix(&[0, 0, 0])?;
            let text = rest.splitn(3, |&it| it == 0).nth(2)?;
            String::from_utf8(text.to_vec()).ok()
        }
        (FileFormat::Jpeg, &segment::APP1) => {
            settings_in_xmp(part.body.strip_prefix(JPEG_XMP_HEADER)?)
        }
        (FileFormat::WebP, b"XMP ") => settings_in_xmp(part.body),
        _ => None,
    }
}

fn settings_in_xmp(packet: &[u8]) -> Option<String> {
    let packet = std::str::from_utf8(packet).ok()?;
    let (_, rest) = packet.split_once(OPEN)?;
    let (text, _) = rest.split_once(CLOSE)?;
    Some(unescape(text))
}

/// Characters that XML would alter, with their escapes; an unescaped carriage return would come back as a line feed.
const ESCAPES: [(&str, &str); 4] = [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#13;")];

fn escape(text: &str) -> Cow<'_, str> {
    ESCAPES.iter().fold(text.into(), |text, (plain, escaped)| text.replace(plain, escaped).into())
}

fn unescape(text: &str) -> String {
    // The ampersand last, since its escape makes the others look like escapes.
    ESCAPES
        .iter()
        .rev()
        .fold(text.to_owned(), |text, (plain, escaped)| text.replace(escaped, plain))
}

//! PNG text chunks, and their XMP counterparts.

use std::io::Read;

use crate::picture::metadata::{
    dropped::{self, Dropped},
    xmp::{self, Property},
};

/// Maximum decompressed bytes of one text, and of all texts of a file.
const MOST: (usize, usize) = (64 << 10, 256 << 10);

/// Keywords under which image generators store their settings.
const PROMPTS: [&str; 12] = [
    "parameters",
    "prompt",
    "workflow",
    "generation_data",
    "dream",
    "sd-metadata",
    "invokeai_metadata",
    "invokeai_graph",
    "invokeai_workflow",
    "fooocus_scheme",
    "sui_image_params",
    "generation time",
];

/// A text with its keyword.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) keyword: String,
    pub(super) text: String,
}

/// Result of reading a text chunk.
pub(super) enum ChunkContent {
    Text(Text),
    Xmp(String),
    Dropped(Dropped),
    /// Written by this program or about the original file, so it is not kept.
    Own,
}

/// Reads the body of a `tEXt`, `zTXt` or `iTXt` chunk.
pub(super) fn read(tag: [u8; 4], body: &[u8]) -> ChunkContent {
    let (keyword, text) = match unfold(tag, body) {
        Ok(unfolded) => unfolded,
        Err(fault) => return ChunkContent::Dropped(fault),
    };
    match keyword.as_str() {
        "XML:com.adobe.xmp" => ChunkContent::Xmp(text),
        _ if text.len() > MOST.0 => ChunkContent::Dropped(Dropped::TooLarge("text")),
        // Of the file, not of the picture; and that of an earlier edit.
        "retouch" | "Software" | "date:create" | "date:modify" | "date:timestamp" => {
            ChunkContent::Own
        }
        it if it.starts_with("Thumb::") => ChunkContent::Dropped(Dropped::Thumbnail),
        it if it.starts_with("Raw profile type") => ChunkContent::Dropped(Dropped::Text(keyword)),
        it if PROMPTS.contains(&it.to_ascii_lowercase().as_str()) || dropped::is_prompt(&text) => {
            ChunkContent::Dropped(Dropped::OtherPrompt)
        }
        _ => ChunkContent::Text(Text { keyword, text }),
    }
}

/// Adds a text, unless there are too many or the keyword exists.
pub(super) fn add(texts: &mut Vec<Text>, text: Text) -> Result<(), Dropped> {
    let have: usize = texts.iter().map(|it| it.text.len()).sum();
    if have + text.text.len() > MOST.1 {
        return Err(Dropped::TooLarge("text"));
    }
    if texts.iter().all(|it| it.keyword != text.keyword) {
        texts.push(text);
    }
    Ok(())
}

/// The keyword and the text.
fn unfold(tag: [u8; 4], body: &[u8]) -> Result<(String, String), Dropped> {
    let malformed = || Dropped::Malformed("text");
    let (keyword, rest) = split_zero(body).ok_or_else(malformed)?;
    if !(1..80).contains(&keyword.len()) {
        return Err(malformed());
    }
    let text = match &tag {
        b"tEXt" => latin1(rest),
        b"zTXt" => latin1(&inflate(rest.strip_prefix(&[0]).ok_or_else(malformed)?)?),
        _ => {
            let (flags, rest) = rest.split_first_chunk::<2>().ok_or_else(malformed)?;
            let (_language, rest) = split_zero(rest).ok_or_else(malformed)?;
            let (_translated, rest) = split_zero(rest).ok_or_else(malformed)?;
            let bytes = match flags {
                [0, _] => rest.to_vec(),
                [1, 0] => inflate(rest)?,
                _ => return Err(malformed()),
            };
            String::from_utf8(bytes).map_err(|_| malformed())?
        }
    };
    Ok((latin1(keyword), text))
}

fn inflate(compressed: &[u8]) -> Result<Vec<u8>, Dropped> {
    let mut text = Vec::new();
    // The longest that may be in a text chunk is an XMP packet.
    let limit = xmp::MOST as u64;
    let read = flate2::read::ZlibDecoder::new(compressed).take(limit + 1).read_to_end(&mut text);
    read.map_err(|_| Dropped::Malformed("text"))?;
    if text.len() as u64 > limit { Err(Dropped::TooLarge("text")) } else { Ok(text) }
}

fn split_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|it| *it == 0)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

pub(super) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&it| char::from(it)).collect()
}

impl Text {
    /// The corresponding XMP property and its value; `None` if there is none.
    pub(super) fn property(&self) -> Option<(Property, String)> {
        let text = self.text.clone();
        Some(match self.keyword.as_str() {
            "Title" => (Property::Title, text),
            "Author" => (Property::Creator, text),
            "Description" => (Property::Description, text),
            "Copyright" => (Property::Rights, text),
            "Creation Time" => (Property::Created, iso_date(&text).unwrap_or(text)),
            _ => return None,
        })
    }

    /// The PNG chunk: Latin-1 where possible, since more programs read it.
    pub(super) fn chunk(&self) -> ([u8; 4], Vec<u8>) {
        let plain: Option<Vec<u8>> =
            self.text.chars().map(|it| u8::try_from(u32::from(it)).ok()).collect();
        let keyword = self.keyword.chars().map(|it| it as u8);
        let mut body: Vec<u8> = keyword.chain([0]).collect();
        if let Some(plain) = plain {
            body.extend(plain);
            (*b"tEXt", body)
        } else {
            body.extend([0, 0, 0, 0]);
            body.extend(self.text.as_bytes());
            (*b"iTXt", body)
        }
    }
}

/// A date as ISO 8601, from ISO 8601 or RFC 1123, which PNG recommends.
fn iso_date(text: &str) -> Option<String> {
    let text = text.trim();
    let digits = |it: &str, count| it.len() == count && it.bytes().all(|it| it.is_ascii_digit());
    if digits(text.get(..4)?, 4) && matches!(text.as_bytes().get(4), Some(b'-' | b':')) {
        let day = text.get(..10)?.replace(':', "-");
        let rest = text.get(10..)?.trim_start_matches([' ', 'T']);
        return Some(if rest.is_empty() { day } else { format!("{day}T{rest}") });
    }
    let words: Vec<&str> = text.split_once(", ").map_or(text, |it| it.1).split(' ').collect();
    let &[day, month, year, time, zone] = words.as_slice() else { return None };
    let months =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|it| *it == month)? + 1;
    let day: u8 = day.parse().ok()?;
    let zone = match zone {
        "GMT" | "UT" | "UTC" | "Z" => "Z".to_owned(),
        it if digits(it.get(1..)?, 4) => format!("{}:{}", &it[..3], &it[3..]),
        _ => return None,
    };
    digits(year, 4).then(|| format!("{year}-{month:02}-{day:02}T{time}{zone}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_png_become_those_of_xmp() {
        for (from, to) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some("1994-11-06T08:49:37Z")),
            ("6 Nov 1994 08:49:37 +0200", Some("1994-11-06T08:49:37+02:00")),
            ("2024:05:01 10:20:30", Some("2024-05-01T10:20:30")),
            ("2024-05-01", Some("2024-05-01")),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(iso_date(from).as_deref(), to, "{from}");
        }
    }
}

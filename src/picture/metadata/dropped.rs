//! Metadata that is dropped, and its description in warnings.

use std::fmt;

use crate::picture::format::FileFormat;

/// Metadata that the output will lack.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dropped {
    /// GPS position.
    Position,
    /// Thumbnails of the input.
    Thumbnail,
    /// Maker notes of a camera.
    MakerNotes,
    /// Prompts and settings of another image generator.
    OtherPrompt,
    /// A C2PA manifest, whose signature an edit invalidates.
    Credentials,
    /// Data that spans or references other parts of the file: gain maps, depth maps, motion photos.
    Attached,
    /// A PNG text that has no counterpart in the output format, by its keyword.
    Text(String),
    /// Color information that the output format can't store.
    Color {
        /// The PNG chunk.
        chunk: String,
        /// The output's format.
        format: FileFormat,
    },
    /// Larger than the read limit, or than the output format allows.
    TooLarge(&'static str),
    /// Malformed data.
    Malformed(&'static str),
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Position => f.write_str("where it was taken (GPS)"),
            Self::Thumbnail => f.write_str("its thumbnail"),
            Self::MakerNotes => f.write_str("the camera maker's notes"),
            Self::OtherPrompt => f.write_str("another program's prompt or settings"),
            Self::Credentials => {
                f.write_str("its Content Credentials (C2PA), whose signature is no longer valid")
            }
            Self::Attached => f.write_str("its auxiliary data (gain map, depth map, motion photo)"),
            Self::Text(keyword) => write!(f, "the text `{keyword}`"),
            Self::Color { chunk, format } => {
                write!(f, "its color information ({chunk}), which {format} can't store: write PNG")
            }
            Self::TooLarge(what) => write!(f, "its {what}, which is too large"),
            Self::Malformed(what) => write!(f, "its {what}, which is damaged"),
        }
    }
}

/// Whether a text looks like an image generator's settings.
pub(super) fn is_prompt(text: &str) -> bool {
    let has = |words: [&str; 2]| words.iter().all(|it| text.contains(it));
    has(["Steps: ", "Seed: "])
        || has(["\"seed\"", "\"steps\""])
        || has(["\"class_type\"", "\"inputs\""])
        || (text.starts_with("workflow:") || text.starts_with("prompt:")) && text.contains('{')
}

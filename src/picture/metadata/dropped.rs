//! What of a file's metadata is not kept, in words.

use std::fmt;

use crate::picture::format::FileFormat;

/// Something that an output will lack.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dropped {
    /// Where the picture was taken.
    Position,
    /// A small picture of the input.
    Thumbnail,
    /// A camera's own notes.
    MakerNotes,
    /// How another program made the input.
    OtherPrompt,
    /// A C2PA manifest, whose signature an edit breaks.
    Credentials,
    /// What is split over several parts of the file, or points to others: gain maps, depth, motion.
    Attached,
    /// A text of a PNG that has no place in another format, by its keyword.
    Text(String),
    /// What a format has no place for.
    Color {
        /// The PNG chunk.
        chunk: String,
        /// The output's format.
        format: FileFormat,
    },
    /// More than is read, or than the output's format takes.
    TooLarge(&'static str),
    /// What is no such data.
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
                f.write_str("its Content Credentials (C2PA), whose signature holds no longer")
            }
            Self::Attached => f.write_str("what is attached to it (gain map, depth, motion)"),
            Self::Text(keyword) => write!(f, "the text `{keyword}`"),
            Self::Color { chunk, format } => write!(
                f,
                "what its colors mean ({chunk}), which a {format} has no place for: write a PNG"
            ),
            Self::TooLarge(what) => write!(f, "its {what}, which is too large"),
            Self::Malformed(what) => write!(f, "its {what}, which is damaged"),
        }
    }
}

/// Whether a text reads like the settings of a diffusion model.
pub(super) fn is_prompt(text: &str) -> bool {
    let has = |words: [&str; 2]| words.iter().all(|it| text.contains(it));
    has(["Steps: ", "Seed: "])
        || has(["\"seed\"", "\"steps\""])
        || has(["\"class_type\"", "\"inputs\""])
        || (text.starts_with("workflow:") || text.starts_with("prompt:")) && text.contains('{')
}

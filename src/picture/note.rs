//! Notes on a picture that was read: what its owner should hear of as a warning.

use std::{collections::BTreeSet, fmt};

use crate::picture::{metadata::dropped::Dropped, size::Size};

/// A warning about an accepted input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// 16-bit samples were rounded to 8 bits.
    SixteenBit,
    /// Of an animation only the first frame was read.
    Animated,
    /// The ICC profile is not for RGB and was dropped.
    ProfileDropped {
        /// The profile's color space, as the four-letter code of its header.
        space: String,
    },
    /// The file holds more coded data than the picture needs.
    SurplusData,
    /// HDR values were read as if they were sRGB.
    HighDynamicRange,
    /// Metadata that the output will lack.
    NotKept(BTreeSet<Dropped>),
    /// A mask of another size but the same aspect ratio was resized.
    MaskResized {
        /// The mask's own size.
        from: Size,
        /// The picture's size.
        to: Size,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::SixteenBit => f.write_str("16 bits a channel were rounded to 8"),
            Note::Animated => f.write_str("animated: only the first frame was read"),
            Note::ProfileDropped { space } => {
                write!(f, "the color profile is for {space}, not RGB, and was not kept")
            }
            Note::SurplusData => f.write_str(
                "it has surplus image data and may be damaged; check the picture",
            ),
            Note::HighDynamicRange => f.write_str(
                "it is HDR (PQ or HLG) but was read as sRGB, so its colors are wrong; convert it to sRGB first",
            ),
            Note::NotKept(dropped) => {
                let dropped: Vec<String> = dropped.iter().map(ToString::to_string).collect();
                write!(f, "not kept: {}", dropped.join("; "))
            }
            Note::MaskResized { from, to } => write!(f, "the mask was resized from {from} to {to}"),
        }
    }
}

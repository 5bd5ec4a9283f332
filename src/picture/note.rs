//! Notes on a picture that was read: what its owner should hear of as a warning.

use std::{collections::BTreeSet, fmt};

use crate::picture::{metadata::dropped::Dropped, size::Size};

/// Something that was accepted but that its owner should hear of, as a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// 16 bits a channel were rounded to the nearest of 8 bits.
    SixteenBit,
    /// Of several frames only the first was read.
    Animated,
    /// The color profile describes other channels than RGB, so it was not kept.
    ProfileDropped {
        /// The profile's color space, as the four letters of its header.
        space: String,
    },
    /// The file holds more coded data than its picture takes.
    SurplusData,
    /// Values of high dynamic range were read as if they were sRGB.
    HighDynamicRange,
    /// Parts of the metadata that the output will lack.
    NotKept(BTreeSet<Dropped>),
    /// A mask of another size but the same aspect was resized.
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
                "it holds more data than its picture takes: a part of it may be damaged, look at it",
            ),
            Note::HighDynamicRange => f.write_str(
                "its values are of high dynamic range (PQ or HLG) and were read as sRGB: convert it before, its colors are off",
            ),
            Note::NotKept(dropped) => {
                let dropped: Vec<String> = dropped.iter().map(ToString::to_string).collect();
                write!(f, "not kept: {}", dropped.join("; "))
            }
            Note::MaskResized { from, to } => write!(f, "the mask was resized from {from} to {to}"),
        }
    }
}

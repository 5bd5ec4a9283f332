//! What a file says beside its pixels: color, resolution, who made it and when; gathered, cleaned, and written again.
//!
//! An edit keeps what it does not make untrue. Gathering drops the rest, for every format in the same way: the orientation, which
//! was applied; sizes, which are put right; previews of the picture before the edit; the maker's notes, whose offsets would
//! point anywhere; where the picture was taken, which nobody expects in a file that they pass on; other programs' prompts, which
//! made another picture; and signatures of what the file was. What is malformed or huge is dropped, too, never fatal.

pub mod dropped;
mod exif;
pub(super) mod gather;
mod iptc;
pub(super) mod segments;
mod texts;
mod tree;
mod xmp;

use std::collections::BTreeSet;

use crate::picture::{
    format::FileFormat,
    metadata::{dropped::Dropped, texts::Text, xmp::Xmp},
    note::Note,
};

/// What of an input's metadata an output has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Policy {
    /// All that the edit does not make untrue, and how the picture was made.
    #[default]
    Keep,
    /// What the colors mean, and how the picture was made.
    Color,
    /// Nothing but that a trained model had a part in the picture.
    Strip,
}

/// What a file says beside its pixels, as far as it may go into another.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    /// What the colors of a PNG mean, beside a profile.
    color: Vec<ColorChunk>,
    density: Option<Density>,
    /// A TIFF structure.
    exif: Option<Vec<u8>>,
    xmp: Option<Xmp>,
    /// Data sets of the IPTC's older model.
    iptc: Option<Vec<u8>>,
    texts: Vec<Text>,
    dropped: BTreeSet<Dropped>,
}

/// A PNG chunk that says what the colors mean, as it stood in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ColorChunk {
    tag: [u8; 4],
    body: Vec<u8>,
}

/// Pixels an inch, across and down; or only their ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Density {
    across: f64,
    down: f64,
    is_per_inch: bool,
}

/// gAMA and cHRM of sRGB (PNG, 11.3.2), which say nothing that a file without them would not.
const SRGB_GAMMA: [u8; 4] = 45_455_u32.to_be_bytes();
const SRGB_PRIMARIES: [u32; 8] = [31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000];

impl Policy {
    /// The name that people type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Color => "color",
            Self::Strip => "strip",
        }
    }

    /// Whether the output says how it was made, and what its colors mean.
    pub(super) fn keeps_color(self) -> bool {
        self != Self::Strip
    }
}

impl Metadata {
    /// What a file of this format will lack of it, under this policy.
    pub fn notes(&self, policy: Policy, format: FileFormat) -> Vec<Note> {
        let mut dropped: BTreeSet<Dropped> = BTreeSet::new();
        let credentials = self.dropped.iter().filter(|it| **it == Dropped::Credentials);
        dropped.extend(credentials.cloned());
        if policy.keeps_color() && format != FileFormat::Png {
            dropped.extend(
                self.color
                    .iter()
                    .filter(|it| !it.is_srgb())
                    .map(|it| Dropped::Color { chunk: it.name(), format }),
            );
        }
        if policy == Policy::Keep {
            dropped.extend(self.dropped.iter().cloned());
            dropped.extend(segments::unfit(self, format));
        }
        if dropped.is_empty() { vec![] } else { vec![Note::NotKept(dropped)] }
    }

    /// Whether the values are of high dynamic range (cICP with PQ or HLG), which are read as if they were sRGB.
    pub(super) fn is_hdr(&self) -> bool {
        let is_hdr = |it: &ColorChunk| it.tag == *b"cICP" && matches!(it.body[1], 16 | 18);
        self.color.iter().any(is_hdr)
    }
}

impl ColorChunk {
    fn name(&self) -> String {
        String::from_utf8_lossy(&self.tag).into_owned()
    }

    /// Whether it says what holds without it.
    fn is_srgb(&self) -> bool {
        match &self.tag {
            b"sRGB" => true,
            b"gAMA" => self.body == SRGB_GAMMA,
            b"cHRM" => {
                let (values, _) = self.body.as_chunks::<4>();
                values.iter().map(|it| u32::from_be_bytes(*it)).eq(SRGB_PRIMARIES)
            }
            // Primaries of BT.709 under sRGB's curve.
            b"cICP" => self.body.starts_with(&[1, 13]),
            _ => false,
        }
    }
}

//! Image metadata: color, resolution, authorship, dates; collected from the input, cleaned, and written to the output.
//!
//! An edit keeps whatever stays true. Dropped, for every format alike, are: the orientation (applied to the pixels);
//! thumbnails; maker notes, whose offsets would be wrong; the GPS position, for privacy; other programs' prompts; and
//! C2PA signatures. Dimensions are corrected. Malformed or oversized metadata is dropped too, never an error.

pub mod dropped;
mod exif;
pub(super) mod gather;
mod iptc;
pub(super) mod segments;
mod texts;
mod tree;
mod xmp;

use std::collections::BTreeSet;

use crate::choice::choices;
use crate::picture::{
    format::FileFormat,
    metadata::{dropped::Dropped, texts::Text, xmp::Xmp},
    note::Note,
};

choices! {
    /// Which metadata an output gets.
    pub enum Policy {
        /// All that the edit does not make untrue, and how the picture was made; no position (GPS), thumbnail or
        /// foreign prompt.
        Keep = "keep",
        /// What the colors mean, and how the picture was made.
        Color = "color",
        /// Nothing of either.
        ///
        /// Only the mark that the picture was made with a trained model.
        Strip = "strip",
    }
}

/// Metadata of an input, filtered to what an output may have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    /// Color chunks of a PNG other than an ICC profile.
    color: Vec<ColorChunk>,
    density: Option<Density>,
    /// EXIF as a TIFF structure.
    exif: Option<Vec<u8>>,
    xmp: Option<Xmp>,
    /// IPTC-IIM data sets.
    iptc: Option<Vec<u8>>,
    texts: Vec<Text>,
    dropped: BTreeSet<Dropped>,
}

/// A PNG color chunk, as stored in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ColorChunk {
    tag: [u8; 4],
    body: Vec<u8>,
}

/// Resolution in pixels per inch, horizontal and vertical, or only the pixel aspect ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Density {
    across: f64,
    down: f64,
    is_per_inch: bool,
}

/// gAMA and cHRM of sRGB (PNG, 11.3.2), which are the default and can be left out.
const SRGB_GAMMA: [u8; 4] = 45_455_u32.to_be_bytes();
const SRGB_PRIMARIES: [u32; 8] = [31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000];

impl Policy {
    /// Whether the output gets its settings and color information.
    pub(super) fn keeps_color(self) -> bool {
        self != Self::Strip
    }
}

impl Metadata {
    /// Warnings for metadata that a file of this format will lack under this policy.
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

    /// Whether the values are HDR (cICP with PQ or HLG), which are read as if they were sRGB.
    pub(super) fn is_hdr(&self) -> bool {
        let is_hdr = |it: &ColorChunk| it.tag == *b"cICP" && matches!(it.body[1], 16 | 18);
        self.color.iter().any(is_hdr)
    }
}

impl ColorChunk {
    fn name(&self) -> String {
        String::from_utf8_lossy(&self.tag).into_owned()
    }

    /// Whether the chunk states the default, sRGB.
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

//! Image files: reading and writing under limits, EXIF orientation, ICC profiles, resizing, masks, metadata.
//!
//! A file becomes a [`Picture`]: orientation applied, 8 bits per channel, RGB with separate alpha. Nothing here depends
//! on tensors or models; [`size`] and [`resample`] resize to a model's size exactly as Pillow does, so that outputs
//! recorded from diffusers can be compared.

pub mod boxes;
pub mod container;
pub mod decode;
pub mod distance;
pub mod encode;
pub mod error;
pub mod grid;
pub mod guided_filter;
mod jpeg;
pub mod mask;
pub mod metadata;
pub mod painted;
pub mod resample;
pub mod settings;
pub mod signature;
pub mod size;
pub mod write;

use std::{collections::BTreeSet, fmt, path::Path, str::FromStr, sync::Arc};

use image::{GrayImage, RgbImage};

use crate::picture::{error::PictureError, metadata::dropped::Dropped, size::Size};

/// A still image with its orientation applied, with everything that an edit preserves.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// RGB, 8 bits per channel, in the color space of [`Picture::icc`] (sRGB if there is none).
    pub rgb: Arc<RgbImage>,
    /// Alpha channel of the same size, not premultiplied; `None` if the file had none.
    pub alpha: Option<Arc<GrayImage>>,
    /// ICC profile of the RGB values, as stored in the file.
    pub icc: Option<Arc<[u8]>>,
}

impl Picture {
    /// An opaque sRGB picture.
    pub fn opaque(rgb: RgbImage) -> Picture {
        Picture { rgb: Arc::new(rgb), alpha: None, icc: None }
    }

    /// Width and height in pixels.
    pub fn size(&self) -> Size {
        Size { width: self.rgb.width(), height: self.rgb.height() }
    }

    /// Whether any pixel is not fully opaque.
    pub fn is_transparent(&self) -> bool {
        self.alpha.as_ref().is_some_and(|alpha| alpha.as_raw().iter().any(|&it| it < u8::MAX))
    }
}

/// Supported file formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileFormat {
    /// Portable Network Graphics, lossless.
    Png,
    /// Baseline JPEG, lossy.
    Jpeg,
    /// WebP: lossy and lossless are read, lossless is written.
    WebP,
}

impl FileFormat {
    /// The format of a file name's extension.
    ///
    /// # Errors
    /// [`PictureError::UnknownFormat`] if the extension is missing or of another format.
    pub fn of_path(path: &Path) -> Result<FileFormat, PictureError> {
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        extension
            .parse()
            .map_err(|_| PictureError::UnknownFormat { name: path.display().to_string() })
    }
}

impl FromStr for FileFormat {
    type Err = PictureError;

    fn from_str(name: &str) -> Result<FileFormat, PictureError> {
        match name.to_ascii_lowercase().as_str() {
            "png" => Ok(FileFormat::Png),
            "jpg" | "jpeg" => Ok(FileFormat::Jpeg),
            "webp" => Ok(FileFormat::WebP),
            _ => Err(PictureError::UnknownFormat { name: name.to_owned() }),
        }
    }
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileFormat::Png => "PNG",
            FileFormat::Jpeg => "JPEG",
            FileFormat::WebP => "WebP",
        })
    }
}

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

//! Image files: reading and writing under limits, EXIF orientation, ICC profiles, resizing, masks, metadata.
//!
//! A file becomes a [`Picture`]: orientation applied, 8 bits per channel, RGB with separate alpha. Nothing here depends
//! on tensors or models; [`size`] and [`resample`] resize to a model's size exactly as Pillow does, so that outputs
//! recorded from diffusers can be compared.

pub mod align;
pub mod blend;
pub mod boxes;
pub mod color_names;
pub mod container;
pub mod decode;
pub mod distance;
pub mod encode;
pub mod error;
pub mod format;
pub mod frame;
pub mod grid;
pub mod guided_filter;
mod jpeg;
pub mod mask;
pub mod metadata;
pub mod note;
pub mod painted;
mod planes;
pub mod resample;
pub mod settings;
pub mod signature;
pub mod size;
pub mod tones;
pub mod write;

use std::sync::Arc;

use image::{GrayImage, RgbImage};

use crate::picture::size::Size;

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

//! Image files in and out: limits, orientation, color profiles, sizes, masks, metadata.
//!
//! A file becomes a [`Picture`] as a person sees it: upright, 8 bits a channel, RGB beside its alpha. Nothing here knows
//! tensors or models; [`size`] and [`resample`] bring a picture to a model's size as Pillow would, so that recorded
//! figures of diffusers hold.

pub mod boxes;
pub mod container;
pub mod decode;
pub mod distance;
pub mod encode;
pub mod error;
pub mod format;
pub mod grid;
pub mod guided_filter;
mod jpeg;
pub mod mask;
pub mod metadata;
pub mod note;
pub mod painted;
pub mod resample;
pub mod settings;
pub mod signature;
pub mod size;
pub mod write;

use std::sync::Arc;

use image::{GrayImage, RgbImage};

use crate::picture::size::Size;

/// A still picture, upright, with all that has to survive an edit.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// The colors, 8 bits a channel, in the space of [`Picture::icc`] (sRGB if there is none).
    pub rgb: Arc<RgbImage>,
    /// The alpha channel, of the same size, not premultiplied; `None` if the file had none.
    pub alpha: Option<Arc<GrayImage>>,
    /// The ICC profile of the RGB values, as it stood in the file.
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

    /// Whether any pixel lets something through.
    pub fn is_transparent(&self) -> bool {
        self.alpha.as_ref().is_some_and(|alpha| alpha.as_raw().iter().any(|&it| it < u8::MAX))
    }
}

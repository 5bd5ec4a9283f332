//! Reading and writing of image files, and what is refused.

mod boxes;
mod decode;
mod encode;
mod mask;
mod metadata;
mod painted;
mod resize;
mod whole;
mod write;

use std::{fs, path::Path};

use image::RgbImage;
use retouch::picture::{
    decode::{Decoded, InputLimits, decode},
    error::PictureError,
};

/// A recorded file (tests/record/picture.py).
fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/picture");
    fs::read(folder.join(name)).unwrap()
}

fn read(bytes: &[u8]) -> Result<Decoded, PictureError> {
    decode("it", bytes, InputLimits::default())
}

/// The message of a fault, without its sources.
fn fault<T: std::fmt::Debug>(result: Result<T, PictureError>) -> String {
    let message = result.unwrap_err().to_string();
    assert!(!message.contains('\n') && !message.ends_with('.'), "{message}");
    message
}

/// A picture in which every pixel differs from its neighbors.
fn scene(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * 5) as u8, (y * 7) as u8, ((x * 31) ^ (y * 17)) as u8])
    })
}

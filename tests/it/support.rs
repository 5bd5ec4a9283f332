//! What several tests need: fixtures, recorded tensors, measures of likeness.

use std::path::{Path, PathBuf};

use image::RgbImage;
use retouch::{
    models::snapshot::Snapshot,
    pipelines::{instruct_pix2pix::InstructPix2PixPipeline, load},
};
use tch::{Device, Kind, Tensor};

/// `tests/fixtures`.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Tensors that a script recorded.
pub(crate) struct Recorded(Vec<(String, Tensor)>);

impl Recorded {
    pub(crate) fn open(path: &Path) -> Self {
        let tensors = Tensor::read_safetensors(path);
        Self(tensors.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    pub(crate) fn tensor(&self, name: &str) -> Tensor {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.unwrap_or_else(|| panic!("`{name}` was not recorded")).1.shallow_clone()
    }

    /// A picture recorded as (H, W, 3) bytes.
    pub(crate) fn picture(&self, name: &str) -> RgbImage {
        let pixels = self.tensor(name);
        let size = pixels.size();
        let bytes = Vec::<u8>::try_from(pixels.contiguous().view(-1)).unwrap();
        RgbImage::from_raw(size[1] as u32, size[0] as u32, bytes).unwrap()
    }
}

/// Largest difference over the largest value of the reference.
pub(crate) fn relative_error(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size());
    let (found, expected) = (found.to_kind(Kind::Double), expected.to_kind(Kind::Double));
    (&found - &expected).abs().max().double_value(&[]) / expected.abs().max().double_value(&[])
}

/// Peak signal-to-noise ratio in dB; infinite for equal pictures.
pub(crate) fn psnr(found: &RgbImage, expected: &RgbImage) -> f64 {
    assert_eq!(found.dimensions(), expected.dimensions());
    let squares = found
        .as_raw()
        .iter()
        .zip(expected.as_raw())
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
    let mean = squares.sum::<f64>() / found.as_raw().len() as f64;
    10.0 * (255.0f64.powi(2) / mean).log10()
}

/// A snapshot's networks, on the CPU.
pub(crate) fn load_pipeline(path: &Path, kind: Kind) -> InstructPix2PixPipeline {
    load::load(&Snapshot::open(path).unwrap(), kind, Device::Cpu).unwrap()
}

//! Cache of VAE-encoded pictures by digest: both passes of an edit, and further edits of one picture, share one
//! encoding.

use std::cell::RefCell;

use image::RgbImage;
use quick_cache::{Weighter, unsync::Cache};
use sha2::{Digest, Sha256};
use tch::Tensor;

/// Capacity in bytes on the model's device: 512 pictures of 512×512 pixels in 16 bits.
const CAPACITY: u64 = 16 << 20;

/// Cached latents; the least used are evicted first.
#[derive(Debug)]
pub struct EncodedImages(RefCell<Cache<[u8; 32], Tensor, Bytes>>);

/// Weighs an entry by its bytes.
#[derive(Debug, Clone, Copy)]
struct Bytes;

impl Default for EncodedImages {
    fn default() -> Self {
        Self::bounded(CAPACITY)
    }
}

impl EncodedImages {
    /// An empty cache of at most `capacity` bytes.
    pub fn bounded(capacity: u64) -> Self {
        // How many they may be is a hint about the size of the store's own table.
        let items = (capacity >> 15) as usize;
        Self(RefCell::new(Cache::with_weighter(items, capacity, Bytes)))
    }

    /// The latents of a picture, encoded on a cache miss. Callers must not change them in place.
    pub fn get_or_encode(&self, image: &RgbImage, encode: impl FnOnce() -> Tensor) -> Tensor {
        let digest = digest(image);
        if let Some(latents) = self.0.borrow().get(&digest) {
            return latents.shallow_clone();
        }
        let latents = encode();
        self.0.borrow_mut().insert(digest, latents.shallow_clone());
        latents
    }

    /// Bytes in the cache.
    pub fn bytes(&self) -> u64 {
        self.0.borrow().weight()
    }
}

impl Weighter<[u8; 32], Tensor> for Bytes {
    fn weight(&self, _digest: &[u8; 32], latents: &Tensor) -> u64 {
        (latents.numel() * latents.kind().elt_size_in_bytes()) as u64
    }
}

fn digest(image: &RgbImage) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(image.width().to_le_bytes());
    hasher.update(image.as_raw());
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tch::{Device, Kind};

    use super::*;

    /// 1 KiB of latents, counted.
    fn encode(calls: &Cell<u32>) -> Tensor {
        calls.set(calls.get() + 1);
        Tensor::ones([1, 4, 8, 8], (Kind::Float, Device::Cpu)) * f64::from(calls.get())
    }

    fn picture(width: u32, height: u32, value: u8) -> RgbImage {
        RgbImage::from_pixel(width, height, image::Rgb([value; 3]))
    }

    #[test]
    fn a_picture_is_encoded_once_and_others_are_not_taken_for_it() {
        let (kept, calls) = (EncodedImages::default(), Cell::new(0));
        let first = kept.get_or_encode(&picture(8, 16, 1), || encode(&calls));
        let again = kept.get_or_encode(&picture(8, 16, 1), || encode(&calls));
        assert_eq!((calls.get(), &first), (1, &again));
        // Another pixel, and the same bytes in another shape.
        let _ = kept.get_or_encode(&picture(8, 16, 2), || encode(&calls));
        let _ = kept.get_or_encode(&picture(16, 8, 1), || encode(&calls));
        assert_eq!(calls.get(), 3);
    }

    #[test]
    fn no_more_than_the_bound_is_kept() {
        let (kept, calls) = (EncodedImages::bounded(8 << 10), Cell::new(0));
        for value in 0..100 {
            let _ = kept.get_or_encode(&picture(8, 8, value), || encode(&calls));
            assert!(kept.bytes() <= 8 << 10, "{}", kept.bytes());
        }
        assert!(kept.bytes() >= 4 << 10, "{}", kept.bytes());
    }
}

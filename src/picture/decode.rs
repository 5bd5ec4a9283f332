//! Image decoding: from a file's bytes to a [`Picture`], with limits that are checked before any pixel is decoded.

use std::{
    fs::File,
    io::{self, Cursor, Read},
    path::Path,
    sync::Arc,
};

use image::{
    DynamicImage, GrayImage, ImageDecoder, ImageError, ImageResult, RgbImage,
    codecs::{jpeg::JpegDecoder, png::PngDecoder, webp::WebPDecoder},
    metadata::Orientation,
};

use crate::picture::{
    Picture,
    container::{self, segment},
    error::PictureError,
    format::FileFormat,
    jpeg::{self, incomplete::Incomplete},
    metadata::{Metadata, gather::gather},
    note::Note,
    signature,
    size::Size,
};

/// Minimum side in pixels: two latent cells of Stable Diffusion's VAE, below which nothing can be localized.
pub const MIN_SIDE: u32 = 16;

/// Maximum aspect ratio, longer side to shorter side.
pub const MAX_ASPECT: u32 = 8;

/// Maximum decompressed bytes of a PNG's text and profile chunks.
const MAX_PNG_ANCILLARY: u64 = 64 << 20;

/// Maximum number of scans of a progressive JPEG; encoders write about ten, and decoding visits the whole picture for
/// each.
const MAX_SCANS: usize = 100;

/// Limits on input files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputLimits {
    /// Maximum file size in bytes.
    pub bytes: u64,
    /// Maximum width × height in pixels.
    pub pixels: u64,
}

impl Default for InputLimits {
    /// 67 megapixels (8192×8192; today's largest full-frame cameras have 61), and as many bytes as these take
    /// uncompressed with alpha.
    fn default() -> InputLimits {
        InputLimits { bytes: 256 << 20, pixels: 64 << 20 }
    }
}

/// A decoded picture, with its metadata and warnings.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The picture, with the EXIF orientation applied.
    pub picture: Picture,
    /// The file format, identified by content, not by name.
    pub format: FileFormat,
    /// Metadata.
    pub metadata: Metadata,
    /// Warnings.
    pub notes: Vec<Note>,
}

/// Reads a picture from a file.
///
/// # Errors
/// [`PictureError::Read`], or any error of [`decode`].
pub fn read(path: &Path, limits: InputLimits) -> Result<Decoded, PictureError> {
    let name = path.display().to_string();
    let failed = |source| PictureError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let bytes = match read_bytes(&name, file, limits) {
        Err(PictureError::ReadStream { source, .. }) => return Err(failed(source)),
        bytes => bytes?,
    };
    decode(&name, &bytes, limits)
}

/// Reads a stream to its end; `limits.bytes` bounds its length.
///
/// # Errors
/// [`PictureError::ReadStream`], [`PictureError::TooManyBytes`].
pub fn read_bytes(
    name: &str,
    from: impl Read,
    limits: InputLimits,
) -> Result<Vec<u8>, PictureError> {
    let mut bytes = Vec::new();
    let failed = |source: io::Error| PictureError::ReadStream { name: name.to_owned(), source };
    from.take(limits.bytes + 1).read_to_end(&mut bytes).map_err(failed)?;
    check_bytes(name, &bytes, limits)?;
    Ok(bytes)
}

/// Decodes a PNG, JPEG or WebP file.
///
/// Gray and palette images become RGB, 16-bit samples are rounded to 8 bits (`round(x / 257)`), the EXIF orientation is
/// applied, alpha is kept separately, and of an animation the first frame is taken. `name` is the file's name in
/// errors.
///
/// # Errors
/// The variants of [`PictureError`] under "Reading".
pub fn decode(name: &str, bytes: &[u8], limits: InputLimits) -> Result<Decoded, PictureError> {
    // 1. What is it, and is all of it there?
    check_bytes(name, bytes, limits)?;
    let format = signature::identify(name, bytes)?;
    let orientation = survey(name, format, bytes)?;

    // 2. The header: is it of a size that is worth decoding?
    let damaged = |source: ImageError| PictureError::Damaged {
        name: name.to_owned(),
        format,
        source: Box::new(source),
    };
    let mut notes = Vec::new();
    let mut decoder = open(format, bytes, &mut notes).map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    check_size(name, Size { width, height }, limits)?;
    if format == FileFormat::Jpeg {
        let incomplete = |Incomplete| PictureError::Incomplete { name: name.to_owned(), format };
        let has_surplus = jpeg::check(bytes).map_err(incomplete)?;
        notes.extend(has_surplus.then_some(Note::SurplusData));
    }
    let icc = decoder.icc_profile().map_err(damaged)?.and_then(|icc| rgb_profile(icc, &mut notes));

    // 3. The pixels.
    let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    image.apply_orientation(orientation);
    let color = image.color();
    if color.bytes_per_pixel() / color.channel_count() > 1 {
        notes.push(Note::SixteenBit);
    }
    let (rgb, alpha) = split_alpha(image);
    let picture = Picture { rgb: Arc::new(rgb), alpha: alpha.map(Arc::new), icc };

    // 4. What it says beside them.
    let metadata = gather(format, bytes, picture.size(), turns(orientation));
    notes.extend(metadata.is_hdr().then_some(Note::HighDynamicRange));
    Ok(Decoded { picture, format, metadata, notes })
}

/// Whether an orientation swaps width and height.
fn turns(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

/// Splits an image into RGB and its alpha channel, if any.
fn split_alpha(image: DynamicImage) -> (RgbImage, Option<GrayImage>) {
    if !image.color().has_alpha() {
        return (image.into_rgb8(), None);
    }
    let rgba = image.into_rgba8();
    let alpha = rgba.pixels().map(|it| it.0[3]).collect();
    let alpha = GrayImage::from_raw(rgba.width(), rgba.height(), alpha);
    let alpha = alpha.expect("there is one alpha a pixel");
    (DynamicImage::ImageRgba8(rgba).into_rgb8(), Some(alpha))
}

/// Checks that a file is complete and not of a kind that decoders would misread; returns its orientation.
fn survey(name: &str, format: FileFormat, bytes: &[u8]) -> Result<Orientation, PictureError> {
    let mut orientation = None;
    let mut scans = 0;
    for part in container::parts(format, bytes) {
        let part = part.map_err(|_| PictureError::Truncated { name: name.to_owned(), format })?;
        orientation = orientation
            .or_else(|| container::exif(format, &part).and_then(Orientation::from_exif_chunk));
        if format == FileFormat::Jpeg {
            // A frame: precision, height, width, then the number of components.
            if segment::is_frame(part.tag) && part.body.get(5) == Some(&4) {
                return Err(PictureError::Cmyk { name: name.to_owned() });
            }
            scans += usize::from(part.tag == segment::SOS);
            if scans > MAX_SCANS {
                return Err(PictureError::TooManyScans { name: name.to_owned(), limit: MAX_SCANS });
            }
        }
    }
    Ok(orientation.unwrap_or(Orientation::NoTransforms))
}

/// Reads a file's header.
fn open<'a>(
    format: FileFormat,
    bytes: &'a [u8],
    notes: &mut Vec<Note>,
) -> ImageResult<Box<dyn ImageDecoder + 'a>> {
    let reader = Cursor::new(bytes);
    Ok(match format {
        FileFormat::Png => {
            let mut limits = image::Limits::default();
            limits.max_alloc = Some(MAX_PNG_ANCILLARY);
            let decoder = PngDecoder::with_limits(reader, limits)?;
            notes.extend(decoder.is_apng()?.then_some(Note::Animated));
            Box::new(decoder)
        }
        FileFormat::Jpeg => Box::new(JpegDecoder::new(reader)?),
        FileFormat::WebP => {
            let decoder = WebPDecoder::new(reader)?;
            notes.extend(decoder.has_animation().then_some(Note::Animated));
            Box::new(decoder)
        }
    })
}

fn check_bytes(name: &str, bytes: &[u8], limits: InputLimits) -> Result<(), PictureError> {
    if bytes.len() as u64 > limits.bytes {
        return Err(PictureError::TooManyBytes { name: name.to_owned(), limit: limits.bytes });
    }
    Ok(())
}

fn check_size(name: &str, size: Size, limits: InputLimits) -> Result<(), PictureError> {
    let name = name.to_owned();
    let (shorter, longer) = (size.width.min(size.height), size.width.max(size.height));
    if size.pixels() > limits.pixels {
        return Err(PictureError::TooManyPixels { name, size, limit: limits.pixels });
    }
    if shorter < MIN_SIDE {
        return Err(PictureError::TooSmall { name, size, limit: MIN_SIDE });
    }
    if u64::from(longer) > u64::from(shorter) * u64::from(MAX_ASPECT) {
        return Err(PictureError::TooElongated { name, size, limit: MAX_ASPECT });
    }
    Ok(())
}

/// The ICC profile if it describes RGB: a gray profile, for example, must not be attached to an RGB output.
fn rgb_profile(icc: Vec<u8>, notes: &mut Vec<Note>) -> Option<Arc<[u8]>> {
    let space = icc.get(16..20).unwrap_or(b"none"); // the header's color space field (ICC.1:2022, 7.2)
    if space == b"RGB " {
        return Some(icc.into());
    }
    let space = String::from_utf8_lossy(space).trim().to_owned();
    notes.push(Note::ProfileDropped { space });
    None
}

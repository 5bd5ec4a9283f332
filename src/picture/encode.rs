//! Image encoding: from a [`Picture`] to a file's bytes, with ICC profile, alpha and metadata.

use std::{borrow::Cow, error::Error};

use image::{
    DynamicImage, ExtendedColorType, ImageEncoder, RgbImage, RgbaImage,
    codecs::jpeg::{JpegEncoder, PixelDensity, PixelDensityUnit},
};

use crate::picture::{
    Picture,
    container::{self, segment},
    error::PictureError,
    format::FileFormat,
    metadata::{
        Metadata, Policy,
        segments::{self, JpegParts, PngChunk, WebPParts},
    },
};

/// JPEG quality, `1..=100` on libjpeg's scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quality(u8);

impl Quality {
    /// The quality as a number.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl Default for Quality {
    /// 95, the highest that Pillow's documentation recommends, to keep generation loss of an already compressed input
    /// low.
    fn default() -> Quality {
        Quality(95)
    }
}

impl TryFrom<u32> for Quality {
    type Error = PictureError;

    fn try_from(found: u32) -> Result<Quality, PictureError> {
        match u8::try_from(found) {
            Ok(it @ 1..=100) => Ok(Quality(it)),
            _ => Err(PictureError::QualityOutOfRange { found }),
        }
    }
}

/// Output format, with its encoder settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// Lossless, 8 bits a channel.
    Png,
    /// Lossy, without alpha.
    Jpeg(Quality),
    /// Lossless WebP.
    WebP,
}

impl OutputFormat {
    /// The output format for a file format and an optional quality.
    ///
    /// # Errors
    /// [`PictureError::QualityOfLossless`] if a quality is given for a lossless format.
    pub fn new(format: FileFormat, quality: Option<Quality>) -> Result<OutputFormat, PictureError> {
        match (format, quality) {
            (FileFormat::Jpeg, quality) => Ok(OutputFormat::Jpeg(quality.unwrap_or_default())),
            (_, Some(_)) => Err(PictureError::QualityOfLossless { format }),
            (FileFormat::Png, None) => Ok(OutputFormat::Png),
            (FileFormat::WebP, None) => Ok(OutputFormat::WebP),
        }
    }

    /// The format of the file.
    pub fn file_format(self) -> FileFormat {
        match self {
            OutputFormat::Png => FileFormat::Png,
            OutputFormat::Jpeg(_) => FileFormat::Jpeg,
            OutputFormat::WebP => FileFormat::WebP,
        }
    }

    /// Whether the format is lossy.
    pub fn is_lossy(self) -> bool {
        matches!(self, OutputFormat::Jpeg(_))
    }
}

/// Checks before the edit that a picture can be stored in a format.
///
/// # Errors
/// [`PictureError::TransparentJpeg`]; [`PictureError::Encode`] if a side exceeds the format's maximum.
pub fn check(picture: &Picture, format: OutputFormat) -> Result<(), PictureError> {
    let (format, longest) = match format {
        OutputFormat::Png => return Ok(()),
        OutputFormat::Jpeg(_) if picture.is_transparent() => {
            return Err(PictureError::TransparentJpeg);
        }
        OutputFormat::Jpeg(_) => (FileFormat::Jpeg, MAX_JPEG_SIDE),
        OutputFormat::WebP => (FileFormat::WebP, MAX_WEBP_SIDE),
    };
    let size = picture.size();
    if size.width.max(size.height) <= longest {
        return Ok(());
    }
    let source = format!("it takes at most {longest} pixels a side").into();
    Err(PictureError::Encode { format, size, source })
}

/// Metadata of an output file.
#[derive(Debug, Clone, Copy)]
pub struct Tags<'a> {
    /// How the picture was made, as JSON, stored where [`settings`](crate::picture::settings) says.
    pub record: &'a str,
    /// The input's metadata.
    pub metadata: &'a Metadata,
    /// Which of both is written.
    pub policy: Policy,
}

/// Encodes a picture with metadata.
///
/// JPEG has no alpha: a fully opaque alpha channel is left out, but transparent pixels are an error, since there is no
/// right background color to replace them.
///
/// # Errors
/// [`PictureError::TransparentJpeg`], [`PictureError::SettingsTooLong`], [`PictureError::Encode`].
pub fn encode(
    picture: &Picture,
    format: OutputFormat,
    tags: &Tags<'_>,
) -> Result<Vec<u8>, PictureError> {
    let failed = |source| PictureError::Encode {
        format: format.file_format(),
        size: picture.size(),
        source,
    };
    let Tags { record, metadata, policy } = *tags;
    let icc = picture.icc.as_deref().filter(|_| policy.keeps_color());
    match format {
        OutputFormat::Png => {
            encode_png(picture, icc, segments::png(metadata, policy, record)).map_err(failed)
        }
        OutputFormat::Jpeg(_) if picture.is_transparent() => Err(PictureError::TransparentJpeg),
        OutputFormat::Jpeg(quality) => {
            let parts = segments::jpeg(metadata, policy, record).map_err(|bytes| {
                let limit = segments::JPEG_PACKET;
                PictureError::SettingsTooLong { format: FileFormat::Jpeg, bytes, limit }
            })?;
            encode_jpeg(picture, icc, quality, &parts).map_err(failed)
        }
        OutputFormat::WebP => {
            encode_webp(picture, icc, segments::webp(metadata, policy, record)).map_err(failed)
        }
    }
}

/// Maximum side in pixels.
const MAX_JPEG_SIDE: u32 = 65_535;
/// Maximum side in pixels.
const MAX_WEBP_SIDE: u32 = 16_384;

type Encoded = Result<Vec<u8>, Box<dyn Error + Send + Sync>>;

fn encode_png(picture: &Picture, icc: Option<&[u8]>, chunks: Vec<PngChunk>) -> Encoded {
    let (samples, has_alpha) = samples(picture);
    let size = picture.size();
    let mut info = png::Info::with_size(size.width, size.height);
    info.color_type = if has_alpha { png::ColorType::Rgba } else { png::ColorType::Rgb };
    info.bit_depth = png::BitDepth::Eight;
    info.icc_profile = icc.map(Cow::Borrowed);
    let mut bytes = Vec::new();
    let mut writer = png::Encoder::with_info(&mut bytes, info)?.write_header()?;
    for (tag, body) in chunks {
        writer.write_chunk(png::chunk::ChunkType(tag), &body)?;
    }
    writer.write_image_data(&samples)?;
    writer.finish()?;
    Ok(bytes)
}

fn encode_jpeg(
    picture: &Picture,
    icc: Option<&[u8]>,
    quality: Quality,
    parts: &JpegParts,
) -> Encoded {
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, quality.get());
    if let Some(icc) = icc {
        encoder.set_icc_profile(icc.to_vec())?;
    }
    if let Some((is_per_inch, across, down)) = parts.density {
        use PixelDensityUnit::{Inches, PixelAspectRatio};
        let unit = if is_per_inch { Inches } else { PixelAspectRatio };
        encoder.set_pixel_density(PixelDensity { density: (across, down), unit });
    }
    let rgb: &RgbImage = &picture.rgb;
    encoder.write_image(rgb.as_raw(), rgb.width(), rgb.height(), ExtendedColorType::Rgb8)?;
    insert_segments(&mut bytes, &parts.segments);
    Ok(bytes)
}

/// Inserts segments after the JFIF header, which must come first.
fn insert_segments(bytes: &mut Vec<u8>, segments: &[(u8, Vec<u8>)]) {
    let mut all = Vec::new();
    for (marker, body) in segments {
        let length = u16::try_from(body.len() + 2).expect("bodies fit into segments"); // it counts itself
        all.extend([0xFF, *marker]);
        all.extend(length.to_be_bytes());
        all.extend(body);
    }
    let at = container::parts(FileFormat::Jpeg, bytes)
        .find_map(|part| part.ok().filter(|it| it.tag == segment::APP0))
        .map_or(2, |header| header.end);
    bytes.splice(at..at, all);
}

fn encode_webp(picture: &Picture, icc: Option<&[u8]>, parts: WebPParts) -> Encoded {
    let (samples, has_alpha) = samples(picture);
    let size = picture.size();
    let mut bytes = Vec::new();
    let mut encoder = image_webp::WebPEncoder::new(&mut bytes);
    if let Some(icc) = icc {
        encoder.set_icc_profile(icc.to_vec());
    }
    if let Some(exif) = parts.exif {
        encoder.set_exif_metadata(exif);
    }
    encoder.set_xmp_metadata(parts.xmp);
    let color = if has_alpha { image_webp::ColorType::Rgba8 } else { image_webp::ColorType::Rgb8 };
    encoder.encode(&samples, size.width, size.height, color)?;
    Ok(bytes)
}

/// RGB or RGBA samples, and whether they include alpha.
fn samples(picture: &Picture) -> (Cow<'_, [u8]>, bool) {
    let Some(alpha) = &picture.alpha else {
        return (picture.rgb.as_raw().into(), false);
    };
    let mut rgba: RgbaImage = DynamicImage::ImageRgb8((*picture.rgb).clone()).into_rgba8();
    for (pixel, alpha) in rgba.pixels_mut().zip(alpha.as_raw()) {
        pixel.0[3] = *alpha;
    }
    (rgba.into_raw().into(), true)
}

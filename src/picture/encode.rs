//! From a [`Picture`] to the bytes of a file, with its profile, its alpha and the settings that made it.

use std::{borrow::Cow, error::Error};

use image::{
    DynamicImage, ExtendedColorType, ImageEncoder, RgbImage, RgbaImage, codecs::jpeg::JpegEncoder,
};

use crate::picture::{
    FileFormat, Picture,
    container::{self, segment},
    error::PictureError,
    settings,
};

/// A JPEG quality in `1..=100`, on libjpeg's scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quality(u8);

impl Quality {
    /// The number.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl Default for Quality {
    /// 95, the most that Pillow's documentation advises: an edit is a second generation and should not look like one.
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

/// What to write, with what only a lossy format needs.
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
    /// The output format for a file format and the quality that a person asked for, if any.
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

    /// Whether the pixels that are read back may differ from those written.
    pub fn is_lossy(self) -> bool {
        matches!(self, OutputFormat::Jpeg(_))
    }
}

/// Refuses a picture that a format can't hold, before the work on it.
///
/// # Errors
/// [`PictureError::TransparentJpeg`], [`PictureError::Encode`] for one that is too long.
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

/// Encodes a picture, with `settings` (a JSON text) in the file's metadata.
///
/// JPEG has no alpha: a wholly opaque alpha channel is left out, but transparent pixels are an error, since whatever color
/// took their place would be a guess.
///
/// # Errors
/// [`PictureError::TransparentJpeg`], [`PictureError::SettingsTooLong`], [`PictureError::Encode`].
pub fn encode(
    picture: &Picture,
    format: OutputFormat,
    settings: &str,
) -> Result<Vec<u8>, PictureError> {
    let failed = |source| PictureError::Encode {
        format: format.file_format(),
        size: picture.size(),
        source,
    };
    match format {
        OutputFormat::Png => encode_png(picture, settings).map_err(failed),
        OutputFormat::Jpeg(_) if picture.is_transparent() => Err(PictureError::TransparentJpeg),
        OutputFormat::Jpeg(quality) => {
            let mut bytes = encode_jpeg(picture, quality).map_err(failed)?;
            insert_xmp_segment(&mut bytes, settings)?;
            Ok(bytes)
        }
        OutputFormat::WebP => encode_webp(picture, settings).map_err(failed),
    }
}

/// Most pixels of a side.
const MAX_JPEG_SIDE: u32 = 65_535;
/// Most pixels of a side.
const MAX_WEBP_SIDE: u32 = 16_384;

type Encoded = Result<Vec<u8>, Box<dyn Error + Send + Sync>>;

fn encode_png(picture: &Picture, settings: &str) -> Encoded {
    let (samples, has_alpha) = samples(picture);
    let size = picture.size();
    let mut info = png::Info::with_size(size.width, size.height);
    info.color_type = if has_alpha { png::ColorType::Rgba } else { png::ColorType::Rgb };
    info.bit_depth = png::BitDepth::Eight;
    info.icc_profile = picture.icc.as_deref().map(Cow::Borrowed);
    info.utf8_text.push(png::text_metadata::ITXtChunk::new(settings::PNG_KEYWORD, settings));
    let mut bytes = Vec::new();
    let mut writer = png::Encoder::with_info(&mut bytes, info)?.write_header()?;
    writer.write_image_data(&samples)?;
    writer.finish()?;
    Ok(bytes)
}

fn encode_jpeg(picture: &Picture, quality: Quality) -> Encoded {
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, quality.get());
    if let Some(icc) = &picture.icc {
        encoder.set_icc_profile(icc.to_vec())?;
    }
    let rgb: &RgbImage = &picture.rgb;
    encoder.write_image(rgb.as_raw(), rgb.width(), rgb.height(), ExtendedColorType::Rgb8)?;
    Ok(bytes)
}

/// Puts the settings into an APP1 segment behind the JFIF header, which has to come first.
fn insert_xmp_segment(bytes: &mut Vec<u8>, settings: &str) -> Result<(), PictureError> {
    let packet = settings::xmp_packet(settings);
    let overhead = 2 + settings::JPEG_XMP_HEADER.len(); // the length counts itself
    let Ok(length) = u16::try_from(overhead + packet.len()) else {
        return Err(PictureError::SettingsTooLong {
            format: FileFormat::Jpeg,
            bytes: packet.len(),
            limit: usize::from(u16::MAX) - overhead,
        });
    };
    let mut app1 = segment::APP1[..2].to_vec();
    app1.extend(length.to_be_bytes());
    app1.extend(settings::JPEG_XMP_HEADER);
    app1.extend(packet.into_bytes());
    let at = container::parts(FileFormat::Jpeg, bytes)
        .find_map(|part| part.ok().filter(|it| it.tag == segment::APP0))
        .map_or(2, |header| header.end);
    bytes.splice(at..at, app1);
    Ok(())
}

fn encode_webp(picture: &Picture, settings: &str) -> Encoded {
    let (samples, has_alpha) = samples(picture);
    let size = picture.size();
    let mut bytes = Vec::new();
    let mut encoder = image_webp::WebPEncoder::new(&mut bytes);
    if let Some(icc) = &picture.icc {
        encoder.set_icc_profile(icc.to_vec());
    }
    encoder.set_xmp_metadata(settings::xmp_packet(settings).into_bytes());
    let color = if has_alpha { image_webp::ColorType::Rgba8 } else { image_webp::ColorType::Rgb8 };
    encoder.encode(&samples, size.width, size.height, color)?;
    Ok(bytes)
}

/// RGB or RGBA samples, and whether they have alpha.
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

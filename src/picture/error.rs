//! Errors of reading and writing image files and masks, each with its remedy.

use std::{io, path::PathBuf};

use image::ImageError;

use crate::picture::{
    format::{FileFormat, UnknownFormat},
    size::Size,
};

/// An image, mask or output file that can't be used.
///
/// `name` is the file's path, or "standard input".
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are the values of the message above them")]
pub enum PictureError {
    // Reading.
    /// The file could not be opened or read.
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// Reading from a stream failed.
    #[error("cannot read {name}")]
    ReadStream { name: String, source: io::Error },
    /// The file is empty.
    #[error("{name} is empty, use a PNG, JPEG or WebP image")]
    Empty { name: String },
    /// The content is not an image of a supported format.
    #[error("{name} looks like {like}, use a PNG, JPEG or WebP image")]
    NotAnImage { name: String, like: String },
    /// The file is truncated.
    #[error("{name} is a truncated {format} image, fetch or export it again")]
    Truncated { name: String, format: FileFormat },
    /// Part of the coded image data is missing or corrupt.
    #[error(
        "{name} is a {format} image of which a part is missing or damaged, fetch or export it again"
    )]
    Incomplete { name: String, format: FileFormat },
    /// The decoder failed.
    #[error(
        "{name} is a damaged or unusual {format} image, open and save it again in an image editor"
    )]
    Damaged { name: String, format: FileFormat, source: Box<ImageError> },
    /// The file exceeds the limit on bytes.
    #[error("{name} exceeds the limit of {limit} bytes, shrink or recompress it")]
    TooManyBytes { name: String, limit: u64 },
    /// The picture exceeds the limit on pixels.
    #[error("{name} is {size}, which exceeds the limit of {limit} pixels, shrink it")]
    TooManyPixels { name: String, size: Size, limit: u64 },
    /// A side is below the minimum.
    #[error("{name} is {size}, each side must have at least {limit} pixels, enlarge it")]
    TooSmall { name: String, size: Size, limit: u32 },
    /// The aspect ratio is above the maximum.
    #[error("{name} is {size}, the longer side may be at most {limit} times the shorter, crop it")]
    TooElongated { name: String, size: Size, limit: u32 },
    /// A progressive JPEG with too many scans, which would take too long to decode.
    #[error(
        "{name} is a JPEG image of more than {limit} scans, open and save it again in an image editor"
    )]
    TooManyScans { name: String, limit: usize },
    /// CMYK colors, whose appearance depends on a profile.
    #[error("{name} is a CMYK JPEG image, convert it to RGB first")]
    Cmyk { name: String },

    // Encoding.
    /// The extension is not that of PNG, JPEG or WebP.
    #[error(transparent)]
    UnknownFormat(#[from] UnknownFormat),
    /// A JPEG quality for a lossless format.
    #[error(
        "{format} output is lossless and takes no quality, leave the quality out or write JPEG"
    )]
    QualityOfLossless { format: FileFormat },
    /// A JPEG quality outside 1 to 100.
    #[error("quality {found} is out of range, use 1 to 100")]
    QualityOutOfRange { found: u32 },
    /// JPEG has no alpha channel.
    #[error("the picture has transparent pixels, which JPEG cannot keep, write PNG or WebP")]
    TransparentJpeg,
    /// The metadata exceeds the format's limit.
    #[error(
        "settings of {bytes} bytes do not fit into a {format} file, which takes at most {limit}, write PNG"
    )]
    SettingsTooLong { format: FileFormat, bytes: usize, limit: usize },
    /// The encoder failed.
    #[error("cannot encode {size} as {format}, write PNG")]
    Encode { format: FileFormat, size: Size, source: Box<dyn std::error::Error + Send + Sync> },

    // Writing.
    /// The output file exists.
    #[error("{} exists already, choose another name", path.display())]
    Exists { path: PathBuf },
    /// The output's folder does not exist.
    #[error("the folder {} does not exist, create it first", path.display())]
    NoFolder { path: PathBuf },
    /// The output path is not a regular file.
    #[error("{} is not a regular file, choose another name", path.display())]
    NotAFile { path: PathBuf },
    /// The output path is standard output, a pipe or a device.
    #[error("{} is a pipe or device, not a regular file, choose a file name", path.display())]
    Stream { path: PathBuf },
    /// The output file exists and is write-protected.
    #[error(
        "{} is write-protected, choose another name or allow it with `chmod u+w`",
        path.display()
    )]
    Protected { path: PathBuf },
    /// The file name is too long for the file system.
    #[error("the name {} is too long for its folder, choose a shorter one", path.display())]
    NameTooLong { path: PathBuf },
    /// A cycle of symbolic links.
    #[error("{} is a symbolic link loop, choose another name", path.display())]
    Links { path: PathBuf },
    /// No file can be created in the folder.
    #[error("cannot create a file in {}, choose a folder that can be written to", path.display())]
    NotWritable { path: PathBuf, source: io::Error },
    /// Disk full or quota exceeded.
    #[error("the disk is full at {}, free some space or choose another folder", path.display())]
    DiskFull { path: PathBuf, source: io::Error },
    /// Any other error while writing.
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },

    // Masks and sizes.
    /// The mask selects no pixel.
    #[error("the mask {name} is empty, paint the area to edit white")]
    EmptyMask { name: String },
    /// All pixels of the mask are transparent.
    #[error("the mask {name} is fully transparent, paint the area to edit white")]
    TransparentMask { name: String },
    /// No pixel of the mask is transparent, where transparency says what may change.
    #[error("the mask {name} has no transparent part, make the area to edit transparent")]
    OpaqueMask { name: String },
    /// A mask with transparency that could mean either "keep" or "edit".
    #[error(
        "the mask {name} is ambiguous: it has both transparency and dark paint or a picture; \
         give a mask without transparency, white = may change, or white paint alone on transparent ground"
    )]
    AmbiguousMask { name: String },
    /// The mask's aspect ratio differs from the picture's.
    #[error("the mask {name} is {found}, the picture {expected}, give a mask of the same aspect")]
    MaskAspect { name: String, found: Size, expected: Size },
    /// Not four numbers.
    #[error(
        "box `{text}` is not x0,y0,x1,y1, in whole pixels or all four in percent, as in 10%,20%,60%,90%"
    )]
    BoxSyntax { text: String },
    /// The second corner lies before the first.
    #[error("box `{text}` is reversed, give the upper left corner first, then the lower right")]
    BoxReversed { text: String },
    /// The box covers no pixel.
    #[error("box `{text}` is empty, x1 must be greater than x0, and y1 greater than y0")]
    BoxEmpty { text: String },
    /// The box reaches outside the picture.
    #[error("box `{text}` reaches outside the picture, stay between {bounds}")]
    BoxOutside { text: String, bounds: String },
    /// The radius is above the maximum.
    #[error("a radius of {found} pixels is too large, use at most {limit}")]
    RadiusTooLarge { found: u32, limit: u32 },
}

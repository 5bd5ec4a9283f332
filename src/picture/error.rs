//! What can be wrong with an image file, a mask or a place to write to, each with its remedy.

use std::{io, path::PathBuf};

use image::ImageError;

use crate::picture::{
    format::{FileFormat, UnknownFormat},
    size::Size,
};

/// An image, a mask or an output that cannot be used as asked.
///
/// `name` is what a person calls the thing: a path, or "standard input".
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are the values of the message above them")]
pub enum PictureError {
    // Reading.
    /// The file could not be opened or read.
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// A stream broke off with an error.
    #[error("cannot read {name}")]
    ReadStream { name: String, source: io::Error },
    /// There is not one byte.
    #[error("{name} is empty, give a PNG, JPEG or WebP image")]
    Empty { name: String },
    /// The content is that of something else.
    #[error("{name} starts like {like}, give a PNG, JPEG or WebP image")]
    NotAnImage { name: String, like: String },
    /// The file ends before its image does.
    #[error("{name} is a truncated {format} image, fetch or export it again")]
    Truncated { name: String, format: FileFormat },
    /// Blocks of the picture are not there, or are no such data.
    #[error(
        "{name} is a {format} image of which a part is missing or damaged, fetch or export it again"
    )]
    Incomplete { name: String, format: FileFormat },
    /// The decoder gave up.
    #[error(
        "{name} is a damaged or unusual {format} image, open and save it again in an image editor"
    )]
    Damaged { name: String, format: FileFormat, source: Box<ImageError> },
    /// More bytes than are read.
    #[error("{name} has more than {limit} bytes, the most that is read, shrink or recompress it")]
    TooManyBytes { name: String, limit: u64 },
    /// More pixels than are decoded.
    #[error("{name} is {size}, more than {limit} pixels, the most that is read, shrink it")]
    TooManyPixels { name: String, size: Size, limit: u64 },
    /// A side is shorter than an edit can use.
    #[error("{name} is {size}, each side must have at least {limit} pixels, enlarge it")]
    TooSmall { name: String, size: Size, limit: u32 },
    /// One side is many times the other.
    #[error("{name} is {size}, the longer side may be at most {limit} times the shorter, crop it")]
    TooElongated { name: String, size: Size, limit: u32 },
    /// A progressive JPEG that would take for ever to decode.
    #[error(
        "{name} is a JPEG image of more than {limit} scans, open and save it again in an image editor"
    )]
    TooManyScans { name: String, limit: usize },
    /// Printing colors, whose look depends on a profile.
    #[error("{name} is a CMYK JPEG image, convert it to RGB first")]
    Cmyk { name: String },

    // Encoding.
    /// Neither PNG, nor JPEG, nor WebP.
    #[error(transparent)]
    UnknownFormat(#[from] UnknownFormat),
    /// A quality for a format that loses nothing.
    #[error(
        "{format} output is lossless and takes no quality, leave the quality out or write JPEG"
    )]
    QualityOfLossless { format: FileFormat },
    /// A quality off the scale.
    #[error("quality {found} is out of range, use 1 to 100")]
    QualityOutOfRange { found: u32 },
    /// JPEG has no alpha channel.
    #[error("the picture has transparent pixels, which JPEG cannot keep, write PNG or WebP")]
    TransparentJpeg,
    /// The format's own limit on metadata.
    #[error(
        "settings of {bytes} bytes do not fit into a {format} file, which takes at most {limit}, write PNG"
    )]
    SettingsTooLong { format: FileFormat, bytes: usize, limit: usize },
    /// The encoder refused.
    #[error("cannot encode {size} as {format}, write PNG")]
    Encode { format: FileFormat, size: Size, source: Box<dyn std::error::Error + Send + Sync> },

    // Writing.
    /// The output is there already.
    #[error("{} exists already, choose another name", path.display())]
    Exists { path: PathBuf },
    /// The output's folder is not there.
    #[error("there is no folder {}, create it first", path.display())]
    NoFolder { path: PathBuf },
    /// The output is a folder, a device or the like.
    #[error("{} is not a regular file, choose another name", path.display())]
    NotAFile { path: PathBuf },
    /// The output is standard output by another name, a pipe or a device.
    #[error("{} is a stream, not a file that can be made", path.display())]
    Stream { path: PathBuf },
    /// The output is there, and may not be written to.
    #[error(
        "{} is write-protected, choose another name or allow it with `chmod u+w`",
        path.display()
    )]
    Protected { path: PathBuf },
    /// The file system takes no such name.
    #[error("the name {} is too long for its folder, choose a shorter one", path.display())]
    NameTooLong { path: PathBuf },
    /// A link leads to itself.
    #[error("{} is a link that leads round in a circle, choose another name", path.display())]
    Links { path: PathBuf },
    /// The folder takes no new files.
    #[error("cannot create a file in {}, choose a folder that can be written to", path.display())]
    NotWritable { path: PathBuf, source: io::Error },
    /// No space, or no quota, is left.
    #[error("the disk is full at {}, free some space or choose another folder", path.display())]
    DiskFull { path: PathBuf, source: io::Error },
    /// Another fault while writing.
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },

    // Masks and sizes.
    /// Nothing is marked for editing.
    #[error("the mask {name} marks nothing to edit, paint white what may change")]
    EmptyMask { name: String },
    /// No pixel of a mask is there.
    #[error("the mask {name} is transparent throughout, paint white what may change")]
    TransparentMask { name: String },
    /// Transparency that may mean "stays" or "may change".
    #[error(
        "the mask {name} has transparent parts beside dark paint or a picture, so that either may be meant to change; \
         give a mask without transparency, white = may change, or white paint alone on transparent ground"
    )]
    AmbiguousMask { name: String },
    /// The mask belongs to another picture.
    #[error("the mask {name} is {found}, the picture {expected}, give a mask of the same aspect")]
    MaskAspect { name: String, found: Size, expected: Size },
    /// Not four numbers.
    #[error(
        "box `{text}` is not x0,y0,x1,y1, in whole pixels or all four in percent, as in 10%,20%,60%,90%"
    )]
    BoxSyntax { text: String },
    /// The second corner comes before the first.
    #[error("box `{text}` is reversed, give the upper left corner first, then the lower right")]
    BoxReversed { text: String },
    /// No pixel lies in it.
    #[error("box `{text}` holds no pixel, its end must lie beyond its start on both axes")]
    BoxEmpty { text: String },
    /// It reaches over the edge.
    #[error("box `{text}` reaches outside the picture, stay between {bounds}")]
    BoxOutside { text: String, bounds: String },
    /// A radius beyond what is computed.
    #[error("a radius of {found} pixels is too large, use at most {limit}")]
    RadiusTooLarge { found: u32, limit: u32 },
}

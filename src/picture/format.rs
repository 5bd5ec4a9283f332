//! File formats of pictures, by extension and by name.

use std::{fmt, path::Path, str::FromStr};

use crate::choice::choices;

choices! {
    /// Supported file formats.
    #[derive(PartialOrd, Ord)]
    pub enum FileFormat {
        /// PNG.
        ///
        /// Portable Network Graphics, lossless.
        Png = "png",
        /// JPEG.
        ///
        /// Baseline JPEG, lossy.
        Jpeg = "jpeg",
        /// WebP, lossless.
        ///
        /// Lossy and lossless are read, lossless is written.
        WebP = "webp",
    }
}

impl FileFormat {
    /// The format of a file name's extension.
    ///
    /// # Errors
    /// [`UnknownFormat`] if the extension is missing or of another format.
    pub fn of_path(path: &Path) -> Result<FileFormat, UnknownFormat> {
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        extension.parse().map_err(|_| UnknownFormat { name: path.display().to_string() })
    }
}

impl FromStr for FileFormat {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<FileFormat, UnknownFormat> {
        match name.to_ascii_lowercase().as_str() {
            "png" => Ok(FileFormat::Png),
            "jpg" | "jpeg" => Ok(FileFormat::Jpeg),
            "webp" => Ok(FileFormat::WebP),
            _ => Err(UnknownFormat { name: name.to_owned() }),
        }
    }
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileFormat::Png => "PNG",
            FileFormat::Jpeg => "JPEG",
            FileFormat::WebP => "WebP",
        })
    }
}

/// Neither PNG, nor JPEG, nor WebP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` has an unsupported extension, use .png, .jpg or .webp")]
pub struct UnknownFormat {
    /// The name, or the path without a known extension.
    pub name: String,
}

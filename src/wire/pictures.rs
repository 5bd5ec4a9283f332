//! Pictures of an edit as encoded files: cluster map, label map, heat maps, masks, previews.

use std::{io::Cursor, sync::Arc};

use bytes::Bytes;
use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, Luma, RgbImage};
use sha2::{Digest, Sha256};

use crate::drawing::clusters::{DrawnClusters, cluster_map};
use crate::edit::localization::{Cluster, Localization, WordMap};
use crate::picture::{
    format::FileFormat,
    resample::{self, Filter},
    size::Size,
};
use crate::wire::v1;

/// An encoded picture.
#[derive(Debug, Clone, PartialEq)]
pub struct PictureFile {
    /// MIME type.
    pub mime_type: &'static str,
    /// Size in pixels.
    pub size: Size,
    /// Contents of the file.
    pub bytes: Bytes,
}

impl PictureFile {
    /// A file that is already encoded.
    pub fn new(format: FileFormat, size: Size, bytes: Vec<u8>) -> Self {
        Self { mime_type: mime_type(format), size, bytes: bytes.into() }
    }

    fn png(image: &DynamicImage) -> Self {
        let mut bytes = Cursor::new(Vec::new());
        let written = image.write_to(&mut bytes, ImageFormat::Png);
        written.expect("a picture in memory becomes a PNG in memory");
        let size = Size::new(image.width(), image.height());
        Self { mime_type: mime_type(FileFormat::Png), size, bytes: bytes.into_inner().into() }
    }
}

/// A picture that a request sends.
pub fn sent(bytes: Bytes) -> v1::Image {
    v1::Image { source: Some(v1::image::Source::Data(bytes)) }
}

/// A picture that a request names: an artifact.
pub fn named(artifact: String) -> v1::Image {
    v1::Image { source: Some(v1::image::Source::Artifact(artifact)) }
}

/// A picture as a PNG.
pub fn lossless(image: RgbImage) -> PictureFile {
    PictureFile::png(&DynamicImage::ImageRgb8(image))
}

/// MIME type of a file format.
pub fn mime_type(format: FileFormat) -> &'static str {
    match format {
        FileFormat::Png => "image/png",
        FileFormat::Jpeg => "image/jpeg",
        FileFormat::WebP => "image/webp",
    }
}

/// Clusters of a localization as the schema's messages.
pub fn clusters(localization: &Localization) -> Vec<v1::Cluster> {
    let cluster = |&Cluster { id, score, area, selected }: &Cluster| v1::Cluster {
        id: u32::from(id),
        score,
        area,
        selected,
    };
    localization.clusters.iter().map(cluster).collect()
}

/// Cluster map in color with cluster numbers, at the picture's size but at most 512 pixels a side.
pub fn cluster_picture(localization: &Localization, input: Size) -> PictureFile {
    let labels: Vec<u8> = localization.labels.iter().map(|id| id - 1).collect();
    let scores: Vec<f32> = localization.clusters.iter().map(|it| it.score as f32).collect();
    let selected: Vec<bool> = localization.clusters.iter().map(|it| it.selected).collect();
    let grid = (localization.grid.width as u32, localization.grid.height as u32);
    let covers = localization.times_picture(input);
    let clusters = DrawnClusters::new(&labels, grid, &scores, &selected).covering(covers);
    let shown = input.fit(input.width.max(input.height).clamp(128, 512), 1);
    PictureFile::png(&DynamicImage::ImageRgb8(cluster_map(&clusters, (shown.width, shown.height))))
}

/// Label map: the cluster id of each cell, at the resolution of the attention.
pub fn cluster_labels(localization: &Localization) -> PictureFile {
    let (width, height) = (localization.grid.width as u32, localization.grid.height as u32);
    let labels = GrayImage::from_raw(width, height, localization.labels.clone());
    PictureFile::png(&DynamicImage::ImageLuma8(labels.expect("a grid has a label a cell")))
}

/// Heat map of a word's attention as 16-bit gray, scaled from its minimum to its maximum, at the resolution of the
/// attention.
pub fn heatmap(word: &WordMap) -> PictureFile {
    let (min, max) = word.range();
    let span = (max - min).max(f32::MIN_POSITIVE);
    let level = |value: &f32| ((value - min) / span * f32::from(u16::MAX)).round() as u16;
    let (width, height) = (word.grid.width as u32, word.grid.height as u32);
    let levels = word.values.iter().map(level).collect::<Vec<u16>>();
    let image = ImageBuffer::<Luma<u16>, _>::from_raw(width, height, levels);
    PictureFile::png(&DynamicImage::ImageLuma16(image.expect("a grid has a value a cell")))
}

/// A mask; white is edited.
pub fn mask(mask: &GrayImage) -> PictureFile {
    PictureFile::png(&DynamicImage::ImageLuma8(mask.clone()))
}

/// A preview scaled so that its longer side has `longer` pixels; `None` keeps its size.
pub fn preview(image: &RgbImage, longer: Option<u32>) -> PictureFile {
    let own = Size::new(image.width(), image.height());
    let size = longer.map_or(own, |it| own.fit(it, 1));
    if size == own {
        return PictureFile::png(&DynamicImage::ImageRgb8(image.clone()));
    }
    PictureFile::png(&DynamicImage::ImageRgb8(resample::resize_rgb(image, size, Filter::Lanczos)))
}

/// A preview that is encoded when first asked for.
#[derive(derive_more::Debug)]
pub struct LazyPreview {
    #[debug(skip)]
    image: Arc<RgbImage>,
    longer: Option<u32>,
}

impl LazyPreview {
    /// See [`preview`].
    pub fn new(image: Arc<RgbImage>, longer: Option<u32>) -> Self {
        Self { image, longer }
    }

    /// The encoded file as an inline artifact without a name, since it is never stored. Blocking: encodes and hashes.
    pub fn artifact(&self) -> v1::Artifact {
        let PictureFile { mime_type, size, bytes } = preview(&self.image, self.longer);
        v1::Artifact {
            mime_type: mime_type.to_owned(),
            width: size.width,
            height: size.height,
            size_bytes: bytes.len() as u64,
            sha256: Bytes::copy_from_slice(&Sha256::digest(&bytes)),
            inline: bytes,
            ..v1::Artifact::default()
        }
    }
}

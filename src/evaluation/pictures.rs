//! Thumbnails for a report's gallery, as PNG files in memory.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};

use crate::drawing::{
    clusters::{DrawnClusters, cluster_map},
    heat::{ScalarField, heat_overlay},
    mask_overlay::mask_overlay,
    scale,
};
use crate::edit::localization::Localization;
use crate::evaluation::{dataset::LoadedItem, score::EvaluatedEdit};
use crate::picture::mask::Mask;

/// Longest side of a thumbnail, in pixels, so that a page with a few hundred items still loads.
const LONGEST: u32 = 192;

/// Longest side of drawn maps, in pixels, at which cluster numbers are legible.
const MAP: u32 = 128;

/// Bytes of a PNG file.
pub type Png = Vec<u8>;

/// Thumbnails of an item, independent of the method.
#[derive(Debug, Clone)]
pub struct ItemPictures {
    /// The source.
    pub source: Png,
    /// The true mask over the source.
    pub truth: Option<Png>,
    /// The target.
    pub target: Option<Png>,
}

/// Thumbnails of one method's result.
#[derive(Debug, Clone, Default)]
pub struct RowPictures {
    /// Cluster map.
    pub clusters: Option<Png>,
    /// Heat map of the object's attention.
    pub heat: Option<Png>,
    /// The mask that was used, over the source.
    pub mask: Option<Png>,
    /// The result.
    pub result: Option<Png>,
}

impl ItemPictures {
    /// Draws an item's thumbnails.
    pub fn of(pictures: &LoadedItem) -> Self {
        Self {
            source: photo(&pictures.image),
            truth: pictures.mask.as_ref().map(|mask| overlay(&pictures.image, mask)),
            target: pictures.target.as_ref().map(photo),
        }
    }
}

impl RowPictures {
    /// Draws the thumbnails of a result.
    pub fn of(pictures: &LoadedItem, outcome: &EvaluatedEdit) -> Self {
        let localization = outcome.localization.as_deref();
        let ground = drawn(&pictures.image);
        let heat = localization.and_then(Localization::object_map).map(|it| {
            let grid = (it.grid.width as u32, it.grid.height as u32);
            png(&heat_overlay(&ScalarField::new(&it.values, grid), &ground))
        });
        Self {
            clusters: localization.map(|it| clusters(it, ground.dimensions())),
            heat,
            mask: outcome.mask.as_ref().map(|it| overlay(&pictures.image, it.full())),
            result: Some(photo(&outcome.result)),
        }
    }
}

fn photo(image: &RgbImage) -> Png {
    let (width, height) = image.dimensions();
    if width.max(height) <= LONGEST {
        return png(image);
    }
    png(&scale::preview(image, scale::fitted_size((width, height), (LONGEST, LONGEST))))
}

/// The background that maps are drawn over.
fn drawn(image: &RgbImage) -> RgbImage {
    scale::preview(image, scale::fitted_size(image.dimensions(), (MAP, MAP)))
}

fn overlay(image: &RgbImage, mask: &Mask) -> Png {
    png(&mask_overlay(&drawn(image), mask.as_image()))
}

fn clusters(localization: &Localization, size: (u32, u32)) -> Png {
    let labels: Vec<u8> = localization.labels.iter().map(|id| id - 1).collect();
    let scores: Vec<f32> = localization.clusters.iter().map(|it| it.score as f32).collect();
    let selected: Vec<bool> = localization.clusters.iter().map(|it| it.selected).collect();
    let grid = (localization.grid.width as u32, localization.grid.height as u32);
    png(&cluster_map(&DrawnClusters::new(&labels, grid, &scores, &selected), size))
}

fn png(image: &RgbImage) -> Png {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(image.clone())
        .write_to(&mut bytes, ImageFormat::Png)
        .expect("a picture in memory is written to memory");
    bytes.into_inner()
}

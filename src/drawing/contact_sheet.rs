//! Contact sheet: one image that shows a whole edit, from the instruction over clusters, maps and mask to the result
//! and previews.

use image::{GrayImage, RgbImage};

use crate::drawing::{
    Fact,
    clusters::{DrawnClusters, cluster_map},
    difference::difference,
    heat::{ScalarField, heat_map},
    legend::legend,
    mask_overlay::{editable_share, mask_overlay},
    page::{Edge, Page, Tile},
    scale::{evenly_chosen, fitted_size, preview},
    text::{percent, short},
};

/// Content of a contact sheet. Missing parts (`None`, empty) are left out without a gap.
#[derive(Debug, Clone)]
pub struct Sheet<'a> {
    /// The sheet's title.
    pub instruction: &'a str,
    /// Results of parsing the instruction (action, object, localization instruction), shown under the title.
    pub reading: Vec<Fact>,
    /// The input picture; its aspect ratio determines the layout.
    pub source: &'a RgbImage,
    /// Clusters found by the localization pass.
    pub clusters: Option<DrawnClusters<'a>>,
    /// One heat map per word, in the instruction's order.
    pub word_maps: Vec<WordField<'a>>,
    /// The edit mask, 255 = may change.
    pub mask: Option<&'a GrayImage>,
    /// The edited picture.
    pub result: Option<&'a RgbImage>,
    /// Results of other methods, each with its label.
    pub comparisons: Vec<(&'a str, &'a RgbImage)>,
    /// Previews of the localization pass, in order; at most 8 are shown.
    pub localization_previews: Vec<Preview<'a>>,
    /// Previews of the edit pass, in order; at most 8 are shown.
    pub edit_previews: Vec<Preview<'a>>,
    /// Settings (seed, steps, …), shown at the bottom.
    pub settings: Vec<Fact>,
}

impl<'a> Sheet<'a> {
    /// A sheet with the source only.
    pub fn new(instruction: &'a str, source: &'a RgbImage) -> Self {
        Self {
            instruction,
            reading: vec![],
            source,
            clusters: None,
            word_maps: vec![],
            mask: None,
            result: None,
            comparisons: vec![],
            localization_previews: vec![],
            edit_previews: vec![],
            settings: vec![],
        }
    }
}

/// Attention to one word or phrase.
#[derive(Debug, Clone, Copy)]
pub struct WordField<'a> {
    /// The words as written in the instruction.
    pub words: &'a str,
    /// Attention map.
    pub field: ScalarField<'a>,
}

/// The predicted picture after a step.
#[derive(Debug, Clone, Copy)]
pub struct Preview<'a> {
    /// The step, from 1.
    pub step: usize,
    /// The preview, of any size.
    pub image: &'a RgbImage,
}

/// Draws the sheet, 1800 pixels wide and as high as its content.
pub fn contact_sheet(sheet: &Sheet) -> RgbImage {
    let mut page = Page::for_pictures(sheet.source.dimensions());
    page.title(sheet.instruction);
    page.facts(&sheet.reading);
    page.tiles(&tiles(sheet, page.tile_bounds()));
    let passes =
        [("Localization pass", &sheet.localization_previews), ("Edit pass", &sheet.edit_previews)];
    for (heading, previews) in passes {
        filmstrip(&mut page, heading, previews);
    }
    if !sheet.settings.is_empty() {
        page.rule();
        page.facts(&sheet.settings);
    }
    page.finish()
}

/// The tiles, from input to result.
fn tiles(sheet: &Sheet, bounds: (u32, u32)) -> Vec<Tile> {
    let size = fitted_size(sheet.source.dimensions(), bounds);
    let shown = preview(sheet.source, size);
    let mut tiles = vec![picture("Source", sheet.source, bounds)];
    if let Some(clusters) = &sheet.clusters {
        let (columns, rows) = clusters.grid();
        let note = format!("{} clusters on {columns}×{rows} cells", clusters.count());
        tiles.push(tile("Clusters", note, cluster_map(clusters, size)));
        let table = legend(clusters, bounds.0, size.1);
        tiles.push(Tile {
            edge: Edge::Bare,
            ..tile("Scores", "by falling score, ✓ selected".to_owned(), table)
        });
    }
    for WordField { words, field } in &sheet.word_maps {
        let (columns, rows) = field.grid();
        let (low, high) = field.range();
        tiles.push(Tile {
            scale: Some((short(low), short(high))),
            ..tile(
                &format!("“{words}”"),
                format!("attention on {columns}×{rows} cells"),
                heat_map(field, size),
            )
        });
    }
    if let Some(mask) = sheet.mask {
        let note = format!("{} of the picture may change", percent(editable_share(mask)));
        tiles.push(tile("Mask", note, mask_overlay(&shown, mask)));
    }
    if let Some(result) = sheet.result {
        tiles.push(picture("Result", result, bounds));
    }
    for (label, image) in &sheet.comparisons {
        tiles.push(picture(label, image, bounds));
    }
    if let Some(result) = sheet.result {
        let difference = difference(result, sheet.source);
        let note = format!("from the source in {} of pixels", percent(difference.changed));
        tiles.push(Tile {
            scale: Some(("0".to_owned(), format!("{} of 255 levels", difference.greatest))),
            ..tile("Difference", note, preview(&difference.image, size))
        });
    }
    tiles
}

fn tile(heading: &str, note: String, image: RgbImage) -> Tile {
    Tile { heading: heading.to_owned(), note, image, edge: Edge::Framed, scale: None }
}

/// A tile with a whole picture, captioned with its size in pixels.
fn picture(heading: &str, image: &RgbImage, bounds: (u32, u32)) -> Tile {
    let (width, height) = image.dimensions();
    let shown = preview(image, fitted_size((width, height), bounds));
    tile(heading, format!("{width}×{height} pixels"), shown)
}

fn filmstrip(page: &mut Page, heading: &str, previews: &[Preview]) {
    if previews.is_empty() {
        return;
    }
    let bounds = page.frame_bounds();
    let frames: Vec<(String, RgbImage)> = evenly_chosen(previews.len(), page.frames())
        .into_iter()
        .map(|i| {
            let Preview { step, image } = previews[i];
            (format!("step {step}"), preview(image, fitted_size(image.dimensions(), bounds)))
        })
        .collect();
    let note = match frames.len() {
        all if all == previews.len() => String::new(),
        some => format!("{some} of {} previews", previews.len()),
    };
    page.filmstrip(heading, &note, &frames);
}

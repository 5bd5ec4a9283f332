//! One sheet that tells a whole edit: what was asked, where it was found, how it came about, what it changed.

use image::{GrayImage, RgbImage};

use crate::drawing::{
    Fact,
    clusters::{Clusters, cluster_map},
    difference::difference,
    heat::{Field, heat_map},
    legend::legend,
    mask_overlay::{editable_share, mask_overlay},
    page::{Edge, Page, Tile},
    scale::{evenly_chosen, fitted_size, preview},
    text::{percent, short},
};

/// All that a contact sheet can show. What is missing (`None`, empty) is left out, and the rest closes up.
#[derive(Debug, Clone)]
pub struct Sheet<'a> {
    /// The sheet's title.
    pub instruction: &'a str,
    /// What was read from the instruction (action, object, localization instruction); stands under the title.
    pub reading: Vec<Fact>,
    /// The picture that was edited; its proportions shape the sheet.
    pub source: &'a RgbImage,
    /// What the localization pass found.
    pub clusters: Option<Clusters<'a>>,
    /// One heat map for each word, in the order of the instruction.
    pub word_maps: Vec<WordMap<'a>>,
    /// The edit mask, 255 = may change.
    pub mask: Option<&'a GrayImage>,
    /// The edited picture.
    pub result: Option<&'a RgbImage>,
    /// Other results to compare with, each under its label.
    pub comparisons: Vec<(&'a str, &'a RgbImage)>,
    /// Previews of the localization pass, in order; at most 8 of them are shown.
    pub localization_previews: Vec<Preview<'a>>,
    /// Previews of the edit pass, in order; at most 8 of them are shown.
    pub edit_previews: Vec<Preview<'a>>,
    /// How it was made (seed, steps, …); stands at the foot.
    pub settings: Vec<Fact>,
}

impl<'a> Sheet<'a> {
    /// A sheet of the source alone.
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

/// The attention to one word or phrase.
#[derive(Debug, Clone, Copy)]
pub struct WordMap<'a> {
    /// The words as they stand in the instruction.
    pub words: &'a str,
    /// Their attention.
    pub field: Field<'a>,
}

/// The picture as it stood after a step.
#[derive(Debug, Clone, Copy)]
pub struct Preview<'a> {
    /// Counted from 1.
    pub step: usize,
    /// Of any size.
    pub image: &'a RgbImage,
}

/// Draws the sheet, 1800 pixels wide and as high as its contents.
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

/// The tiles in the order of the story.
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
    for WordMap { words, field } in &sheet.word_maps {
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

/// A whole picture with its size in pixels.
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

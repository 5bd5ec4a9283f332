//! Contact sheet: one image that tells an edit, from the result over where and how the object was found to previews.

use image::{GrayImage, Rgb, RgbImage};

use crate::drawing::{
    Fact,
    canvas::Canvas,
    clusters::{DrawnClusters, cluster_overlay},
    difference::{Changed, Difference, FULL_SCALE, difference},
    heat::{ScalarField, heat_overlay},
    legend::legend,
    mask_overlay::{editable_share, mask_overlay},
    page::{self, Lead, Page},
    scale::{evenly_chosen, fitted_size, preview},
    text::percent,
    tile::{Edge, Tile},
};

/// Content of a contact sheet. Missing parts (`None`, empty) are left out without a gap.
#[derive(Debug, Clone)]
pub struct Sheet<'a> {
    /// The sheet's title.
    pub instruction: &'a str,
    /// What was understood of the instruction and what the model was told, shown below the result.
    pub reading: Vec<Fact>,
    /// The input picture; its aspect ratio determines the layout.
    pub source: &'a RgbImage,
    /// Clusters found by the localization pass.
    pub clusters: Option<DrawnClusters<'a>>,
    /// Attention to the object as a whole, with its name.
    pub object_map: Option<WordField<'a>>,
    /// One heat map per word of the object, in the instruction's order.
    pub word_maps: Vec<WordField<'a>>,
    /// The edit mask, 255 = may change.
    pub mask: Option<&'a GrayImage>,
    /// The edited picture, the largest on the sheet.
    pub result: Option<&'a RgbImage>,
    /// Result of another method, with its name.
    pub comparison: Option<(&'a str, &'a RgbImage)>,
    /// Other results of the same edit, each with its label.
    pub variants: Vec<(String, &'a RgbImage)>,
    /// Previews of the localization pass, in order; at most 5 are shown.
    pub localization_previews: Vec<Preview<'a>>,
    /// Previews of the edit pass, in order; at most 5 are shown.
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
            object_map: None,
            word_maps: vec![],
            mask: None,
            result: None,
            comparison: None,
            variants: vec![],
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
    let mut page = Page::new();
    page.title(sheet.instruction);
    let parts = parts(sheet);
    let lead = Lead::of(sheet.source.dimensions(), parts.beside.len());
    let beside: Vec<Tile> = parts.beside.iter().map(|it| it.draw(sheet, lead.others)).collect();
    page.lead(&lead, &parts.main.draw(sheet, lead.main), &sheet.reading, &beside);
    rows(&mut page, sheet, &parts.below);
    let variants: Vec<_> =
        sheet.variants.iter().map(|(label, image)| (label.clone(), frame(image))).collect();
    if !variants.is_empty() {
        page.filmstrip("Other variants", "", &variants);
    }
    let passes = [
        ("Localization pass", "finding the object", &sheet.localization_previews),
        ("Edit pass", "making the result", &sheet.edit_previews),
    ];
    for (heading, note, previews) in passes {
        filmstrip(&mut page, heading, note, previews);
    }
    if !sheet.settings.is_empty() {
        page.facts(&sheet.settings);
    }
    page.finish()
}

/// What a tile shows.
#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    /// A picture, with its name.
    Picture(&'a str, &'a RgbImage),
    /// What an edit with this result changed; the name is that of another method.
    Changed(Option<&'a str>, &'a RgbImage),
    Mask(&'a GrayImage),
    /// Attention to the object or to one of its words.
    Attention(WordField<'a>),
    Clusters(DrawnClusters<'a>),
}

/// The tiles of a sheet.
struct Parts<'a> {
    main: Part<'a>,
    beside: Vec<Part<'a>>,
    below: Vec<Part<'a>>,
}

/// Which tile stands where: the result is the largest; beside it stand the source, where the edit was made and what it
/// changed, or what another method made of it; below, how the object was found.
fn parts<'a>(sheet: &Sheet<'a>) -> Parts<'a> {
    let source = Part::Picture("Source", sheet.source);
    let mask = sheet.mask.map(Part::Mask);
    let object = sheet.object_map.map(Part::Attention);
    let (main, beside, mut below) = match (sheet.result, sheet.comparison, mask) {
        (Some(result), Some((name, other)), mask) => {
            let changed = [Part::Changed(None, result), Part::Changed(Some(name), other)];
            let beside = [[source, Part::Picture(name, other)], changed].concat();
            // The object as a whole, unless its words are shown one by one.
            let object = object.filter(|_| sheet.word_maps.len() < 2);
            (Part::Picture("Result", result), beside, mask.into_iter().chain(object).collect())
        }
        (Some(result), None, mask) => {
            let beside = [Some(source), mask, object, Some(Part::Changed(None, result))];
            (Part::Picture("Result", result), beside.into_iter().flatten().collect(), vec![])
        }
        (None, _, Some(mask)) => {
            (mask, [Some(source), object].into_iter().flatten().collect(), vec![])
        }
        (None, _, None) => (source, object.into_iter().collect(), vec![]),
    };
    // The map of a single word is the object's.
    if sheet.word_maps.len() > 1 || object.is_none() {
        below.extend(sheet.word_maps.iter().copied().map(Part::Attention));
    }
    below.extend(sheet.clusters.map(Part::Clusters));
    Parts { main, beside, below }
}

/// The tiles below the largest picture; the scores of the clusters take what is left of the last row.
fn rows(page: &mut Page, sheet: &Sheet, parts: &[Part]) {
    let scored = sheet.clusters.as_ref();
    let count = (parts.len() + usize::from(scored.is_some())) as u32;
    // Scores stand beside their clusters, in as few rows as possible, in wide columns.
    let alone = |columns: u32| scored.is_some() && count % columns == 1;
    let fewer = |columns: &u32| (alone(*columns), count.div_ceil(*columns), *columns);
    let columns = [4, 5].into_iter().min_by_key(fewer).unwrap_or(4);
    let size = fitted_size(sheet.source.dimensions(), page::tile_bounds(columns));
    let mut tiles: Vec<Tile> = parts.iter().map(|it| it.draw(sheet, size)).collect();
    if let Some(clusters) = scored {
        let left = columns - parts.len() as u32 % columns;
        let table = legend(clusters, page::spanned_width(columns, left), size.1);
        let tile = Tile::new("Scores", "✓ selected", table);
        tiles.push(Tile { edge: Edge::Bare, ..tile });
    }
    page.tiles(columns, &tiles);
}

impl Part<'_> {
    /// Draws the tile with a picture of at most this size.
    fn draw(&self, sheet: &Sheet, size: (u32, u32)) -> Tile {
        match self {
            Self::Picture(name, image) => picture(name, image, size),
            Self::Changed(None, result) => changed("Changed", result, sheet, size),
            Self::Changed(Some(by), result) => {
                changed(&format!("Changed by {by}"), result, sheet, size)
            }
            Self::Mask(mask) => {
                let note = format!("{} of the picture may change", percent(editable_share(mask)));
                Tile::new("Mask", note, mask_overlay(&preview(sheet.source, size), mask))
            }
            Self::Attention(WordField { words, field }) => {
                let image = heat_overlay(field, &preview(sheet.source, size));
                Tile::new(format!("“{words}”"), "where the model looks for it", image)
            }
            Self::Clusters(clusters) => {
                let note = format!("{} regions, by score", clusters.count());
                let ground = preview(sheet.source, size);
                Tile::new("Clusters", note, cluster_overlay(clusters, &ground))
            }
        }
    }
}

/// A whole picture, captioned with its size in pixels.
fn picture(heading: &str, image: &RgbImage, bounds: (u32, u32)) -> Tile {
    let (width, height) = image.dimensions();
    let shown = preview(image, fitted_size((width, height), bounds));
    Tile::new(heading, format!("{width}×{height} pixels"), shown)
}

/// What a method changed, with the mask's outline, and how much of it lies outside.
fn changed(heading: &str, result: &RgbImage, sheet: &Sheet, size: (u32, u32)) -> Tile {
    let Difference { image, everywhere, outside } = difference(result, sheet.source, sheet.mask);
    let mut canvas = Canvas::over(preview(&image, size));
    if let Some(mask) = sheet.mask {
        outline(&mut canvas, mask);
    }
    let note = match everywhere {
        Changed { pixels: 0, .. } => "nothing changed".to_owned(),
        Changed { pixels, of, .. } => {
            format!("{} of the pixels differ from the source", percent(pixels as f64 / of as f64))
        }
    };
    let below = outside.map(|it| {
        let mean =
            if it.pixels > 0 { format!(", mean {:.1} levels", it.mean) } else { String::new() };
        Fact::new("changed outside the object", format!("{} pixels{mean}", thousands(it.pixels)))
    });
    let scale = Some(("0".to_owned(), format!("{FULL_SCALE} levels or more")));
    Tile { scale, below, ..Tile::new(heading, note, canvas.into_image()) }
}

/// A thin line around what may change.
fn outline(canvas: &mut Canvas, mask: &GrayImage) {
    /// Width relative to the square root of the picture's area.
    const LINE: f32 = 1.0 / 260.0;
    let (width, height) = canvas.size();
    let scaled =
        |at: u32, to: u32, side: u32| (u64::from(at) * u64::from(to) / u64::from(side)) as u32;
    let inside = |x: u32, y: u32| {
        mask.get_pixel(scaled(x, mask.width(), width), scaled(y, mask.height(), height))[0] > 0
    };
    let thickness = ((width as f32 * height as f32).sqrt() * LINE).max(1.0);
    canvas.contour(&inside, thickness, Rgb([255; 3]), Rgb([0; 3]));
}

fn frame(image: &RgbImage) -> RgbImage {
    preview(image, fitted_size(image.dimensions(), page::frame_bounds()))
}

fn filmstrip(page: &mut Page, heading: &str, note: &str, previews: &[Preview]) {
    if previews.is_empty() {
        return;
    }
    let chosen = evenly_chosen(previews.len(), page::frames()).into_iter().map(|i| previews[i]);
    let frames: Vec<_> =
        chosen.map(|Preview { step, image }| (format!("step {step}"), frame(image))).collect();
    page.filmstrip(heading, note, &frames);
}

/// A number with commas between thousands.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

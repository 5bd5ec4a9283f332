//! `--maps DIR`: writes previews, clusters, heat maps, mask, overlay, and a contact sheet of all of them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};

use crate::cli::{error::CliError, outputs, reporter::Record};
use crate::drawing::{
    Fact,
    clusters::{DrawnClusters, cluster_map},
    contact_sheet::{Preview, Sheet, WordField, contact_sheet},
    heat::{ScalarField, heat_overlay},
    mask_overlay::mask_overlay,
};
use crate::edit::{
    event::Pass,
    localization::{Localization, WordMap},
};
use crate::picture::{
    size::Size,
    write::{self, Overwrite},
};

/// File name of the contact sheet.
const CONTACT_SHEET: &str = "contact-sheet.png";
/// File name of the cluster map.
const CLUSTERS: &str = "clusters.png";
/// File name of the mask.
const MASK: &str = "mask.png";
/// File name of the mask over the picture.
const OVERLAY: &str = "overlay.png";
/// All file names of maps, except numbered ones.
const NAMES: [&str; 4] = [CLUSTERS, MASK, OVERLAY, CONTACT_SHEET];
/// Prefixes of preview names, before the step's number.
const PREVIEWS: [&str; 2] = ["preview-localize-", "preview-edit-"];
/// Prefix of heat map names, before the word's number and text.
const HEAT: &str = "attention-";
/// Prefix of the folder of one of several edits, before its number.
const PART: &str = "part-";
/// Longest word in a file name, in bytes.
const WORD_BYTES: usize = 64;

/// Number of previews of a pass: as many as stand side by side on a sheet. The VAE decodes them, since a linear map of
/// some models' latents rings.
pub(crate) const PREVIEWS_OF_A_PASS: u32 = 5;

/// What the maps show.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    /// The instruction.
    pub(crate) instruction: &'a str,
    /// The picture.
    pub(crate) source: &'a RgbImage,
    /// The edited picture; `None` without an edit.
    pub(crate) result: Option<&'a RgbImage>,
    /// Result of another method, with its title.
    pub(crate) comparison: Option<(&'a str, &'a RgbImage)>,
    /// Results of the other variants.
    pub(crate) variants: Vec<&'a RgbImage>,
    /// How the picture was made.
    pub(crate) settings: Vec<Fact>,
}

/// Output folder of maps.
#[derive(Debug)]
pub(crate) struct MapsFolder {
    path: PathBuf,
    overwrite: Overwrite,
}

impl MapsFolder {
    /// Creates the folder; refuses one that already has maps, unless they may be overwritten.
    ///
    /// # Errors
    /// [`CliError::Usage`], [`CliError::Output`] or [`CliError::Write`].
    pub(crate) fn new(path: &Path, overwrite: Overwrite) -> Result<Self, CliError> {
        outputs::make_folder("--maps", path)?;
        let maps = Self { path: path.to_owned(), overwrite };
        for name in NAMES.into_iter().map(PathBuf::from).chain(maps.present()?) {
            write::check_target(&path.join(name), overwrite).map_err(CliError::Output)?;
        }
        Ok(maps)
    }

    /// File names of existing maps.
    fn present(&self) -> Result<Vec<PathBuf>, CliError> {
        let failed = |source| CliError::Write { path: self.path.clone(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let name = PathBuf::from(entry.map_err(failed)?.file_name());
            if is_map(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Refuses input and output files that a map would overwrite.
    ///
    /// # Errors
    /// [`CliError::Usage`], naming the file.
    pub(crate) fn refuse_files<'a>(
        &self,
        files: impl IntoIterator<Item = &'a PathBuf>,
    ) -> Result<(), CliError> {
        let folder = self.path.canonicalize().ok();
        let is_one = |file: &&PathBuf| {
            let place = write::place(file);
            place.parent() == folder.as_deref()
                && place.file_name().is_some_and(|it| is_map(it.as_ref()))
        };
        match files.into_iter().find(is_one) {
            Some(file) => Err(CliError::Usage(format!(
                "{} would be overwritten by a map; choose another folder for --maps",
                file.display()
            ))),
            None => Ok(()),
        }
    }

    /// Writes the maps of each part of an edit: of several each in a folder of its own, and beside them a contact sheet
    /// of the whole. Returns the path of the contact sheet.
    ///
    /// # Errors
    /// As for [`Self::write`], and for [`Self::new`] of the folder of a part.
    pub(crate) fn write_parts(
        &self,
        subject: &Subject<'_>,
        records: &[Record],
    ) -> Result<PathBuf, CliError> {
        if let [record] = records {
            return self.write(subject, record);
        }
        let began = |index: usize| records.get(index).and_then(|it| it.part.as_ref());
        for (index, record) in records.iter().enumerate() {
            let Some((part, source)) = began(index) else { continue };
            let folder = self.path.join(format!("{PART}{}", part.number));
            let made = began(index + 1).and_then(|(_, image)| image.as_deref());
            let subject = Subject {
                instruction: &part.instruction,
                source: source.as_deref().unwrap_or(subject.source),
                result: made.or(subject.result),
                comparison: None,
                variants: vec![],
                settings: subject.settings.clone(),
            };
            Self::new(&folder, self.overwrite)?.write(&subject, record)?;
        }
        let masks = records.iter().map(|it| it.mask.as_deref());
        let mask = masks.collect::<Option<Vec<_>>>().map(|it| united(&it)).map(Arc::new);
        self.write(subject, &Record { mask, ..Record::default() })
    }

    /// Writes all maps, deletes those of an earlier run, and returns the path of the contact sheet.
    ///
    /// # Errors
    /// [`CliError::Output`] if a file can't be written, [`CliError::Write`] if an old one can't be deleted.
    pub(crate) fn write(
        &self,
        subject: &Subject<'_>,
        record: &Record,
    ) -> Result<PathBuf, CliError> {
        let mut old = self.present()?;
        let mut rgb = |name: &str, image: &RgbImage| {
            old.retain(|it| it != Path::new(name));
            self.file(name, &DynamicImage::ImageRgb8(image.clone()))
        };
        for (pass, step, preview) in &record.previews {
            let [localize, edit] = PREVIEWS;
            let pass = match pass {
                Pass::Localize => localize,
                Pass::Edit => edit,
            };
            rgb(&format!("{pass}{step:04}.png"), preview)?;
        }
        let found =
            record.localization.as_deref().map(|it| DrawnLocalization::new(it, subject.source));
        if let Some(found) = &found {
            rgb(CLUSTERS, &cluster_map(&found.clusters(), subject.source.dimensions()))?;
            for (index, word) in found.localization.words.iter().enumerate() {
                let name = format!("{HEAT}{:02}-{}.png", index + 1, file_name(&word.word));
                rgb(&name, &heat_overlay(&found.field(word), subject.source))?;
            }
        }
        let mask = record.mask.as_deref();
        if let Some(mask) = mask {
            rgb(OVERLAY, &mask_overlay(subject.source, mask))?;
            self.file(MASK, &DynamicImage::ImageLuma8(mask.clone()))?;
        }
        let sheet = sheet(subject, record, found.as_ref(), mask);
        let sheet = rgb(CONTACT_SHEET, &contact_sheet(&sheet))?;
        for name in old.iter().filter(|it| mask.is_none() || *it != Path::new(MASK)) {
            let path = self.path.join(name);
            fs::remove_file(&path).map_err(|source| CliError::Write { path, source })?;
        }
        Ok(sheet)
    }

    fn file(&self, name: &str, image: &DynamicImage) -> Result<PathBuf, CliError> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image
            .write_to(&mut bytes, ImageFormat::Png)
            .map_err(|error| CliError::Defect(format!("{name}: {error}")))?;
        let path = self.path.join(name);
        write::write_atomically(&path, bytes.get_ref(), self.overwrite)
            .map_err(CliError::Output)?;
        Ok(path)
    }
}

/// A localization prepared for drawing, with labels from 0.
struct DrawnLocalization<'a> {
    localization: &'a Localization,
    labels: Vec<u8>,
    scores: Vec<f32>,
    selected: Vec<bool>,
    /// Attention to all words of the object.
    object: Option<WordMap>,
    /// Width and height of its grids relative to the picture.
    covers: (f32, f32),
}

impl<'a> DrawnLocalization<'a> {
    fn new(localization: &'a Localization, picture: &RgbImage) -> Self {
        Self {
            localization,
            covers: localization.times_picture(Size::new(picture.width(), picture.height())),
            object: localization.object_map(),
            labels: localization.labels.iter().map(|id| id - 1).collect(),
            scores: localization.clusters.iter().map(|it| it.score as f32).collect(),
            selected: localization.clusters.iter().map(|it| it.selected).collect(),
        }
    }

    fn clusters(&self) -> DrawnClusters<'_> {
        let grid = self.localization.grid;
        let grid = (grid.width as u32, grid.height as u32);
        DrawnClusters::new(&self.labels, grid, &self.scores, &self.selected).covering(self.covers)
    }

    fn object_map(&self) -> Option<WordField<'_>> {
        self.object.as_ref().map(|it| WordField { words: &it.word, field: self.field(it) })
    }

    fn field<'b>(&self, word: &'b WordMap) -> ScalarField<'b> {
        let grid = (word.grid.width as u32, word.grid.height as u32);
        ScalarField::new(&word.values, grid).covering(self.covers)
    }
}

fn sheet<'a>(
    subject: &Subject<'a>,
    record: &'a Record,
    found: Option<&'a DrawnLocalization<'a>>,
    mask: Option<&'a GrayImage>,
) -> Sheet<'a> {
    let words =
        found.iter().flat_map(|it| it.localization.words.iter().map(move |word| (it, word)));
    let of_object = words.filter(|(_, word)| word.is_object);
    let variant = |(index, image)| (format!("variant {}", index + 2), image);
    Sheet {
        reading: reading(subject, record),
        clusters: found.map(DrawnLocalization::clusters),
        object_map: found.and_then(DrawnLocalization::object_map),
        word_maps: of_object
            .map(|(it, word)| WordField { words: &word.word, field: it.field(word) })
            .collect(),
        mask,
        result: subject.result,
        comparison: subject.comparison,
        variants: subject.variants.iter().copied().enumerate().map(variant).collect(),
        localization_previews: previews(record, Pass::Localize),
        edit_previews: previews(record, Pass::Edit),
        settings: subject.settings.clone(),
        ..Sheet::new(subject.instruction, subject.source)
    }
}

/// The pixels that any of several masks selects.
fn united(masks: &[&GrayImage]) -> GrayImage {
    let mut union = GrayImage::clone(masks[0]);
    for mask in &masks[1..] {
        for (pixel, other) in union.pixels_mut().zip(mask.pixels()) {
            pixel[0] = pixel[0].max(other[0]);
        }
    }
    union
}

/// What was understood, how sure the localization is, and what else than the instruction the model was told.
fn reading(subject: &Subject<'_>, record: &Record) -> Vec<Fact> {
    let Some(parsed) = &record.parsed else { return vec![] };
    let mut facts = vec![Fact::new("Understood", parsed.in_short())];
    let confidence = record.localization.as_ref().and_then(|it| it.confidence);
    facts.extend(confidence.map(|it| Fact::new("Confidence", format!("{it:.2}"))));
    if parsed.told != subject.instruction {
        facts.push(Fact::new("Told the model", parsed.told.clone()));
    }
    if !parsed.localization_instruction.is_empty() {
        let asked = parsed.localization_instruction.clone();
        facts.push(Fact::new("Asked in the localization pass, only to find it", asked));
    }
    facts
}

fn previews(record: &Record, wanted: Pass) -> Vec<Preview<'_>> {
    let of_pass = record.previews.iter().filter(|(pass, ..)| *pass == wanted);
    of_pass.map(|(_, step, image)| Preview { step: *step, image }).collect()
}

/// A word made safe for a file name, and truncated.
fn file_name(word: &str) -> String {
    let mut name: String =
        word.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
    while name.len() > WORD_BYTES {
        name.pop();
    }
    name
}

/// Whether a file has the name of a map.
fn is_map(name: &Path) -> bool {
    let Some(name) = name.to_str() else { return false };
    let Some(stem) = name.strip_suffix(".png") else { return false };
    let is_number = |text: &str| text.len() >= 2 && text.chars().all(|it| it.is_ascii_digit());
    NAMES.contains(&name)
        || PREVIEWS.iter().any(|it| stem.strip_prefix(it).is_some_and(is_number))
        || stem
            .strip_prefix(HEAT)
            .and_then(|it| it.split_once('-'))
            .is_some_and(|it| is_number(it.0))
}

//! A data set: a JSON Lines manifest with its pictures.
//!
//! Each line is an object with `id`, `image` and `instruction`; `action`, `object`, `mask`, `object_mask` and `target`
//! are optional. Paths are relative to the manifest; masks are white where the edit is. Any other key with a string,
//! number or boolean is kept as a stratum, by which tables are grouped.

use std::{
    collections::HashMap,
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use image::RgbImage;
use serde_json::{Map, Value};

use crate::evaluation::{EvaluationError, ManifestFault};
use crate::instruction::{Action, wording};
use crate::picture::{
    Picture,
    decode::{self, InputLimits},
    mask::Mask,
    painted::Reading,
    size::Size,
};

/// Keys with a defined meaning; all others are strata.
const KNOWN: [&str; 8] =
    ["id", "image", "instruction", "action", "object", "mask", "object_mask", "target"];

/// A validated manifest.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The manifest.
    pub path: PathBuf,
    /// Its lines.
    pub items: Vec<Item>,
}

/// One line of a manifest, with its paths resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Line number in the manifest, from 1.
    pub line: usize,
    /// Unique id.
    pub id: String,
    /// File of the input picture.
    pub image: PathBuf,
    /// The instruction.
    pub instruction: String,
    /// The kind of edit.
    pub action: Option<ItemAction>,
    /// The object's name.
    pub object: Option<String>,
    /// Mask file of the pixels that the edit has to change.
    pub mask: Option<PathBuf>,
    /// Mask file of the object in the source.
    pub object_mask: Option<PathBuf>,
    /// File of the expected picture.
    pub target: Option<PathBuf>,
    /// Size of the picture.
    pub size: Size,
    /// Other keys with their values, in the line's order.
    pub strata: Vec<(String, String)>,
}

/// Kinds of edit that tables distinguish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ItemAction {
    /// An object becomes another one.
    Change,
    /// An object changes color; methods treat it as a change.
    Recolor,
    /// An object is added.
    Add,
    /// An object is removed.
    Remove,
    /// The whole picture changes.
    Global,
}

/// An item's pictures, all of one size.
#[derive(Debug, Clone)]
pub struct LoadedItem {
    /// The input picture.
    pub image: Arc<RgbImage>,
    /// The pixels that the edit has to change.
    pub mask: Option<Mask>,
    /// The object's pixels.
    pub object_mask: Option<Mask>,
    /// The expected picture.
    pub target: Option<RgbImage>,
}

impl Dataset {
    /// Reads a manifest and every file that it names, so that errors appear before hours of work.
    ///
    /// # Errors
    /// [`EvaluationError::ReadManifest`], [`EvaluationError::NoItems`], or [`EvaluationError::Manifest`] with file,
    /// line and fault.
    pub fn open(path: &Path) -> Result<Self, EvaluationError> {
        let text = fs::read_to_string(path)
            .map_err(|source| EvaluationError::ReadManifest { path: path.to_owned(), source })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut first_lines = HashMap::new();
        let mut items = Vec::new();
        let text = text.trim_start_matches('\u{feff}');
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        for (index, line) in lines {
            let mut read = || {
                let mut item = Item::parse(line, folder)?;
                if let Some(first) = first_lines.insert(item.id.clone(), index + 1) {
                    return Err(ManifestFault::DuplicateId { id: item.id, first });
                }
                let image = item.load()?.image;
                item.line = index + 1;
                item.size = Size::new(image.width(), image.height());
                Ok(item)
            };
            let at =
                |fault| EvaluationError::Manifest { path: path.to_owned(), line: index + 1, fault };
            items.push(read().map_err(at)?);
        }
        if items.is_empty() {
            return Err(EvaluationError::NoItems { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), items })
    }

    /// Keeps `count` items, evenly spaced over the manifest, so that a sorted manifest keeps all its kinds.
    #[must_use]
    pub fn limited(mut self, count: usize) -> Self {
        let all = self.items.len();
        if count < all {
            let kept: Vec<usize> = (0..count).map(|index| index * all / count).collect();
            let mut index = 0;
            self.items.retain(|_| {
                index += 1;
                kept.binary_search(&(index - 1)).is_ok()
            });
        }
        self
    }
}

impl Item {
    fn parse(line: &str, folder: &Path) -> Result<Self, ManifestFault> {
        let value: Value = serde_json::from_str(line).map_err(ManifestFault::Json)?;
        let Value::Object(map) = value else { return Err(ManifestFault::NotAnObject) };
        let required = |key| text(&map, key)?.ok_or(ManifestFault::Missing(key));
        let path = |key| text(&map, key).map(|it| it.map(|it| folder.join(it)));
        let instruction = required("instruction")?;
        if let Some(fault) = wording::fault(&instruction) {
            return Err(ManifestFault::Instruction(fault));
        }
        Ok(Self {
            line: 0,
            id: required("id")?,
            image: folder.join(required("image")?),
            instruction,
            action: text(&map, "action")?.map(|name| ItemAction::named(&name)).transpose()?,
            object: text(&map, "object")?,
            mask: path("mask")?,
            object_mask: path("object_mask")?,
            target: path("target")?,
            size: Size::new(0, 0),
            strata: strata(&map),
        })
    }

    /// Reads the item's pictures.
    ///
    /// # Errors
    /// [`ManifestFault::Picture`] or [`ManifestFault::Size`], which name the key.
    pub fn load(&self) -> Result<LoadedItem, ManifestFault> {
        let image = read("image", &self.image)?.rgb;
        let size = Size::new(image.width(), image.height());
        let target = sized("target", self.target.as_deref(), size)?;
        Ok(LoadedItem {
            mask: mask("mask", self.mask.as_deref(), size)?,
            object_mask: mask("object_mask", self.object_mask.as_deref(), size)?,
            target: target.map(|it| Arc::unwrap_or_clone(it.rgb)),
            image,
        })
    }
}

impl ItemAction {
    /// All kinds, in the order of tables.
    pub const ALL: [Self; 5] = [Self::Change, Self::Recolor, Self::Add, Self::Remove, Self::Global];

    /// Value in a manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Recolor => "recolor",
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Global => "global",
        }
    }

    /// The editing action for it.
    pub fn action(self) -> Action {
        match self {
            Self::Change | Self::Recolor => Action::Change,
            Self::Add => Action::Add,
            Self::Remove => Action::Remove,
            Self::Global => Action::Global,
        }
    }

    fn named(name: &str) -> Result<Self, ManifestFault> {
        let found = Self::ALL.into_iter().find(|it| it.name() == name);
        found.ok_or_else(|| ManifestFault::UnknownAction(name.to_owned()))
    }
}

impl fmt::Display for ItemAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A string that may be missing or null, but not empty.
fn text(map: &Map<String, Value>, key: &'static str) -> Result<Option<String>, ManifestFault> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Err(ManifestFault::Empty(key)),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(ManifestFault::NotText(key)),
    }
}

fn strata(map: &Map<String, Value>) -> Vec<(String, String)> {
    let others = map.iter().filter(|(key, _)| !KNOWN.contains(&key.as_str()));
    let plain = others.filter_map(|(key, value)| {
        let value = match value {
            Value::String(text) if text.is_empty() => "none".to_owned(),
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        Some((key.clone(), value))
    });
    plain.collect()
}

/// A picture, which must have the image's size.
fn sized(
    key: &'static str,
    path: Option<&Path>,
    expected: Size,
) -> Result<Option<Picture>, ManifestFault> {
    let Some(path) = path else { return Ok(None) };
    let picture = read(key, path)?;
    let found = picture.size();
    if found != expected {
        return Err(ManifestFault::Size { key, path: path.to_owned(), found, expected });
    }
    Ok(Some(picture))
}

/// A mask, which must have the image's size and select a pixel.
fn mask(key: &'static str, path: Option<&Path>, size: Size) -> Result<Option<Mask>, ManifestFault> {
    let (Some(path), Some(painted)) = (path, sized(key, path, size)?) else { return Ok(None) };
    let name = path.display().to_string();
    let mask = Mask::from_picture(&name, &painted, Reading::LightPaint, size);
    mask.map(|(mask, _)| Some(mask)).map_err(|source| ManifestFault::Picture { key, source })
}

fn read(key: &'static str, path: &Path) -> Result<Picture, ManifestFault> {
    let decoded = decode::read(path, InputLimits::default());
    Ok(decoded.map_err(|source| ManifestFault::Picture { key, source })?.picture)
}

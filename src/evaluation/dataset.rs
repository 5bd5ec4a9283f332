//! A data set: a manifest of JSON lines beside its pictures.
//!
//! Each line is an object with `id`, `image` and `instruction`; `action`, `object`, `mask`, `object_mask` and `target` are
//! optional, paths are relative to the manifest, masks are white where the edit is. Any other key that holds a text, a
//! number or a truth value is kept, and tables are made by it.

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

/// Keys with a meaning; all others are strata.
const KNOWN: [&str; 8] =
    ["id", "image", "instruction", "action", "object", "mask", "object_mask", "target"];

/// A manifest, read and checked.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The manifest.
    pub path: PathBuf,
    /// Its lines.
    pub items: Vec<Item>,
}

/// One line of a manifest, its paths resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its line in the manifest, from 1.
    pub line: usize,
    /// Names it, uniquely.
    pub id: String,
    /// The picture's file.
    pub image: PathBuf,
    /// What to do.
    pub instruction: String,
    /// The kind of edit.
    pub action: Option<ItemAction>,
    /// The object as the data names it.
    pub object: Option<String>,
    /// File of the pixels that the edit needs.
    pub mask: Option<PathBuf>,
    /// File of the object's pixels alone, as it stands in the source.
    pub object_mask: Option<PathBuf>,
    /// File of the picture as it should become.
    pub target: Option<PathBuf>,
    /// Size of the picture.
    pub size: Size,
    /// Other keys with their values, in the line's order.
    pub strata: Vec<(String, String)>,
}

/// The kinds of edit that tables keep apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ItemAction {
    /// An object becomes another.
    Change,
    /// An object takes another color; the method sees a change.
    Recolor,
    /// An object comes in.
    Add,
    /// An object goes.
    Remove,
    /// The whole picture.
    Global,
}

/// An item's pictures, of one size.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Before the edit.
    pub image: Arc<RgbImage>,
    /// The pixels that the edit needs.
    pub mask: Option<Mask>,
    /// The object alone.
    pub object_mask: Option<Mask>,
    /// As it should become.
    pub target: Option<RgbImage>,
}

impl Dataset {
    /// Reads a manifest and every file that it names, so that a fault shows before hours of work.
    ///
    /// # Errors
    /// [`EvaluationError::ReadManifest`], [`EvaluationError::NoItems`], or [`EvaluationError::Manifest`] with file, line and
    /// fault.
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

    /// Keeps `count` items, evenly spread over the manifest, so that a sorted one keeps all its kinds.
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
    /// [`ManifestFault::Picture`] or [`ManifestFault::Size`] names the key.
    pub fn load(&self) -> Result<Loaded, ManifestFault> {
        let image = read("image", &self.image)?.rgb;
        let size = Size::new(image.width(), image.height());
        let target = sized("target", self.target.as_deref(), size)?;
        Ok(Loaded {
            mask: mask("mask", self.mask.as_deref(), size)?,
            object_mask: mask("object_mask", self.object_mask.as_deref(), size)?,
            target: target.map(|it| Arc::unwrap_or_clone(it.rgb)),
            image,
        })
    }
}

impl ItemAction {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 5] = [Self::Change, Self::Recolor, Self::Add, Self::Remove, Self::Global];

    /// As manifests write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Recolor => "recolor",
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Global => "global",
        }
    }

    /// What a method takes it for.
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

/// A text that may be missing or null, but not empty.
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

/// A picture that must have the image's size.
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

/// A mask that must have the image's size and hold a pixel.
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

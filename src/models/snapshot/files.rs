//! Reads the files of a model's folder, and finds out which are missing.

use std::{fs, path::Path};

use serde_json::Value;

use crate::models::{
    snapshot::{
        elsewhere,
        error::SnapshotError,
        family::{Component, Family},
        part::Part,
    },
    weights::{error::WeightsError, find},
};

/// Files that a model lacks, and what to do about it.
#[derive(Debug)]
pub(super) struct Gaps<'a> {
    /// The model's folder.
    folder: &'a Path,
    files: Vec<String>,
    hints: Vec<String>,
}

// === impl Gaps ===

impl<'a> Gaps<'a> {
    /// None yet.
    pub(super) fn new(folder: &'a Path) -> Self {
        Self { folder, files: Vec::new(), hints: Vec::new() }
    }

    /// Those of a snapshot of this family.
    pub(super) fn of(folder: &'a Path, family: Family) -> Result<Self, SnapshotError> {
        let mut gaps = Self::new(folder);
        for component in family.components() {
            gaps.config(&folder.join(component.name), component);
        }
        for part in family.parts() {
            gaps.weights(&folder.join(part.folder()), *part)?;
        }
        gaps.tokenizer(&folder.join("tokenizer"));
        Ok(gaps)
    }

    /// Adds a configuration that is missing in a component's folder.
    pub(super) fn config(&mut self, place: &Path, component: &Component) {
        self.add(place, &[component.file]);
    }

    /// Adds the weights that are missing in a network's folder.
    pub(super) fn weights(&mut self, place: &Path, part: Part) -> Result<(), SnapshotError> {
        match find::find(place) {
            Ok(_) => {}
            Err(WeightsError::NoWeights { expected, hint, .. }) => {
                self.hints.extend(hint.map(|it| format!("in {part}, {it}")));
                let name =
                    if part == Part::TextEncoder { expected.last() } else { expected.first() };
                self.add(place, &name.map(String::as_str).into_iter().collect::<Vec<_>>());
            }
            Err(WeightsError::NoShards { missing, .. }) => {
                self.add(place, &missing.iter().map(String::as_str).collect::<Vec<_>>());
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Adds a tokenizer's files, if neither form of it is in its folder.
    pub(super) fn tokenizer(&mut self, place: &Path) {
        if !place.join("tokenizer.json").is_file() {
            self.add(place, &["vocab.json", "merges.txt"]);
        }
    }

    /// Refuses the model if a file is missing; `advice` is told where nothing else is known.
    pub(super) fn check(self, advice: Option<&str>) -> Result<(), SnapshotError> {
        let Self { folder, files, hints } = self;
        if files.is_empty() {
            return Ok(());
        }
        let hint = match advice {
            _ if !hints.is_empty() => hints.join("; "),
            Some(advice) => advice.to_owned(),
            None => elsewhere::of_gaps(folder),
        };
        Err(SnapshotError::Missing { path: folder.to_owned(), files, hint })
    }

    /// Adds those of some files that are not in a folder.
    fn add(&mut self, place: &Path, names: &[&str]) {
        let shown = place.strip_prefix(self.folder).unwrap_or(place);
        let missing = names.iter().filter(|it| !place.join(it).is_file());
        self.files.extend(missing.map(|it| shown.join(it).display().to_string()));
    }
}

/// The text encoder's configuration; in the configuration of a complete CLIP it is nested (transformers:
/// `CLIPTextConfig.from_pretrained`).
pub(super) fn text_config(mut config: Value) -> Value {
    let is_whole = config.get("model_type").and_then(Value::as_str) == Some("clip");
    match config.get_mut("text_config") {
        Some(text) if is_whole && text.is_object() => text.take(),
        _ => config,
    }
}

/// A configuration file of a folder, if it exists.
pub(super) fn config(folder: &Path, name: &str) -> Result<Option<Value>, SnapshotError> {
    let path = folder.join(name);
    if path.is_file() { read_json(&path).map(Some) } else { Ok(None) }
}

pub(super) fn read_json(path: &Path) -> Result<Value, SnapshotError> {
    let value: Value = serde_json::from_str(&quote_constants(&read(path)?)).map_err(|error| {
        SnapshotError::Malformed { path: path.to_owned(), reason: error.to_string() }
    })?;
    if value.is_object() {
        return Ok(value);
    }
    Err(SnapshotError::Malformed {
        path: path.to_owned(),
        reason: "expected a JSON object".to_owned(),
    })
}

/// Quotes `Infinity`, `-Infinity` and `NaN`, which Python writes (`lambda_min_clipped` of every saved
/// `DPMSolverMultistepScheduler`) although JSON does not have them.
fn quote_constants(json: &str) -> String {
    let mut in_string = false;
    let mut pieces = Vec::new();
    for piece in json.split('"') {
        pieces.push(if in_string {
            piece.to_owned()
        } else {
            let quoted = piece.replace("NaN", "\"NaN\"").replace("Infinity", "\"Infinity\"");
            quoted.replace("-\"Infinity\"", "\"-Infinity\"")
        });
        let escapes = piece.len() - piece.trim_end_matches('\\').len();
        in_string = !in_string || escapes % 2 == 1;
    }
    pieces.join("\"")
}

/// The text of a file, without a byte order mark.
pub(super) fn read(path: &Path) -> Result<String, SnapshotError> {
    let bytes = fs::read(path)
        .map_err(|source| SnapshotError::Unreadable { path: path.to_owned(), source })?;
    let text = String::from_utf8(bytes).map_err(|error| SnapshotError::Malformed {
        path: path.to_owned(),
        reason: match error.as_bytes() {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "it is UTF-16, expected UTF-8".to_owned(),
            _ => "it is not UTF-8 text".to_owned(),
        },
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

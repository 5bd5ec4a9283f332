//! Manifest of a batch: JSON lines with an id, a picture, an instruction, and any other field of `EditSpec`.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::instruction::wording;
use crate::wire::{
    message_json,
    v1::{EditSpec, Priority},
};

/// Longest id in characters, since it becomes a file name.
const MAX_ID: usize = 128;

/// A manifest that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct ManifestError {
    /// The file, and the line.
    pub place: String,
    /// What is wrong there.
    pub reason: String,
}

/// One edit of a batch.
#[derive(Debug, Clone)]
pub struct Item {
    /// Id, also the name of the result's file; letters, digits, `-`, `_` and `.`.
    pub id: String,
    /// The picture.
    pub image: PathBuf,
    /// A painted mask, white = edit.
    pub mask: Option<PathBuf>,
    /// The spec, without the pictures.
    pub spec: EditSpec,
    /// The line's text, for the digest of the request.
    line: String,
}

impl Item {
    /// Digest of the item's request in hexadecimal: its id, its line, and the bytes of its pictures.
    pub fn digest(&self, image: &[u8], mask: Option<&[u8]>) -> String {
        let mut hasher = Sha256::new();
        for part in [self.id.as_bytes(), self.line.as_bytes(), image, mask.unwrap_or_default()] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        format!("{:x}", hasher.finalize())
    }
}

/// Reads a manifest; paths are relative to its folder.
///
/// # Errors
/// [`ManifestError`] names the line.
pub fn read(path: &Path) -> Result<Vec<Item>, ManifestError> {
    let refuse = |place: String, reason: String| ManifestError { place, reason };
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| refuse(name.clone(), error.to_string()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let (mut items, mut ids) = (Vec::new(), HashSet::new());
    let text = text.trim_start_matches('\u{feff}');
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = || format!("{name}:{}", index + 1);
        let item = item(line, folder).map_err(|reason| refuse(place(), reason))?;
        if !ids.insert(item.id.to_lowercase()) {
            return Err(refuse(place(), format!("duplicate id `{}`", item.id)));
        }
        items.push(item);
    }
    if items.is_empty() {
        return Err(refuse(name, "there is no edit in it".to_owned()));
    }
    Ok(items)
}

fn item(line: &str, folder: &Path) -> Result<Item, String> {
    let mut fields: Map<String, Value> =
        serde_json::from_str(line).map_err(|error| format!("no JSON object: {error}"))?;
    let id = text(&mut fields, "id")?.ok_or("`id` is missing")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if id.is_empty() || id.len() > MAX_ID || id.starts_with('.') || !id.chars().all(plain) {
        return Err(format!(
            "the id `{id}` must be 1 to {MAX_ID} letters, digits, -, _ or ., and not begin with ."
        ));
    }
    let image = text(&mut fields, "image")?.ok_or("`image` is missing; give a file")?;
    // A mask is either a file or the schema's message.
    let mask = match fields.get("mask") {
        Some(Value::String(_)) => text(&mut fields, "mask")?,
        _ => None,
    };
    let mut spec = message_json::spec(fields)?;
    if spec.instruction.is_empty() {
        return Err("`instruction` is missing; say what to change".to_owned());
    }
    if let Some(fault) = wording::fault(&spec.instruction) {
        return Err(format!("`instruction` {fault}"));
    }
    if spec.priority == Priority::Unspecified as i32 {
        spec.priority = Priority::Batch as i32;
    }
    Ok(Item {
        id,
        image: folder.join(image),
        mask: mask.map(|it| folder.join(it)),
        spec,
        line: line.trim().to_owned(),
    })
}

fn text(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match fields.shift_remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) if name == "id" => Ok(Some(number.to_string())),
        Some(other) => Err(format!("`{name}` is {other}, expected a text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v1::Action;

    fn read_lines(lines: &str) -> Result<Vec<Item>, ManifestError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.jsonl");
        fs::write(&path, lines).unwrap();
        read(&path)
    }

    #[test]
    fn a_line_holds_any_field_of_a_spec() {
        let line = r#"{"id": 3, "image": "a.png", "instruction": "remove the bee", "seed": 7,
            "steps": 4, "action": "remove", "object": "the bee", "mask": "m.png", "maskPolicy": "auto"}"#;
        let items = read_lines(&line.replace('\n', " ")).unwrap();
        let [item] = items.as_slice() else { panic!("one item") };
        assert_eq!(item.id, "3");
        assert!(item.image.ends_with("a.png") && item.mask.as_ref().unwrap().ends_with("m.png"));
        assert_eq!((item.spec.seed, item.spec.steps), (Some(7), Some(4)));
        assert_eq!(item.spec.action(), Action::Remove);
        assert_eq!(item.spec.priority(), Priority::Batch);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let good = r#"{"id": "a", "image": "a.png", "instruction": "x"}"#;
        for (bad, expected) in [
            ("{", "no JSON"),
            (r#"{"image": "a.png", "instruction": "x"}"#, "`id` is missing"),
            (r#"{"id": "../a", "image": "a.png", "instruction": "x"}"#, "../a"),
            (r#"{"id": "b", "instruction": "x"}"#, "`image` is missing"),
            (r#"{"id": "b", "image": "a.png"}"#, "`instruction` is missing"),
            (r#"{"id": "b", "image": "a.png", "instruction": "!!!"}"#, "no word"),
            (r#"{"id": "b", "image": "a.png", "instruction": "x", "stepz": 3}"#, "stepz"),
            (good, "duplicate id `a`"),
        ] {
            let error = read_lines(&format!("{good}\n\n{bad}\n")).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(error.contains(":3: "), "{error}");
        }
        assert!(read_lines("\n").is_err());
    }

    #[test]
    fn a_digest_is_of_the_line_and_of_the_pictures() {
        let items = read_lines(r#"{"id": "a", "image": "a.png", "instruction": "x"}"#).unwrap();
        let digest = items[0].digest(b"image", None);
        assert_eq!(digest, items[0].digest(b"image", None));
        assert_ne!(digest, items[0].digest(b"other", None));
        assert_ne!(digest, items[0].digest(b"image", Some(b"mask")));
    }
}

//! Text files of a snapshot: read without their byte order mark, and parsed as Python writes JSON.

use std::{fs, path::Path};

use serde_json::Value;

use crate::models::snapshot::error::SnapshotError;

/// A file with a JSON object.
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

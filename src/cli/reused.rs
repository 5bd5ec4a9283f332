//! `--localization FILE`: reads a saved result of pass 1, and checks it against the edit.

use std::{fs::File, io::Read, path::Path};

use crate::cli::{args::EditArgs, engine_error::EngineError, screen::Screen};
use crate::edit::{
    choices::Unparsed,
    reuse::{self, Meant, ReuseError},
};
use crate::instruction::Overrides;
use crate::picture::decode::Decoded;
use crate::wire::{
    edit_record::digests::{picture_digest, shown},
    localization_json::{LocalizationJsonError, MAX_BYTES, SavedLocalization},
};

/// Reads a saved localization, and refuses one of another picture or another object; another wording is a warning.
///
/// # Errors
/// [`EngineError::Localization`], naming the file.
pub(crate) fn read(
    path: &Path,
    picture: &Decoded,
    args: &EditArgs,
    screen: &mut Screen,
) -> Result<SavedLocalization, EngineError> {
    let refuse = |reason: String| EngineError::Localization { path: path.to_owned(), reason };
    let mut text = String::new();
    let file = File::open(path).map_err(|error| refuse(error.to_string()))?;
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text);
    // A truncated text may end within a character.
    if text.len() as u64 > MAX_BYTES || read.as_ref().is_ok_and(|&it| it as u64 > MAX_BYTES) {
        return Err(refuse(LocalizationJsonError::TooLong.to_string()));
    }
    read.map_err(|error| refuse(error.to_string()))?;
    let saved = SavedLocalization::from_json(&text);
    let saved = saved.map_err(|error| refuse(shown(&error.to_string())))?;
    if saved.image_sha256 != picture_digest(&picture.picture.rgb) {
        let reason = "it was made on another picture; run `retouch localize` on this one";
        return Err(refuse(reason.to_owned()));
    }
    let meant = Meant {
        instruction: args.instruction(),
        overrides: Overrides {
            object: args.localization.object.as_deref(),
            action: args.localization.action,
        },
        unparsed: if args.localization.strict { Unparsed::Refuse } else { Unparsed::PlainEdit },
    };
    let asked = saved.asked.as_ref().map(|it| it.instruction.as_str());
    let warning = reuse::check(&saved.localization, asked, meant);
    let warning = warning.map_err(|error| {
        let remedy = match error {
            ReuseError::OtherObject { .. } => {
                "; run `retouch localize` with this instruction, or name that object with --object"
            }
            ReuseError::NotParsed(_) => "",
        };
        refuse(format!("{}{remedy}", shown(&error.to_string())))
    })?;
    if let Some(warning) = warning {
        screen.warning(warning.reason.code(), &shown(&warning.message));
    }
    Ok(saved)
}

/// Refuses a localization made by another model.
///
/// # Errors
/// [`EngineError::Localization`], naming the file.
pub(crate) fn check_model(
    path: &Path,
    saved: &SavedLocalization,
    digest: &str,
) -> Result<(), EngineError> {
    if saved.model_digest == digest {
        return Ok(());
    }
    let reason = "it was made with another model; run `retouch localize` with this one".to_owned();
    Err(EngineError::Localization { path: path.to_owned(), reason })
}

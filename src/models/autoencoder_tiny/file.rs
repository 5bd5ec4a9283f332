//! The files of a tiny autoencoder: diffusers' folder, its keys in a file of any name, or a half in the original layout.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::config_json::ConfigJson;
use crate::models::{
    autoencoder_tiny::{TinyError, plan::Plan},
    weights::{
        Checkpoint,
        error::WeightsError,
        file::{Stored, WeightsFile},
        find,
    },
};

/// Which half is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Decoder,
    Encoder,
}

/// Keys of the configuration, with the only value that is supported.
const SUPPORTED: [(&str, &str); 7] = [
    ("act_fn", "\"relu\""),
    ("upsample_fn", "\"nearest\""),
    ("upsampling_scaling_factor", "2"),
    ("latent_magnitude", "3"),
    ("scaling_factor", "1"),
    ("shift_factor", "0"),
    ("out_channels", "3"),
];

/// Opens a half under diffusers' keys without the half's name.
///
/// # Errors
/// [`TinyError`] for a pickle, a configuration of another architecture, and tensors of something else.
pub(super) fn open(path: &Path, half: Half) -> Result<(Checkpoint, Plan), TinyError> {
    let file = if path.is_dir() {
        check_config(path)?;
        in_folder(path, half)?
    } else {
        path.to_owned()
    };
    if find::is_pickle(&file) {
        return Err(WeightsError::Pickle { path: file }.into());
    }
    let (_, stored) = WeightsFile::open(&file)?;
    let layout = Layout::of(&stored);
    let renamed = |key: &str| layout.renamed(key, half);
    let checkpoint = Checkpoint::open_renamed(&file, |it| {
        renamed(&it.key).map(|key| (key, it)).into_iter().collect()
    })?;
    let shapes: BTreeMap<String, Vec<i64>> =
        stored.iter().filter_map(|it| Some((renamed(&it.key)?, it.shape.clone()))).collect();
    let plan = Plan::of(&shapes, half == Half::Decoder);
    let other = || TinyError::Other { path: path.to_owned(), half: half.name() };
    Ok((checkpoint, plan.ok_or_else(other)?))
}

/// The weights in a folder: diffusers', else the only file that is named as a half of the original layout is, such as
/// `taesd_decoder.safetensors`.
fn in_folder(folder: &Path, half: Half) -> Result<PathBuf, WeightsError> {
    let error = match find::find(folder) {
        Ok(found) => {
            let first = found.files.into_iter().next();
            return Ok(first.expect("weights that were found are in a file"));
        }
        Err(error) => error,
    };
    let ending = format!("_{}.safetensors", half.name());
    let paths = fs::read_dir(folder).into_iter().flatten().flatten().map(|it| it.path());
    let mut named = paths.filter(|it| it.to_string_lossy().ends_with(&ending));
    match (named.next(), named.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(error),
    }
}

impl Half {
    fn name(self) -> &'static str {
        match self {
            Self::Decoder => "decoder",
            Self::Encoder => "encoder",
        }
    }
}

/// How a file's keys are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `decoder.layers.N…`, `encoder.layers.N…`: diffusers.
    Diffusers,
    /// `decoder.N…`, `encoder.N…`: both halves of the original layout.
    Both,
    /// `N…`: one half of the original layout.
    One(Half),
}

impl Layout {
    fn of(stored: &[Stored]) -> Self {
        let has = |start: &str| stored.iter().any(|it| it.key.starts_with(start));
        if has("decoder.layers.") || has("encoder.layers.") {
            Self::Diffusers
        } else if has("decoder.") || has("encoder.") {
            Self::Both
        } else if has("0.") {
            Self::One(Half::Encoder)
        } else {
            // Its first layer, which presses latents together, has no tensors.
            Self::One(Half::Decoder)
        }
    }

    /// A tensor's key in diffusers' layout without the half's name; `None` if it is of the other half, or none's.
    fn renamed(self, key: &str, half: Half) -> Option<String> {
        if let Self::One(found) = self {
            return if found == half { numbered(key, half) } else { None };
        }
        let rest = key.strip_prefix(half.name())?.strip_prefix('.')?;
        match self {
            Self::Diffusers => Some(rest.to_owned()),
            Self::Both | Self::One(_) => numbered(rest, half),
        }
    }
}

/// A key of the original layout, in which the decoder's layers have one before them.
fn numbered(key: &str, half: Half) -> Option<String> {
    let (number, rest) = key.split_once('.')?;
    let number: usize = number.parse().ok()?;
    let number = if half == Half::Decoder { number.checked_sub(1)? } else { number };
    Some(format!("layers.{number}.{rest}"))
}

/// Refuses a configuration of another architecture; a folder may have none.
fn check_config(folder: &Path) -> Result<(), TinyError> {
    let path = folder.join("config.json");
    if !path.is_file() {
        return Ok(());
    }
    let text = fs::read_to_string(&path)
        .map_err(|source| WeightsError::Unreadable { path: path.clone(), source })?;
    let config = ConfigJson::of_class("AutoencoderTiny", &text)?;
    for (key, value) in SUPPORTED {
        config.only(key, value)?;
    }
    Ok(())
}

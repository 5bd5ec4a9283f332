//! Steps of a local edit before pass 2: reading inputs, checking the model, settings, pass 1.

use std::sync::Arc;

use clap::ValueEnum;

use crate::cli::{
    args::{Dtype, EditArgs, ModelArgs},
    effects::{self, PassOne},
    error::CliError,
    load::{self, check_settings},
    replay::Replay,
    reporter::Reporter,
    resolve, reused,
    screen::Screen,
};
use crate::edit::{edit_mask::MaskChoice, settings::EditSettings};
use crate::editing::open_edit::OpenEdit;
use crate::picture::{
    decode::Decoded,
    encode::{self, OutputFormat},
    metadata::Policy,
};
use crate::serving::load::{Loaded, gpus};
use crate::wire::localization_json::SavedLocalization;

/// Inputs of an edit.
#[derive(Debug)]
pub(super) struct Given {
    /// The picture.
    pub(super) picture: Decoded,
    /// Which of the picture's metadata is kept.
    pub(super) policy: Policy,
    /// The caller's choice of the mask.
    pub(super) mask: MaskChoice,
    /// The choice of each later part of several, if they differ.
    pub(super) later_masks: Vec<MaskChoice>,
    /// A saved result of pass 1.
    pub(super) saved: Option<SavedLocalization>,
}

/// Reads the inputs, and refuses those that contradict each other.
///
/// # Errors
/// [`CliError`], naming the file or the flag.
pub(super) fn given(
    args: &EditArgs,
    replay: Option<&Replay>,
    format: OutputFormat,
    screen: &mut Screen,
) -> Result<Given, CliError> {
    let picture = resolve::read_picture(&args.input.image, screen)?;
    encode::check(&picture.picture, format).map_err(CliError::Output)?;
    let policy = args.encoding.metadata;
    for note in picture.metadata.notes(policy, format.file_format()) {
        screen.warning("PICTURE", &note.to_string());
    }
    let size = picture.picture.size();
    let mut mask = resolve::mask(&args.mask, size, screen)?;
    let mut later_masks = Vec::new();
    match replay {
        Some(replay) => {
            replay.check_picture(&picture.picture)?;
            replay.settle(&mut mask, size)?;
            later_masks = replay.later_masks(size)?;
        }
        None => effects::check(args, PassOne::typed(&args.localization))?,
    }
    let path = args.localization_file.as_deref();
    let saved = path.map(|path| reused::read(path, &picture, args, screen)).transpose()?;
    match (&saved, replay) {
        (Some(saved), Some(replay)) => replay.check_localization(saved)?,
        (Some(_), None) => {}
        (None, _) => resolve::check_finds(args.method, &mask)?,
    }
    Ok(Given { picture, policy, mask, later_masks, saved })
}

/// Loads the model, and says what is to be known of it.
///
/// # Errors
/// [`CliError`] if it can't be loaded, or is another than that of the record or the saved localization.
pub(super) fn model(
    args: &EditArgs,
    replay: Option<&Replay>,
    saved: Option<&SavedLocalization>,
    screen: &mut Screen,
) -> Result<Loaded, CliError> {
    let loaded = load::load(&model_args(args, replay))?;
    check_model(&loaded, args, replay, saved)?;
    for note in &loaded.notes {
        screen.warning("MODEL", note);
    }
    Ok(loaded)
}

/// Device and number format of the model: by flag, else as recorded if this machine supports them.
fn model_args(args: &EditArgs, replay: Option<&Replay>) -> ModelArgs {
    let mut model = args.model.clone();
    let Some(record) = replay.map(|it| &it.record) else { return model };
    if model.device.is_none() && record.device == "cuda" && gpus(&load::environment()).is_ok() {
        model.device = Some("cuda".to_owned());
    }
    let same_kind = model.device().split(':').next() == Some(record.device.as_str());
    if model.dtype == Dtype::Auto && same_kind {
        model.dtype = Dtype::from_str(&record.dtype, false).unwrap_or(Dtype::Auto);
    }
    model
}

/// Refuses a model other than that of the record or the saved localization.
///
/// # Errors
/// [`CliError::Record`], [`EngineError::Localization`](crate::cli::engine_error::EngineError).
fn check_model(
    loaded: &Loaded,
    args: &EditArgs,
    replay: Option<&Replay>,
    saved: Option<&SavedLocalization>,
) -> Result<(), CliError> {
    let digest = loaded.editor.pipeline().digest();
    if let Some(replay) = replay {
        replay.check_model(digest, &loaded.info.loras)?;
    }
    match (saved, &args.localization_file) {
        (Some(saved), Some(path)) => Ok(reused::check_model(path, saved, digest)?),
        _ => Ok(()),
    }
}

/// The settings, except how the rest of the picture is preserved.
///
/// # Errors
/// [`CliError`], naming the value, or the flag without an effect.
pub(super) fn settings(
    args: &EditArgs,
    loaded: &Loaded,
    is_replay: bool,
) -> Result<EditSettings, CliError> {
    let settings = args.overrides()?.over(&loaded.info.recommended, args.sampling.preset);
    if !is_replay {
        let (localizer, score) = (Some(settings.localizer), Some(settings.score));
        effects::check(args, PassOne { localizer, score })?;
    }
    check_settings(loaded, &settings)?;
    Ok(settings)
}

/// Runs pass 1 if the mask needs it, or takes up a saved one.
///
/// # Errors
/// [`CliError`] if the request, the model or the saved localization is unusable.
pub(super) fn localize(
    edit: &mut OpenEdit<'_>,
    saved: Option<SavedLocalization>,
    reporter: &mut Reporter<'_>,
) -> Result<(), CliError> {
    if let Some(saved) = saved {
        edit.take_up(Arc::new(saved.localization));
        return Ok(edit.check_confidence(reporter)?);
    }
    resolve::check_clusters(edit.request())?;
    if edit.request().needs_localization() {
        edit.localize(reporter)?;
    }
    Ok(())
}

//! The steps of an edit on this machine before its second pass: what is given, the model, the settings, pass 1.

use std::sync::Arc;

use crate::cli::{
    args::EditArgs,
    effects::{self, Found},
    error::CliError,
    load::Loaded,
    replay::Replay,
    reporter::Reporter,
    resolve, reused,
    screen::Screen,
};
use crate::edit::{
    edit_mask::MaskChoice, localization::Localization, request::EditRequest, settings::EditSettings,
};
use crate::editing::editor::check_confidence;
use crate::picture::{
    decode::Decoded,
    encode::{self, OutputFormat},
    metadata::Policy,
};
use crate::wire::localization_json::SavedLocalization;

/// What is given with a request.
#[derive(Debug)]
pub(super) struct Given {
    /// The picture.
    pub(super) picture: Decoded,
    /// What of its metadata is kept.
    pub(super) policy: Policy,
    /// What the caller decides of the mask.
    pub(super) mask: MaskChoice,
    /// A pass 1 that was made before.
    pub(super) saved: Option<SavedLocalization>,
}

/// Reads what is given with the request, and refuses what does not fit together.
///
/// # Errors
/// [`CliError`] names the file or the flag.
pub(super) fn given(
    args: &EditArgs,
    replay: Option<&Replay>,
    format: OutputFormat,
    screen: &mut Screen,
) -> Result<Given, CliError> {
    let picture = resolve::read_picture(&args.input.image, screen)?;
    encode::check(&picture.picture, format).map_err(CliError::Output)?;
    let policy = Policy::from(args.encoding.metadata);
    for note in picture.metadata.notes(policy, format.file_format()) {
        screen.warning("PICTURE", &note.to_string());
    }
    let mut mask = resolve::mask(&args.mask, picture.picture.size(), screen)?;
    match replay {
        Some(replay) => {
            replay.check_picture(&picture.picture)?;
            replay.settle(&mut mask, picture.picture.size())?;
        }
        None => effects::check(args, Found::typed(&args.localization))?,
    }
    let path = args.localization_file.as_deref();
    let saved = path.map(|path| reused::read(path, &picture, args, screen)).transpose()?;
    match (&saved, replay) {
        (Some(saved), Some(replay)) => replay.check_localization(saved)?,
        (Some(_), None) => {}
        (None, _) => resolve::check_finds(args.method.into(), &mask)?,
    }
    Ok(Given { picture, policy, mask, saved })
}

/// Refuses a model that the record, or the saved localization, is not of.
///
/// # Errors
/// [`CliError::Record`], [`CliError::Localization`].
pub(super) fn check_model(
    loaded: &Loaded,
    args: &EditArgs,
    replay: Option<&Replay>,
    saved: Option<&SavedLocalization>,
) -> Result<(), CliError> {
    let digest = loaded.editor.pipeline().digest();
    if let Some(replay) = replay {
        replay.check_model(digest)?;
    }
    match (saved, &args.localization_file) {
        (Some(saved), Some(path)) => reused::check_model(path, saved, digest),
        _ => Ok(()),
    }
}

/// The settings, all but what keeps the rest of the picture.
///
/// # Errors
/// [`CliError`] names the value, or the flag without an effect.
pub(super) fn settings(
    args: &EditArgs,
    loaded: &Loaded,
    is_replay: bool,
) -> Result<EditSettings, CliError> {
    let recommended = loaded.settings.clone();
    let mut settings =
        resolve::settings(recommended, &args.sampling, args.steps, &args.localization)?;
    if let Some(modulation) = args.modulation {
        settings.modulation = modulation.into();
    }
    settings.localization.seed = args.localize_seed;
    if !is_replay {
        let (localizer, score) = (Some(settings.localizer), Some(settings.score));
        effects::check(args, Found { localizer, score })?;
    }
    loaded.check_sampler(&settings)?;
    Ok(settings)
}

/// What pass 1 learns, or learned before, if anything needs it.
///
/// # Errors
/// [`CliError`] says what is wrong with the request, the model or the saved localization.
pub(super) fn localization(
    loaded: &Loaded,
    request: &EditRequest,
    saved: Option<SavedLocalization>,
    reporter: &mut Reporter<'_>,
) -> Result<Option<Arc<Localization>>, CliError> {
    let Some(saved) = saved else {
        resolve::check_clusters(request)?;
        if !request.needs_localization() {
            return Ok(None);
        }
        return Ok(loaded.editor.localize(request, reporter)?);
    };
    if request.needs_localization() {
        check_confidence(request, &saved.localization, reporter)?;
    }
    Ok(Some(Arc::new(saved.localization)))
}

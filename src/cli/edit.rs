//! `retouch edit`: edits a picture by an instruction.

use std::{sync::Arc, time::Instant};

use serde_json::json;

use crate::cli::{
    args::EditArgs,
    edit_outputs,
    edit_steps::{self, Given},
    error::CliError,
    interrupt::Interrupt,
    load,
    maps::Subject,
    outputs,
    replay::Replay,
    reporter::Reporter,
    resolve,
    screen::Screen,
    settings_record,
};
use crate::edit::settings::EditSettings;
use crate::editing::open_edit::OpenEdit;
use crate::wire::{
    edit_record::{EditRecord, Localized, MadePicture, digests},
    result_file::ResultFile,
};

/// Runs the command.
///
/// # Errors
/// [`CliError`] if the command fails; variants completed before are kept, otherwise nothing is written.
pub(crate) fn run(
    args: &EditArgs,
    replay: Option<&Replay>,
    screen: &mut Screen,
) -> Result<(), CliError> {
    // 1. Checks that need no model.
    let interrupt = Interrupt::listen()?;
    let outputs = edit_outputs::outputs(args)?;
    let Given { picture, policy, mask, later_masks, saved } =
        edit_steps::given(args, replay, outputs.format, screen)?;

    // 2. Load the model, and build the request.
    let loaded = load::load(&edit_steps::model(args, replay))?;
    edit_steps::check_model(&loaded, args, replay, saved.as_ref())?;
    for note in &loaded.notes {
        screen.warning("MODEL", note);
    }
    let is_saved = saved.is_some();
    let has_mask = mask.shapes.is_some() || is_saved;
    let settings = EditSettings {
        preserve: edit_outputs::preserve(args, has_mask, outputs.format, screen)?,
        ..edit_steps::settings(args, &loaded, replay.is_some())?
    };
    let geometry = loaded.editor.pipeline().geometry();
    let (texts, sampling, size) = (&args.localization, &args.sampling, picture.picture.size());
    resolve::check_work_size(size, settings.resize, geometry, sampling.max_pixels)?;
    let mut request = resolve::request(args.instruction(), &picture, settings, texts, sampling)?;
    resolve::show_text_notes(&request, screen);
    request.method = args.method;
    request.mask = mask;
    request.preview_every = usize::from(args.report.maps.is_some());
    request.preview_decode = load::previews(&args.model);
    // Shared by all variants.
    request.settings.localization.seed.get_or_insert(request.seed);
    screen.fact("seed", &json!(request.seed));

    // 3. Run pass 1, unless a saved result is given or nothing needs it.
    interrupt.stop_cleanly();
    let mut reporter = Reporter::new(screen, &interrupt);
    let facts = settings_record::facts(&load::made(&loaded, &request));
    let mut edit = loaded.editor.open(request);
    edit.settle_later(later_masks.clone());
    edit_steps::localize(&mut edit, saved, &mut reporter)?;
    let localization = edit.localization();
    let made = MadePicture {
        origin: loaded.info.origin(),
        preset: args.sampling.preset,
        picture: &picture.picture,
        format: outputs.format,
        localization: match localization.filter(|_| edit.request().mask.needs_localization()) {
            Some(found) if is_saved => Localized::Before(digests::localization_digest(found)),
            Some(_) => Localized::Here,
            None if edit.part().of > 1 && edit.asked().needs_localization() => Localized::Here,
            None => Localized::No,
        },
        confidence: localization.and_then(|it| it.confidence),
        drift: None,
        later_masks,
    };
    if let Some(replay) = replay {
        replay.tell(&EditRecord::of(edit.asked(), &made), reporter.screen());
    }
    let file = ResultFile { made, metadata: &picture.metadata, policy };

    // 4. Run pass 2 once per variant; each file is written atomically when its variant is done.
    let started = Instant::now();
    let first_seed = edit.request().seed;
    let mut results = Vec::new();
    let mut write = |edit: &OpenEdit<'_>, index: usize| {
        let result = edit.edit(&mut reporter)?;
        let made = MadePicture { drift: result.drift, ..file.made.clone() };
        let file = ResultFile { made, metadata: file.metadata, policy: file.policy };
        let bytes = file.encode(edit.asked(), Arc::new(result.image.clone()));
        let bytes = bytes.map_err(CliError::Output)?;
        outputs::put(&outputs.paths[index], &bytes, outputs.overwrite)?;
        reporter.screen().written("edited", &outputs.paths[index]);
        if let (Some(replay), 0) = (replay, index) {
            replay.compare(&bytes, reporter.screen())?;
        }
        results.push(result);
        Ok::<_, CliError>(())
    };
    let mut stopped = None;
    for index in 0..outputs.paths.len() {
        edit.reseed(first_seed.wrapping_add(index as u64));
        stopped = write(&edit, index).err();
        if stopped.is_some() {
            break;
        }
    }
    let mut compared = None;
    if let (Some(method), None) = (args.compare, &stopped) {
        edit.reseed(first_seed);
        edit.switch(method);
        match edit.run(&mut |_| interrupt.check()) {
            Ok(edited) => compared = Some((method, edited)),
            Err(error) => stopped = Some(error.into()),
        }
    }
    let records = reporter.into_records();
    let seconds = started.elapsed().as_secs_f64();

    // 5. Write the maps, also of an interrupted run.
    let maps = outputs.maps.as_ref().filter(|_| !results.is_empty());
    let sheet = maps.map(|folder| {
        let subject = Subject {
            instruction: &edit.asked().instruction,
            source: &picture.picture.rgb,
            result: Some(&results[0].image),
            comparison: compared.as_ref().map(|(method, edited)| (method.title(), &edited.image)),
            variants: results.iter().skip(1).map(|result| &result.image).collect(),
            settings: facts,
        };
        folder.write_parts(&subject, &records)
    });
    outputs.finish(results.len(), sheet, stopped, screen)?;
    screen.fact("seconds", &json!((seconds * 10.0).round() / 10.0));
    Ok(())
}

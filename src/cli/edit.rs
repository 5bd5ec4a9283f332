//! `retouch edit`: edits a picture by an instruction.

use std::{path::PathBuf, sync::Arc, time::Instant};

use image::RgbImage;
use serde_json::json;

use crate::cli::{
    args::EditArgs,
    edit_steps::{self, Given},
    error::CliError,
    interrupt::Interrupt,
    load,
    maps::{MapsFolder, Subject},
    outputs, remote,
    replay::Replay,
    reporter::Reporter,
    resolve,
    screen::{Screen, Stream},
    settings_record::{self, Made},
};
use crate::edit::{
    choices::{MethodKind, Preserve},
    settings::EditSettings,
};
use crate::editing::{editor::Edited, open_edit::OpenEdit};
use crate::picture::{encode::OutputFormat, format::FileFormat, write::Overwrite};
use crate::wire::{
    edit_record::{EditRecord, Localized, Made as MadePicture, digests},
    result_file::ResultFile,
};

/// Output files, checked before any work.
#[derive(Debug)]
pub(crate) struct Outputs {
    /// One per variant.
    pub(crate) paths: Vec<PathBuf>,
    /// Format of the pictures.
    pub(crate) format: OutputFormat,
    /// Whether existing files may be overwritten.
    pub(crate) overwrite: Overwrite,
    /// Folder of the maps, if requested.
    pub(crate) maps: Option<MapsFolder>,
}

/// Where to print results: on standard error if the picture goes to standard output.
pub(crate) fn results_stream(args: &EditArgs) -> Stream {
    let output = args.output.clone().unwrap_or_else(|| default_output(args));
    if resolve::is_dash(&output) { Stream::Err } else { Stream::Out }
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] if the command fails; variants completed before are kept, otherwise nothing is written.
pub(crate) fn run(args: &EditArgs, screen: &mut Screen) -> Result<(), CliError> {
    let replay = Replay::open(args)?;
    let args = replay.as_ref().map_or(args, |it| &it.args);
    if args.server.is_given() {
        return remote::edit::run(args, replay.as_ref(), screen);
    }
    args.server.refuse_alone()?;

    // 1. Checks that need no model.
    let interrupt = Interrupt::listen()?;
    let outputs = outputs(args)?;
    let Given { picture, policy, mask, saved } =
        edit_steps::given(args, replay.as_ref(), outputs.format, screen)?;

    // 2. Load the model, and build the request.
    let loaded = load::load(&args.model)?;
    edit_steps::check_model(&loaded, args, replay.as_ref(), saved.as_ref())?;
    for note in &loaded.notes {
        screen.warning("MODEL", note);
    }
    let has_mask = mask.shapes.is_some() || saved.is_some();
    let settings = EditSettings {
        preserve: preserve(args, has_mask, outputs.format, screen)?,
        ..edit_steps::settings(args, &loaded, replay.is_some())?
    };
    let geometry = loaded.editor.pipeline().geometry();
    let size = picture.picture.size();
    resolve::check_work_size(size, settings.resize, geometry, args.sampling.max_pixels)?;
    let (texts, sampling) = (&args.localization, &args.sampling);
    let mut request = resolve::request(args.instruction(), &picture, settings, texts, sampling)?;
    resolve::show_text_notes(&request, screen);
    request.method = args.method;
    request.mask = mask;
    request.preview_every = usize::from(args.report.maps.is_some());
    // Shared by all variants.
    request.settings.localization.seed.get_or_insert(request.seed);
    screen.fact("seed", &json!(request.seed));

    // 3. Run pass 1, unless a saved result is given or nothing needs it.
    interrupt.stop_cleanly();
    let mut reporter = Reporter::new(screen, &interrupt);
    let facts = settings_record::facts(&Made::here(&request, &loaded));
    let mut edit = loaded.editor.open(request);
    let is_saved = saved.is_some();
    edit_steps::localize(&mut edit, saved, &mut reporter)?;
    let localization = edit.localization();
    let name = loaded.name();
    let made = MadePicture {
        origin: loaded.origin(&name),
        preset: args.sampling.preset,
        picture: &picture.picture,
        format: outputs.format,
        localization: match localization.filter(|_| edit.request().mask.needs_localization()) {
            Some(found) if is_saved => Localized::Before(digests::localization_digest(found)),
            Some(_) => Localized::Here,
            None => Localized::No,
        },
        confidence: localization.and_then(|it| it.confidence),
    };
    if let Some(replay) = &replay {
        replay.tell(&EditRecord::of(edit.request(), &made), reporter.screen());
    }
    let file = ResultFile { made, metadata: &picture.metadata, policy };

    // 4. Run pass 2 once per variant; each file is written atomically when its variant is done.
    let started = Instant::now();
    let first_seed = edit.request().seed;
    let mut results = Vec::new();
    let mut write = |edit: &OpenEdit<'_>, index: usize| {
        let result = edit.edit(&mut reporter)?;
        let bytes = file.encode(edit.request(), Arc::new(result.image.clone()));
        let bytes = bytes.map_err(CliError::Output)?;
        outputs::put(&outputs.paths[index], &bytes, outputs.overwrite)?;
        reporter.screen().written("edited", &outputs.paths[index]);
        if let (Some(replay), 0) = (&replay, index) {
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
    let record = reporter.into_record();
    let seconds = started.elapsed().as_secs_f64();

    // 5. Write the maps, also of an interrupted run.
    let maps = outputs.maps.as_ref().filter(|_| !results.is_empty());
    let sheet = maps.map(|folder| {
        let subject = Subject {
            instruction: &edit.request().instruction,
            source: &picture.picture.rgb,
            result: Some(&results[0].image),
            comparisons: comparisons(&results, compared.as_ref()),
            settings: facts,
        };
        folder.write(&subject, &record)
    });
    outputs.finish(results.len(), sheet, stopped, screen)?;
    screen.fact("seconds", &json!((seconds * 10.0).round() / 10.0));
    Ok(())
}

impl Outputs {
    /// Prints what a run has written, and returns why it was stopped, if it was: by Ctrl-C or an error.
    ///
    /// # Errors
    /// The error that stopped the run, else that of writing its maps.
    pub(crate) fn finish(
        &self,
        made: usize,
        sheet: Option<Result<PathBuf, CliError>>,
        stopped: Option<CliError>,
        screen: &mut Screen,
    ) -> Result<(), CliError> {
        let of = self.paths.len();
        if stopped.is_some() && made > 0 && of > 1 {
            let said =
                format!("{made} of {of} variants were made and written before the run was stopped");
            screen.warning("STOPPED", &said);
        }
        let sheet = sheet.transpose();
        if let Ok(Some(sheet)) = &sheet {
            screen.written("contact sheet", sheet);
        }
        stopped.map_or(sheet.map(drop), Err)
    }
}

/// Default output path: beside the input.
pub(crate) fn default_output(args: &EditArgs) -> PathBuf {
    let extension = match args.encoding.format {
        Some(FileFormat::Jpeg) => "jpg",
        Some(FileFormat::WebP) => "webp",
        Some(FileFormat::Png) | None => "png",
    };
    resolve::default_output(&args.input.image, "edited", extension)
}

/// Determines and checks the output files.
///
/// # Errors
/// [`CliError::Usage`] or [`CliError::Output`], before any work.
pub(crate) fn outputs(args: &EditArgs) -> Result<Outputs, CliError> {
    let output = args.output.clone().unwrap_or_else(|| default_output(args));
    let format = resolve::output_format(&args.encoding, &output)?;
    let overwrite = if args.report.force { Overwrite::Replace } else { Overwrite::Refuse };
    if resolve::is_dash(&output) && args.variants > 1 {
        return Err(CliError::Usage(
            "several variants don't fit on standard output; give -o FILE".to_owned(),
        ));
    }
    let paths: Vec<PathBuf> = (0..args.variants)
        .map(|index| resolve::variant_output(&output, index, args.variants))
        .collect();
    for path in &paths {
        outputs::check(path, overwrite)?;
    }
    // With --force the input may be overwritten; it has been read before.
    let read = || args.mask.mask.iter().chain(&args.localization_file).chain(&args.params_from);
    outputs::check_distinct(&paths, read())?;
    let maps =
        args.report.maps.as_deref().map(|path| MapsFolder::new(path, overwrite)).transpose()?;
    if let Some(maps) = &maps {
        maps.refuse_files(paths.iter().chain([&args.input.image]).chain(read()))?;
    }
    Ok(Outputs { paths, format, overwrite, maps })
}

/// How the rest of the picture is preserved; exact pixels and a lossy format contradict each other.
///
/// # Errors
/// [`CliError::Usage`] if both are requested.
pub(crate) fn preserve(
    args: &EditArgs,
    has_mask: bool,
    format: OutputFormat,
    screen: &mut Screen,
) -> Result<Preserve, CliError> {
    match args.preserve {
        Some(Preserve::Pixel) if format.is_lossy() => Err(CliError::Usage(
            "--preserve pixel keeps pixels exactly, and a JPEG does not; write a PNG or WebP, or leave it out"
                .to_owned(),
        )),
        Some(preserve) => Ok(preserve),
        None => {
            let preserve = args.method.default_preserve(has_mask);
            if preserve == Preserve::Pixel && format.is_lossy() {
                let message = "a JPEG changes every pixel a little; outside the mask they are the input's \
                               only before it is written";
                screen.warning("LOSSY_OUTPUT", message);
            }
            Ok(preserve)
        }
    }
}

fn comparisons<'a>(
    results: &'a [Edited],
    compared: Option<&'a (MethodKind, Edited)>,
) -> Vec<(&'a str, &'a RgbImage)> {
    let variants = results.iter().skip(1).map(|result| ("Variant", &result.image));
    let compared = compared.iter().map(|(method, edited)| (method.title(), &edited.image));
    compared.chain(variants).collect()
}

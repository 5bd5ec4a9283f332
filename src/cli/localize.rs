//! `retouch localize`: finds the region of an instruction in a picture, without editing.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use image::{DynamicImage, ImageFormat};
use serde_json::json;

use crate::cli::{
    args::{MaskArgs, ModelArgs, ReportArgs, SamplingArgs},
    error::CliError,
    interrupt::Interrupt,
    load,
    localization_args::LocalizationArgs,
    maps::{MapsFolder, Subject},
    outputs,
    reporter::Reporter,
    resolve,
    screen::{Screen, Stream},
    settings_record,
};
use crate::picture::write::Overwrite;
use crate::wire::localization_json::SavedLocalization;

#[derive(Debug, Args)]
pub(crate) struct LocalizeArgs {
    #[command(flatten)]
    pub(crate) input: InputArgs,
    /// Where the mask goes: a PNG, white = edit [default: IMAGE.mask.png beside the input].
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,
    /// Keep what was found, for `retouch edit --localization`.
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) localization: LocalizationArgs,
    #[command(flatten)]
    pub(crate) mask: MaskArgs,
    #[command(flatten)]
    pub(crate) report: ReportArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InputArgs {
    /// The picture: PNG, JPEG or WebP; `-` is standard input.
    #[arg(value_name = "IMAGE")]
    pub(crate) image: PathBuf,
    /// What to do, such as "make the bee a bird". Quotation marks, prompt weights, quality tags and invisible
    /// characters are left out, with a warning.
    #[arg(value_name = "INSTRUCTION")]
    pub(crate) instruction: String,
}

/// Where to print results: on standard error if the mask goes to standard output.
pub(crate) fn results_stream(args: &LocalizeArgs) -> Stream {
    if resolve::is_dash(&output(args)) { Stream::Err } else { Stream::Out }
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] if the command fails; then nothing is written.
pub(crate) fn run(args: &LocalizeArgs, screen: &mut Screen) -> Result<(), CliError> {
    // 1. Checks that need no model.
    let interrupt = Interrupt::listen()?;
    let output = output(args);
    let overwrite = if args.report.force { Overwrite::Replace } else { Overwrite::Refuse };
    if args.save.as_deref().is_some_and(resolve::is_dash) {
        return Err(CliError::Usage("--save takes a file, not standard output".to_owned()));
    }
    let written = || [&output].into_iter().chain(&args.save);
    for path in written() {
        outputs::check(path, overwrite)?;
    }
    let read = || [&args.input.image].into_iter().chain(&args.mask.mask);
    outputs::check_distinct(written(), read())?;
    let maps =
        args.report.maps.as_deref().map(|path| MapsFolder::new(path, overwrite)).transpose()?;
    if let Some(maps) = &maps {
        maps.refuse_files(written().chain(read()))?;
    }
    resolve::check_parts(&args.input.instruction, &args.localization, Some("a localization"))?;
    let picture = resolve::read_picture(&args.input.image, screen)?;
    let mask = resolve::mask(&args.mask, picture.picture.size(), screen)?;

    // 2. Load the model, and build the request.
    let loaded = load::load(&args.model)?;
    for note in &loaded.notes {
        screen.warning("MODEL", note);
    }
    let overrides = args.localization.overrides(&args.sampling)?;
    let settings = overrides.over(&loaded.info.recommended, args.sampling.preset);
    load::check_settings(&loaded, &settings)?;
    let pipeline = loaded.editor.pipeline();
    let size = picture.picture.size();
    resolve::check_work_size(size, settings.resize, pipeline.geometry(), args.sampling.max_pixels)?;
    let mut request = resolve::request(
        &args.input.instruction,
        &picture,
        settings,
        &args.localization,
        &args.sampling,
    )?;
    resolve::show_text_notes(&request, screen);
    request.mask = mask;
    resolve::check_clusters(&request)?;
    request.preview_every = usize::from(maps.is_some());
    request.preview_decode = load::previews(&args.model);
    screen.fact("seed", &json!(request.seed));

    // 3. Run pass 1, and derive the mask.
    interrupt.stop_cleanly();
    let mut reporter = Reporter::new(screen, &interrupt);
    let facts = settings_record::facts(&load::made(&loaded, &request));
    let mut edit = loaded.editor.open(request);
    let localization = edit.localize_only(&mut reporter)?;
    let mut record = reporter.into_records().swap_remove(0);
    if args.save.is_some() && localization.is_none() {
        return Err(CliError::Usage(
            "the instruction edits the whole picture, so there is nothing to --save; name the object with --object"
                .to_owned(),
        ));
    }
    let mask = edit.mask()?;
    record.mask = Some(Arc::new(mask.full().as_image().clone()));

    // 4. Write all files.
    let mut png = std::io::Cursor::new(Vec::new());
    DynamicImage::ImageLuma8(mask.full().as_image().clone())
        .write_to(&mut png, ImageFormat::Png)
        .map_err(|error| CliError::Defect(error.to_string()))?;
    outputs::put(&output, png.get_ref(), overwrite)?;
    screen.written("mask", &output);
    if let (Some(path), Some(localization)) = (&args.save, localization) {
        let found = Arc::unwrap_or_clone(localization);
        let saved = SavedLocalization::of(edit.request(), pipeline.digest(), found);
        outputs::put(path, saved.to_json().as_bytes(), overwrite)?;
        screen.written("localization", path);
    }
    if let Some(folder) = &maps {
        let subject = Subject {
            instruction: &edit.request().instruction,
            source: &edit.request().image,
            result: None,
            comparison: None,
            variants: vec![],
            settings: facts,
        };
        let sheet = folder.write(&subject, &record)?;
        screen.written("contact sheet", &sheet);
    }
    Ok(())
}

fn output(args: &LocalizeArgs) -> PathBuf {
    args.output.clone().unwrap_or_else(|| resolve::default_output(&args.input.image, "mask", "png"))
}

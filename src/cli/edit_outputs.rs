//! Outputs of `retouch edit`, on this machine or at a server: where they go, and what they preserve.

use std::path::PathBuf;

use crate::cli::{
    args::EditArgs,
    error::CliError,
    maps::MapsFolder,
    outputs, resolve,
    screen::{Screen, Stream},
};
use crate::edit::choices::Preserve;
use crate::picture::{encode::OutputFormat, format::FileFormat, write::Overwrite};

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

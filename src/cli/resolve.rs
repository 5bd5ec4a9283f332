//! Resolves arguments to requests with every default filled in, or to an error.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::cli::{
    args::{MaskArgs, SamplingArgs},
    encoding_args::EncodingArgs,
    error::CliError,
    localization_args::LocalizationArgs,
    screen::Screen,
};
use crate::edit::{
    choices::{MethodKind, PreviewDecode, Resize, Unparsed},
    edit_mask::MaskChoice,
    event::WarningReason,
    parts,
    request::EditRequest,
    settings::EditSettings,
};
use crate::instruction::wording;
use crate::picture::{
    decode::{self, Decoded, InputLimits},
    encode::{OutputFormat, Quality},
    error::PictureError,
    format::FileFormat,
    mask::{Mask, Radius},
    painted::Reading,
    size::Size,
};
use crate::sampling::geometry::Geometry;
use crate::wire::spec::MAX_TEXT;

/// Whether a path is `-`: standard input or output.
pub(crate) fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Reads the input picture, and shows notes about it.
///
/// # Errors
/// [`CliError::Picture`].
pub(crate) fn read_picture(path: &Path, screen: &mut Screen) -> Result<Decoded, CliError> {
    let (_, decoded) = read_picture_file(path)?;
    for note in &decoded.notes {
        screen.warning("PICTURE", &note.to_string());
    }
    Ok(decoded)
}

/// Reads the input picture, with its file's bytes.
///
/// # Errors
/// [`CliError::Picture`].
pub(crate) fn read_picture_file(path: &Path) -> Result<(Vec<u8>, Decoded), CliError> {
    let limits = InputLimits::default();
    let (name, bytes) = if is_dash(path) {
        let name = "standard input".to_owned();
        let bytes = decode::read_bytes(&name, io::stdin().lock(), limits);
        (name, bytes)
    } else {
        let failed = |source| PictureError::Read { path: path.to_owned(), source };
        let name = path.display().to_string();
        let file = File::open(path).map_err(failed);
        let bytes = file.and_then(|file| decode::read_bytes(&name, file, limits));
        (name, bytes)
    };
    let bytes = bytes.map_err(CliError::Picture)?;
    let decoded = decode::decode(&name, &bytes, limits).map_err(CliError::Picture)?;
    Ok((bytes, decoded))
}

/// The parts of a request that commands have in common.
///
/// # Errors
/// [`CliError::OutOfRange`] or [`CliError::Usage`], naming the value.
pub(crate) fn request(
    instruction: &str,
    picture: &Decoded,
    settings: EditSettings,
    localization: &LocalizationArgs,
    sampling: &SamplingArgs,
) -> Result<EditRequest, CliError> {
    check_texts(instruction, localization, sampling)?;
    Ok(EditRequest {
        image: Arc::clone(&picture.picture.rgb),
        instruction: instruction.to_owned(),
        negative_prompt: sampling.negative_prompt.clone(),
        method: MethodKind::IamEdit,
        object: localization.object.clone(),
        action: localization.action,
        verbatim: localization.verbatim,
        unparsed: if localization.strict { Unparsed::Refuse } else { Unparsed::PlainEdit },
        seed: sampling.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
        settings,
        mask: MaskChoice::default(),
        preview_every: 0,
        preview_decode: PreviewDecode::Linear,
    })
}

/// Refuses an instruction without words.
///
/// # Errors
/// [`CliError::Usage`], with the remedy.
pub(crate) fn check_instruction(instruction: &str) -> Result<(), CliError> {
    match wording::fault(instruction) {
        Some(fault) => Err(CliError::Usage(format!("the instruction {fault}"))),
        None => Ok(()),
    }
}

/// Refuses an instruction without words, and texts beyond the server's limits, which also ensure that they fit into a
/// record.
///
/// # Errors
/// [`CliError::Usage`], naming the text.
pub(crate) fn check_texts(
    instruction: &str,
    localization: &LocalizationArgs,
    sampling: &SamplingArgs,
) -> Result<(), CliError> {
    check_instruction(instruction)?;
    let object = localization.object.as_deref().unwrap_or_default();
    for (what, text) in [
        ("the instruction", instruction),
        ("--negative-prompt", &sampling.negative_prompt),
        ("--object", object),
    ] {
        let count = text.chars().count();
        if count > MAX_TEXT {
            let message = format!("{what} has {count} characters, at most {MAX_TEXT} are taken");
            return Err(CliError::Usage(message));
        }
    }
    Ok(())
}

/// Refuses an instruction that asks for too many edits, or for several beside `what`, which belongs to one.
///
/// # Errors
/// [`CliError::Usage`], with the instructions of the parts.
pub(crate) fn check_parts(
    instruction: &str,
    localization: &LocalizationArgs,
    what: Option<&'static str>,
) -> Result<(), CliError> {
    let LocalizationArgs { object, action, verbatim, .. } = localization;
    let parts = parts::parts(instruction, object.is_some() || action.is_some() || *verbatim);
    parts::check(&parts, what).map_err(|error| CliError::Usage(format!("the instruction {error}")))
}

/// Shows warnings about parts of the texts that the model will not read.
pub(crate) fn show_text_notes(request: &EditRequest, screen: &mut Screen) {
    let object = request.object.as_deref();
    for note in wording::notes(&request.instruction, object, &request.negative_prompt) {
        screen.warning(WarningReason::TextCleaned.code(), &note);
    }
}

/// Refuses a working size above the limit.
///
/// # Errors
/// [`CliError::Usage`], with the remedy.
pub(crate) fn check_work_size(
    image: Size,
    resize: Resize,
    geometry: Geometry,
    max_pixels: u64,
) -> Result<(), CliError> {
    resize.check_work_size(image, geometry, max_pixels).map_err(|error| {
        CliError::Usage(format!("{error}; choose --size fit:N, or raise --max-pixels"))
    })
}

/// Refuses cluster numbers that the localization can't have, before it is made.
///
/// # Errors
/// [`CliError::Usage`], naming the cluster.
pub(crate) fn check_clusters(request: &EditRequest) -> Result<(), CliError> {
    let k = request.settings.clusters.get();
    match request.mask.clusters.iter().find(|&&id| id == 0 || u32::from(id) > k) {
        Some(id) => Err(CliError::Usage(format!(
            "there is no cluster {id}; clusters are numbered 1 to {k}, see the contact sheet of --maps"
        ))),
        None => Ok(()),
    }
}

/// Refuses a method that finds no mask, if none is given.
///
/// # Errors
/// [`CliError::Usage`], with the alternatives.
pub(crate) fn check_finds(method: MethodKind, mask: &MaskChoice) -> Result<(), CliError> {
    if !method.finds_mask() && mask.is_of_found() {
        return Err(CliError::Usage(
            "instruct-pix2pix finds no clusters, and no mask to invert, grow or soften; \
             give --mask or --box, or use iam-edit"
                .to_owned(),
        ));
    }
    Ok(())
}

/// The caller's choice of the mask.
///
/// # Errors
/// [`CliError::Picture`] if a mask can't be read or doesn't match the picture's size.
pub(crate) fn mask(
    args: &MaskArgs,
    image: Size,
    screen: &mut Screen,
) -> Result<MaskChoice, CliError> {
    let mut shapes: Option<Mask> = None;
    let mut add = |mask: Mask| {
        shapes = Some(match shapes.take() {
            Some(shapes) => shapes.union(&mask),
            None => mask,
        });
    };
    for path in &args.mask {
        let name = path.display().to_string();
        if is_dash(path) {
            return Err(CliError::Usage(
                "--mask takes a file; of pictures, only the input comes from standard input (./- is a file of that name)"
                    .to_owned(),
            ));
        }
        let painted = decode::read(path, InputLimits::default()).map_err(CliError::Mask)?;
        let (mask, note) = Mask::from_picture(&name, &painted.picture, Reading::LightPaint, image)
            .map_err(CliError::Mask)?;
        for note in painted.notes.iter().chain(&note) {
            screen.warning("MASK", &note.to_string());
        }
        add(mask);
    }
    let boxes = args.boxes.iter().map(|spec| spec.resolve(image)).collect::<Result<Vec<_>, _>>();
    let boxes = boxes.map_err(CliError::Picture)?;
    if !boxes.is_empty() {
        add(Mask::from_boxes(image, &boxes));
    }
    Ok(MaskChoice {
        shapes,
        clusters: args.clusters.clone(),
        invert: args.invert_mask,
        dilate: Radius::try_from(args.dilate).map_err(CliError::Picture)?,
        feather: Radius::try_from(args.feather).map_err(CliError::Picture)?,
    })
}

/// Format of the output: by flag, else by the file's ending, else PNG.
///
/// # Errors
/// [`CliError::Output`], naming the ending; [`CliError::OutOfRange`], naming the quality.
pub(crate) fn output_format(args: &EncodingArgs, output: &Path) -> Result<OutputFormat, CliError> {
    let format = match args.format {
        Some(format) => format,
        None if is_dash(output) => FileFormat::Png,
        None => FileFormat::of_path(output).map_err(|it| CliError::Output(it.into()))?,
    };
    let quality = match args.quality {
        Some(quality) => {
            Some(Quality::try_from(quality).map_err(|error| CliError::Usage(error.to_string()))?)
        }
        None => None,
    };
    OutputFormat::new(format, quality)
        .map_err(|error: PictureError| CliError::Usage(error.to_string()))
}

/// Default output path beside the input: `bee.jpg` becomes `bee.edited.png`.
pub(crate) fn default_output(image: &Path, kind: &str, extension: &str) -> PathBuf {
    if is_dash(image) {
        return PathBuf::from("-");
    }
    let mut name = image.file_stem().unwrap_or_default().to_owned();
    name.push(format!(".{kind}.{extension}"));
    image.with_file_name(name)
}

/// Output path of variant `index` of `count`: `out.png` becomes `out-2.png`.
pub(crate) fn variant_output(output: &Path, index: u32, count: u32) -> PathBuf {
    if count == 1 {
        return output.to_owned();
    }
    let mut name = output.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{}", index + 1));
    if let Some(extension) = output.extension() {
        name.push(".");
        name.push(extension);
    }
    output.with_file_name(name)
}

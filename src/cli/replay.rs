//! `retouch edit --params-from FILE`: repeats the edit of a picture's record, and compares the result.

use std::{fs::File, path::PathBuf};

use clap::{CommandFactory, parser::ValueSource};
use serde_json::json;

use crate::choice::Choice;
use crate::cli::{
    args::{EditArgs, EditInputArgs, MaskArgs, SamplingArgs},
    command::Cli,
    edit_outputs,
    encoding_args::EncodingArgs,
    error::CliError,
    localization_args::LocalizationArgs,
    loras, resolve,
    screen::Screen,
};
use crate::edit::{choices::Preserve, edit_mask::MaskChoice};
use crate::picture::{
    Picture,
    decode::{self, Decoded, InputLimits},
    error::PictureError,
    format::FileFormat,
    mask::Radius,
    settings,
    size::Size,
};
use crate::wire::{
    edit_record::{
        EditRecord, Lora,
        digests::{digest_with_alpha, localization_digest, shown},
        shapes::{self, Shapes},
    },
    localization_json::SavedLocalization,
};

/// Ids of flags that may be beside `--params-from`: paths, device, output, other seeds. All others are the record's.
const BESIDE: &[&str] = &[
    "image",
    "params_from",
    "output",
    "format",
    "quality",
    "metadata",
    "model",
    "loras",
    "preview_decoder",
    "device",
    "dtype",
    "threads",
    "keep_text_encoder",
    "max_pixels",
    "seed",
    "variants",
    "compare",
    "mask",
    "boxes",
    "localization_file",
    "maps",
    "json",
    "force",
    "server",
    "api_key",
    "ca",
    "client_cert",
    "client_key",
];

/// Keys in which the record of the repeated edit may differ without a message.
const UNTOLD: &[&str] = &["record", "model", "output", "confidence", "drift"];

/// An edit to be repeated.
#[derive(Debug)]
pub(crate) struct Replay {
    path: PathBuf,
    /// What the picture's metadata says.
    pub(crate) record: EditRecord,
    made: Decoded,
    is_variant: bool,
    /// The arguments, with all other flags from the record.
    pub(crate) args: EditArgs,
}

impl Replay {
    /// Reads the record, if `--params-from` is given.
    ///
    /// # Errors
    /// [`CliError::Usage`] for a flag that the record sets, [`CliError::Picture`] and [`CliError::Record`] for the
    /// file.
    pub(crate) fn open(typed: &EditArgs) -> Result<Option<Self>, CliError> {
        let Some(path) = typed.params_from.clone() else { return Ok(None) };
        refuse_what_the_record_says()?;
        let limits = InputLimits::default();
        let name = path.display().to_string();
        let failed = |source| CliError::Picture(PictureError::Read { path: path.clone(), source });
        let file = File::open(&path).map_err(failed)?;
        let file = decode::read_bytes(&name, file, limits).map_err(CliError::Picture)?;
        let made = decode::decode(&name, &file, limits).map_err(CliError::Picture)?;
        let refuse = |reason: String| CliError::Record { path: path.clone(), reason };
        let text = settings::read_settings(&name, &file).map_err(CliError::Picture)?;
        let none = "it holds no record of an edit; --metadata strip leaves it out, and editors and websites may drop it";
        let record = EditRecord::from_json(&text.ok_or_else(|| refuse(none.to_owned()))?);
        let mut record = record.map_err(|error| refuse(error.to_string()))?;
        record.complete(made.format, typed.localization_file.is_some());
        let args = args(typed, &record).map_err(|reason| refuse(reason.to_string()))?;
        let is_variant = typed.sampling.seed.is_some_and(|it| it != record.seed);
        let replay = Self { path, record, made, is_variant, args };
        replay.check_localization_is_given()?;
        Ok(Some(replay))
    }

    /// Refuses a picture other than the recorded input.
    ///
    /// # Errors
    /// [`CliError::Record`].
    pub(crate) fn check_picture(&self, picture: &Picture) -> Result<(), CliError> {
        if !self.record.is_whole() || digest_with_alpha(picture) == self.record.picture_sha256 {
            return Ok(());
        }
        Err(self.refuse(
            "IMAGE is not the picture that it was made from; give that one, or give the flags instead",
        ))
    }

    /// Refuses a model other than the recorded one, or one with other LoRAs.
    ///
    /// # Errors
    /// [`CliError::Record`], naming the model or the LoRAs.
    pub(crate) fn check_model(&self, digest: &str, loras: &[Lora]) -> Result<(), CliError> {
        if let Some(reason) = loras::differing(&self.record.loras, loras) {
            return Err(self.refuse(&reason));
        }
        if digest == self.record.model_digest {
            return Ok(());
        }
        let reason =
            format!("it was made with another model, called `{}`", shown(&self.record.model));
        Err(self.refuse(&format!("{reason}; give that one with --model")))
    }

    /// Refuses a localization other than the recorded one.
    ///
    /// # Errors
    /// [`CliError::Record`].
    pub(crate) fn check_localization(&self, saved: &SavedLocalization) -> Result<(), CliError> {
        let digest = localization_digest(&saved.localization);
        if !self.record.is_whole() || self.record.localization_sha256.as_ref() == Some(&digest) {
            return Ok(());
        }
        Err(self.refuse("it was made with another localization than that of --localization"))
    }

    /// The recorded choice of the mask of each part after the first, if they were decided one by one.
    ///
    /// # Errors
    /// [`CliError::Record`] if they are not all in the record.
    pub(crate) fn later_masks(&self, size: Size) -> Result<Vec<MaskChoice>, CliError> {
        let masks = self.record.later_masks.iter().map(|it| it.choice(size));
        masks.collect::<Result<_, _>>().map_err(|error| self.refuse(&error.to_string()))
    }

    /// Adds the record's given mask to a choice; a mask given as a flag must be the same.
    ///
    /// # Errors
    /// [`CliError::Record`].
    pub(crate) fn settle(&self, choice: &mut MaskChoice, size: Size) -> Result<(), CliError> {
        let recorded = self.record.mask.shapes(size);
        let recorded = recorded.map_err(|error| self.refuse(&error.to_string()))?;
        choice.shapes = match (recorded, choice.shapes.take()) {
            (Shapes::None, None) => None,
            (Shapes::None, Some(_)) => {
                return Err(
                    self.refuse("it was made without a given mask; leave --mask and --box out")
                );
            }
            (Shapes::Here(mask), None) => Some(mask),
            (Shapes::Elsewhere, None) => {
                return Err(self.refuse(
                    "it was made with a mask that is too large for its record; give that one again with --mask",
                ));
            }
            (Shapes::Here(_) | Shapes::Elsewhere, Some(given)) => {
                let digest = shapes::digest(&given);
                if self.record.is_whole() && self.record.mask.sha256.as_ref() != Some(&digest) {
                    return Err(
                        self.refuse("it was made with another mask than that of --mask and --box")
                    );
                }
                Some(given)
            }
        };
        Ok(())
    }

    /// Reports differences between the edit and the recorded one.
    pub(crate) fn tell(&self, now: &EditRecord, screen: &mut Screen) {
        let (seed, unknown) = (["seed"], self.record.unknown());
        let seed = if self.is_variant { &seed[..] } else { &[] };
        let mut differences = self.record.differences(now, &[UNTOLD, unknown, seed].concat());
        if !unknown.is_empty() {
            differences.push(format!("an older version did not record {}", unknown.join(", ")));
        }
        if !differences.is_empty() {
            let (path, differences) = (self.path.display(), differences.join(", "));
            let message = format!(
                "{path} was made with other settings, so the picture may differ: {differences}"
            );
            screen.warning("RECORD_DIFFERS", &message);
        }
    }

    /// Checks the record of a server's result as a local model is checked.
    ///
    /// # Errors
    /// [`CliError::Record`] if another model made the result.
    pub(crate) fn check_answer(&self, file: &[u8], screen: &mut Screen) -> Result<(), CliError> {
        let text = settings::read_settings("the result", file).map_err(CliError::Picture)?;
        let Some(Ok(record)) = text.as_deref().map(EditRecord::from_json) else {
            let message = "the server's result has no record that this retouch reads, so that its model is not known";
            screen.warning("RECORD_DIFFERS", message);
            return Ok(());
        };
        self.check_model(&record.model_digest, &record.loras)?;
        self.tell(&record, screen);
        Ok(())
    }

    /// Reports whether the result equals the recorded picture, pixel for pixel.
    ///
    /// # Errors
    /// [`CliError::Picture`] if the recorded file can't be read.
    pub(crate) fn compare(&self, file: &[u8], screen: &mut Screen) -> Result<(), CliError> {
        if self.is_variant {
            return Ok(());
        }
        let again = decode::decode("the result", file, InputLimits::default())
            .map_err(CliError::Picture)?;
        let path = self.path.display().to_string();
        let (new, old) = (&again.picture, &self.made.picture);
        if new.rgb == old.rgb && new.alpha == old.alpha {
            screen.fact("again", &json!(format!("every pixel of {path}")));
            return Ok(());
        }
        let message = if new.size() == old.size() {
            let pairs = || new.rgb.pixels().zip(old.rgb.pixels());
            let count = pairs().filter(|(a, b)| a != b).count();
            let levels = pairs().flat_map(|(a, b)| (0..3).map(|it| a[it].abs_diff(b[it])));
            let most = levels.max().unwrap_or_default();
            format!(
                "{count} of {} pixels differ from those of {path}, by at most {most} of 255 levels",
                old.size().pixels()
            )
        } else {
            format!("it has {} pixels, and {path} {}", new.size(), old.size())
        };
        screen.warning("NOT_AS_RECORDED", &message);
        Ok(())
    }

    fn check_localization_is_given(&self) -> Result<(), CliError> {
        match (&self.record.localization_sha256, &self.args.localization_file) {
            _ if self.args.server.is_given() && !self.record.later_masks.is_empty() => {
                Err(self.refuse(
                    "it was made in several edits, each with a mask of its own, which a server does not take at once; \
                     make it on this machine",
                ))
            }
            (Some(_), None) if self.args.server.is_given() => Err(self.refuse(
                "it was made with a localization of its own, which a server does not take; make it on this machine, with \
                 --localization",
            )),
            (Some(_), None) => Err(self.refuse(
                "it was made with a localization, which its record does not hold; give that one again with --localization",
            )),
            (None, Some(_)) if self.record.is_whole() => {
                Err(self.refuse("it was made without a saved localization; leave --localization out"))
            }
            (Some(_), Some(_)) | (None, _) => Ok(()),
        }
    }

    fn refuse(&self, reason: &str) -> CliError {
        CliError::Record { path: self.path.clone(), reason: reason.to_owned() }
    }
}

/// Refuses flags that the record sets, in any spelling.
fn refuse_what_the_record_says() -> Result<(), CliError> {
    let command = Cli::command();
    let edit = command.find_subcommand("edit").expect("there is `retouch edit`").clone();
    let matches = command.get_matches();
    let Some(("edit", typed)) = matches.subcommand() else { return Ok(()) };
    let is_typed = |id: &str| typed.value_source(id) == Some(ValueSource::CommandLine);
    let strange = edit.get_arguments().find(|it| {
        let id = it.get_id().as_str();
        !BESIDE.contains(&id) && typed.try_contains_id(id).is_ok() && is_typed(id)
    });
    let Some(flag) = strange.map(|it| it.get_long()) else { return Ok(()) };
    let flag = flag.map_or("INSTRUCTION".to_owned(), |it| format!("--{it}"));
    Err(CliError::Usage(format!(
        "{flag} is set by the record of --params-from; leave it out, or give all flags without --params-from"
    )))
}

/// The arguments, with all other flags from the record.
fn args(typed: &EditArgs, record: &EditRecord) -> Result<EditArgs, CliError> {
    let pass = record.pass_one.as_ref();
    let sampling = SamplingArgs {
        seed: typed.sampling.seed.or(Some(record.seed)),
        text_guidance: Some(record.text_guidance.0),
        image_guidance: Some(record.image_guidance.0),
        scheduler: record.scheduler.as_deref().map(|it| named("scheduler", it)).transpose()?,
        negative_prompt: record.negative_prompt.clone(),
        size: Some(record.size.parse().map_err(|why: String| wrong("size", &record.size, &why))?),
        max_pixels: typed.sampling.max_pixels,
        preset: record.preset.as_deref().map(|it| named("preset", it)).transpose()?,
    };
    let localization = LocalizationArgs {
        object: record.object.clone(),
        action: record.action.as_deref().map(|it| named("action", it)).transpose()?,
        // The record says what the model was told where that was not the instruction itself.
        verbatim: record.told.is_none(),
        // The recorded edit succeeded, so strictness has nothing to refuse.
        strict: false,
        min_confidence: Some(record.min_confidence.0),
        tau: pass.map(|it| it.tau.0),
        k: pass.map(|it| it.k),
        localize_steps: pass.map(|it| it.localize_steps),
        localizer: pass.map(|it| named("localizer", &it.localizer)).transpose()?,
        score: pass.map(|it| named("score", &it.score)).transpose()?,
        threshold: pass.and_then(|it| it.threshold).map(|it| it.0),
        refine: Some(record.refine),
        grow: Some(record.grow.0),
    };
    let mask = MaskArgs {
        clusters: record.mask.clusters.clone(),
        invert_mask: record.mask.invert,
        dilate: record.mask.dilate,
        feather: record.mask.feather,
        ..typed.mask.clone()
    };
    let (image, instruction) = (typed.input.image.clone(), Some(record.instruction.clone()));
    let mut args = EditArgs {
        input: EditInputArgs { image, instruction },
        encoding: encoding(typed, record)?,
        sampling,
        method: named("method", &record.method)?,
        steps: Some(record.steps),
        preserve: Some(named("preserve", &record.preserve)?),
        modulation: Some(named("modulation", &record.modulation)?),
        align: Some(named("align", &record.align)?),
        localization,
        localize_seed: pass.map(|it| it.localize_seed),
        mask,
        ..typed.clone()
    };
    // Preserving exact pixels was the default there, but with a lossy format an explicit request would be refused.
    let output = args.output.clone().unwrap_or_else(|| edit_outputs::default_output(&args));
    let lossy = resolve::output_format(&args.encoding, &output)?.is_lossy();
    if lossy && args.preserve == Some(Preserve::Pixel) {
        args.preserve = None;
    }
    check(&args)?;
    Ok(args)
}

/// Format of the output: by flag or by the ending of `-o`, else the recorded one with its JPEG quality.
fn encoding(typed: &EditArgs, record: &EditRecord) -> Result<EncodingArgs, CliError> {
    let recorded: FileFormat = named("output.format", &record.output.format)?;
    let free = typed.encoding.format.is_none() && typed.output.is_none();
    let format = if free { Some(recorded) } else { typed.encoding.format };
    let encoding = EncodingArgs { format, ..typed.encoding.clone() };
    let output = typed.output.clone().unwrap_or_default();
    let lossy = match format {
        Some(format) => format == FileFormat::Jpeg,
        None => resolve::output_format(&encoding, &output)?.is_lossy(),
    };
    let quality = encoding.quality.or(record.output.quality.filter(|_| lossy).map(u32::from));
    Ok(EncodingArgs { quality, ..encoding })
}

/// Checks the ranges that the flags' own parsers would check.
fn check(args: &EditArgs) -> Result<(), CliError> {
    resolve::check_texts(args.instruction(), &args.localization, &args.sampling)?;
    args.overrides()?;
    for radius in [args.mask.dilate, args.mask.feather] {
        Radius::try_from(radius).map_err(CliError::Picture)?;
    }
    Ok(())
}

/// Parses an enum value by its name on the command line.
fn named<T: Choice>(key: &str, name: &str) -> Result<T, CliError> {
    T::named(name).ok_or_else(|| wrong(key, name, "no value that this retouch knows"))
}

fn wrong(key: &str, value: &str, why: &str) -> CliError {
    CliError::Usage(format!("its record's `{key}` is `{}`: {why}", shown(value)))
}

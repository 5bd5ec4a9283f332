//! `retouch edit --server`: an edit on a server, with the flags, output and files of a local one.

use std::{path::PathBuf, time::Instant};

use bytes::Bytes;
use image::RgbImage;
use serde_json::json;

use crate::cli::{
    args::EditArgs,
    edit_outputs::{self, Outputs},
    effects::{self, PassOne},
    error::CliError,
    interrupt::Interrupt,
    maps::{MapsFolder, Subject},
    outputs,
    remote::{
        self,
        events::Telling,
        request::{self, MaskPlan},
        run::{Done, Site},
    },
    replay::Replay,
    reporter::{Record, Reporter},
    resolve,
    screen::Screen,
    settings_record::{self, Made},
};
use crate::client::error::ClientError;
use crate::drawing::Fact;
use crate::edit::{choices::MethodKind, edit_mask::MaskChoice, settings::EditSettings};
use crate::picture::{
    decode::{self, Decoded, InputLimits},
    encode,
    size::Size,
};
use crate::wire::{
    edit_request,
    v1::{EditSpec, EventOptions},
};

/// Results of the jobs of one command.
#[derive(Debug, Default)]
struct EditedJobs {
    /// One per variant.
    variants: Vec<Done>,
    compared: Option<(MethodKind, Done)>,
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] if the command fails; variants completed before are kept, otherwise nothing is written.
pub(crate) fn run(
    args: &EditArgs,
    replay: Option<&Replay>,
    screen: &mut Screen,
) -> Result<(), CliError> {
    // 1. Checks that need no server.
    request::refuse_local(args)?;
    let interrupt = Interrupt::listen()?;
    let outputs = edit_outputs::outputs(args)?;
    // The server sends the warnings about the file.
    let (file, picture) = resolve::read_picture_file(&args.input.image)?;
    encode::check(&picture.picture, outputs.format).map_err(CliError::Output)?;
    let mut choice = resolve::mask(&args.mask, picture.picture.size(), screen)?;
    match replay {
        Some(replay) => {
            replay.check_picture(&picture.picture)?;
            replay.settle(&mut choice, picture.picture.size())?;
        }
        None => effects::check(args, PassOne::typed(&args.localization))?,
    }
    resolve::check_finds(args.method, &choice)?;
    edit_outputs::preserve(args, choice.shapes.is_some(), outputs.format, screen)?;
    resolve::check_texts(args.instruction(), &args.localization, &args.sampling)?;

    // 2. Run the jobs; each file is written atomically as soon as its job is done.
    let started = Instant::now();
    let seed = args.sampling.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    screen.fact("seed", &json!(seed));
    let mut edited = EditedJobs::default();
    let mut reporter = Reporter::new(screen, &interrupt);
    let typed = Typed { args, file: file.into(), choice: &choice, outputs: &outputs, seed, replay };
    let jobs = jobs(&typed, &interrupt, &mut reporter, &mut edited);
    let stopped = remote::block_on(jobs).err();
    let records = reporter.into_records();
    let seconds = started.elapsed().as_secs_f64();

    // 3. Write the maps, also of an interrupted run.
    let maps = outputs.maps.as_ref().filter(|_| !edited.variants.is_empty());
    let sheet = maps.map(|folder| write_maps(args, &picture, folder, &edited, &records));
    outputs.finish(edited.variants.len(), sheet, stopped, screen)?;
    screen.fact("seconds", &json!((seconds * 10.0).round() / 10.0));
    Ok(())
}

/// Arguments, with the files that they name read and checked.
struct Typed<'a> {
    args: &'a EditArgs,
    file: Bytes,
    choice: &'a MaskChoice,
    outputs: &'a Outputs,
    seed: u64,
    replay: Option<&'a Replay>,
}

async fn jobs(
    typed: &Typed<'_>,
    interrupt: &Interrupt,
    reporter: &mut Reporter<'_>,
    edited: &mut EditedJobs,
) -> Result<(), CliError> {
    let Typed { args, outputs, seed, .. } = *typed;

    // 1. Build the request.
    let remote = args.server.connect().await?;
    let image = remote.image(typed.file.clone()).await?;
    let spec = request::spec(args, image, outputs.format, seed)?;
    let plan = MaskPlan::of(typed.choice, &remote).await?;
    let site = Site { remote: &remote, interrupt };
    interrupt.stop_cleanly();

    // 2. Run the first job, shown like a local edit, then variants that reuse its localization.
    let (mut next, mut next_plan) = (spec, plan);
    for (index, path) in outputs.paths.iter().enumerate() {
        let telling = if index == 0 { Telling::Edit } else { Telling::Variant };
        let variant = EditSpec { seed: Some(seed.wrapping_add(index as u64)), ..next.clone() };
        let done = site.run(variant, &next_plan, telling, Some(reporter)).await?;
        let replay = typed.replay.filter(|_| index == 0);
        if let Some(replay) = replay {
            replay.check_answer(&done.file, reporter.screen())?;
        }
        outputs::put(path, &done.file, outputs.overwrite)?;
        reporter.screen().written("edited", path);
        if let Some(replay) = replay {
            replay.compare(&done.file, reporter.screen())?;
        }
        if index == 0 {
            (next, next_plan) = after(next, &next_plan, &done);
            next.localize_seed.get_or_insert(seed);
        }
        edited.variants.push(done);
    }

    // 3. Run the same edit by another method, without output.
    if let Some(method) = args.compare {
        let spec = request::compared(&next, method);
        edited.compared = Some((method, Box::pin(compare(site, spec, &next_plan, method)).await?));
    }
    Ok(())
}

/// The spec and mask plan of a job that follows the first one.
fn after(spec: EditSpec, plan: &MaskPlan, first: &Done) -> (EditSpec, MaskPlan) {
    // Of several edits each has a localization of its own.
    let proposed = first.proposed.as_ref().filter(|_| first.job.part.is_none());
    let Some(proposed) = proposed else { return (spec, plan.clone()) };
    // What was found has been shown already.
    let events = EventOptions {
        cluster_map: Some(false),
        heatmaps: Some(false),
        ..spec.events.unwrap_or_default()
    };
    let reuse_localization_of = first.job.name.clone();
    let next = EditSpec { reuse_localization_of, events: Some(events), ..spec };
    (next, plan.once_proposed(proposed))
}

async fn compare(
    site: Site<'_>,
    mut spec: EditSpec,
    plan: &MaskPlan,
    method: MethodKind,
) -> Result<Done, CliError> {
    let plan = if method.finds_mask() {
        plan
    } else {
        // It has neither a mask nor a localization.
        spec.reuse_localization_of.clear();
        &MaskPlan::Found
    };
    site.run(spec, plan, Telling::Variant, None).await
}

fn write_maps(
    args: &EditArgs,
    picture: &Decoded,
    folder: &MapsFolder,
    edited: &EditedJobs,
    records: &[Record],
) -> Result<PathBuf, CliError> {
    let size = picture.picture.size();
    let decoded = |done| decoded(done, size);
    let results = edited.variants.iter().map(decoded).collect::<Result<Vec<_>, _>>()?;
    let compared = match &edited.compared {
        Some((method, done)) => Some((method.title(), decoded(done)?)),
        None => None,
    };
    let subject = Subject {
        instruction: args.instruction(),
        source: &picture.picture.rgb,
        result: Some(&results[0]),
        comparison: compared.as_ref().map(|(title, image)| (*title, image)),
        variants: results.iter().skip(1).collect(),
        settings: facts(&edited.variants[0]),
    };
    folder.write_parts(&subject, records)
}

/// Decodes a result, which must have the input's size.
fn decoded(done: &Done, size: Size) -> Result<RgbImage, CliError> {
    let decoded = decode::decode("the result", &done.file, InputLimits::default());
    let picture = decoded.map_err(CliError::Picture)?.picture;
    if picture.size() != size {
        let why = format!("the result is {}, the input {size}", picture.size());
        return Err(ClientError::Garbled(why).into());
    }
    Ok(RgbImage::clone(&picture.rgb))
}

/// Facts about how the picture was made, from the normalized spec.
fn facts(done: &Done) -> Vec<Fact> {
    let spec = done.job.spec.clone().unwrap_or_default();
    // A normalized spec is complete, so that the base settings have no effect.
    let settings = edit_request::settings(&spec, &EditSettings::paper());
    let settings = settings.unwrap_or_else(|_| EditSettings::paper());
    let provenance = done.job.result.as_ref().and_then(|it| it.provenance.as_ref());
    settings_record::facts(&Made {
        seed: spec.seed.unwrap_or_default(),
        settings: &settings,
        method: edit_request::method(&spec).unwrap_or(MethodKind::IamEdit),
        model: spec.model.clone(),
        dtype: provenance.map_or("", |it| it.dtype.as_str()),
    })
}

//! `retouch edit --server`: the same flags, the same screen and the same files as an edit on this machine.

use std::time::Instant;

use bytes::Bytes;
use image::RgbImage;
use serde_json::json;

use crate::cli::{
    args::EditArgs,
    client::{
        self,
        events::Telling,
        refusal::RemoteError,
        request::{self, MaskPlan},
        run::{Done, Site},
    },
    edit::{self, Outputs},
    effects::{self, Found},
    error::CliError,
    maps::Subject,
    replay::Replay,
    reporter::{Interrupt, Record, Reporter},
    resolve,
    screen::Screen,
    settings_record::{self, Made},
};
use crate::drawing::Fact;
use crate::editing::{edit_mask::MaskChoice, request::MethodKind, settings::EditSettings};
use crate::picture::{
    decode::{self, Decoded, InputLimits},
    encode,
    size::Size,
};
use crate::wire::{
    edit_request, enums,
    v1::{EditSpec, EventOptions},
};

/// What came of the jobs of one edit.
#[derive(Debug)]
struct Edited {
    /// One a variant, at least one.
    variants: Vec<Done>,
    compared: Option<(MethodKind, Done)>,
    record: Record,
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] says what is wrong; nothing is written then.
pub(crate) fn run(
    args: &EditArgs,
    replay: Option<&Replay>,
    screen: &mut Screen,
) -> Result<(), CliError> {
    // 1. What can be refused without the server.
    request::refuse_local(args)?;
    let interrupt = Interrupt::listen()?;
    let outputs = edit::outputs(args)?;
    // What there is to say about the file, the server says.
    let (file, picture) = resolve::read_picture_file(&args.input.image)?;
    encode::check(&picture.picture, outputs.format).map_err(CliError::Output)?;
    let mut choice = resolve::mask(&args.mask, picture.picture.size(), screen)?;
    match replay {
        Some(replay) => {
            replay.check_picture(&picture.picture)?;
            replay.settle(&mut choice, picture.picture.size())?;
        }
        None => effects::check(args, Found::typed(&args.localization))?,
    }
    resolve::check_finds(args.method.into(), &choice)?;
    edit::preserve(args, choice.shapes.is_some(), outputs.format, screen)?;
    resolve::check_texts(args.instruction(), &args.localization, &args.sampling)?;

    // 2. The jobs.
    let started = Instant::now();
    let jobs = jobs(args, screen, &interrupt, file.into(), &choice, &outputs);
    let edited = client::block_on(jobs)?;
    let seconds = started.elapsed().as_secs_f64();

    // 3. Everything is written at the end, each file in one stroke.
    let first = &edited.variants[0].file;
    if let Some(replay) = replay {
        replay.check_answer(first, screen)?;
    }
    for (path, done) in outputs.paths.iter().zip(&edited.variants) {
        edit::put(path, &done.file, outputs.overwrite)?;
        screen.written("edited", path);
    }
    if let Some(replay) = replay {
        replay.compare(first, screen)?;
    }
    write_maps(args, screen, &picture, &outputs, &edited)?;
    screen.fact("seconds", &json!((seconds * 10.0).round() / 10.0));
    Ok(())
}

async fn jobs(
    args: &EditArgs,
    screen: &mut Screen,
    interrupt: &Interrupt,
    file: Bytes,
    choice: &MaskChoice,
    outputs: &Outputs,
) -> Result<Edited, CliError> {
    // 1. The request.
    let remote = args.server.connect().await?;
    let seed = args.sampling.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    screen.fact("seed", &json!(seed));
    let image = request::image(file, &remote).await?;
    let spec = request::spec(args, image, outputs.format, seed);
    let plan = MaskPlan::of(choice, &remote).await?;
    let site = Site { remote: &remote, interrupt };

    // 2. The first job, shown as an edit on this machine.
    let mut reporter = Reporter::new(screen, interrupt);
    let first = site.run(spec.clone(), &plan, Telling::Edit, Some(&mut reporter)).await?;

    // 3. Variants of it, with its localization.
    let (next, plan) = after(spec, &plan, &first);
    let next = EditSpec { localize_seed: next.localize_seed.or(Some(seed)), ..next };
    let mut variants = vec![first];
    for index in 1..u64::from(args.variants) {
        let seed = Some(seed.wrapping_add(index));
        let variant = EditSpec { seed, ..next.clone() };
        variants.push(site.run(variant, &plan, Telling::Variant, Some(&mut reporter)).await?);
    }

    // 4. The same edit by another method, silently.
    let compared = match args.compare.map(MethodKind::from) {
        Some(method) => {
            let spec = request::compared(&next, method);
            Some((method, compare(site, spec, &plan, method).await?))
        }
        None => None,
    };
    Ok(Edited { variants, compared, record: reporter.into_record() })
}

/// The spec of what follows on a job, and who decides the mask there.
fn after(spec: EditSpec, plan: &MaskPlan, first: &Done) -> (EditSpec, MaskPlan) {
    let Some(proposed) = &first.proposed else { return (spec, plan.clone()) };
    // What was found is told already.
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
    let plan = match method {
        MethodKind::IamEdit => plan,
        // The plain backbone has neither a mask nor a localization.
        MethodKind::InstructPix2Pix => {
            spec.reuse_localization_of.clear();
            &MaskPlan::Found
        }
    };
    site.run(spec, plan, Telling::Variant, None).await
}

fn write_maps(
    args: &EditArgs,
    screen: &mut Screen,
    picture: &Decoded,
    outputs: &Outputs,
    edited: &Edited,
) -> Result<(), CliError> {
    let Some(folder) = &outputs.maps else { return Ok(()) };
    let size = picture.picture.size();
    let decoded = |done| decoded(done, size);
    let results = edited.variants.iter().map(decoded).collect::<Result<Vec<_>, _>>()?;
    let compared = match &edited.compared {
        Some((method, done)) => Some((method.title(), decoded(done)?)),
        None => None,
    };
    let compared = compared.iter().map(|(title, image)| (*title, image));
    let variants = results.iter().skip(1).map(|image| ("Variant", image));
    let subject = Subject {
        instruction: args.instruction(),
        source: &picture.picture.rgb,
        result: Some(&results[0]),
        comparisons: compared.chain(variants).collect(),
        settings: facts(&edited.variants[0]),
    };
    let sheet = folder.write(&subject, &edited.record)?;
    screen.written("contact sheet", &sheet);
    Ok(())
}

/// A result, which has the input's size.
fn decoded(done: &Done, size: Size) -> Result<RgbImage, CliError> {
    let decoded = decode::decode("the result", &done.file, InputLimits::default());
    let picture = decoded.map_err(CliError::Picture)?.picture;
    if picture.size() != size {
        let why = format!("the result is {}, the input {size}", picture.size());
        return Err(RemoteError::Garbled(why).into());
    }
    Ok(RgbImage::clone(&picture.rgb))
}

/// How it was made, from the spec with the server's defaults filled in.
fn facts(done: &Done) -> Vec<Fact> {
    let spec = done.job.spec.clone().unwrap_or_default();
    // A normalized spec says everything, so that what it is put over does not show.
    let settings = edit_request::settings(&spec, &EditSettings::paper());
    let settings = settings.unwrap_or_else(|_| EditSettings::paper());
    let provenance = done.job.result.as_ref().and_then(|it| it.provenance.as_ref());
    settings_record::facts(&Made {
        seed: spec.seed.unwrap_or_default(),
        settings: &settings,
        method: enums::method(spec.method()).unwrap_or(MethodKind::IamEdit),
        model: spec.model.clone(),
        dtype: provenance.map_or("", |it| it.dtype.as_str()),
    })
}

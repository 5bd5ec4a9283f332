//! `retouch inspect`: prints a model's kind, size and missing parts.

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::{
    args::ModelPathArg,
    engine_error::{EngineError, ModelError},
    error::{CliError, in_one_line},
    inspect_lora, load, outputs,
    printable::printable,
};
use crate::edit::settings::{EditSettings, LocalizationSettings};
use crate::pipelines::guidance::Guidance;
use crate::pipelines::inspect::{self, Inspection, JointAttention, PartInspection, SamplerFault};
use crate::sampling::{SchedulerKind, lora::LoraChoice};
use crate::serving;

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    pub(crate) model: ModelPathArg,
    /// Describe this LoRA instead, at any weight, and whether it fits the model, if --model is given.
    #[arg(long, value_name = "FILE[:WEIGHT]")]
    pub(crate) lora: Option<LoraChoice>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`EngineError::Model`] if the model can't be used; what could be read is printed before.
pub(crate) fn run(args: &InspectArgs) -> Result<(), CliError> {
    if let Some(lora) = &args.lora {
        return run_lora(&lora.path, args);
    }
    let path = load::model_path(&args.model)?;
    let refuse = |source| EngineError::Model { path: path.clone(), source: Box::new(source) };
    let found = inspect::inspect(&path).map_err(|error| refuse(error.into()))?;
    let settings = serving::load::recommended(found.guidance, found.retouch_json.as_deref())
        .map_err(|error| refuse(error.into()))?;
    let text = if args.json {
        json(&path.display().to_string(), &found, &settings).to_string()
    } else {
        text(&path.display().to_string(), &found, &settings)
    };
    outputs::print(format!("{text}\n").as_bytes())?;
    if let Some(fault) = found.fault() {
        return Err(refuse(ModelError::Unusable(fault.to_owned())).into());
    }
    match found.sampler_fault {
        Some(SamplerFault { reason, others }) => {
            Err(refuse(ModelError::Sampler { reason, others }).into())
        }
        None => Ok(()),
    }
}

/// Describes a LoRA.
///
/// # Errors
/// [`EngineError::Lora`] if it can't be used, or does not fit the model; what could be read is printed before.
fn run_lora(path: &Path, args: &InspectArgs) -> Result<(), CliError> {
    let refuse = |reason| EngineError::Lora(reason);
    let (text, misfit) = inspect_lora::described(path, args.model.model.as_deref(), args.json)
        .map_err(|error| refuse(in_one_line(&error)))?;
    outputs::print(format!("{text}\n").as_bytes())?;
    misfit.map_or(Ok(()), |reason| Err(refuse(reason).into()))
}

fn text(path: &str, found: &Inspection, settings: &EditSettings) -> String {
    let side = found.sample_size;
    let mut rows = vec![
        ("model", path.to_owned()),
        ("kind", found.class.clone()),
        (
            "size",
            format!("{side}x{side} pixels; sides are rounded to multiples of {}", found.stride),
        ),
        (
            "latents",
            format!("{} channels, {} pixels a cell", found.latent_channels, found.vae_scale_factor),
        ),
        ("instruction", format!("at most {} tokens", found.instruction_tokens)),
    ];
    rows.extend(found.parts.iter().map(|part| (part.name, part_text(part))));
    rows.extend(found.preview_decoder.iter().map(|it| ("previews", previews(it))));
    let parameters: u64 = found.parts.iter().map(|it| it.loaded_parameters).sum();
    rows.push((
        "memory",
        format!("{} in fp32, {} in bf16 or fp16", bytes(parameters * 4), bytes(parameters * 2)),
    ));
    rows.extend(found.attention.iter().map(|level| {
        let (height, width) = level.grid;
        let counts = format!(
            "{height}x{width} cells: {} self, {} cross (level {})",
            level.self_attention, level.cross_attention, level.level
        );
        ("attention", counts)
    }));
    rows.extend(found.joint_attention.iter().map(|joint| ("attention", joint_text(joint))));
    let sampler = match &found.sampler_replaces {
        Some(replaced) => format!("{}, for {replaced}", found.sampler.name()),
        None => found.sampler.name().to_owned(),
    };
    rows.push(("sampler", sampler));
    let origin = match found.retouch_json {
        Some(_) => "retouch.json",
        None if found.guidance == Guidance::TextImage => {
            "argued from another model, not measured on these weights; --preset paper makes 100 + 100 steps"
        }
        None => "reasoned, not measured on these weights",
    };
    rows.push((
        "settings",
        format!(
            "{} steps, {}, K {}, tau {}, {} ({origin})",
            settings.steps.get(),
            guidance(found.guidance, settings),
            settings.clusters.get(),
            settings.tau.get(),
            settings.modulation.name(),
        ),
    ));
    rows.push(("localization", localization(settings)));
    rows.extend(found.notes.iter().map(|note| ("note", note.clone())));
    rows.extend(found.misfit.iter().map(|misfit| ("misfit", misfit.clone())));
    let usable = if is_usable(found) { "yes" } else { "no" };
    rows.push(("usable", usable.to_owned()));
    let lines: Vec<String> =
        rows.iter().map(|(name, value)| format!("{name:<13}{}", printable(value))).collect();
    lines.join("\n")
}

/// How pass 1 runs, and how to find out what is right for the model.
fn localization(settings: &EditSettings) -> String {
    let LocalizationSettings { averaged, scheduler, .. } = &settings.localization;
    let [from, until] = averaged.shares();
    let steps = settings.localize_steps.get();
    let made = averaged.of(steps as usize).end;
    let sampler = scheduler.map_or("the edit's sampler", SchedulerKind::name);
    format!(
        "{steps} steps of {sampler}, averaged from {from} to {until}, so that {made} are made (`retouch bench localize` \
         measures what they are worth)"
    )
}

/// The scales that a model has.
fn guidance(kind: Guidance, settings: &EditSettings) -> String {
    let scales = settings.guidance;
    match kind {
        Guidance::TextImage => {
            format!("guidance {} and {}", scales.text.get(), scales.image.get())
        }
        Guidance::Cfg => format!("guidance {}", scales.text.get()),
        Guidance::Distilled => "without guidance (distilled)".to_owned(),
    }
}

fn is_usable(found: &Inspection) -> bool {
    found.fault().is_none() && found.sampler_fault.is_none()
}

fn part_text(part: &PartInspection) -> String {
    let dtypes = part.dtypes.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let sizes = format!(
        "{:.1} M parameters, {} as {dtypes}",
        part.parameters as f64 / 1e6,
        bytes(part.bytes)
    );
    let left = part.parameters - part.loaded_parameters;
    // Not worth a word are buffers of old checkpoints.
    let sizes = if part.fault.is_none() && left > part.parameters / 100 {
        format!("{sizes}; {:.1} M of them are not needed, and not loaded", left as f64 / 1e6)
    } else {
        sizes
    };
    match &part.fault {
        Some(fault) => format!("{sizes}; {fault}"),
        None => sizes,
    }
}

fn joint_text(joint: &JointAttention) -> String {
    let JointAttention { double_blocks, single_blocks, heads, tokens, grid: (height, width) } =
        joint;
    format!(
        "{double_blocks} double and {single_blocks} single blocks of {heads} heads over {tokens} tokens, {height}x{width} \
         cells and as many of the picture"
    )
}

fn previews(decoder: &Result<u64, String>) -> String {
    match decoder {
        Ok(parameters) => {
            format!("by a tiny decoder, {:.2} M parameters", *parameters as f64 / 1e6)
        }
        Err(fault) => fault.clone(),
    }
}

fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

fn json(path: &str, found: &Inspection, settings: &EditSettings) -> Value {
    let parts = found.parts.iter().map(|part| {
        json!({
            "name": part.name,
            "parameters": part.parameters,
            "loaded_parameters": part.loaded_parameters,
            "bytes": part.bytes,
            "dtypes": part.dtypes,
            "fault": part.fault,
        })
    });
    let attention = found.attention.iter().map(|level| {
        json!({
            "level": level.level,
            "height": level.grid.0,
            "width": level.grid.1,
            "self": level.self_attention,
            "cross": level.cross_attention,
        })
    });
    let joint = found.joint_attention.as_ref().map(|it| {
        json!({
            "double_blocks": it.double_blocks,
            "single_blocks": it.single_blocks,
            "heads": it.heads,
            "tokens": it.tokens,
            "height": it.grid.0,
            "width": it.grid.1,
        })
    });
    json!({
        "model": path,
        "class": found.class,
        "sample_size": found.sample_size,
        "stride": found.stride,
        "latent_channels": found.latent_channels,
        "vae_scale_factor": found.vae_scale_factor,
        "max_tokens": found.max_tokens,
        "instruction_tokens": found.instruction_tokens,
        "parts": parts.collect::<Vec<_>>(),
        "preview_decoder": found.preview_decoder.as_ref().map(|it| json!({
            "parameters": it.as_ref().ok(),
            "fault": it.as_ref().err(),
        })),
        "misfit": found.misfit,
        "attention": attention.collect::<Vec<_>>(),
        "joint_attention": joint,
        "sampler": found.sampler.name(),
        "sampler_replaces": found.sampler_replaces,
        "settings": {
            "steps": settings.steps.get(),
            "localize_steps": settings.localize_steps.get(),
            "localize_scheduler": settings.localization.scheduler.map(SchedulerKind::name),
            "averaged": settings.localization.averaged.shares(),
            "text_guidance": (found.guidance != Guidance::Distilled).then_some(settings.guidance.text.get()),
            "image_guidance":
                (found.guidance == Guidance::TextImage).then_some(settings.guidance.image.get()),
            "k": settings.clusters.get(),
            "tau": settings.tau.get(),
            "modulation": settings.modulation.name(),
        },
        "settings_measured": found.retouch_json.is_some(),
        "notes": found.notes,
        "usable": is_usable(found),
    })
}

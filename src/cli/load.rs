//! Flags and environment variables as options of [`crate::serving::load`], and checks of the loaded model.

use std::path::{Path, PathBuf};

use crate::cli::{
    args::{self, ModelArgs, ModelPathArg},
    engine_error::{EngineError, ModelError},
    error::{self, CliError},
    maps::PREVIEWS_OF_A_PASS,
    settings_record::Made,
};
use crate::edit::{choices::PreviewDecode, request::EditRequest, settings::EditSettings};
use crate::editing::model_settings;
use crate::pipelines::{PipelineError, conditioning::LatentSize};
use crate::sampling::SchedulerKind;
use crate::schedulers::SchedulerError;
use crate::server::config::Dtype;
use crate::serving::load::{self, Environment, Loaded, Options};

/// Paths of the demo model, in a clone and beside an installed command.
const DEMO_MODEL: [&str; 2] = ["assets/demo-model", "share/retouch/demo-model"];

/// Environment variables of libgomp's spin policy; if one is set, it applies.
const SPIN_VARIABLES: [&str; 2] = ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"];

/// Loads a model onto a device in a number format.
///
/// # Errors
/// [`CliError`], naming the file, key or device.
pub(crate) fn load(args: &ModelArgs) -> Result<Loaded, CliError> {
    Ok(load::load(&Options {
        path: model_path(&args.path)?,
        device: args.device().to_owned(),
        loras: args.loras.clone(),
        preview_decoder: args.preview_decoder.clone(),
        dtype: match args.dtype {
            args::Dtype::Auto => Dtype::Auto,
            args::Dtype::Fp32 => Dtype::Fp32,
            args::Dtype::Bf16 => Dtype::Bf16,
            args::Dtype::Fp16 => Dtype::Fp16,
        },
        threads: args.threads,
        keep_text_encoder: args.keep_text_encoder,
        environment: environment(),
    })?)
}

/// The parts of the environment that loading depends on.
pub(crate) fn environment() -> Environment {
    let libtorch = std::env::var_os("LIBTORCH").filter(|it| !it.is_empty());
    Environment {
        libtorch: libtorch.map(PathBuf::from),
        has_spin_policy: SPIN_VARIABLES.iter().any(|it| std::env::var_os(it).is_some()),
    }
}

/// The path of the model: the given one, else the demo model, independent of the current folder.
///
/// # Errors
/// [`CliError::Usage`] if none is given and the demo model is not found.
pub(crate) fn model_path(arg: &ModelPathArg) -> Result<PathBuf, CliError> {
    if let Some(path) = &arg.model {
        return Ok(path.clone());
    }
    let exe = std::env::current_exe().and_then(|it| it.canonicalize()).unwrap_or_default();
    let roots = exe.ancestors().skip(1).take(4).chain([Path::new(env!("CARGO_MANIFEST_DIR"))]);
    let places = roots.flat_map(|root| DEMO_MODEL.map(|place| root.join(place)));
    places.into_iter().find(|it| it.join("model_index.json").is_file()).ok_or_else(|| {
        CliError::Usage("no model: give --model PATH or set RETOUCH_MODEL".to_owned())
    })
}

/// How the steps of `--maps` are shown: by the given tiny decoder, else by the autoencoder, which costs more.
pub(crate) fn previews(args: &ModelArgs) -> PreviewDecode {
    if args.preview_decoder.is_some() {
        return PreviewDecode::Tiny;
    }
    PreviewDecode::Vae { at_most: PREVIEWS_OF_A_PASS as usize }
}

/// How an edit of this model is made, for its contact sheet.
pub(crate) fn made<'a>(loaded: &'a Loaded, request: &'a EditRequest) -> Made<'a> {
    let EditRequest { seed, settings, method, .. } = request;
    let (model, dtype) = (loaded.info.name.clone(), loaded.info.dtype.as_str());
    Made { seed: *seed, settings, method: *method, model, dtype }
}

/// Refuses a sampler, or a number of steps, that the model's configuration doesn't allow, and guidance that it has not.
///
/// # Errors
/// [`EngineError::Edit`] for guidance,
/// [`EngineError::Model`] with the samplers that it allows, [`CliError::Usage`] for the number of steps.
pub(crate) fn check_settings(loaded: &Loaded, settings: &EditSettings) -> Result<(), CliError> {
    let pipeline = loaded.editor.pipeline();
    let size = LatentSize::own(pipeline.geometry());
    let localize = settings.scheduler.or(settings.localization.scheduler);
    model_settings::check(pipeline.guidance(), &loaded.info.recommended, settings)
        .map_err(EngineError::from)?;
    for (kind, steps) in [(settings.scheduler, settings.steps), (localize, settings.localize_steps)]
    {
        let reason = match pipeline.scheduler(kind, steps, size) {
            Ok(_) => continue,
            Err(PipelineError::Scheduler(
                error @ (SchedulerError::TooManySteps { .. }
                | SchedulerError::TooManyForDistilled { .. }),
            )) => {
                return Err(CliError::Usage(error.to_string()));
            }
            Err(PipelineError::Scheduler(error)) => error.fault(),
            Err(error) => error::in_one_line(&error),
        };
        let is_allowed = |it: &SchedulerKind| pipeline.scheduler(Some(*it), steps, size).is_ok();
        let others = SchedulerKind::ALL.into_iter().filter(is_allowed);
        let others = others.map(SchedulerKind::name).collect();
        let source = Box::new(ModelError::Sampler { reason, others });
        return Err(EngineError::Model { path: loaded.path.clone(), source }.into());
    }
    Ok(())
}

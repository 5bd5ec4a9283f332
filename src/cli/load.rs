//! Loads a model and builds an [`Editor`] with its settings; the only place where models and edit methods meet.

use std::{
    path::{Path, PathBuf},
    sync::mpsc,
};

use directories::ProjectDirs;
use tch::{Device, Kind};

use crate::cli::{
    args::{Dtype, ModelArgs, ModelPathArg},
    engine_error::{EngineError, ModelError},
    error::{self, CliError},
    settings_record::Made,
};
use crate::edit::{request::EditRequest, settings::EditSettings};
use crate::editing::editor::Editor;
use crate::executor::{batcher, captured::Captured, recorder::Recorder};
use crate::kernels::{
    cpu::{self, spin},
    gpu::{
        cuda,
        library::{event, fused, graph::CudaRecorder},
    },
};
use crate::models::snapshot::Snapshot;
use crate::pipelines::{
    BatchPipeline, EditPipeline, PipelineError,
    load::{self, LoadError},
    rows::RowModel,
};
use crate::sampling::SchedulerKind;
use crate::schedulers::SchedulerError;
use crate::wire::edit_record::Origin;

/// Version of libtorch that this is built for.
pub(crate) const LIBTORCH: &str = "2.11.0";

/// Paths of the demo model, in a clone and beside an installed command.
const DEMO_MODEL: [&str; 2] = ["assets/demo-model", "share/retouch/demo-model"];

/// Environment variables of libgomp's spin policy; if one is set, it applies.
const SPIN_VARIABLES: [&str; 2] = ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"];

/// A loaded model, ready to edit.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The editor over the model.
    pub(crate) editor: Editor,
    /// The model's recommended settings, over the paper's.
    pub(crate) settings: EditSettings,
    /// Path that it was loaded from.
    pub(crate) path: PathBuf,
    /// Device, such as `cpu`.
    pub(crate) device: String,
    /// Number format, such as `fp32`.
    pub(crate) dtype: &'static str,
    /// Notes about the files, for the user.
    pub(crate) notes: Vec<String>,
}

impl Loaded {
    /// How an edit of this model is made, for its contact sheet.
    pub(crate) fn made<'a>(&'a self, request: &'a EditRequest) -> Made<'a> {
        let EditRequest { seed, settings, method, .. } = request;
        let (model, dtype) = (self.name(), self.dtype);
        Made { seed: *seed, settings, method: *method, model, dtype }
    }

    /// Name of the model: that of its folder or file.
    pub(crate) fn name(&self) -> String {
        name(&self.path)
    }

    /// Refuses a sampler, or a number of steps, that the model's configuration doesn't allow.
    ///
    /// # Errors
    /// [`EngineError::Model`] with the samplers that it allows, [`CliError::Usage`] for the number of steps.
    pub(crate) fn check_sampler(&self, settings: &EditSettings) -> Result<(), CliError> {
        let pipeline = self.editor.pipeline();
        let localize = settings.scheduler.or(settings.localization.scheduler);
        for (kind, steps) in
            [(settings.scheduler, settings.steps), (localize, settings.localize_steps)]
        {
            let reason = match pipeline.scheduler(kind, steps) {
                Ok(_) => continue,
                Err(PipelineError::Scheduler(error @ SchedulerError::TooManySteps { .. })) => {
                    return Err(CliError::Usage(error.to_string()));
                }
                Err(error) => error::in_one_line(&error),
            };
            let is_allowed = |it: &SchedulerKind| pipeline.scheduler(Some(*it), steps).is_ok();
            let others = SchedulerKind::ALL.into_iter().filter(is_allowed);
            let others = others.map(SchedulerKind::name).collect();
            let source = Box::new(ModelError::Sampler { reason, others });
            return Err(EngineError::Model { path: self.path.clone(), source }.into());
        }
        Ok(())
    }

    /// The model as recorded in an edit record; `name` is [`Self::name`].
    pub(crate) fn origin<'a>(&'a self, name: &'a str) -> Origin<'a> {
        Origin {
            model: name,
            model_digest: self.editor.pipeline().digest(),
            device: &self.device,
            dtype: self.dtype,
            libtorch: LIBTORCH,
        }
    }
}

/// Name of a model: that of its folder or file, independent of how the path is written.
pub(crate) fn name(path: &Path) -> String {
    // `.`, `..` and `a/..` don't end in a name.
    let named = match path.file_name() {
        Some(_) => None,
        None => path.canonicalize().ok(),
    };
    let name = named.as_deref().unwrap_or(path).file_name();
    name.unwrap_or("model".as_ref()).to_string_lossy().into_owned()
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

/// Loads a model onto a device in a number format.
///
/// # Errors
/// [`CliError`], naming the file, key or device.
pub(crate) fn load(args: &ModelArgs) -> Result<Loaded, CliError> {
    let (pipeline, facts) = pipeline(args)?;
    Ok(facts.over(pipeline))
}

/// Loads a model once for `jobs` concurrent jobs, each with its own editor; the model runs on its own thread.
///
/// # Errors
/// As for [`load`].
pub(crate) fn load_shared(args: &ModelArgs, jobs: usize) -> Result<Vec<Loaded>, CliError> {
    let (told, facts) = mpsc::channel();
    let args = args.clone();
    let (batched, _) = batcher::start(jobs, move || {
        let (pipeline, facts) = pipeline(&args)?;
        // The receiver waits for it, so sending can't fail.
        drop(told.send(facts));
        Ok::<_, CliError>(pipeline)
    })?;
    let facts = facts.recv().expect("a model that was loaded told its facts");
    Ok((0..jobs).map(|_| facts.clone().over(Box::new(batched.clone()))).collect())
}

/// Metadata of a loaded model.
#[derive(Debug, Clone)]
struct Facts {
    settings: EditSettings,
    path: PathBuf,
    device: String,
    dtype: &'static str,
    notes: Vec<String>,
}

impl Facts {
    fn over(self, pipeline: Box<dyn EditPipeline>) -> Loaded {
        let cache = ProjectDirs::from("", "", "retouch").map(|it| it.cache_dir().to_owned());
        let Self { settings, path, device, dtype, notes } = self;
        Loaded { editor: Editor::new(pipeline, cache), settings, path, device, dtype, notes }
    }
}

fn pipeline(args: &ModelArgs) -> Result<(Box<dyn BatchPipeline>, Facts), CliError> {
    let path = model_path(&args.path)?;
    let device = device(args.device())?;
    let threads = args.threads.map_or_else(cpu::default_threads, |it| it as usize);
    tch::set_num_threads(threads as i32);
    if SPIN_VARIABLES.iter().all(|it| std::env::var_os(it).is_none()) {
        spin::yield_to_neighbours();
    }
    let (kind, dtype) = dtype(args.dtype, device);
    let loaded = open(&path, kind, device);
    let (model, settings, mut notes) = loaded
        .map_err(|source| EngineError::Model { path: path.clone(), source: Box::new(source) })?;
    let mut recorder: Option<Box<dyn Recorder>> = None;
    if let Device::Cuda(index) = device {
        let folders = cuda_library_folders();
        if let Err(error) = event::open(&folders) {
            notes.push(format!(
                "concurrent jobs on one GPU can't overlap their denoising steps: {error}"
            ));
        }
        if let Err(error) = fused::open(index, &folders) {
            notes.push(format!("steps are slower without fused layers: {error}"));
        }
        match CudaRecorder::open(index, &folders) {
            Ok(found) => recorder = Some(Box::new(found)),
            Err(error) => notes.push(format!("steps are slower without CUDA graphs: {error}")),
        }
    }
    let pipeline: Box<dyn BatchPipeline> = match recorder {
        Some(recorder) => Box::new(Captured::new(model, recorder)),
        None => model,
    };
    Ok((pipeline, Facts { settings, path, device: args.device().to_owned(), dtype, notes }))
}

fn open(
    path: &Path,
    kind: Kind,
    device: Device,
) -> Result<(Box<dyn RowModel>, EditSettings, Vec<String>), ModelError> {
    let snapshot = Snapshot::open(path).map_err(LoadError::from)?;
    let settings = match snapshot.retouch_json() {
        Some(json) => EditSettings::recommended(json)?,
        None => EditSettings::paper(),
    };
    let model = load::load(&snapshot, kind, device)?;
    let mut notes: Vec<String> = snapshot.notes().iter().map(ToString::to_string).collect();
    if let Some(replaced) = load::own_sampler(&snapshot)?.replaces {
        notes.push(format!(
            "the model's sampler {replaced} is not supported; using Euler ancestral instead"
        ));
    }
    Ok((model, settings, notes))
}

/// Names of every visible GPU.
///
/// # Errors
/// [`CliError`] if there is none, or libtorch has no CUDA support.
pub(crate) fn gpus() -> Result<Vec<String>, CliError> {
    cuda::open_cuda(&cuda_folders())?;
    Ok((0..tch::Cuda::device_count()).map(|index| format!("cuda:{index}")).collect())
}

fn device(name: &str) -> Result<Device, CliError> {
    let index = match name.strip_prefix("cuda") {
        _ if name == "cpu" => return Ok(Device::Cpu),
        Some("") => Some(0),
        Some(rest) => rest.strip_prefix(':').and_then(|it| it.parse().ok()),
        None => None,
    };
    let index: usize = index.ok_or_else(|| EngineError::UnknownDevice(name.to_owned()))?;
    cuda::open_cuda(&cuda_folders())?;
    if index as i64 >= tch::Cuda::device_count() {
        return Err(EngineError::UnknownDevice(name.to_owned()).into());
    }
    Ok(Device::Cuda(index))
}

/// Library folders of a libtorch set by the user.
fn cuda_folders() -> Vec<PathBuf> {
    let folder = std::env::var_os("LIBTORCH").filter(|it| !it.is_empty());
    folder.map(|it| Path::new(&it).join("lib")).into_iter().collect()
}

/// Folders that may have the CUDA libraries: beside the command, where a package puts them, or the user's libtorch.
fn cuda_library_folders() -> Vec<PathBuf> {
    let exe = std::env::current_exe().and_then(|it| it.canonicalize()).unwrap_or_default();
    let beside = exe.ancestors().skip(1).take(1).map(Path::to_owned);
    let packaged = exe.ancestors().skip(2).take(1).map(|it| it.join("share/retouch"));
    beside.chain(packaged).chain(cuda_folders()).collect()
}

fn dtype(dtype: Dtype, device: Device) -> (Kind, &'static str) {
    match dtype {
        Dtype::Bf16 => (Kind::BFloat16, "bf16"),
        Dtype::Fp16 => (Kind::Half, "fp16"),
        Dtype::Auto if device.is_cuda() => (Kind::Half, "fp16"),
        Dtype::Auto if cpu::cpu_has_native_bf16() => (Kind::BFloat16, "bf16"),
        Dtype::Fp32 | Dtype::Auto => (Kind::Float, "fp32"),
    }
}

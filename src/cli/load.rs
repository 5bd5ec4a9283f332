//! The one place that joins model and methods: from what was typed to an [`Editor`] with its settings.

use std::{
    path::{Path, PathBuf},
    sync::mpsc,
};

use directories::ProjectDirs;
use tch::{Device, Kind};

use crate::cli::{
    args::{Dtype, ModelArgs, ModelPathArg},
    error::{self, CliError, ModelError},
};
use crate::edit::settings::EditSettings;
use crate::editing::editor::Editor;
use crate::executor::batcher;
use crate::kernels::{
    cpu::{self, spin},
    gpu::{
        cuda,
        library::{event, fused, graph::CudaRecorder},
    },
};
use crate::models::snapshot::Snapshot;
use crate::pipelines::{
    EditPipeline, PipelineError,
    captured::CapturedCalls,
    instruct_pix2pix::InstructPix2PixPipeline,
    load::{self, LoadError},
};
use crate::sampling::SchedulerKind;
use crate::schedulers::SchedulerError;
use crate::wire::edit_record::Origin;

/// The libtorch that this is built for.
pub(crate) const LIBTORCH: &str = "2.11.0";

/// Where the demo model lies in a clone, and beside an installed command.
const DEMO_MODEL: [&str; 2] = ["assets/demo-model", "share/retouch/demo-model"];

/// What libgomp reads its own spin policy from; where one is set, it decides.
const SPIN_VARIABLES: [&str; 2] = ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"];

/// A model, ready to edit.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The methods over it.
    pub(crate) editor: Editor,
    /// What it recommends, over the paper's settings.
    pub(crate) settings: EditSettings,
    /// Where it came from.
    pub(crate) path: PathBuf,
    /// As printed, such as `cpu`.
    pub(crate) device: String,
    /// As printed, such as `fp32`.
    pub(crate) dtype: &'static str,
    /// What is to be known of the files.
    pub(crate) notes: Vec<String>,
}

impl Loaded {
    /// The model's name: that of its folder or file.
    pub(crate) fn name(&self) -> String {
        name(&self.path)
    }

    /// Refuses a sampler, or a number of steps, that the model's configuration does not allow, before any work.
    ///
    /// # Errors
    /// [`CliError::Model`] with the samplers that it allows, [`CliError::Usage`] for the steps.
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
            return Err(CliError::Model { path: self.path.clone(), source });
        }
        Ok(())
    }

    /// What a record says of it; `name` is [`Self::name`].
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

/// A model's name: that of its folder or file, whatever way leads there.
pub(crate) fn name(path: &Path) -> String {
    // `.`, `..` and `a/..` end in no name of their own.
    let named = match path.file_name() {
        Some(_) => None,
        None => path.canonicalize().ok(),
    };
    let name = named.as_deref().unwrap_or(path).file_name();
    name.unwrap_or("model".as_ref()).to_string_lossy().into_owned()
}

/// The model that is meant: the one given, else the demo model, whatever the current folder is.
///
/// # Errors
/// [`CliError::Usage`] if none is given and the demo model is not beside the command.
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

/// Loads a model onto a device in a dtype.
///
/// # Errors
/// [`CliError`] says which file, key or device is wrong.
pub(crate) fn load(args: &ModelArgs) -> Result<Loaded, CliError> {
    let (pipeline, facts) = pipeline(args)?;
    Ok(facts.over(Box::new(pipeline)))
}

/// Loads a model onto a thread of its own, for `jobs` jobs at once, each with an editor of its own over it.
///
/// # Errors
/// As for [`load`].
pub(crate) fn load_shared(args: &ModelArgs, jobs: usize) -> Result<Vec<Loaded>, CliError> {
    let (told, facts) = mpsc::channel();
    let args = args.clone();
    let (batched, _) = batcher::start(jobs, move || {
        let (pipeline, facts) = pipeline(&args)?;
        // Whoever called waits for it.
        drop(told.send(facts));
        Ok::<_, CliError>(pipeline)
    })?;
    let facts = facts.recv().expect("a model that was loaded told its facts");
    Ok((0..jobs).map(|_| facts.clone().over(Box::new(batched.clone()))).collect())
}

/// What is known of a model beside its networks.
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

fn pipeline(args: &ModelArgs) -> Result<(InstructPix2PixPipeline, Facts), CliError> {
    let path = model_path(&args.path)?;
    let device = device(args.device())?;
    let threads = args.threads.map_or_else(cpu::default_threads, |it| it as usize);
    tch::set_num_threads(threads as i32);
    if SPIN_VARIABLES.iter().all(|it| std::env::var_os(it).is_none()) {
        spin::yield_to_neighbours();
    }
    let (kind, dtype) = dtype(args.dtype, device);
    let loaded = open(&path, kind, device);
    let (mut pipeline, settings, mut notes) = loaded
        .map_err(|source| CliError::Model { path: path.clone(), source: Box::new(source) })?;
    if let Device::Cuda(index) = device {
        let folders = cuda_library_folders();
        if let Err(error) = event::open(&folders) {
            notes.push(format!("steps wait for one another: {error}"));
        }
        if let Err(error) = fused::open(index, &folders) {
            notes.push(format!("steps are slower without fused layers: {error}"));
        }
        match CudaRecorder::open(index, &folders) {
            Ok(recorder) => pipeline.captured = Some(CapturedCalls::new(Box::new(recorder))),
            Err(error) => notes.push(format!("steps are slower without CUDA graphs: {error}")),
        }
    }
    Ok((pipeline, Facts { settings, path, device: args.device().to_owned(), dtype, notes }))
}

fn open(
    path: &Path,
    kind: Kind,
    device: Device,
) -> Result<(InstructPix2PixPipeline, EditSettings, Vec<String>), ModelError> {
    let snapshot = Snapshot::open(path).map_err(LoadError::from)?;
    let settings = match snapshot.retouch_json() {
        Some(json) => EditSettings::recommended(json)?,
        None => EditSettings::paper(),
    };
    let pipeline = load::load(&snapshot, kind, device)?;
    let mut notes: Vec<String> = snapshot.notes().iter().map(ToString::to_string).collect();
    if let Some(replaced) = pipeline.scheduler.own_sampler().map_err(LoadError::from)?.replaces {
        notes.push(format!(
            "the model's sampler {replaced} is not built in; Euler ancestral stands in for it"
        ));
    }
    Ok((pipeline, settings, notes))
}

/// Every GPU that this process sees, by name.
///
/// # Errors
/// [`CliError`] if there is none, or libtorch's CUDA half is missing.
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
    let index: usize = index.ok_or_else(|| CliError::UnknownDevice(name.to_owned()))?;
    cuda::open_cuda(&cuda_folders())?;
    if index as i64 >= tch::Cuda::device_count() {
        return Err(CliError::UnknownDevice(name.to_owned()));
    }
    Ok(Device::Cuda(index))
}

/// Where the user's own libtorch keeps its libraries, if one is named.
fn cuda_folders() -> Vec<PathBuf> {
    let folder = std::env::var_os("LIBTORCH").filter(|it| !it.is_empty());
    folder.map(|it| Path::new(&it).join("lib")).into_iter().collect()
}

/// Where the library that a GPU adds may be: beside the command, where a package puts it, or with the user's libtorch.
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

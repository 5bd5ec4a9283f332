//! Loads a model and builds an [`Editor`] with its settings; the only place where models and edit methods meet.

use std::{
    path::{Path, PathBuf},
    sync::mpsc,
};

use directories::ProjectDirs;
use tch::{Device, Kind};

use crate::edit::{recommended::SettingsError, settings::EditSettings};
use crate::editing::{editor::Editor, model_settings};
use crate::executor::{batcher, captured::Captured, recorder::Recorder};
use crate::jobs::runner::ModelInfo;
use crate::kernels::{
    cpu::{self, spin},
    gpu::{
        cuda::{self, CudaError},
        library::{event, fused, graph::CudaRecorder},
    },
};
use crate::models::snapshot::Snapshot;
use crate::pipelines::{
    BatchPipeline, EditPipeline,
    guidance::Guidance,
    load::{self, LoadError},
    lora,
    rows::RowModel,
};
use crate::sampling::lora::LoraChoice;
use crate::server::config::Dtype;
use crate::wire::edit_record::{Lora, exact::Exact};

/// Version of libtorch that this is built for.
const LIBTORCH: &str = "2.11.0";

/// What to load, and onto which device.
#[derive(Debug, Clone)]
pub struct Options {
    /// A diffusers folder or a checkpoint file.
    pub path: PathBuf,
    /// Device, such as `cpu` or `cuda:0`.
    pub device: String,
    /// LoRAs to merge into it, in order.
    pub loras: Vec<LoraChoice>,
    /// A tiny decoder for previews, in place of the model's own.
    pub preview_decoder: Option<PathBuf>,
    /// Number format of the weights.
    pub dtype: Dtype,
    /// CPU threads for inference; `None` is one per core, within the container's CPU limit.
    pub threads: Option<u32>,
    /// Whether a text encoder stays in memory that is freed otherwise once a text is read (FLUX.2-klein's).
    pub keep_text_encoder: bool,
    /// The process's environment.
    pub environment: Environment,
}

/// The parts of the process's environment that loading depends on.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// A libtorch set by the user.
    pub libtorch: Option<PathBuf>,
    /// Whether libgomp's spin policy is set by the user.
    pub has_spin_policy: bool,
}

/// Why a model can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModelLoadError {
    /// Its files can't be loaded.
    #[error("model {path}: {source}")]
    Files {
        /// The model.
        path: PathBuf,
        /// The underlying error.
        source: LoadError,
    },
    /// Its recommended settings are invalid.
    #[error("model {path}: {source}")]
    Settings {
        /// The model.
        path: PathBuf,
        /// The underlying error.
        source: SettingsError,
    },
    /// The device's name is unknown.
    #[error("unknown device `{0}`; expected cpu, cuda or cuda:N")]
    UnknownDevice(String),
    /// CUDA can't be used.
    #[error(transparent)]
    Cuda(#[from] CudaError),
}

/// A loaded model, ready to edit.
#[derive(Debug)]
pub struct Loaded {
    /// The editor over the model.
    pub editor: Editor,
    /// Its name, device and recommended settings.
    pub info: ModelInfo,
    /// Path that it was loaded from.
    pub path: PathBuf,
    /// Notes about the files, for the user.
    pub notes: Vec<String>,
}

/// Name of a model: that of its folder or file, independent of how the path is written.
pub fn name(path: &Path) -> String {
    // `.`, `..` and `a/..` don't end in a name.
    let named = match path.file_name() {
        Some(_) => None,
        None => path.canonicalize().ok(),
    };
    let name = named.as_deref().unwrap_or(path).file_name();
    name.unwrap_or("model".as_ref()).to_string_lossy().into_owned()
}

/// Loads a model.
///
/// # Errors
/// [`ModelLoadError`], naming the file, key or device.
pub fn load(options: &Options) -> Result<Loaded, ModelLoadError> {
    let (pipeline, facts) = pipeline(options)?;
    Ok(facts.over(pipeline))
}

/// What a process that runs no model has to know of one.
///
/// # Errors
/// As for [`load()`].
pub fn describe(options: &Options) -> Result<ModelInfo, ModelLoadError> {
    let path = &options.path;
    let unusable = |source: LoadError| ModelLoadError::Files { path: path.to_owned(), source };
    let (snapshot, recommended, loras) = snapshot(options)?;
    let digest = snapshot.digest().map_err(|error| unusable(error.into()))?;
    Ok(ModelInfo {
        name: name(path),
        digest,
        device: "elsewhere".to_owned(),
        dtype: String::new(),
        libtorch: LIBTORCH.to_owned(),
        loras,
        recommended,
        preview_decoder: snapshot.preview_decoder().is_some(),
    })
}

/// Loads a model once for `jobs` concurrent jobs, each with its own editor; the model runs on its own thread.
///
/// # Errors
/// As for [`load()`].
pub fn load_shared(options: &Options, jobs: usize) -> Result<Vec<Loaded>, ModelLoadError> {
    let (told, facts) = mpsc::channel();
    let options = options.clone();
    let (batched, _) = batcher::start(jobs, move || {
        let (pipeline, facts) = pipeline(&options)?;
        // The receiver waits for it, so sending can't fail.
        drop(told.send(facts));
        Ok::<_, ModelLoadError>(pipeline)
    })?;
    let facts = facts.recv().expect("a model that was loaded told its facts");
    Ok((0..jobs).map(|_| facts.clone().over(Box::new(batched.clone()))).collect())
}

/// A loaded model without its editor.
#[derive(Debug, Clone)]
struct Facts {
    info: ModelInfo,
    path: PathBuf,
    notes: Vec<String>,
}

impl Facts {
    fn over(self, pipeline: Box<dyn EditPipeline>) -> Loaded {
        let cache = ProjectDirs::from("", "", "retouch").map(|it| it.cache_dir().to_owned());
        let Self { info, path, notes } = self;
        Loaded { editor: Editor::new(pipeline, cache), info, path, notes }
    }
}

fn pipeline(options: &Options) -> Result<(Box<dyn BatchPipeline>, Facts), ModelLoadError> {
    let Options { path, device: device_name, dtype, threads, environment, .. } = options;
    let device = device(device_name, environment)?;
    let threads = threads.map_or_else(cpu::default_threads, |it| it as usize);
    tch::set_num_threads(threads as i32);
    if !environment.has_spin_policy {
        spin::yield_to_neighbours();
    }
    let (kind, dtype) = kind(*dtype, device);
    let Opened { mut model, recommended, loras, has_previews, mut notes } =
        open(options, kind, device)?;
    if options.keep_text_encoder {
        model.keep_text_encoder();
    }
    let mut recorder: Option<Box<dyn Recorder>> = None;
    if let Device::Cuda(index) = device {
        let folders = cuda_library_folders(environment);
        if let Err(error) = event::open(&folders) {
            notes.push(format!(
                "steps are slower, since reading a preview waits for the whole GPU: {error}"
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
    let info = ModelInfo {
        name: name(path),
        digest: pipeline.digest().to_owned(),
        device: device_name.clone(),
        dtype: dtype.to_owned(),
        libtorch: LIBTORCH.to_owned(),
        loras,
        recommended,
        preview_decoder: has_previews,
    };
    Ok((pipeline, Facts { info, path: path.clone(), notes }))
}

/// An opened model.
struct Opened {
    model: Box<dyn RowModel>,
    /// The settings that it recommends.
    recommended: EditSettings,
    /// The LoRAs in it.
    loras: Vec<Lora>,
    /// Whether it has a tiny decoder for previews.
    has_previews: bool,
    /// What is to be known of its files.
    notes: Vec<String>,
}

fn open(options: &Options, kind: Kind, device: Device) -> Result<Opened, ModelLoadError> {
    let path = &options.path;
    let unusable = |source: LoadError| ModelLoadError::Files { path: path.to_owned(), source };
    let (snapshot, settings, loras) = snapshot(options)?;
    let model = load::load(&snapshot, kind, device).map_err(unusable)?;
    let mut notes: Vec<String> = snapshot.notes().iter().map(ToString::to_string).collect();
    if let Some(replaced) = load::own_sampler(&snapshot).map_err(unusable)?.replaces {
        notes.push(format!(
            "the model's sampler {replaced} is not supported; using Euler ancestral instead"
        ));
    }
    let has_previews = snapshot.preview_decoder().is_some();
    Ok(Opened { model, recommended: settings, loras, has_previews, notes })
}

/// A model's files with what is merged into them, and the settings that it recommends.
fn snapshot(options: &Options) -> Result<(Snapshot, EditSettings, Vec<Lora>), ModelLoadError> {
    let Options { path, loras, preview_decoder, .. } = options;
    let unusable = |source: LoadError| ModelLoadError::Files { path: path.to_owned(), source };
    let mut snapshot = Snapshot::open(path).map_err(|error| unusable(error.into()))?;
    let applied = lora::apply(&mut snapshot, loras).map_err(unusable)?;
    if let Some(decoder) = preview_decoder {
        snapshot.set_preview_decoder(decoder.clone());
    }
    let loras = applied.into_iter().map(|it| Lora {
        name: it.name,
        sha256: it.sha256,
        scale: Exact(it.weight),
    });
    let settings = recommended(load::guidance(&snapshot), snapshot.retouch_json())
        .map_err(|source| ModelLoadError::Settings { path: path.to_owned(), source })?;
    Ok((snapshot, settings, loras.collect()))
}

/// The settings that a model recommends, by the guidance that it was made for and its `retouch.json`.
///
/// # Errors
/// [`SettingsError`] names the invalid key or value.
pub fn recommended(
    guidance: Guidance,
    retouch_json: Option<&str>,
) -> Result<EditSettings, SettingsError> {
    let standard = model_settings::standard(guidance);
    match retouch_json {
        Some(json) => standard.recommended_by(json),
        None => Ok(standard),
    }
}

/// Names of every visible GPU.
///
/// # Errors
/// [`ModelLoadError::Cuda`] if there is none, or libtorch has no CUDA support.
pub fn gpus(environment: &Environment) -> Result<Vec<String>, ModelLoadError> {
    cuda::open_cuda(&cuda_folders(environment))?;
    Ok((0..tch::Cuda::device_count()).map(|index| format!("cuda:{index}")).collect())
}

fn device(name: &str, environment: &Environment) -> Result<Device, ModelLoadError> {
    let index = match name.strip_prefix("cuda") {
        _ if name == "cpu" => return Ok(Device::Cpu),
        Some("") => Some(0),
        Some(rest) => rest.strip_prefix(':').and_then(|it| it.parse().ok()),
        None => None,
    };
    let unknown = || ModelLoadError::UnknownDevice(name.to_owned());
    let index: usize = index.ok_or_else(unknown)?;
    cuda::open_cuda(&cuda_folders(environment))?;
    if index as i64 >= tch::Cuda::device_count() {
        return Err(unknown());
    }
    Ok(Device::Cuda(index))
}

/// Library folders of a libtorch set by the user.
fn cuda_folders(environment: &Environment) -> Vec<PathBuf> {
    environment.libtorch.iter().map(|it| it.join("lib")).collect()
}

/// Folders that may have the CUDA libraries: beside the command, where a package puts them, or the user's libtorch.
fn cuda_library_folders(environment: &Environment) -> Vec<PathBuf> {
    let exe = std::env::current_exe().and_then(|it| it.canonicalize()).unwrap_or_default();
    let beside = exe.ancestors().skip(1).take(1).map(Path::to_owned);
    let packaged = exe.ancestors().skip(2).take(1).map(|it| it.join("share/retouch"));
    beside.chain(packaged).chain(cuda_folders(environment)).collect()
}

fn kind(dtype: Dtype, device: Device) -> (Kind, &'static str) {
    match dtype {
        Dtype::Bf16 => (Kind::BFloat16, "bf16"),
        Dtype::Fp16 => (Kind::Half, "fp16"),
        Dtype::Auto if device.is_cuda() => (Kind::Half, "fp16"),
        Dtype::Auto if cpu::cpu_has_native_bf16() => (Kind::BFloat16, "bf16"),
        Dtype::Fp32 | Dtype::Auto => (Kind::Float, "fp32"),
    }
}

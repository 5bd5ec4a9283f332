//! The server as configured: telemetry, ops port, job store, models and service, started and shut down in order.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time;

use crate::editing::localization_cache::LocalizationCache;
use crate::jobs::{
    queue::QueueLimits,
    runner::Runner,
    store::{Limits, Store},
};
use crate::journal::{Journal, space::Space};
use crate::nats::{self, Nats, error::masked_all};
use crate::picture::decode::InputLimits;
use crate::server::{
    config::{self, Config, Devices},
    engine_config::{Engine, EngineKind, Role},
    keys::Keys,
    open_files::{self, Shares},
    ops::{self, Ops},
    scaler::Scaler,
    telemetry,
};
use crate::serving::{
    editor_runner::EditorRunner,
    error::ServeError,
    load::{self, Environment, Loaded, Options},
    service::{self, Runners, Service},
};

/// Most lost starts of a job without reaching its next checkpoint, before it fails.
const MAX_ATTEMPTS: u32 = 3;
/// Largest working size, in pixels.
const MAX_WORK_PIXELS: u64 = 1 << 20;

/// How a server ended that was told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// In order.
    Ended,
    /// It was told again while it waited for running jobs, and has shut down nothing.
    AtOnce,
    /// A denoising step still runs; its job goes on at the next start.
    StillRunning,
}

/// Serves `model` until `told_to_end` returns, and drains then; a second return ends the draining. `listening` hears the
/// service's URL once it can be called.
///
/// # Errors
/// [`ServeError`] if the server can't start, or loses its device.
pub async fn serve(
    config: &Config,
    model: PathBuf,
    environment: Environment,
    listening: impl FnOnce(&str),
    mut told_to_end: impl AsyncFnMut(),
) -> Result<Outcome, ServeError> {
    // 1. Checks that need no model.
    let telemetry = telemetry::start(&config.log, &config.otlp).map_err(ServeError::start)?;
    let keys = Keys::open(config.auth.keys_file.as_deref()).map_err(ServeError::start)?;
    let keys = Arc::new(keys);
    let shares = shares(&config.server)?;
    let devices = match config.engine.role {
        Role::All => devices(&config.model.devices, &environment)?,
        Role::Api => Vec::new(),
    };
    let store = open(config, devices.len() as u32)?;
    if devices.is_empty() {
        store.set_model(load::describe(&options(config, &model, environment.clone()))?);
    }
    let ops = Ops {
        ready: store.ready(),
        model: load::name(&model),
        telemetry: telemetry.handles(),
        keys: Arc::clone(&keys),
        scaler: Scaler::of(&store),
    };
    let ops_at = config.server.ops_listen;
    let ops_at = ops::serve(ops_at, ops, service::terms(shares.ops, None)).map_err(|error| {
        ServeError::start(io::Error::new(error.kind(), format!("can't bind {ops_at}: {error}")))
    })?;

    // 2. Start the service; the model loads on its own threads, one copy per device.
    let load = loading(config, &model, environment, devices);
    let mut service =
        Service::start(config, Arc::clone(&store), keys, shares.service, load).await?;
    let kind = if config.tls.cert.is_some() { "https" } else { "http" };
    let listen = service.address;
    tracing::info!(%listen, ops = %ops_at, "listening on {kind}://{listen}, ops on http://{ops_at}");
    listening(&format!("{kind}://{listen}/"));

    // 3. Wait for the end, and shut down.
    let failure = tokio::select! {
        () = told_to_end() => None,
        error = service.failed() => Some(error),
    };
    match failure {
        None => {
            tracing::info!("draining");
            store.drain();
            if !drained(&store, config.server.drain_timeout, &mut told_to_end).await {
                // Not even the last spans are waited for.
                std::mem::forget(telemetry);
                return Ok(Outcome::AtOnce);
            }
        }
        Some(ServeError::DeviceLost) => {}
        Some(error) => return Err(error),
    }
    if !service.stop().await {
        tracing::warn!("a denoising step is still running; its job resumes at the next start");
        return Ok(Outcome::StillRunning);
    }
    tracing::info!("ended");
    failure.map_or(Ok(Outcome::Ended), Err)
}

/// Connection limits of each port.
fn shares(server: &config::Server) -> Result<Shares, ServeError> {
    let files = open_files::raise();
    let wanted = server.max_connections;
    let shares = open_files::share(files, wanted, server.max_connections_per_address);
    let shares = shares.map_err(ServeError::start)?;
    let connections = shares.service.total;
    if connections < wanted as usize {
        tracing::warn!(
            connections,
            files,
            "the open file limit allows fewer connections than server.max_connections"
        );
    }
    Ok(shares)
}

/// Names of the configured devices.
fn devices(devices: &Devices, environment: &Environment) -> Result<Vec<String>, ServeError> {
    Ok(match devices {
        Devices::Cpu => vec!["cpu".to_owned()],
        Devices::AllGpus => load::gpus(environment)?,
        Devices::Gpus(gpus) => gpus.iter().map(|index| format!("cuda:{index}")).collect(),
    })
}

fn open(config: &Config, devices: u32) -> Result<Arc<Store>, ServeError> {
    let jobs = &config.jobs;
    let limits = Limits {
        slots: config.model.max_batch() * devices,
        queue: QueueLimits {
            total: jobs.queue_limit as usize,
            tenant: jobs.tenant_queue_limit as usize,
        },
        tenant_awaiting: jobs.tenant_awaiting_limit as usize,
        queue_timeout: jobs.queue_timeout,
        run_timeout: jobs.run_timeout,
        default_ttl: jobs.default_ttl,
        max_ttl: jobs.max_ttl,
        max_pixels: InputLimits::default().pixels,
        max_artifact_bytes: largest_artifact(config.server.body_budget_bytes),
        max_attempts: MAX_ATTEMPTS,
        lease: config.engine.lease,
    };
    let opened = match config.engine.kind {
        EngineKind::Embedded => {
            let folder = jobs.data_dir.as_ref().ok_or(ServeError::NoDataFolder)?;
            let space = Space { quota: jobs.disk_quota_bytes, min_free: jobs.min_free_bytes };
            Store::open(Journal::open(folder, space)?, limits)
        }
        EngineKind::Nats => {
            let engine = Nats::open(&nats_options(&config.engine), true);
            Store::open(engine.map_err(ServeError::start)?, limits)
        }
    };
    let store = opened.map_err(ServeError::start)?;
    if store.is_shared() {
        let (process, urls) = (store.process(), masked_all(&engine_urls(config)));
        tracing::info!(process, "jobs are kept by NATS at {urls}");
    }
    Ok(store)
}

fn engine_urls(config: &Config) -> String {
    config.engine.nats_url.clone().unwrap_or_default()
}

/// How the NATS servers of a configuration are reached.
pub fn nats_options(engine: &Engine) -> nats::options::Options {
    let tls_client = engine.nats_tls_cert.clone().zip(engine.nats_tls_key.clone());
    nats::options::Options {
        urls: engine.nats_url.clone().unwrap_or_default(),
        prefix: engine.nats_prefix.clone(),
        replicas: engine.nats_replicas as usize,
        max_bytes: engine.nats_max_bytes,
        credentials: engine.nats_credentials.clone(),
        nkey: engine.nats_nkey.clone(),
        tls_ca: engine.nats_tls_ca.clone(),
        tls_client,
    }
}

/// Largest artifact that fits into the body budget, beside the overhead of its upload.
fn largest_artifact(budget: u64) -> u64 {
    InputLimits::default().bytes.min(budget - budget / 32)
}

/// What model is configured, on no device yet.
fn options(config: &Config, model: &Path, environment: Environment) -> Options {
    Options {
        path: model.to_owned(),
        device: String::new(),
        loras: config.model.loras.clone(),
        preview_decoder: config.model.preview_decoder.clone(),
        dtype: config.model.dtype,
        threads: config.model.threads,
        keep_text_encoder: config.model.keep_text_encoder,
        environment,
    }
}

/// The function that loads the model onto each device and warms it up.
fn loading(
    config: &Config,
    model: &Path,
    environment: Environment,
    devices: Vec<String>,
) -> impl FnOnce() -> Result<Runners, ServeError> + Send + 'static {
    let jobs = config.model.max_batch() as usize;
    let options = options(config, model, environment);
    move || {
        let localizations = Arc::default();
        let warm = |device| warm(&Options { device, ..options.clone() }, jobs, &localizations);
        devices.into_iter().map(warm).collect()
    }
}

/// Loads a model onto a device and warms it up; returns one runner per concurrent job.
fn warm(
    options: &Options,
    jobs: usize,
    localizations: &Arc<LocalizationCache>,
) -> Result<Vec<Box<dyn Runner + Send>>, ServeError> {
    let started = Instant::now();
    let loaded = match jobs {
        1 => vec![load::load(options)?],
        _ => load::load_shared(options, jobs)?,
    };
    for note in &loaded[0].notes {
        tracing::warn!("model: {note}");
    }
    let runner = |it: Loaded| {
        let editor = it.editor.sharing(Arc::clone(localizations));
        EditorRunner::new(editor, it.info, MAX_WORK_PIXELS)
    };
    let runners: Vec<EditorRunner> = loaded.into_iter().map(runner).collect();
    runners[0].warm_up()?;
    let seconds = started.elapsed().as_secs_f64();
    let model = runners[0].model();
    let (name, device, dtype) = (&model.name, &model.device, &model.dtype);
    tracing::info!(model = name, device, dtype, jobs, seconds, "the model is loaded and warmed up");
    Ok(runners.into_iter().map(|it| Box::new(it) as Box<dyn Runner + Send>).collect())
}

/// Waits for running jobs, up to the timeout; `false` if the server is told again to end.
async fn drained(store: &Store, timeout: Duration, told_to_end: &mut impl AsyncFnMut()) -> bool {
    let idle = async {
        while store.running() > 0 {
            time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = idle => {}
        () = time::sleep(timeout) => {
            tracing::warn!("the drain timeout has passed; running jobs return to their checkpoints");
        }
        () = told_to_end() => return false,
    }
    true
}

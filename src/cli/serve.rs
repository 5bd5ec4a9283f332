//! `retouch serve`: starts model, job store and server, and shuts them down in order.

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::{
    args::{Dtype, ModelArgs, ModelPathArg},
    engine_error::EngineError,
    error::{self, CliError},
    interrupt::is_ignored,
    load, outputs, panics,
    serve_config::{self, ServeArgs},
};
use crate::editing::localization_cache::LocalizationCache;
use crate::jobs::{
    queue::QueueLimits,
    runner::{ModelInfo, Runner},
    store::{Limits, Store},
    timeouts,
    worker::{self, WorkerEnd},
};
use crate::journal::{Journal, Space, error::JournalError};
use crate::picture::decode::InputLimits;
use crate::server::{
    admission::QueueAdmission,
    config::{self, Config, Devices},
    connections::{ConnectionLimits, Connections},
    gate::GateLayer,
    keys::Keys,
    open_files::{self, Shares},
    ops::{self, Ops},
    router,
    serving::{self, HEADER_TIMEOUT, Terms},
    telemetry,
    tls::Listener,
};
use crate::serving::editor_runner::EditorRunner;

/// Most lost starts of a job without reaching its next checkpoint, before it fails.
const MAX_ATTEMPTS: u32 = 3;
/// Largest working size, in pixels.
const MAX_WORK_PIXELS: u64 = 1 << 20;
/// Time that streams have to end at shutdown.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Exit code after the loss of a device: a supervisor should restart the server.
const DEVICE_LOST: u8 = 70;
/// Exit code after a second SIGTERM or Ctrl-C: 128 + 15.
const AT_ONCE: i32 = 143;

/// Runs the server until it is told to stop.
///
/// # Errors
/// [`CliError`] if the server can't start.
pub(crate) fn run(args: &ServeArgs) -> Result<ExitCode, CliError> {
    let config = serve_config::config(args)?;
    if args.print_config {
        let text = serve_config::printed(&config)?;
        outputs::print(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| EngineError::Serve(error.to_string()))?;
    let outcome = runtime.block_on(serve(&config));
    // Doesn't wait for silent clients or a slow disk.
    runtime.shutdown_timeout(LAST_WORDS);
    outcome
}

async fn serve(config: &Config) -> Result<ExitCode, CliError> {
    // 1. Checks that need no model.
    let telemetry = telemetry::start(&config.log, &config.otlp).map_err(serve_error)?;
    let keys = Arc::new(Keys::open(config.auth.keys_file.as_deref()).map_err(serve_error)?);
    let shares = shares(&config.server)?;
    let devices = devices(&config.model.devices)?;
    let store = open(config, devices.len() as u32)?;
    let model = load::model_path(&ModelPathArg { model: config.model.path.clone() })?;
    let ops = Ops {
        ready: store.ready(),
        model: load::name(&model),
        telemetry: telemetry.handles(),
        keys: Arc::clone(&keys),
    };
    let ops_at = config.server.ops_listen;
    let ops_at = ops::serve(ops_at, ops, terms(shares.ops, None))
        .map_err(|error| EngineError::Serve(format!("can't bind {ops_at}: {error}")))?;
    let listener = Listener::bind(config.server.listen, config.tls.files()).await;
    let listener = listener.map_err(serve_error)?;
    let listen = listener.local_addr().map_err(serve_error)?;
    let mut end = End::listen()?;

    // 2. Load the model on its own threads, one copy per device.
    let (lost, mut model_ended) = tokio::sync::oneshot::channel();
    let model_thread = model_thread(config, devices, Arc::clone(&store), lost)?;
    let timeouts = tokio::spawn(timeouts::run(Arc::clone(&store)));

    // 3. Open the port. It answers health and reflection while the model loads.
    let admission = Arc::new(QueueAdmission(Arc::clone(&store)));
    let routes = router::routes(&store, config.server.max_request_bytes as usize).await;
    let gate = GateLayer::new(config, keys, admission);
    let app = router::app(routes, &config.server.cors_origins, gate);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let terms = terms(shares.service, Some(config.server.connection_age));
    let serving = tokio::spawn(serving::serve(listener, app, terms, async {
        let _ = stopped.await;
    }));
    let kind = if config.tls.cert.is_some() { "https" } else { "http" };
    tracing::info!(%listen, ops = %ops_at, "listening on {kind}://{listen}, ops on http://{ops_at}");

    // 4. Wait for the end, and shut down.
    let code = tokio::select! {
        () = end.wait() => None,
        ended = &mut model_ended => Some(ended),
    };
    let code = match code {
        None => {
            tracing::info!("draining");
            store.drain();
            drain(&store, config.server.drain_timeout, &mut end).await;
            ExitCode::SUCCESS
        }
        Some(Ok(Ended::Lost)) => ExitCode::from(DEVICE_LOST),
        Some(Ok(Ended::NotLoaded(error))) => return Err(error),
        Some(Err(_)) => return Err(panics::last_error()),
    };
    store.halt();
    tokio::time::sleep(LAST_WORDS).await;
    drop(stop);
    timeouts.abort();
    // A silent client keeps its connection open, and must not hold up the shutdown.
    serving.abort();
    let waited = tokio::task::spawn_blocking(move || model_thread.join());
    if tokio::time::timeout(Duration::from_secs(10), waited).await.is_err() {
        tracing::warn!("a denoising step is still running; its job resumes at the next start");
        signal_hook::low_level::exit(0);
    }
    tracing::info!("ended");
    Ok(code)
}

/// Limits on connections of a port.
fn terms(limits: ConnectionLimits, age: Option<Duration>) -> Terms {
    Terms { connections: Connections::new(limits), header_timeout: HEADER_TIMEOUT, age }
}

/// Connection limits of each port.
fn shares(server: &config::Server) -> Result<Shares, CliError> {
    let files = open_files::raise();
    let wanted = server.max_connections;
    let shares = open_files::share(files, wanted, server.max_connections_per_address);
    let shares = shares.map_err(serve_error)?;
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

/// Why the model's threads ended early.
enum Ended {
    NotLoaded(CliError),
    Lost,
}

/// Names of the configured devices.
fn devices(devices: &Devices) -> Result<Vec<String>, CliError> {
    match devices {
        Devices::Cpu => Ok(vec!["cpu".to_owned()]),
        Devices::AllGpus => load::gpus(),
        Devices::Gpus(gpus) => Ok(gpus.iter().map(|index| format!("cuda:{index}")).collect()),
    }
}

fn open(config: &Config, devices: u32) -> Result<Arc<Store>, CliError> {
    let jobs = &config.jobs;
    let Some(folder) = &jobs.data_dir else {
        return Err(CliError::Usage("there is no data folder; give --data-dir DIR".to_owned()));
    };
    let space = Space { quota: jobs.disk_quota_bytes, min_free: jobs.min_free_bytes };
    let journal = Journal::open(folder, space).map_err(|error| match error {
        JournalError::InUse { .. } => EngineError::Serve(format!("{error} with --data-dir DIR")),
        other => serve_error(other),
    })?;
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
    };
    Ok(Store::open(journal, limits).map_err(serve_error)?)
}

/// Largest artifact whose upload fits into the memory budget of request bodies, with its overhead.
fn largest_artifact(budget: u64) -> u64 {
    InputLimits::default().bytes.min(budget - budget / 32)
}

/// Loads the model onto each device, warms it up and runs jobs on it, all on threads of their own.
fn model_thread(
    config: &Config,
    devices: Vec<String>,
    store: Arc<Store>,
    ended: tokio::sync::oneshot::Sender<Ended>,
) -> Result<thread::JoinHandle<()>, CliError> {
    let dtype = match config.model.dtype {
        config::Dtype::Auto => Dtype::Auto,
        config::Dtype::Fp32 => Dtype::Fp32,
        config::Dtype::Bf16 => Dtype::Bf16,
        config::Dtype::Fp16 => Dtype::Fp16,
    };
    let (path, threads) = (config.model.path.clone(), config.model.threads);
    let args = move |device| ModelArgs {
        path: ModelPathArg { model: path.clone() },
        device: Some(device),
        dtype,
        threads,
    };
    let jobs = config.model.max_batch() as usize;
    let run = move || {
        let localizations = Arc::default();
        let warm = |device| warm(&args(device), jobs, &localizations);
        let mut runners = match devices.into_iter().map(warm).collect::<Result<Vec<_>, _>>() {
            Ok(runners) => runners,
            // Sending fails only while the server is shutting down.
            Err(error) => return drop(ended.send(Ended::NotLoaded(error))),
        };
        for runner in runners.iter().flatten() {
            store.set_model(runner.model().clone());
        }
        if !store.is_draining() {
            store.set_ready(Ok(()));
        }
        let ended = Mutex::new(Some(ended));
        let work = |name: &str, device: usize, runner: &mut EditorRunner| {
            let end = worker::run(&store, runner, name, device);
            let first = ended.lock().unwrap_or_else(PoisonError::into_inner).take();
            match (end, first) {
                (WorkerEnd::DeviceLost, Some(ended)) => drop(ended.send(Ended::Lost)),
                // Ended by the queue, which the server closed.
                (WorkerEnd::Closed, Some(ended)) => std::mem::forget(ended),
                // Another worker has reported already.
                (_, None) => {}
            }
        };
        thread::scope(|scope| {
            for (device, runners) in runners.iter_mut().enumerate() {
                for (index, runner) in runners.iter_mut().enumerate() {
                    let name = format!("model-{device}-{index}");
                    let thread = thread::Builder::new().name(format!("retouch-{name}"));
                    let started = thread.spawn_scoped(scope, move || work(&name, device, runner));
                    started.expect("a process can start a thread");
                }
            }
        });
    };
    let thread = thread::Builder::new().name("retouch-models".to_owned()).spawn(run);
    Ok(thread.map_err(serve_error)?)
}

/// Runners for the jobs that run at once on a device, sharing one warmed-up model.
fn warm(
    args: &ModelArgs,
    jobs: usize,
    localizations: &Arc<LocalizationCache>,
) -> Result<Vec<EditorRunner>, CliError> {
    let started = Instant::now();
    let loaded = match jobs {
        1 => vec![load::load(args)?],
        _ => load::load_shared(args, jobs)?,
    };
    for note in &loaded[0].notes {
        tracing::warn!("model: {note}");
    }
    let model = ModelInfo {
        name: loaded[0].name(),
        digest: loaded[0].editor.pipeline().digest().to_owned(),
        device: loaded[0].device.clone(),
        dtype: loaded[0].dtype.to_owned(),
        libtorch: load::LIBTORCH.to_owned(),
        recommended: loaded[0].settings.clone(),
    };
    let runner = |it: load::Loaded| {
        let editor = it.editor.sharing(Arc::clone(localizations));
        EditorRunner::new(editor, model.clone(), MAX_WORK_PIXELS)
    };
    let runners: Vec<EditorRunner> = loaded.into_iter().map(runner).collect();
    runners[0].warm_up()?;
    let seconds = started.elapsed().as_secs_f64();
    let ModelInfo { name, device, dtype, .. } = &model;
    tracing::info!(model = name, device, dtype, jobs, seconds, "the model is loaded and warmed up");
    Ok(runners)
}

/// Waits until no job runs, the timeout passes, or a second signal arrives.
async fn drain(store: &Store, timeout: Duration, end: &mut End) {
    let idle = async {
        while store.running() > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = idle => {}
        () = tokio::time::sleep(timeout) => {
            tracing::warn!("the drain timeout has passed; running jobs return to their checkpoints");
        }
        // Without exit handlers: libtorch's must not run during a denoising step.
        () = end.wait() => signal_hook::low_level::exit(AT_ONCE),
    }
}

/// Signals that stop the server: SIGTERM and Ctrl-C, unless the process was started with them ignored.
struct End {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

impl End {
    fn listen() -> Result<Self, CliError> {
        let listen = |kind: SignalKind| {
            let heard = !is_ignored(kind.as_raw_value());
            heard.then(|| signal(kind).map_err(serve_error)).transpose()
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            () = heard(&mut self.terminate) => {}
            () = heard(&mut self.interrupt) => {}
        }
    }
}

/// Waits for a signal; forever if it is ignored.
async fn heard(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// The error of a failed start, with its causes.
fn serve_error(error: impl std::error::Error) -> EngineError {
    EngineError::Serve(error::in_one_line(&error))
}

//! The running service: workers over their runners, the jobs' timeouts, and the port of gRPC and HTTP with its gate,
//! CORS and TLS.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::{sync::oneshot, task, time};
use tower::Layer;

use crate::http_api;
use crate::jobs::{
    runner::Runner,
    store::Store,
    timeouts,
    worker::{self, WorkerEnd},
};
use crate::server::{
    admission::QueueAdmission,
    browser::BrowserRules,
    config::Config,
    connections::{ConnectionLimits, Connections},
    gate::GateLayer,
    keys::Keys,
    router,
    serving::{self, HEADER_TIMEOUT, PortLimits},
    tls::Listener,
};
use crate::serving::error::ServeError;
use crate::studio::StudioLayer;

/// Time that streams have to end at shutdown.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Longest time that a shutdown waits for a denoising step to end.
const LAST_STEP: Duration = Duration::from_secs(10);

/// Runners by device: one for each job that a device runs at once.
pub type Runners = Vec<Vec<Box<dyn Runner + Send>>>;

/// A running service.
#[derive(Debug)]
pub struct Service {
    /// Bound address of the gRPC port.
    pub address: SocketAddr,
    store: Arc<Store>,
    failed: oneshot::Receiver<ServeError>,
    workers: thread::JoinHandle<()>,
    timeouts: task::JoinHandle<()>,
    port: task::JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Service {
    /// Opens the port as configured, and runs the store's jobs on what `load` returns, which runs on a thread of its
    /// own. The port answers health and reflection while the model loads.
    ///
    /// # Errors
    /// [`ServeError`] if the port can't be opened.
    pub async fn start(
        config: &Config,
        store: Arc<Store>,
        keys: Arc<Keys>,
        connections: ConnectionLimits,
        load: impl FnOnce() -> Result<Runners, ServeError> + Send + 'static,
    ) -> Result<Self, ServeError> {
        let listener = Listener::bind(config.server.listen, config.tls.files()).await;
        let listener = listener.map_err(ServeError::start)?;
        let address = listener.local_addr().map_err(ServeError::start)?;
        let (tell, failed) = oneshot::channel();
        let workers = thread::Builder::new().name("retouch-models".to_owned()).spawn({
            let store = Arc::clone(&store);
            move || work(&store, load, tell)
        });
        let workers = workers.map_err(ServeError::start)?;
        let timeouts = tokio::spawn(timeouts::run(Arc::clone(&store)));
        let routes = router::routes(&store, config.server.max_request_bytes as usize).await;
        let gate = GateLayer::new(config, keys, Arc::new(QueueAdmission(Arc::clone(&store))));
        let http_api = http_api::router(&store, gate.clone(), config.server.max_request_bytes);
        let app = router::app(routes, http_api, BrowserRules::new(&config.server), gate);
        let app = StudioLayer::new(config.server.studio).layer(app);
        let terms = terms(connections, Some(config.server.connection_age));
        let (stop, stopped) = oneshot::channel();
        let port = tokio::spawn(serving::serve(listener, app, terms, async {
            let _ = stopped.await;
        }));
        Ok(Self { address, store, failed, workers, timeouts, port, stop })
    }

    /// Waits until the model can't be loaded, or a device is lost; else for ever.
    pub async fn failed(&mut self) -> ServeError {
        (&mut self.failed).await.unwrap_or(ServeError::Panicked)
    }

    /// Returns running jobs to their checkpoints, and ends streams, port and workers; `false` if a step still runs.
    pub async fn stop(self) -> bool {
        self.store.halt();
        time::sleep(LAST_WORDS).await;
        drop(self.stop);
        self.timeouts.abort();
        // A silent client keeps its connection open, and must not hold up the shutdown.
        self.port.abort();
        let ended = task::spawn_blocking(move || self.workers.join());
        time::timeout(LAST_STEP, ended).await.is_ok()
    }
}

/// Limits on connections of a port.
pub(super) fn terms(limits: ConnectionLimits, age: Option<Duration>) -> PortLimits {
    PortLimits { connections: Connections::new(limits), header_timeout: HEADER_TIMEOUT, age }
}

/// Loads the runners, and runs jobs on each of them on its own thread until the queue is closed.
fn work(
    store: &Store,
    load: impl FnOnce() -> Result<Runners, ServeError>,
    tell: oneshot::Sender<ServeError>,
) {
    let runners = match load() {
        Ok(runners) => runners,
        // Sending fails only if the server is shutting down.
        Err(error) => return drop(tell.send(error)),
    };
    for runner in runners.iter().flatten() {
        store.set_model(runner.model().clone());
    }
    if !store.is_draining() {
        store.set_ready(Ok(()));
    }
    if runners.is_empty() {
        // Jobs run elsewhere, and nothing can fail.
        std::mem::forget(tell);
        return;
    }
    let tell = Mutex::new(Some(tell));
    let work = |name: &str, device: usize, runner: &dyn Runner| {
        let end = worker::run(store, runner, name, device);
        let first = tell.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (end, first) {
            (WorkerEnd::DeviceLost, Some(tell)) => drop(tell.send(ServeError::DeviceLost)),
            // The server closed the queue.
            (WorkerEnd::Closed, Some(tell)) => std::mem::forget(tell),
            // Another worker ended first.
            (_, None) => {}
        }
    };
    thread::scope(|scope| {
        for (device, runners) in runners.into_iter().enumerate() {
            for (index, runner) in runners.into_iter().enumerate() {
                let name = store.worker_name(device, index);
                let thread = format!("retouch-model-{device}-{index}");
                let thread = thread::Builder::new().name(thread);
                let started = thread.spawn_scoped(scope, move || work(&name, device, &*runner));
                started.expect("a process can start a thread");
            }
        }
    });
}

//! The running service: workers, and the port of gRPC and HTTP with its gate, CORS and TLS.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{sync::oneshot, task, time};
use tower::Layer;

use crate::http_api;
use crate::jobs::store::Store;
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
use crate::serving::{
    error::ServeError,
    workers::{Runners, Workers},
};
use crate::studio::StudioLayer;

/// Time that streams have to end at shutdown.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A running service.
#[derive(Debug)]
pub struct Service {
    /// Bound address of the gRPC port.
    pub address: SocketAddr,
    store: Arc<Store>,
    workers: Workers,
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
        let workers = Workers::start(Arc::clone(&store), load)?;
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
        Ok(Self { address, store, workers, port, stop })
    }

    /// Waits until the model can't be loaded, or a device is lost; else for ever.
    pub async fn failed(&mut self) -> ServeError {
        self.workers.failed().await
    }

    /// Returns running jobs to their checkpoints, and ends streams, port and workers; `false` if a step still runs.
    pub async fn stop(self) -> bool {
        self.store.halt();
        time::sleep(LAST_WORDS).await;
        drop(self.stop);
        // A silent client keeps its connection open, and must not hold up the shutdown.
        self.port.abort();
        self.workers.stop().await
    }
}

/// Limits on connections of a port.
pub(super) fn terms(limits: ConnectionLimits, age: Option<Duration>) -> PortLimits {
    PortLimits { connections: Connections::new(limits), header_timeout: HEADER_TIMEOUT, age }
}

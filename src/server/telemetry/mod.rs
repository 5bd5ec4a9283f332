//! What is seen from outside: the log, traces over OTLP, metrics by Prometheus and over OTLP.
//!
//! A series is counted once, by the facade of `metrics`; the recorder hands it on to whoever it is for.

pub mod log_filter;
pub mod otlp;
pub mod panics;
pub mod series;
pub mod trace_layer;

use std::io::{self, IsTerminal};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::layers::{Fanout, FanoutBuilder};
use tracing::Dispatch;
use tracing_subscriber::{Layer, Registry, layer::SubscriberExt};

use crate::server::{
    config::{Log, LogFormat, Otlp},
    telemetry::{
        log_filter::{LogFilter, LogFilterError},
        otlp::Exporters,
    },
};

/// Why telemetry can't be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level of the log.
    #[error("log.level can't be used")]
    Level(#[from] LogFilterError),
    /// The collector's address.
    #[error("otlp.endpoint `{endpoint}` can't be used")]
    Endpoint {
        /// As given.
        endpoint: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// The exporters of traces and metrics.
    #[error("the exporters of traces and metrics can't be built")]
    Otlp(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The exporters' thread.
    #[error("the exporters of traces and metrics have no thread")]
    Thread(#[source] io::Error),
    /// Buckets that are refused.
    #[error("metrics can't be recorded")]
    Metrics(#[from] BuildError),
    /// The process has a log already.
    #[error("the log was started before")]
    LogTwice(#[from] tracing::dispatcher::SetGlobalDefaultError),
    /// The process has a recorder already.
    #[error("metrics were started before")]
    MetricsTwice,
}

/// What was started; dropping it sends the spans and metrics that are left, for 5 seconds at most of each.
#[derive(Debug)]
pub struct Telemetry {
    handles: Handles,
    _exporters: Option<Exporters>,
}

impl Telemetry {
    /// What the ops port needs of it.
    pub fn handles(&self) -> Handles {
        self.handles.clone()
    }
}

/// Starts the log, traces and metrics of this process; its panics are logged.
///
/// # Errors
/// [`TelemetryError`] if a setting can't be used, or the process has them already.
pub fn start(log: &Log, otlp: &Otlp) -> Result<Telemetry, TelemetryError> {
    let exporters = otlp.endpoint.as_deref().map(Exporters::to).transpose()?;
    let (dispatch, level) = subscriber(log, exporters.as_ref())?;
    let (recorder, metrics) = recorder(exporters.as_ref())?;
    tracing::dispatcher::set_global_default(dispatch)?;
    metrics::set_global_recorder(recorder).map_err(|_| TelemetryError::MetricsTwice)?;
    panics::log_panics();
    Ok(Telemetry { handles: Handles { level, metrics }, _exporters: exporters })
}

/// The log on standard error, and traces if they have a collector; not yet those of the process.
///
/// # Errors
/// [`LogFilterError`] if the level can't be used.
pub fn subscriber(
    log: &Log,
    exporters: Option<&Exporters>,
) -> Result<(Dispatch, LogFilter), LogFilterError> {
    // The filter is the lines' own: a quiet log must not silence traces, nor a loud one fill them.
    let (filter, level) = LogFilter::new(&log.level)?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let lines = match log.format {
        LogFormat::Text => lines.with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    };
    let spans = exporters.map(Exporters::layer);
    Ok((Dispatch::new(Registry::default().with(lines).with(spans)), level))
}

/// A recorder that knows every series, for Prometheus and the collector if there is one; not yet that of the process.
///
/// # Errors
/// If the buckets are refused.
pub fn recorder(exporters: Option<&Exporters>) -> Result<(Fanout, PrometheusHandle), BuildError> {
    let mut prometheus = PrometheusBuilder::new();
    for name in series::timed() {
        let timed = Matcher::Full(name.to_owned());
        prometheus = prometheus.set_buckets_for_metric(timed, &series::SECONDS)?;
    }
    let prometheus = prometheus.build_recorder();
    let handle = prometheus.handle();
    let mut recorders = FanoutBuilder::default().add_recorder(prometheus);
    if let Some(exporters) = exporters {
        recorders = recorders.add_recorder(exporters.recorder());
    }
    let recorder = recorders.build();
    metrics::with_local_recorder(&recorder, series::describe);
    Ok((recorder, handle))
}

/// The level of the log, to be changed, and the metrics, to be shown.
#[derive(derive_more::Debug, Clone)]
pub struct Handles {
    level: LogFilter,
    #[debug(skip)]
    metrics: PrometheusHandle,
}

impl Handles {
    /// Those of a log and a recorder.
    pub fn new(level: LogFilter, metrics: PrometheusHandle) -> Self {
        Self { level, metrics }
    }

    /// The metrics as Prometheus reads them.
    pub fn metrics(&self) -> String {
        self.metrics.run_upkeep();
        self.metrics.render()
    }

    /// Folds what was recorded since the last time, which nobody may have asked for.
    pub fn fold(&self) {
        self.metrics.run_upkeep();
    }

    /// The level of the log.
    pub fn level(&self) -> String {
        self.level.get().unwrap_or_default()
    }

    /// Changes the level of the log.
    ///
    /// # Errors
    /// [`LogFilterError`] says what is wrong with it; nothing has changed then.
    pub fn set_level(&self, level: &str) -> Result<(), LogFilterError> {
        self.level.set(level)
    }
}

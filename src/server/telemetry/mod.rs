//! What is seen from outside: the log, traces over OTLP, metrics.
//!
//! Metrics are scraped from the ops port and not sent over OTLP, so that each series exists once.

pub mod log_filter;
pub mod metric_names;
pub mod trace_layer;
mod traces;

use std::io::{self, IsTerminal};

use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use tracing::Dispatch;
use tracing_subscriber::{Layer, Registry, layer::SubscriberExt};

use crate::server::{
    config::{Log, LogFormat, Otlp},
    telemetry::{
        log_filter::{LogFilter, LogFilterError},
        traces::Traces,
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
    /// The exporter of traces.
    #[error("the exporter of traces can't be built")]
    Otlp(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The exporter's thread.
    #[error("the exporter of traces has no thread")]
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

/// What was started; dropping it sends the spans that are left, for 5 seconds at most.
#[derive(Debug)]
pub struct Telemetry {
    handles: Handles,
    _traces: Option<Spans>,
}

impl Telemetry {
    /// What the ops port needs of it.
    pub fn handles(&self) -> Handles {
        self.handles.clone()
    }
}

/// Spans on their way to a collector; dropping it sends those that are left.
#[derive(Debug)]
pub struct Spans {
    _traces: Traces,
}

/// Starts the log, traces and metrics of this process.
///
/// # Errors
/// [`TelemetryError`] if a setting can't be used, or the process has them already.
pub fn start(log: &Log, otlp: &Otlp) -> Result<Telemetry, TelemetryError> {
    let (dispatch, level, spans) = subscriber(log, otlp)?;
    let recorder = recorder()?;
    let handles = Handles { level, metrics: recorder.handle() };
    tracing::dispatcher::set_global_default(dispatch)?;
    metrics::set_global_recorder(recorder).map_err(|_| TelemetryError::MetricsTwice)?;
    Ok(Telemetry { handles, _traces: spans })
}

/// The log on standard error, and traces if they have a collector; not yet those of the process.
///
/// # Errors
/// [`TelemetryError`] if a setting can't be used.
pub fn subscriber(
    log: &Log,
    otlp: &Otlp,
) -> Result<(Dispatch, LogFilter, Option<Spans>), TelemetryError> {
    // The filter is the lines' own: a quiet log must not silence traces, nor a loud one fill them.
    let (filter, level) = LogFilter::new(&log.level)?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let lines = match log.format {
        LogFormat::Text => lines.with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    };
    let traces = otlp.endpoint.as_deref().map(Traces::to).transpose()?;
    let spans = traces.as_ref().map(Traces::layer);
    let dispatch = Dispatch::new(Registry::default().with(lines).with(spans));
    Ok((dispatch, level, traces.map(|it| Spans { _traces: it })))
}

/// A recorder that knows every series; not yet that of the process.
///
/// # Errors
/// If the buckets are refused.
pub fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let timed = Matcher::Suffix("_seconds".to_owned());
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(timed, &metric_names::SECONDS)?
        .build_recorder();
    metrics::with_local_recorder(&recorder, metric_names::describe);
    Ok(recorder)
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

//! Telemetry: log on standard error, traces over OTLP, metrics for Prometheus and over OTLP.
//!
//! Code records each metric once, by the facade of the crate `metrics`; the recorder forwards it to both exporters.

pub mod error;
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
        error::TelemetryError,
        log_filter::{LogFilter, LogFilterError},
        otlp::Exporters,
    },
};

/// Running telemetry; dropping it flushes spans and metrics, for at most 5 seconds each.
#[derive(Debug)]
pub struct Telemetry {
    handles: Handles,
    _exporters: Option<Exporters>,
}

impl Telemetry {
    /// The handles that the ops port needs.
    pub fn handles(&self) -> Handles {
        self.handles.clone()
    }
}

/// Starts log, traces and metrics of this process, and logs its panics.
///
/// # Errors
/// [`TelemetryError`] if a setting is invalid, or telemetry was already started.
pub fn start(log: &Log, otlp: &Otlp) -> Result<Telemetry, TelemetryError> {
    let exporters = otlp.endpoint.as_deref().map(Exporters::to).transpose()?;
    let (dispatch, level) = subscriber(log, exporters.as_ref())?;
    let (recorder, metrics) = recorder(exporters.as_ref())?;
    tracing::dispatcher::set_global_default(dispatch)?;
    metrics::set_global_recorder(recorder).map_err(|_| TelemetryError::MetricsTwice)?;
    panics::log_panics();
    Ok(Telemetry { handles: Handles { level, metrics }, _exporters: exporters })
}

/// A subscriber for the log on standard error, and for traces if there is a collector; not installed yet.
///
/// # Errors
/// [`LogFilterError`] if the level is invalid.
pub fn subscriber(
    log: &Log,
    exporters: Option<&Exporters>,
) -> Result<(Dispatch, LogFilter), LogFilterError> {
    // The filter applies to log lines only: it must neither silence nor inflate traces.
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

/// A recorder with all metrics described, for Prometheus and the collector if there is one; not installed yet.
///
/// # Errors
/// If the buckets are invalid.
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

/// Handles to the log level and the metrics.
#[derive(derive_more::Debug, Clone)]
pub struct Handles {
    level: LogFilter,
    #[debug(skip)]
    metrics: PrometheusHandle,
}

impl Handles {
    /// Handles of a log filter and a recorder.
    pub fn new(level: LogFilter, metrics: PrometheusHandle) -> Self {
        Self { level, metrics }
    }

    /// The metrics in Prometheus's text format.
    pub fn metrics(&self) -> String {
        self.metrics.run_upkeep();
        self.metrics.render()
    }

    /// Aggregates recorded histogram values, which otherwise happens only at a scrape.
    pub fn fold(&self) {
        self.metrics.run_upkeep();
    }

    /// The current log filter.
    pub fn level(&self) -> String {
        self.level.get().unwrap_or_default()
    }

    /// Replaces the log filter.
    ///
    /// # Errors
    /// [`LogFilterError`] if it is invalid; then nothing is changed.
    pub fn set_level(&self, level: &str) -> Result<(), LogFilterError> {
        self.level.set(level)
    }
}

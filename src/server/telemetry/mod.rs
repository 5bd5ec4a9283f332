//! What is seen from outside: the log, traces over OTLP, metrics.

pub mod log_filter;
pub mod metric_names;
pub mod trace_context;

use std::io::IsTerminal;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use crate::server::config::{Log, LogFormat, Otlp};

/// Why telemetry can't be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level of the log.
    #[error("log.level: {0}")]
    Level(String),
    /// The exporter of traces.
    #[error("otlp.endpoint can't be used: {0}")]
    Otlp(#[from] opentelemetry_otlp::ExporterBuildError),
    /// There is a subscriber or recorder already.
    #[error("telemetry was started before: {0}")]
    Twice(String),
}

/// What was started; dropping it sends what is left.
#[derive(derive_more::Debug)]
pub struct Telemetry {
    level: reload::Handle<EnvFilter, Registry>,
    traces: Option<SdkTracerProvider>,
    #[debug(skip)]
    metrics: PrometheusHandle,
}

/// Starts the log, traces and metrics of this process. Must be called within a tokio runtime.
///
/// # Errors
/// [`TelemetryError`].
pub fn start(log: &Log, otlp: &Otlp) -> Result<Telemetry, TelemetryError> {
    let filter = log_filter::parse(&log.level).map_err(TelemetryError::Level)?;
    let (filter, level) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = match log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let traces = otlp.endpoint.as_deref().map(traces).transpose()?;
    let spans =
        traces.as_ref().map(|it| tracing_opentelemetry::layer().with_tracer(it.tracer("retouch")));
    let twice = |error: &dyn std::error::Error| TelemetryError::Twice(error.to_string());
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .with(spans)
        .try_init()
        .map_err(|it| twice(&it))?;
    let metrics = metrics()?;
    Ok(Telemetry { level, traces, metrics })
}

fn traces(endpoint: &str) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    let resource = Resource::builder().with_service_name("retouch").build();
    opentelemetry::global::set_text_map_propagator(
        opentelemetry_sdk::propagation::TraceContextPropagator::new(),
    );
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

fn metrics() -> Result<PrometheusHandle, TelemetryError> {
    let twice = |error: &dyn std::error::Error| TelemetryError::Twice(error.to_string());
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &metric_names::SECONDS)
        .map_err(|it| twice(&it))?;
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|it| twice(&it))?;
    metric_names::describe();
    Ok(handle)
}

impl Telemetry {
    /// What the ops port needs of it.
    pub fn handles(&self) -> Handles {
        Handles { level: self.level.clone(), metrics: self.metrics.clone() }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(traces) = &self.traces
            && let Err(error) = traces.shutdown()
        {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}

/// The level of the log, to be changed, and the metrics, to be shown.
#[derive(derive_more::Debug, Clone)]
pub struct Handles {
    level: reload::Handle<EnvFilter, Registry>,
    #[debug(skip)]
    metrics: PrometheusHandle,
}

impl Handles {
    /// The metrics as Prometheus reads them.
    pub fn metrics(&self) -> String {
        self.metrics.run_upkeep();
        self.metrics.render()
    }

    /// The level of the log.
    pub fn level(&self) -> String {
        self.level.with_current(ToString::to_string).unwrap_or_default()
    }

    /// Changes the level of the log.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn set_level(&self, level: &str) -> Result<(), String> {
        let filter = log_filter::parse(level)?;
        self.level.reload(filter).map_err(|error| error.to_string())
    }
}

//! Errors of starting telemetry.

use std::io;

use metrics_exporter_prometheus::BuildError;

use crate::server::telemetry::log_filter::LogFilterError;

/// Why telemetry can't be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter is invalid.
    #[error("log.level is invalid")]
    Level(#[from] LogFilterError),
    /// The collector's URL is invalid.
    #[error("otlp.endpoint `{endpoint}` can't be used")]
    Endpoint {
        /// The URL.
        endpoint: String,
        /// The underlying error.
        source: tonic::transport::Error,
    },
    /// The OTLP exporters can't be built.
    #[error("the exporters of traces and metrics can't be built")]
    Otlp(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The exporters' thread can't be started.
    #[error("the thread of the OTLP exporters can't be started")]
    Thread(#[source] io::Error),
    /// The histogram buckets are invalid.
    #[error("the histogram buckets of the metrics are invalid")]
    Metrics(#[from] BuildError),
    /// The process already has a log.
    #[error("the process already has a log")]
    LogTwice(#[from] tracing::dispatcher::SetGlobalDefaultError),
    /// The process already has a metrics recorder.
    #[error("the process already has a metrics recorder")]
    MetricsTwice,
}

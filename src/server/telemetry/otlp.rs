//! Export of spans and metrics to an OTLP collector.

use std::{fmt, time::Duration};

use metrics::Recorder;
use metrics_opentelemetry::{OpenTelemetryMetrics, OpenTelemetryRecorder};
use opentelemetry::{KeyValue, metrics::MeterProvider, trace::TracerProvider};
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithTonicConfig};
use opentelemetry_sdk::{Resource, metrics::SdkMeterProvider, trace::SdkTracerProvider};
use tokio::runtime::{self, Runtime};
use tonic::transport::{ClientTlsConfig, Endpoint};
use tracing::{Level, Subscriber};
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};

use crate::server::telemetry::{
    error::TelemetryError,
    series::{SECONDS, timed},
};

/// Timeout of one export.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout of the final flush, of spans and of metrics each.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// Name of the service, the tracer and the meter.
const NAME: &str = "retouch";

/// OTLP exporters on their own thread, so that they can still flush when the server's runtime has ended.
///
/// Dropping it flushes what is left, for at most 5 seconds each.
pub struct Exporters {
    spans: SdkTracerProvider,
    metrics: SdkMeterProvider,
    /// `None` once dropped.
    runtime: Option<Runtime>,
}

impl Exporters {
    /// Exports to an OTLP/gRPC collector, which need not be reachable yet.
    ///
    /// # Errors
    /// [`TelemetryError`] if the URL is invalid, or the thread can't be started.
    pub fn to(endpoint: &str) -> Result<Self, TelemetryError> {
        let refused = |source| TelemetryError::Endpoint { endpoint: endpoint.to_owned(), source };
        let mut channel = Endpoint::from_shared(endpoint.to_owned()).map_err(refused)?;
        if endpoint.starts_with("https://") {
            let tls = ClientTlsConfig::new().with_native_roots();
            channel = channel.tls_config(tls).map_err(refused)?;
        }
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("otlp")
            .enable_all()
            .build()
            .map_err(TelemetryError::Thread)?;
        let within = runtime.enter();
        let channel = channel.connect_timeout(TIMEOUT).timeout(TIMEOUT).connect_lazy();
        let spans = SpanExporter::builder().with_tonic().with_channel(channel.clone()).build()?;
        let metrics = MetricExporter::builder().with_tonic().with_channel(channel).build()?;
        drop(within);
        let resource = Resource::builder()
            .with_service_name(NAME)
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let spans = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_batch_exporter(spans)
            .build();
        let metrics = SdkMeterProvider::builder()
            .with_resource(resource)
            .with_periodic_exporter(metrics)
            .build();
        Ok(Self { spans, metrics, runtime: Some(runtime) })
    }

    /// Tracing layer for spans of this crate only: exporting a span must not create further spans in the transport.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.spans.tracer(NAME))
            .with_filter(Targets::new().with_target(NAME, Level::INFO))
    }

    /// Recorder of metrics for the exporter.
    pub(super) fn recorder(&self) -> impl Recorder + Send + Sync + use<> {
        let mut recorder =
            OpenTelemetryRecorder::new(OpenTelemetryMetrics::new(self.metrics.meter(NAME)));
        recorder.set_histogram_bounds_mut(timed(), &SECONDS);
        recorder
    }
}

impl Drop for Exporters {
    fn drop(&mut self) {
        if let Err(error) = self.spans.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!(%error, "the last spans were not sent");
        }
        if let Err(error) = self.metrics.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!(%error, "the last metrics were not sent");
        }
        if let Some(runtime) = self.runtime.take() {
            // A blocking shutdown would panic within another runtime.
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Exporters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporters").finish_non_exhaustive()
    }
}

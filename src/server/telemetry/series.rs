//! Declarations of all metrics: name, kind, labels and description.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Histogram buckets of durations, in seconds: from one step of the demo model to a hundred steps of a large one.
pub const SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0];

/// Kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Monotonic counter.
    Counter,
    /// Gauge.
    Gauge,
    /// Histogram of durations in seconds, with the buckets [`SECONDS`].
    Timed,
}

/// A metric.
#[derive(Debug, Clone, Copy)]
pub struct Series {
    /// Name in Prometheus and OTLP.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// Description.
    pub help: &'static str,
}

/// All metrics.
pub const ALL: [Series; 23] = {
    use Kind::{Counter, Gauge, Timed};
    const fn series(
        kind: Kind,
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Series {
        Series { name, kind, labels, help }
    }
    [
        series(Counter, "grpc_server_handled_total", &["method", "code"], "Calls that have ended"),
        series(
            Counter,
            "retouch_http_requests_total",
            &["route", "code"],
            "Requests of plain HTTP that were answered, by status; 499 is a caller who has gone before",
        ),
        series(
            Counter,
            "retouch_jobs_total",
            &["state", "reason", "priority"],
            "Jobs that have ended",
        ),
        series(Gauge, "retouch_queue_depth", &["priority"], "Jobs that wait for a slot"),
        series(
            Timed,
            "retouch_queue_wait_seconds",
            &[],
            "Time a job waits in the queue before its first pass",
        ),
        series(Gauge, "retouch_slots", &["state"], "Worker slots, by state busy or free"),
        series(Timed, "retouch_pass_seconds", &["pass"], "Duration of a pass"),
        series(Timed, "retouch_step_seconds", &[], "A denoising step"),
        series(Counter, "retouch_unet_calls_total", &[], "Calls of the shared model's U-Net"),
        series(Counter, "retouch_unet_samples_total", &[], "Jobs' samples in those calls"),
        series(
            Timed,
            "retouch_first_event_seconds",
            &[],
            "From a stream's opening to its first event",
        ),
        series(Timed, "retouch_cancel_latency_seconds", &[], "From a cancel to the free slot"),
        series(
            Counter,
            "retouch_redeliveries_total",
            &[],
            "Passes that were started again after a loss",
        ),
        series(Gauge, "retouch_streams_open", &[], "Streams of events"),
        series(
            Counter,
            "retouch_events_conflated_total",
            &["kind"],
            "Events dropped because a newer one of the same kind replaced them (conflation)",
        ),
        series(
            Gauge,
            "retouch_model_ready",
            &["model"],
            "Whether the model is loaded and warmed up, 0 or 1",
        ),
        series(
            Counter,
            "retouch_engine_commits_total",
            &[],
            "Commits sent to the engine that several processes share, repetitions too",
        ),
        series(
            Counter,
            "retouch_engine_conflicts_total",
            &[],
            "Commits that another process forestalled",
        ),
        series(
            Counter,
            "retouch_engine_down_total",
            &[],
            "Requests given up because the engine did not answer",
        ),
        series(
            Gauge,
            "retouch_engine_feed_lag",
            &[],
            "Commits of the log that this process has not read yet",
        ),
        series(
            Counter,
            "retouch_engine_feed_breaks_total",
            &[],
            "Breaks of the feed of commits, after which it was opened again",
        ),
        series(
            Counter,
            "retouch_engine_leases_lost_total",
            &[],
            "Jobs that this process saw lose their worker with its lease",
        ),
        series(
            Counter,
            "retouch_engine_relay_bytes_total",
            &[],
            "Bytes of steps and previews sent to other processes",
        ),
    ]
};

/// Names of the histograms.
pub(super) fn timed() -> impl Iterator<Item = &'static str> {
    ALL.iter().filter(|it| it.kind == Kind::Timed).map(|it| it.name)
}

/// Registers the descriptions with the recorder.
pub(super) fn describe() {
    for Series { name, kind, help, .. } in ALL {
        match kind {
            Kind::Counter => describe_counter!(name, help),
            Kind::Gauge => describe_gauge!(name, help),
            Kind::Timed => describe_histogram!(name, Unit::Seconds, help),
        }
    }
}

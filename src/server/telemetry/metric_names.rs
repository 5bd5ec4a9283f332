//! The metrics of the service, described. Names are told once here; who counts says them again.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Buckets of everything that is timed, in seconds: from a step of the demo model to a hundred steps of a large one.
pub const SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0];

/// Tells Prometheus what each is.
pub fn describe() {
    describe_counter!("retouch_jobs_total", "Jobs that have ended, by state and reason");
    describe_gauge!("retouch_queue_depth", "Jobs that wait for a slot");
    describe_histogram!(
        "retouch_queue_wait_seconds",
        Unit::Seconds,
        "From acceptance to the first pass"
    );
    describe_histogram!(
        "retouch_first_event_seconds",
        Unit::Seconds,
        "From a stream's opening to its first event"
    );
    describe_histogram!("retouch_pass_seconds", Unit::Seconds, "A pass, by pass");
    describe_histogram!("retouch_step_seconds", Unit::Seconds, "A denoising step");
    describe_gauge!("retouch_slots", "Slots of the model, by state");
    describe_histogram!(
        "retouch_cancel_latency_seconds",
        Unit::Seconds,
        "From a cancel to the free slot"
    );
    describe_counter!("retouch_events_conflated_total", "Latest-wins events that a reader missed");
    describe_gauge!("retouch_streams_open", "Streams of events");
    describe_gauge!("retouch_model_ready", "Whether the model is warm, 0 or 1");
    describe_counter!("retouch_redeliveries_total", "Passes that were started again after a loss");
    describe_counter!("grpc_server_handled_total", "Calls that have ended, by method and code");
}

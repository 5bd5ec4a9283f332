//! What is done once for a job: its picture is decoded, resized and encoded once, whoever runs its passes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use retouch::{
    jobs::{
        admission::Attachment,
        store::Store,
        worker::{self, WorkerEnd},
    },
    wire::v1::{
        AcceptMask, EditSpec, MaskDecision, MaskPolicy, edit_job::State, mask_decision::Decision,
    },
};
use tracing::{Dispatch, Subscriber, dispatcher, span};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt};

use super::{
    harness::{LIMITS, SPACE, open, request},
    real,
};

/// Counts spans by their names.
#[derive(Debug, Default, Clone)]
struct Counts(Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl<S: Subscriber> Layer<S> for Counts {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
        *self.0.lock().unwrap().entry(attributes.metadata().name()).or_default() += 1;
    }
}

impl Counts {
    fn of(&self, name: &str) -> usize {
        self.0.lock().unwrap().get(name).copied().unwrap_or_default()
    }

    /// Decodings of the input's file, resizings of the picture, encodings of it by the autoencoder, and results as
    /// files.
    fn all(&self) -> [usize; 4] {
        ["decode", "resize", "encode_image", "encode_result"].map(|name| self.of(name))
    }
}

/// Runs a job with the demo model, deciding on its mask where it waits for that; counts what was done for it.
async fn counted(spec: EditSpec) -> Counts {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(open(folder.path(), SPACE).await, LIMITS).unwrap();
    let counts = Counts::default();
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(counts.clone()));
    // A lone subscriber is not asked of spans that another test's thread meets first.
    let _second = Dispatch::new(tracing_subscriber::registry());
    let (told, loaded) = std::sync::mpsc::channel();
    let worker = thread::spawn({
        let (store, dispatch) = (Arc::clone(&store), dispatch.clone());
        move || {
            let runner = real::runner();
            store.set_model(runner.model().clone());
            store.set_ready(Ok(()));
            told.send(()).unwrap();
            dispatcher::with_default(&dispatch, || worker::run(&store, runner.as_ref(), "w", 0))
        }
    });
    loaded.recv().unwrap();
    let created = || store.create("local", request(spec.clone()), Attachment::Detached).unwrap();
    let job = dispatcher::with_default(&dispatch, created);
    while !job.is_over() {
        if job.state() == State::AwaitingMask {
            let accept = Decision::Accept(AcceptMask::default());
            let decision = MaskDecision { decision: Some(accept), ..MaskDecision::default() };
            store.decide(&job, decision).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(job.state(), State::Succeeded);
    store.drain();
    assert_eq!(worker.join().unwrap(), WorkerEnd::Closed);
    counts
}

#[tokio::test]
async fn a_job_that_goes_on_at_once_decodes_resizes_and_encodes_its_picture_once() {
    let counts = counted(real::edit()).await;
    assert_eq!(counts.of("pass"), 2);
    assert_eq!(counts.all(), [1, 1, 1, 1]);
}

#[tokio::test]
async fn a_job_that_left_its_thread_is_opened_again() {
    let review = EditSpec { mask_policy: MaskPolicy::Review as i32, ..real::edit() };
    let counts = counted(review).await;
    assert_eq!(counts.of("pass"), 2);
    assert_eq!(counts.all(), [2, 2, 2, 1]);
}

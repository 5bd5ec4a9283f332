//! Its data folder, killed with a job in every state: what had ended is readable, what was alive ends right.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use image::RgbImage;
use retouch::{
    jobs::{
        admission::Attachment,
        job::{self, Job},
        runner::Runner,
        store::{Limits, Store},
        worker,
    },
    journal::{Journal, examine},
    wire::v1::{
        AcceptMask, CreateEditJobRequest, EditEvent, EditJob, EditSpec, EventOptions, Image,
        MaskDecision, Priority, edit_job::State, image::Source, mask_decision::Decision,
    },
};
use sha2::{Digest, Sha256};

use super::{assert_same_edit, data, model};
use crate::cli::{INSTRUCTION, scene};
use crate::client::runner;
use crate::service::harness::{LIMITS, SPACE, kinds, numbers};

/// Each job by its label, as it was when the server was killed.
const STATES: [(&str, State); 11] = [
    ("awaiting-mask", State::AwaitingMask),
    ("batch-done", State::Succeeded),
    ("batch-editing", State::Editing),
    ("batch-failed", State::Failed),
    ("cancelled", State::Cancelled),
    ("failed", State::Failed),
    ("localize-only", State::Succeeded),
    ("localizing", State::Localizing),
    ("mask-ready", State::MaskReady),
    ("queued", State::Queued),
    ("succeeded", State::Succeeded),
];

fn label(job: &EditJob) -> String {
    job.spec.as_ref().unwrap().labels["case"].clone()
}

/// A store over a folder, without the clock, by which jobs that ended long ago would expire and reviews time out.
fn open(folder: &Path) -> Arc<Store> {
    let limits = Limits {
        run_timeout: Duration::from_secs(600),
        // Those of a server that nobody configures, as it was there.
        default_ttl: Duration::from_secs(24 * 3600),
        max_ttl: Duration::from_secs(7 * 24 * 3600),
        ..LIMITS
    };
    Store::open(Journal::open(folder, SPACE).unwrap(), limits).unwrap()
}

fn jobs(store: &Store) -> BTreeMap<String, Arc<Job>> {
    store.all().into_iter().map(|it| (label(&store.view(&it).unwrap()), it)).collect()
}

fn events(store: &Store, job: &Job) -> Vec<EditEvent> {
    let mut events = Vec::new();
    while events.len() < job.last_sequence() as usize {
        events.extend(store.events(job.id, events.len() as u64).unwrap());
    }
    events
}

fn result(store: &Store, job: &Job) -> RgbImage {
    let image = store.view(job).unwrap().result.unwrap().image.unwrap();
    let bytes = store.artifacts.read_all(&image.name).unwrap();
    image::load_from_memory(&bytes).unwrap().to_rgb8()
}

/// The demo model as it was then, at work.
fn work(store: &Arc<Store>, folder: &Path) -> JoinHandle<()> {
    let (store, folder) = (Arc::clone(store), folder.to_owned());
    thread::spawn(move || {
        let runner = runner(&folder);
        store.set_model(runner.model().clone());
        store.set_ready(Ok(()));
        worker::run(&store, &runner, "test-0", 0);
    })
}

#[test]
fn the_folder_holds_a_job_in_every_state() {
    let folder = data();
    let contents = examine::contents(folder.path()).unwrap();
    assert!(examine::findings(&contents).unwrap().is_empty());
    let states: BTreeMap<String, State> =
        contents.jobs.iter().map(|it| (label(it.job.as_ref().unwrap()), job::state(it))).collect();
    assert_eq!(states, STATES.map(|(case, state)| (case.to_owned(), state)).into());
}

#[test]
fn every_job_is_readable_with_its_events_and_pictures() {
    let folder = data();
    let store = open(folder.path());
    let jobs = jobs(&store);
    for (case, was) in STATES {
        let job = &jobs[case];
        // What was killed in a pass goes back to before it.
        let is = match was {
            State::Localizing => State::Queued,
            State::Editing => State::MaskReady,
            other => other,
        };
        assert_eq!(job.state(), is, "{case}");
        let last = job.last_sequence();
        assert!(last > 0, "{case}");
        assert_eq!(numbers(&events(&store, job)), (1..=last).collect::<Vec<u64>>(), "{case}");
        for name in &store.record(job).unwrap().artifacts {
            let bytes = store.artifacts.read_all(name).unwrap();
            let known = store.artifacts.get("local", name).unwrap().sha256;
            assert_eq!(known, Sha256::digest(&bytes).as_slice(), "{case}");
        }
    }
    let reason = |case: &str| store.view(&jobs[case]).unwrap().error.unwrap().reason;
    assert_eq!([reason("failed"), reason("batch-failed")], ["OBJECT_NOT_FOUND"; 2]);
    assert_eq!(result(&store, &jobs["succeeded"]).dimensions(), (64, 64));
    assert_eq!(result(&store, &jobs["batch-done"]).dimensions(), (64, 64));
    let localized = store.view(&jobs["localize-only"]).unwrap().result.unwrap();
    assert!(localized.image.is_none() && localized.mask.is_some());
}

#[test]
fn live_jobs_go_on_and_end_right() {
    let (folder, model) = (data(), model());
    let store = open(folder.path());
    let worker = work(&store, model.path());
    let jobs = jobs(&store);
    let accept = Some(Decision::Accept(AcceptMask::default()));
    let accept = MaskDecision { decision: accept, ..MaskDecision::default() };
    store.decide(&jobs["awaiting-mask"], accept).unwrap();
    let started = Instant::now();
    while !store.live().is_empty() {
        assert!(started.elapsed() < Duration::from_secs(300), "{:?}", store.live());
        thread::sleep(Duration::from_millis(20));
    }

    // One and the same edit, done then, and gone on with now: before pass 1, at its mask, before pass 2.
    let expected = result(&store, &jobs["succeeded"]);
    let scene = image::open(scene()).unwrap().to_rgb8();
    for (case, attempt) in [("queued", 1), ("awaiting-mask", 1), ("mask-ready", 1)] {
        let job = store.view(&jobs[case]).unwrap();
        assert_eq!((job.state(), job.attempt), (State::Succeeded, attempt), "{case}");
        let made = result(&store, &jobs[case]);
        assert_same_edit(&made, &expected, &scene);
        assert_eq!(made, result(&store, &jobs["queued"]), "{case}");
    }
    // What was killed in a pass made that pass again, and no other.
    for case in ["localizing", "batch-editing"] {
        let job = store.view(&jobs[case]).unwrap();
        assert_eq!((job.state(), job.attempt), (State::Succeeded, 2), "{case}: {:?}", job.error);
        let told = kinds(&events(&store, &jobs[case]));
        let count = |kind: &str| told.iter().filter(|it| *it == kind).count();
        let passes = if case == "localizing" { (2, 1, 1) } else { (1, 2, 1) };
        assert_eq!((count("LOCALIZING"), count("EDITING"), count("proposed")), passes, "{told:?}");
        let last = job.last_sequence;
        let numbered = numbers(&events(&store, &jobs[case]));
        assert_eq!(numbered, (1..=last).collect::<Vec<u64>>(), "{case}");
    }
    store.halt();
    worker.join().unwrap();
}

#[test]
fn a_request_of_then_is_known_and_another_of_its_id_is_refused() {
    let (folder, model) = (data(), model());
    let store = open(folder.path());
    store.set_model(runner(model.path()).model().clone());
    let scene = std::fs::read(scene()).unwrap();
    for (case, job) in jobs(&store).into_iter().filter(|(case, _)| case.starts_with("batch-")) {
        // As the list of the batch has it.
        let failed = case == "batch-failed";
        let spec = EditSpec {
            image: Some(Image { source: Some(Source::Data(scene.clone().into())) }),
            instruction: if failed { "colorless green ideas" } else { INSTRUCTION }.to_owned(),
            strict: failed,
            seed: Some(7),
            steps: Some(if case == "batch-editing" { 400 } else { 4 }),
            labels: [("case".to_owned(), case.clone())].into(),
            priority: Priority::Batch as i32,
            events: Some(EventOptions { preview_every: Some(0), ..EventOptions::default() }),
            ..EditSpec::default()
        };
        let ask = |spec: EditSpec| {
            let request_id = store.view(&job).unwrap().request_id;
            let spec = Some(spec);
            let request = CreateEditJobRequest { request_id, spec, ..Default::default() };
            store.create("local", request, Attachment::Detached)
        };
        assert_eq!(ask(spec.clone()).unwrap().id, job.id, "{case}");
        for other in [
            EditSpec { steps: Some(5), ..spec.clone() },
            EditSpec { seed: Some(8), ..spec.clone() },
            EditSpec { min_confidence: Some(0.9), ..spec.clone() },
            EditSpec { labels: [].into(), ..spec },
        ] {
            let fault = ask(other).unwrap_err();
            assert_eq!(fault.reason.name(), "REQUEST_ID_REUSED", "{case}: {fault}");
        }
    }
    assert_eq!(store.all().len(), STATES.len());
}

#[test]
fn a_job_that_ran_too_often_then_is_not_run_again() {
    let folder = data();
    let journal = Journal::open(folder.path(), SPACE).unwrap();
    let store = Store::open(journal, Limits { max_attempts: 1, ..LIMITS }).unwrap();
    let jobs = jobs(&store);
    for case in ["localizing", "batch-editing"] {
        assert_eq!(jobs[case].state(), State::Failed, "{case}");
    }
    assert_eq!(jobs["queued"].state(), State::Queued);
}

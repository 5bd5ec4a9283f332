//! Crashes at any moment: a new process over the disk's state at that moment arrives at the same result.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use retouch::{
    jobs::{
        admission::Attachment,
        job::Job,
        runner::Runner,
        store::{Limits, Store},
        worker,
    },
    journal::Journal,
    wire::v1::{
        self, AcceptMask, EditSpec, MaskDecision, MaskPolicy, edit_job::State,
        mask_decision::Decision,
    },
};

use super::{
    disk::Disk,
    harness::{LIMITS, SPACE, copied, kinds, numbers, request, spec},
    script::Script,
};

/// Crashes of each kind of job.
const CRASHES: usize = 70;

struct Process {
    store: Arc<Store>,
    worker: thread::JoinHandle<()>,
    localize_steps: Arc<std::sync::atomic::AtomicUsize>,
}

impl Process {
    fn start(disk: &Disk, folder: &Path) -> Self {
        let journal = Journal::open_backend(disk.clone(), folder, SPACE).unwrap();
        // One job is started over and over here, and must not run out of attempts.
        let store = Store::open(journal, Limits { max_attempts: 100, ..LIMITS }).unwrap();
        let mut script = Script::new();
        script.step = Duration::from_micros(700);
        let localize_steps = Arc::clone(&script.localize_steps);
        store.set_model(script.model().clone());
        let of_worker = Arc::clone(&store);
        let worker = thread::spawn(move || {
            worker::run(&of_worker, &script, "script-0", 0);
        });
        Self { store, worker, localize_steps }
    }

    /// Runs a job to its end; a review is accepted.
    fn finish(&self, job: &Arc<Job>) -> v1::EditJob {
        let started = Instant::now();
        loop {
            match job.state() {
                State::AwaitingMask => {
                    let decision = Some(Decision::Accept(AcceptMask::default()));
                    let decision = MaskDecision { decision, ..Default::default() };
                    self.store.decide(job, decision).unwrap();
                }
                state if retouch::jobs::job::is_over(state) => {
                    return self.store.view(job).unwrap();
                }
                _ => thread::sleep(Duration::from_micros(200)),
            }
            assert!(started.elapsed() < Duration::from_secs(20), "{:?}", job.state());
        }
    }

    fn stop(self) {
        self.store.halt();
        self.worker.join().unwrap();
    }

    /// The result's bytes.
    fn result(&self, job: &v1::EditJob) -> bytes::Bytes {
        let image = job.result.as_ref().unwrap().image.as_ref().unwrap();
        self.store.artifacts.read_all(&image.name).unwrap()
    }
}

fn jobs() -> Vec<EditSpec> {
    let boxes = vec![v1::Rect { x0: 1.0, y0: 1.0, x1: 9.0, y1: 9.0 }];
    let mask = v1::Mask { boxes: Some(v1::BoxSet { boxes }), ..Default::default() };
    vec![
        spec("edit"),
        EditSpec { mask_policy: MaskPolicy::Review as i32, ..spec("edit") },
        EditSpec { mask: Some(mask), ..spec("edit") },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_moment_changes_nothing_but_the_time() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut seen = std::collections::BTreeMap::<State, usize>::new();
    for asked in jobs() {
        // 1. Without a crash: how long it takes, and what it gives.
        let folder = tempfile::tempdir().unwrap();
        let process = Process::start(&Disk::default(), folder.path());
        let started = Instant::now();
        let job =
            process.store.create("local", request(asked.clone()), Attachment::Detached).unwrap();
        let expected = process.result(&process.finish(&job));
        let whole = started.elapsed();
        process.stop();

        // 2. Crashes: each at a moment of its own, in a process of its own.
        for _ in 0..CRASHES {
            let (disk, folder) = (Disk::default(), tempfile::tempdir().unwrap());
            let process = Process::start(&disk, folder.path());
            let job = process
                .store
                .create("local", request(asked.clone()), Attachment::Detached)
                .unwrap();
            let name = job.name();
            let crash = Instant::now() + whole.mul_f64(rng.random_range(0.0..1.1));
            while Instant::now() < crash && !job.is_over() {
                if job.state() == State::AwaitingMask && rng.random_bool(0.5) {
                    process.finish(&job);
                }
                thread::sleep(Duration::from_micros(100));
            }
            let (crashed, copy) = (disk.after_a_crash(), copied(folder.path()));
            process.stop();

            // 3. What is left of it, and a new process.
            let left = Journal::open_backend(crashed.after_a_crash(), copy.path(), SPACE).unwrap();
            let record = left.jobs().unwrap().pop().unwrap();
            *seen.entry(retouch::jobs::job::state(&record)).or_default() += 1;
            let was_localized = !record.localization.is_empty();
            drop(left);
            let after = Process::start(&crashed, copy.path());
            let job = after.store.job("local", &name).unwrap();
            let done = after.finish(&job);
            assert_eq!(done.state(), State::Succeeded);
            assert_eq!(after.result(&done), expected);
            if was_localized {
                assert_eq!(
                    after.localize_steps.load(Ordering::Relaxed),
                    0,
                    "pass 1 was made again"
                );
            }
            let mut events = Vec::new();
            while events.len() < done.last_sequence as usize {
                events.extend(after.store.events(job.id, events.len() as u64).unwrap());
            }
            assert_eq!(numbers(&events), (1..=done.last_sequence).collect::<Vec<u64>>());
            let ends = kinds(&events).iter().filter(|it| *it == "SUCCEEDED").count();
            assert_eq!(ends, 1, "it was finished once");
            after.stop();
        }
    }
    // An idle worker leaves no moment for QUEUED.
    let states = [State::Localizing, State::Editing];
    assert!(states.iter().all(|it| seen.contains_key(it)), "{seen:?}");
}

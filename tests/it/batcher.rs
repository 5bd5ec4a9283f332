//! Dynamic batching: each job gets the result that it gets alone, whichever jobs join, leave or fail beside it.

use std::{
    ops::ControlFlow,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use image::RgbImage;
use retouch::{
    attention::{
        processor::{AttnProcessor, Unwatched},
        role::Role,
    },
    edit::settings::Modulation,
    editing::iam_edit::{
        attn_modulator::AttnModulator,
        attn_store::{AttnStore, SharedMaps, WatchedLevels},
    },
    executor::batcher::{self, Batched},
    pipelines::{
        BatchPipeline, EditPipeline, NoiseCall,
        conditioning::{Conditioning, LatentSize},
        denoise::{DenoisePlan, denoise},
        guidance::NoisePrediction,
        instruct_pix2pix::InstructPix2PixPipeline,
    },
    sampling::{GuidanceScales, Interrupted},
    schedulers::noise::NoiseTape,
};
use tch::{Device, Kind, Tensor};

use crate::support::{Spied, fixtures, load_pipeline, relative_error};

/// fp32: rows of a batch are summed in another order.
const TOLERANCE: f64 = 1e-5;

/// Samples of each call that was made.
type Calls = Arc<Mutex<Vec<usize>>>;

#[derive(Clone, Copy)]
enum Fault {
    None,
    /// There is memory for so many cells of all samples, as is found out at the end of a call.
    Memory(i64),
    /// A prompt that is not a number.
    BadPrompt,
}

/// The model, with a note of each call and a fault where one is planned.
fn watched(calls: Calls, fault: Fault) -> Spied {
    Spied::new(model(), move |model, samples| {
        calls.lock().unwrap().push(samples.len());
        let sizes: Vec<_> = samples.iter().map(|it| it.latents.size()).collect();
        assert!(sizes.windows(2).all(|it| it[0] == it[1]), "samples of two sizes: {sizes:?}");
        let predictions = model.predict_noises(samples);
        match fault {
            Fault::Memory(most) if cells(samples) > most => panic!("out of memory"),
            Fault::BadPrompt if predictions.as_ref().unwrap().iter().any(is_bad) => {
                panic!("not a number")
            }
            _ => predictions,
        }
    })
}

fn cells(samples: &[NoiseCall]) -> i64 {
    let of = |it: &NoiseCall| LatentSize::of(&it.latents);
    samples.iter().map(of).map(|it| it.height * it.width).sum()
}

fn is_bad(prediction: &NoisePrediction) -> bool {
    prediction.text().isnan().any().int64_value(&[]) == 1
}

fn model() -> InstructPix2PixPipeline {
    load_pipeline(&fixtures().join("models/sd1"), Kind::Float)
}

fn start(max_batch: usize, fault: Fault) -> (Batched, Calls) {
    let calls = Calls::default();
    let noted = Arc::clone(&calls);
    let load = move || Ok::<Box<dyn BatchPipeline>, ()>(Box::new(watched(noted, fault)));
    let batched = batcher::start(max_batch, load).unwrap().0;
    // What the start tries out is no job's call.
    calls.lock().unwrap().clear();
    (batched, calls)
}

/// One job.
#[derive(Clone, Copy)]
struct Job {
    instruction: &'static str,
    side: u32,
    steps: u32,
    guest: Guest,
    /// Leaves after so many steps.
    leaves_after: Option<usize>,
    bad_prompt: bool,
}

#[derive(Clone, Copy)]
enum Guest {
    None,
    Store,
    Gate,
}

const PLAIN: Job = Job {
    instruction: "make the sky green",
    side: 64,
    steps: 6,
    guest: Guest::None,
    leaves_after: None,
    bad_prompt: false,
};

/// Latents, and the maps where they were gathered.
type Made = (Tensor, Vec<Tensor>);

impl Job {
    /// The latents, and the two maps where they were gathered.
    fn run(self, pipeline: &dyn EditPipeline) -> Option<Made> {
        let level = |it: u32| (it % 256) as u8;
        let pixel = |x, y| image::Rgb([level(3 * x), level(2 * y), level(9 * self.steps)]);
        let picture = RgbImage::from_fn(self.side, self.side, pixel);
        let latents = pipeline.encode_image(&picture).unwrap();
        let given = pipeline.condition(self.instruction, "", &picture, &Role::TRIPLE).unwrap();
        let prompts = given.prompts() * if self.bad_prompt { f64::NAN } else { 1.0 };
        let pictures = given.pictures().shallow_clone();
        let conditioning = Conditioning::new(given.roles(), given.latent_size(), prompts, pictures);

        let size = conditioning.latent_size();
        let scheduler = pipeline.scheduler(None, self.steps.try_into().unwrap(), size).unwrap();
        let tape = NoiseTape::draw(u64::from(self.steps), &latents.size(), scheduler.as_ref());
        let guidance =
            GuidanceScales { text: 4.0.try_into().unwrap(), image: 1.3.try_into().unwrap() };
        let plan = DenoisePlan::whole(pipeline, scheduler.as_ref(), &conditioning, guidance, &tape);
        let (guest, maps) = self.guest(pipeline, conditioning.latent_size());
        let mut done = 0;
        let result = denoise(&plan, guest, &mut |_, latents| {
            done += 1;
            match self.leaves_after {
                Some(after) if after == done => ControlFlow::Break(Interrupted),
                _ => ControlFlow::Continue(latents),
            }
        });
        let maps = maps.map_or_else(Vec::new, |maps| {
            let maps = maps.lock().unwrap();
            [&maps.isam, &maps.icam].map(|it| it.as_ref().unwrap().mean()).into()
        });
        result.ok().map(|latents| (latents, maps))
    }

    fn guest(
        self,
        pipeline: &dyn EditPipeline,
        size: LatentSize,
    ) -> (Box<dyn AttnProcessor>, Option<SharedMaps>) {
        match self.guest {
            Guest::None => (Box::new(Unwatched), None),
            Guest::Store => {
                let levels = WatchedLevels::nearest(&pipeline.sites(size), 1, 1).unwrap();
                let store = AttnStore::new(levels, 0..usize::MAX);
                let maps = store.maps();
                (Box::new(store), Some(maps))
            }
            Guest::Gate => {
                let side = i64::from(self.side);
                let mask = Tensor::zeros([1, 1, side, side], (Kind::Float, Device::Cpu));
                let _ = mask.narrow(3, 0, side / 2).fill_(1.0);
                (Box::new(AttnModulator::new(Modulation::Gate, mask)), None)
            }
        }
    }

    fn assert_is_as_alone(self, found: &Made) {
        let alone = self.run(&model()).unwrap();
        let error = relative_error(&found.0, &alone.0);
        assert!(error < TOLERANCE, "{}: {error:e}", self.instruction);
        assert_eq!(found.1.len(), alone.1.len());
        for (found, alone) in found.1.iter().zip(&alone.1) {
            let error = relative_error(found, alone);
            assert!(error < TOLERANCE, "{}, a map: {error:e}", self.instruction);
        }
    }
}

/// Runs jobs at the same time, each on a thread with a handle of its own; `Err` is a panic.
fn together(batched: &Batched, jobs: &[Job]) -> Vec<thread::Result<Option<Made>>> {
    let ready = Arc::new(Barrier::new(jobs.len()));
    let threads: Vec<_> = jobs
        .iter()
        .map(|&job| {
            let (handle, ready) = (batched.clone(), Arc::clone(&ready));
            thread::spawn(move || {
                ready.wait();
                job.run(&handle)
            })
        })
        .collect();
    threads.into_iter().map(thread::JoinHandle::join).collect()
}

#[test]
fn jobs_with_other_prompts_timesteps_and_guests_get_what_they_get_alone() {
    let jobs = [
        Job { guest: Guest::Store, instruction: "change the dog to a cat", steps: 9, ..PLAIN },
        Job { guest: Guest::Gate, instruction: "remove the red circle", steps: 7, ..PLAIN },
        PLAIN,
    ];
    let (batched, calls) = start(3, Fault::None);
    for (job, found) in jobs.iter().zip(together(&batched, &jobs)) {
        job.assert_is_as_alone(&found.unwrap().unwrap());
    }
    assert!(calls.lock().unwrap().contains(&3), "they shared calls");
}

#[test]
fn equal_jobs_stay_together_instead_of_taking_turns() {
    let (batched, calls) = start(4, Fault::None);
    let jobs = [Job { steps: 20, ..PLAIN }; 2];
    for found in together(&batched, &jobs) {
        assert!(found.unwrap().is_some());
    }
    let calls = calls.lock().unwrap();
    assert_eq!(calls.iter().sum::<usize>(), 40);
    // They need not begin together, nor meet at once on a busy machine.
    assert!(calls.len() <= 30, "{calls:?}");
}

#[test]
fn a_lone_job_runs_by_itself() {
    let (batched, calls) = start(4, Fault::None);
    PLAIN.assert_is_as_alone(&PLAIN.run(&batched).unwrap());
    assert_eq!(*calls.lock().unwrap(), [1; 6]);
}

#[test]
fn no_call_is_larger_than_the_limit() {
    let (batched, calls) = start(2, Fault::None);
    let jobs = [PLAIN; 5];
    for found in together(&batched, &jobs) {
        PLAIN.assert_is_as_alone(&found.unwrap().unwrap());
    }
    assert!(calls.lock().unwrap().iter().all(|&size| size <= 2));
}

#[test]
fn other_sizes_have_calls_of_their_own() {
    let jobs = [PLAIN, Job { side: 32, ..PLAIN }, PLAIN, Job { side: 32, ..PLAIN }];
    let (batched, _) = start(4, Fault::None);
    for (job, found) in jobs.iter().zip(together(&batched, &jobs)) {
        job.assert_is_as_alone(&found.unwrap().unwrap());
    }
}

#[test]
fn jobs_come_and_go_at_any_step() {
    let jobs: Vec<Job> = (0..8)
        .map(|index| {
            let leaves_after = (index % 2 == 1).then_some(index / 2 + 1);
            Job { steps: 3 + index as u32, leaves_after, ..PLAIN }
        })
        .collect();
    let (batched, _) = start(3, Fault::None);
    for (job, found) in jobs.iter().zip(together(&batched, &jobs)) {
        match (job.leaves_after, found.unwrap()) {
            (None, Some(found)) => job.assert_is_as_alone(&found),
            (leaves, found) => assert_eq!(leaves.is_none(), found.is_some()),
        }
    }
}

#[test]
fn without_memory_for_a_batch_its_halves_run_and_nothing_counts_twice() {
    // Four times as large as what the start tries out.
    let large = Job { side: 256, ..PLAIN };
    let jobs = [
        Job { guest: Guest::Store, instruction: "change the dog to a cat", ..large },
        Job { guest: Guest::Gate, instruction: "remove the red circle", ..large },
        Job { guest: Guest::Store, ..large },
        large,
    ];
    let (batched, calls) = start(4, Fault::Memory(32 * 32));
    for (job, found) in jobs.iter().zip(together(&batched, &jobs)) {
        job.assert_is_as_alone(&found.unwrap().unwrap());
    }
    let calls = calls.lock().unwrap();
    let failed = calls.iter().filter(|&&size| size > 1).count();
    assert!((1..=3).contains(&failed), "the limit is found once, not at every step: {calls:?}");
}

#[test]
fn the_start_finds_out_how_large_a_batch_may_be() {
    let calls = Calls::default();
    let noted = Arc::clone(&calls);
    // Two pictures of the model's own size.
    let watched = move || watched(noted, Fault::Memory(2 * 16 * 16));
    let load = move || Ok::<Box<dyn BatchPipeline>, ()>(Box::new(watched()));
    let (batched, _) = batcher::start(8, load).unwrap();
    assert_eq!(*calls.lock().unwrap(), [8, 4, 2]);
    for found in together(&batched, &[Job { side: 128, ..PLAIN }; 4]) {
        assert!(found.unwrap().is_some());
    }
    assert!(calls.lock().unwrap()[2..].iter().all(|&size| size <= 2));
}

#[test]
fn a_picture_is_decoded_between_the_steps_of_other_jobs() {
    let (calls, before) = (Calls::default(), Arc::new(Mutex::new(Vec::new())));
    let (of_model, of_stages) = (Arc::clone(&calls), Arc::clone(&before));
    let (batched, _) = batcher::start(2, move || {
        let mut model = watched(Arc::clone(&of_model), Fault::None);
        model.on_stage = Box::new(move || {
            of_stages.lock().unwrap().push(of_model.lock().unwrap().len());
            // Longer than a step of this model, so that the next one is due.
            thread::sleep(Duration::from_millis(200));
        });
        Ok::<Box<dyn BatchPipeline>, ()>(Box::new(model))
    })
    .unwrap();
    let latents = Tensor::randn([1, 4, 16, 16], (Kind::Float, Device::Cpu));
    let done = Arc::new(AtomicBool::new(false));
    let other = {
        let (handle, done) = (batched.clone(), Arc::clone(&done));
        thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                assert!(Job { steps: 40, ..PLAIN }.run(&handle).is_some());
            }
        })
    };
    // The start's own trial is the first call.
    while calls.lock().unwrap().len() < 3 {
        thread::sleep(Duration::from_millis(1));
    }
    let decoded = batched.decode(&latents).unwrap();
    done.store(true, Ordering::Relaxed);
    other.join().unwrap();
    assert_eq!(decoded, model().decode(&latents).unwrap());
    // How many steps were made before each stage.
    let before = before.lock().unwrap();
    assert_eq!(before.len(), batched.decode_stages());
    assert!(before.last() > before.first(), "{before:?}");
}

#[test]
fn a_job_that_fails_takes_no_other_with_it() {
    let bad = Job { bad_prompt: true, ..PLAIN };
    let jobs = [PLAIN, bad, Job { guest: Guest::Store, ..PLAIN }];
    let (batched, _) = start(3, Fault::BadPrompt);
    let mut found = together(&batched, &jobs);
    let panic = found.remove(1).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"not a number"));
    PLAIN.assert_is_as_alone(found[0].as_ref().unwrap().as_ref().unwrap());
    jobs[2].assert_is_as_alone(found[1].as_ref().unwrap().as_ref().unwrap());
    // And the thread serves on.
    PLAIN.assert_is_as_alone(&PLAIN.run(&batched).unwrap());
}

#[test]
fn a_model_that_cannot_be_loaded_says_why() {
    let failed = batcher::start(2, || Err::<Box<dyn BatchPipeline>, _>("no such file"));
    assert_eq!(failed.err(), Some("no such file"));
}

//! Recorded and replayed U-Net calls give the results of unrecorded ones, bit for bit.
//!
//! The recorder of these tests executes the work again at each replay, which checks what is copied into a recording's
//! tensors and out of them.

use std::{
    ops::Range,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use image::RgbImage;
use retouch::{
    attention::{
        processor::{Attempt, AttnProcessor, Unwatched},
        qkv::{Attended, Qkv},
        role::Role,
        site::AttnSite,
    },
    edit::settings::Modulation,
    editing::iam_edit::{
        attn_modulator::AttnModulator,
        attn_store::{AttnStore, SharedMaps, WatchedLevels},
    },
    executor::{
        captured::Captured,
        recorder::{Recorder, Replay},
    },
    kernels::gpu::library::CudaLibraryError,
    pipelines::{
        BatchPipeline, EditPipeline, NoiseCall,
        conditioning::{Conditioning, LatentSize},
        guidance::NoisePrediction,
        instruct_pix2pix::InstructPix2PixPipeline,
    },
};
use tch::{Device, Kind, Tensor};

use crate::support::{fixtures, load_pipeline};

const OPTIONS: (Kind, Device) = (Kind::Float, Device::Cpu);

/// How often something was recorded and played.
#[derive(Clone, Default)]
pub(crate) struct Counts {
    recorded: Arc<AtomicUsize>,
    played: Arc<AtomicUsize>,
}

impl Counts {
    pub(crate) fn get(&self) -> (usize, usize) {
        (self.recorded.load(Ordering::Relaxed), self.played.load(Ordering::Relaxed))
    }
}

/// Runs what was recorded again.
pub(crate) struct Rerunning(pub(crate) Counts);

impl Recorder for Rerunning {
    fn record(&self, work: &mut dyn FnMut()) -> Result<Replay, CudaLibraryError> {
        self.0.recorded.fetch_add(1, Ordering::Relaxed);
        work();
        let played = Arc::clone(&self.0.played);
        Ok(Box::new(move |work| {
            played.fetch_add(1, Ordering::Relaxed);
            work();
            Ok(())
        }))
    }
}

/// Fails as a device does, in the middle of a recording or of playing it.
struct Failing {
    counts: Counts,
    records: bool,
}

impl Recorder for Failing {
    fn record(&self, work: &mut dyn FnMut()) -> Result<Replay, CudaLibraryError> {
        self.counts.recorded.fetch_add(1, Ordering::Relaxed);
        work();
        let refused =
            || CudaLibraryError::Refused { what: "a test", message: "no memory".to_owned() };
        if !self.records {
            return Err(refused());
        }
        let played = Arc::clone(&self.counts.played);
        Ok(Box::new(move |_| {
            played.fetch_add(1, Ordering::Relaxed);
            Err(refused())
        }))
    }
}

fn model() -> InstructPix2PixPipeline {
    load_pipeline(&fixtures().join("models/sd1"), Kind::Float)
}

/// A model that computes and one that records, with its counts.
fn models() -> (InstructPix2PixPipeline, Captured, Counts) {
    let counts = Counts::default();
    let recording = Captured::new(Box::new(model()), Box::new(Rerunning(counts.clone())));
    (model(), recording, counts)
}

/// A call of its own latents, picture, prompt and timestep, eight cells high.
fn call(
    model: &dyn BatchPipeline,
    seed: i64,
    width: i64,
    guest: Box<dyn AttnProcessor>,
) -> NoiseCall {
    // Not by libtorch's generator, which other tests draw from.
    let waves = |frequency: f64| Tensor::arange(4 * 8 * width, OPTIONS) * frequency;
    let [latents, picture] =
        [0.7, 1.3].map(|it| waves(it + seed as f64).sin().view([1, 4, 8, width]));
    let text = ["make the sky green", "a red circle"][seed as usize % 2];
    let given = model.condition(text, "", &RgbImage::new(64, 64), &Role::TRIPLE).unwrap();
    let strengths = Tensor::from_slice(&[seed + 1, 1, 1]).to_kind(Kind::Float).view([3, 1, 1]);
    let pictures = Tensor::cat(&[&picture, &picture, &picture.zeros_like()], 0);
    let size = LatentSize { height: 8, width };
    let conditioning =
        Conditioning::new(&Role::TRIPLE, size, given.prompts() * strengths, pictures);
    NoiseCall::new(&latents, 900.0 - 50.5 * seed as f64, &conditioning, guest)
}

fn plain() -> Box<dyn AttnProcessor> {
    Box::new(Unwatched)
}

/// Edits the columns from `start` on.
fn gate(modulation: Modulation, start: i64) -> Box<dyn AttnProcessor> {
    let mask = Tensor::zeros([1, 1, 64, 64], OPTIONS);
    let _ = mask.narrow(3, start, 64 - start).fill_(1.0);
    Box::new(AttnModulator::new(modulation, mask))
}

fn store(model: &dyn BatchPipeline, width: i64, averaged: Range<usize>) -> AttnStore {
    let sites = model.sites(LatentSize { height: 8, width });
    AttnStore::new(WatchedLevels::nearest(&sites, 0, 1).unwrap(), averaged)
}

/// Both maps.
fn means(maps: &SharedMaps) -> [Tensor; 2] {
    let maps = maps.lock().unwrap();
    [&maps.isam, &maps.icam].map(|it| it.as_ref().unwrap().mean())
}

fn predict(model: &dyn BatchPipeline, mut calls: Vec<NoiseCall>) -> Vec<NoisePrediction> {
    model.predict_noises(&mut calls).unwrap()
}

fn assert_equal(found: &[NoisePrediction], expected: &[NoisePrediction]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        for role in Role::TRIPLE {
            assert_eq!(found.of(role), expected.of(role));
        }
    }
}

#[test]
fn a_plain_call_is_recorded_at_its_second_sight_and_takes_other_latents_prompts_and_timesteps() {
    let (model, recording, counts) = models();
    for seed in 0..4 {
        let found = predict(&recording, vec![call(&recording, seed, 8, plain())]);
        let expected = predict(&model, vec![call(&model, seed, 8, plain())]);
        assert_equal(&found, &expected);
    }
    assert_eq!(counts.get(), (1, 3));
}

#[test]
fn what_a_call_gave_stays_when_the_next_one_is_played() {
    let (model, recording, _) = models();
    let found: Vec<_> =
        (0..4).map(|seed| predict(&recording, vec![call(&recording, seed, 8, plain())])).collect();
    for (seed, found) in found.iter().enumerate() {
        assert_equal(found, &predict(&model, vec![call(&model, seed as i64, 8, plain())]));
    }
}

#[test]
fn samples_and_branches_of_any_number_have_recordings_of_their_own() {
    let (model, recording, counts) = models();
    let calls = |model: &dyn BatchPipeline, samples: i64, roles: &[Role]| {
        let call = |seed| {
            let call = call(model, seed, 8, plain());
            NoiseCall { conditioning: call.conditioning.only(roles), ..call }
        };
        (0..samples).map(call).collect::<Vec<_>>()
    };
    let kinds: [(i64, &[Role]); 3] = [(1, &Role::TRIPLE), (2, &Role::TRIPLE), (2, &[Role::Text])];
    for round in 0..2 {
        for (samples, roles) in kinds {
            let found = predict(&recording, calls(&recording, samples, roles));
            assert_equal(&found, &predict(&model, calls(&model, samples, roles)));
        }
        assert_eq!(counts.get(), (3 * round, 3 * round));
    }
}

#[test]
fn maps_are_those_that_visits_gather_in_the_averaged_calls_alone() {
    // Level 0 of the second size is above the grid's bound, so that it is pooled.
    for (width, calls) in [(8, 5), (72, 3)] {
        let (model, recording, counts) = models();
        let run = |model: &dyn BatchPipeline| {
            let store = store(model, width, 1..calls - 1);
            let maps = store.maps();
            let mut guest: Box<dyn AttnProcessor> = Box::new(store);
            for seed in 0..calls as i64 {
                let call = call(model, seed, width, guest);
                let (prediction, given_back) = model.predict_alone(call);
                prediction.unwrap();
                guest = given_back;
            }
            means(&maps)
        };
        let expected = run(&model);
        assert_eq!(run(&recording), expected, "{width}, the first job");
        assert_eq!(run(&recording), expected, "{width}, the second job");
        assert_eq!(counts.get().0, 2, "calls that are averaged, and plain ones");
    }
}

#[test]
fn a_recording_of_a_gate_takes_the_mask_of_each_job() {
    let (model, recording, counts) = models();
    for modulation in [Modulation::Gate, Modulation::Mask, Modulation::Null] {
        for start in [0, 16, 63] {
            let guest = || gate(modulation, start);
            let found = predict(&recording, vec![call(&recording, start, 8, guest())]);
            assert_equal(&found, &predict(&model, vec![call(&model, start, 8, guest())]));
        }
    }
    assert_eq!(counts.get(), (3, 6));
}

#[test]
fn a_mixed_batch_in_any_order_is_one_recording() {
    let (model, recording, counts) = models();
    // In the order that a recording has them.
    let expected = {
        let store = store(&model, 8, 0..9);
        let maps = store.maps();
        let guests = [plain(), plain(), Box::new(store), gate(Modulation::Gate, 24)];
        let calls = (0..).zip(guests).map(|(seed, guest)| call(&model, seed, 8, guest));
        (predict(&model, calls.collect()), means(&maps))
    };
    let orders = [[0, 1, 2, 3], [3, 2, 0, 1], [2, 0, 3, 1], [0, 3, 1, 2]];
    for order in orders {
        let store = store(&recording, 8, 0..9);
        let maps = store.maps();
        let mut store = Some(store);
        let calls = order.map(|seed| {
            let guest: Box<dyn AttnProcessor> = match seed {
                2 => Box::new(store.take().unwrap()),
                3 => gate(Modulation::Gate, 24),
                _ => plain(),
            };
            call(&recording, seed, 8, guest)
        });
        let mut found: Vec<_> = order.into_iter().zip(predict(&recording, calls.into())).collect();
        found.sort_by_key(|(seed, _)| *seed);
        let found: Vec<_> = found.into_iter().map(|(_, prediction)| prediction).collect();
        assert_equal(&found, &expected.0);
        assert_eq!(means(&maps), expected.1);
    }
    assert_eq!(counts.get(), (1, 3));
}

#[test]
fn a_call_that_can_not_be_recorded_or_played_runs_as_before_and_is_not_tried_again() {
    let model = model();
    for records in [false, true] {
        let counts = Counts::default();
        let recorder = Box::new(Failing { counts: counts.clone(), records });
        let recording = Captured::new(Box::new(self::model()), recorder);
        let run = |model: &dyn BatchPipeline| {
            let store = store(model, 8, 0..9);
            let maps = store.maps();
            let mut guest: Box<dyn AttnProcessor> = Box::new(store);
            let mut predictions = vec![];
            for seed in 0..4 {
                let (prediction, given_back) = model.predict_alone(call(model, seed, 8, guest));
                predictions.push(prediction.unwrap());
                guest = given_back;
            }
            (predictions, means(&maps))
        };
        let (found, expected) = (run(&recording), run(&model));
        assert_equal(&found.0, &expected.0);
        assert_eq!(found.1, expected.1);
        assert_eq!(counts.get(), (1, usize::from(records)));
    }
}

#[test]
fn no_more_kinds_than_the_bound_are_remembered() {
    let counts = Counts::default();
    let recorder = Box::new(Rerunning(counts.clone()));
    let recording = Captured::bounded(Box::new(model()), recorder, 3);
    let model = model();
    for round in 0..2 {
        for width in [8, 10, 12, 14, 16] {
            let found = predict(&recording, vec![call(&recording, round, width, plain())]);
            assert_equal(&found, &predict(&model, vec![call(&model, round, width, plain())]));
            assert!(recording.kinds() <= 3);
        }
    }
}

/// Counts what it sees, which a recording would not, and panics at a site if it is to.
struct Asked {
    visits: Arc<AtomicUsize>,
    panics_at: usize,
}

impl AttnProcessor for Asked {
    fn watches(&self, _site: &AttnSite) -> bool {
        true
    }

    fn visit(&mut self, _site: &AttnSite, _qkv: &Qkv<'_>, _attended: &Attended) {
        let visits = self.visits.fetch_add(1, Ordering::Relaxed);
        assert!(visits != self.panics_at, "out of memory");
    }
}

#[test]
fn a_guest_that_must_be_asked_at_each_site_is() {
    let (_, recording, counts) = models();
    let visits = Arc::default();
    for seed in 0..3 {
        let guest = Asked { visits: Arc::clone(&visits), panics_at: usize::MAX };
        predict(&recording, vec![call(&recording, seed, 8, Box::new(guest))]);
    }
    let sites = recording.sites(LatentSize { height: 8, width: 8 }).len();
    assert_eq!((visits.load(Ordering::Relaxed), counts.get()), (3 * sites, (0, 0)));
}

#[test]
fn a_failed_attempt_is_not_counted_twice_where_its_kind_is_recorded() {
    let (model, recording, counts) = models();
    let expected = {
        let store = store(&model, 8, 0..9);
        let maps = store.maps();
        predict(&model, vec![call(&model, 3, 8, Box::new(store))]);
        means(&maps)
    };
    // The kind is recorded.
    for seed in 0..2 {
        predict(&recording, vec![call(&recording, seed, 8, Box::new(store(&recording, 8, 0..9)))]);
    }
    // A batch fails after some of its sites.
    let store = store(&recording, 8, 0..9);
    let maps = store.maps();
    let sites = recording.sites(LatentSize { height: 8, width: 8 }).len();
    let fails = Asked { visits: Arc::default(), panics_at: sites - 2 };
    let mut calls =
        [call(&recording, 3, 8, Box::new(store)), call(&recording, 4, 8, Box::new(fails))];
    let failed = panic::catch_unwind(AssertUnwindSafe(|| recording.predict_noises(&mut calls)));
    assert!(failed.is_err());
    calls[0].attempt = Attempt::Again;
    recording.predict_noises(&mut calls[..1]).unwrap();
    for (found, expected) in means(&maps).iter().zip(&expected) {
        // The rows of the batch were summed in another order.
        assert!((found - expected).abs().max().double_value(&[]) < 1e-6);
    }
    assert_eq!(counts.get(), (1, 1));
}

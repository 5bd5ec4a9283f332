//! A model of another kind than InstructPix2Pix, from end to end: what methods, loop and executor ask of a model is
//! not one family's.

mod methods;
mod model;
mod modulation;

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex},
    thread,
};

use image::RgbImage;
use retouch::{
    attention::{
        processor::{AttnProcessor, Unwatched},
        qkv::{Attended, Qkv},
        role::Role,
        site::{AttnSite, Keys},
    },
    edit::{
        choices::{Preserve, Resize},
        event::EditEvent,
        localizer::{ClusterScore, Localizer, ScoreSource},
        request::EditRequest,
        settings::{EditSettings, Modulation},
    },
    editing::{
        EditError,
        editor::Editor,
        iam_edit::{
            attn_modulator::AttnModulator,
            attn_store::{AttnStore, WatchedLevels},
        },
    },
    executor::{batcher, captured::Captured},
    pipelines::{
        BatchPipeline, EditPipeline, NoiseCall, PipelineError, Predictor,
        conditioning::{Conditioning, LatentSize},
        denoise::{DenoisePlan, denoise},
        guidance::{Guidance, NoisePrediction},
    },
    sampling::SchedulerKind,
    schedulers::noise::NoiseTape,
};
use tch::{Device, Kind, Tensor};

use crate::captured::{Counts, Rerunning};
use crate::support::{edit_request, psnr, relative_error};
use model::{CHANNELS, Joint, TOKENS, waves};

const SIZE: LatentSize = LatentSize { height: 4, width: 8 };

fn picture() -> RgbImage {
    RgbImage::from_fn(128, 64, |x, y| image::Rgb([x as u8 * 2, y as u8 * 3, (x ^ y) as u8]))
}

fn request() -> EditRequest {
    let mut settings = EditSettings::paper();
    settings.steps = 4.try_into().unwrap();
    settings.localize_steps = 3.try_into().unwrap();
    settings.preserve = Preserve::Latent;
    settings.resize = Resize::Native;
    edit_request(&picture(), "change the red circle to a blue star", settings)
}

fn edit(model: Box<dyn EditPipeline>, request: &EditRequest) -> Result<RgbImage, EditError> {
    let editor = Editor::new(model, None);
    editor.edit(request, &mut |_: EditEvent| ControlFlow::Continue(())).map(|it| it.image)
}

/// The modulations that hold the prompt back.
const HELD: [Modulation; 3] = [Modulation::Gate, Modulation::Mask, Modulation::Null];

/// A call of all roles.
fn call(model: &dyn EditPipeline, guest: Box<dyn AttnProcessor>) -> NoiseCall {
    let roles = model.guidance().all_roles();
    let conditioning = model.condition("a red circle", "", &picture(), roles).unwrap();
    let latents = waves(2.3, &[1, CHANNELS, SIZE.height, SIZE.width]);
    NoiseCall::new(&latents, 800.0, &conditioning, guest)
}

/// Queries, keys, values and output of each site.
type Seen = Arc<Mutex<Vec<(AttnSite, [Tensor; 4])>>>;

/// Lets an attention processor visit each site, and keeps what came of it.
struct Watched(Box<dyn AttnProcessor>, Seen);

impl AttnProcessor for Watched {
    fn watches(&self, _site: &AttnSite) -> bool {
        true
    }

    fn visit(&mut self, site: &AttnSite, qkv: &Qkv<'_>, attended: &Attended) {
        let Qkv { query, key, value, .. } = qkv;
        if self.0.watches(site) {
            self.0.visit(site, qkv, attended);
        }
        let tensors = [query, key, value, &attended.output].map(Tensor::copy);
        self.1.lock().unwrap().push((*site, tensors));
    }
}

fn seen(guest: Box<dyn AttnProcessor>) -> Vec<(AttnSite, [Tensor; 4])> {
    let (model, seen) = (Joint(Guidance::Cfg), Seen::default());
    let guest = Box::new(Watched(guest, Arc::clone(&seen)));
    model.predict_noises(&mut [call(&model, guest)]).unwrap();
    let seen = seen.lock().unwrap();
    seen.iter().map(|(site, it)| (*site, [0, 1, 2, 3].map(|n| it[n].shallow_clone()))).collect()
}

/// Probabilities (H, L, L) in fp64 of a row, by the textbook.
fn probs(query: &Tensor, key: &Tensor, row: i64, bias: Option<&Tensor>) -> Tensor {
    let [query, key] = [query, key].map(|it| it.select(0, row).to_kind(Kind::Double));
    let logits = query.matmul(&key.transpose(-1, -2)) * 0.5;
    let logits = match bias {
        Some(bias) => logits + bias,
        None => logits,
    };
    logits.softmax(-1, Kind::Double)
}

#[test]
fn both_passes_run_and_the_rest_of_the_picture_stays() {
    let editor = Editor::new(Box::new(Joint(Guidance::Cfg)), None);
    let request = request();
    let mut sink = |_: EditEvent| ControlFlow::Continue(());
    let mut open = editor.open(request);
    let found = open.localize(&mut sink).unwrap().unwrap();
    assert_eq!((found.grid.height, found.grid.width), (SIZE.height, SIZE.width));
    let objects = found.words.iter().filter(|it| it.is_object).map(|it| it.word.as_str());
    assert_eq!(objects.collect::<Vec<_>>(), ["red", "circle"]);
    assert!(found.clusters.len() > 1 && found.clusters.iter().any(|it| it.selected));

    let edited = open.edit(&mut sink).unwrap();
    let source = editor.pipeline().decode(&editor.pipeline().encode_image(&picture()).unwrap());
    let source = source.unwrap();
    let mask = edited.mask.unwrap();
    let (mut kept, mut changed) = (0, 0);
    for (x, y, pixel) in edited.image.enumerate_pixels() {
        let apart = pixel.0.iter().zip(source.get_pixel(x, y).0).map(|(a, b)| a.abs_diff(b)).max();
        if mask.found().as_image().get_pixel(x, y).0 == [0] {
            kept += 1;
            assert!(apart <= Some(1), "{x}, {y}: {apart:?}");
        } else {
            changed += u32::from(apart > Some(1));
        }
    }
    assert!(kept > 0 && changed > 100, "{kept} kept, {changed} changed");
}

#[test]
fn maps_are_those_of_the_latents_to_the_prompt_and_to_each_other() {
    let model = Joint(Guidance::Cfg);
    let levels = WatchedLevels::nearest(&model.sites(SIZE), 1, 2).unwrap();
    assert_eq!(levels, WatchedLevels { isam: None, icam: None });
    let store = AttnStore::new(levels, 0..1);
    let maps = store.maps();
    let seen = seen(Box::new(store));
    let mean = |of: &dyn Fn(Tensor) -> Tensor| {
        let sites = seen.iter().map(|(_, [query, key, ..])| of(probs(query, key, 0, None)));
        let sites: Vec<Tensor> = sites.collect();
        Tensor::stack(&sites, 0).mean_dim([0i64, 1].as_slice(), false, Kind::Double)
    };
    let cells = SIZE.height * SIZE.width;
    let icam = mean(&|it| it.narrow(1, TOKENS, cells).narrow(2, 0, TOKENS));
    let isam = mean(&|it| it.narrow(1, TOKENS, cells).narrow(2, TOKENS, cells));
    let isam = &isam / isam.sum_dim_intlist([1i64].as_slice(), true, Kind::Double);
    let maps = maps.lock().unwrap();
    for (found, expected) in [(&maps.icam, icam), (&maps.isam, isam)] {
        let error = relative_error(&found.as_ref().unwrap().mean(), &expected);
        assert!(error < 1e-5, "{error:e}");
    }
}

#[test]
fn outside_the_mask_the_prompt_but_for_its_first_token_is_not_heard() {
    // The left half is edited.
    let mask = Tensor::zeros([1, 1, 64, 128], (Kind::Float, Device::Cpu));
    let _ = mask.narrow(3, 0, 64).fill_(1.0);
    let cells = SIZE.height * SIZE.width;
    let inside = mask.adaptive_max_pool2d([SIZE.height, SIZE.width]).0.view([cells, 1]).gt(0.0);
    let [_, plain] = [(); 2].map(|()| seen(Box::new(Unwatched)));
    for modulation in HELD {
        let guest = AttnModulator::new(modulation, mask.shallow_clone());
        // Later sites see what the first one changed.
        let (site, [query, key, value, output]) = seen(Box::new(guest)).remove(0);
        let (_, [.., plain]) = &plain[0];
        assert!(matches!(site.keys, Keys::Joint { .. }));
        let of = |it: &Tensor| it.select(0, 0).to_kind(Kind::Double);
        let rest = |it: &Tensor| it.narrow(-1, 1, TOKENS - 1);
        let whole = probs(&query, &key, 0, None);
        let outside = match modulation {
            Modulation::Gate => {
                let held = rest(&whole).matmul(&of(&value).narrow(1, 1, TOKENS - 1));
                of(plain) - held
            }
            Modulation::Mask => {
                let bias = whole.zeros_like();
                let _ = rest(&bias).fill_(f64::NEG_INFINITY);
                probs(&query, &key, 0, Some(&bias)).matmul(&of(&value))
            }
            Modulation::Null => {
                let [key, value] = [&key, &value].map(|all| {
                    let own = all.copy();
                    let null = all.select(0, 1).narrow(1, 0, TOKENS);
                    own.select(0, 0).narrow(1, 0, TOKENS).copy_(&null);
                    own
                });
                probs(&query, &key, 0, None).matmul(&of(&value))
            }
            Modulation::Reference | Modulation::Isolate => unreachable!("those are not held"),
        };
        let latents = |it: &Tensor| it.narrow(1, TOKENS, cells);
        let expected = latents(&of(plain)).where_self(&inside, &latents(&outside));
        let error = relative_error(&latents(&of(&output)), &expected);
        assert!(error < 1e-5, "{modulation:?}: {error:e}");
        assert!(relative_error(&expected, &latents(&of(plain))) > 1e-3, "{modulation:?}");
        // Neither the prompt, nor the picture, nor the other row.
        let others = |it: &Tensor| {
            let row = of(it);
            let (text, picture) = (row.narrow(1, 0, TOKENS), row.narrow(1, TOKENS + cells, cells));
            [text.copy(), picture.copy(), it.select(0, 1)]
        };
        assert_eq!(others(&output), others(plain), "{modulation:?}");
    }
}

#[test]
fn jobs_share_it_and_calls_of_it_are_recorded() {
    let alone = edit(Box::new(Joint(Guidance::Cfg)), &request()).unwrap();
    let load = || Ok::<Box<dyn BatchPipeline>, ()>(Box::new(Joint(Guidance::Cfg)));
    let (batched, _) = batcher::start(2, load).unwrap();
    let job = || {
        let handle = batched.clone();
        thread::spawn(move || edit(Box::new(handle), &request()).unwrap())
    };
    for job in [job(), job()] {
        assert!(psnr(&job.join().unwrap(), &alone) > 60.0);
    }

    let counts = Counts::default();
    let recorder = Box::new(Rerunning(counts.clone()));
    let recording = Captured::new(Box::new(Joint(Guidance::Cfg)), recorder);
    assert_eq!(edit(Box::new(recording), &request()).unwrap(), alone);
    let (recorded, played) = counts.get();
    assert!(recorded > 0 && played > recorded, "{recorded} recorded, {played} played");
}

#[test]
fn a_distilled_model_edits_with_one_row_and_refuses_what_needs_two() {
    let edited = |request: &EditRequest| edit(Box::new(Joint(Guidance::Distilled)), request);
    assert_ne!(edited(&request()).unwrap(), picture());
    let refused = |change: &dyn Fn(&mut EditSettings)| {
        let mut request = request();
        change(&mut request.settings);
        matches!(edited(&request), Err(EditError::Distilled { .. }))
    };
    assert!(refused(&|it| it.modulation = Modulation::Null));
    assert!(refused(&|it| it.localizer = Localizer::NoiseDifference));
    assert!(refused(&|it| it.localizer = Localizer::DiffEdit));
    assert!(refused(&|it| it.score = ClusterScore::NoiseDifference));
    // Where there is a choice it is made.
    let mut auto = request();
    auto.settings.score = ClusterScore::Auto;
    let editor = Editor::new(Box::new(Joint(Guidance::Distilled)), None);
    let found = editor.open(auto).localize(&mut |_: EditEvent| ControlFlow::Continue(()));
    assert_eq!(found.unwrap().unwrap().scored_by, ScoreSource::Attention);
}

#[test]
fn the_noise_difference_finds_a_mask_on_a_flow_too() {
    let mut request = request();
    request.settings.localizer = Localizer::NoiseDifference;
    let editor = Editor::new(Box::new(Joint(Guidance::Cfg)), None);
    let found = editor.open(request).localize(&mut |_: EditEvent| ControlFlow::Continue(()));
    let found = found.unwrap().unwrap();
    assert_eq!(found.scored_by, ScoreSource::NoiseDifference);
    assert_eq!((found.grid.height, found.grid.width), (SIZE.height, SIZE.width));
}

#[test]
fn samplers_and_sizes_that_it_does_not_have_are_refused() {
    let mut other = request();
    other.settings.scheduler = Some(SchedulerKind::Euler);
    let error = edit(Box::new(Joint(Guidance::Cfg)), &other).unwrap_err();
    assert!(matches!(error, EditError::Pipeline(PipelineError::Scheduler(_))), "{error}");
    let error = Joint(Guidance::Cfg).encode_image(&RgbImage::new(24, 64)).unwrap_err();
    assert!(matches!(error, PipelineError::ImageSize { width: 24, multiple: 16, .. }), "{error}");
}

/// Predicts as if no instruction were given.
struct Deaf<'a>(&'a dyn EditPipeline);

impl Predictor for Deaf<'_> {
    fn guidance(&self) -> Guidance {
        Guidance::Distilled
    }

    fn predict_noise(
        &self,
        latents: &Tensor,
        timestep: f64,
        conditioning: &Conditioning,
        attn: Box<dyn AttnProcessor>,
    ) -> (Result<NoisePrediction, PipelineError>, Box<dyn AttnProcessor>) {
        let (prediction, attn) = self.0.predict_noise(latents, timestep, conditioning, attn);
        let image = prediction.map(|it| it.of(Role::Image).unwrap());
        (image.map(|it| NoisePrediction::new(it, &[Role::Text])), attn)
    }
}

#[test]
fn a_run_may_start_within_its_steps_and_be_predicted_otherwise() {
    let model = Joint(Guidance::Cfg);
    let scheduler = model.scheduler(None, 5.try_into().unwrap(), SIZE).unwrap();
    let source = model.encode_image(&picture()).unwrap();
    let tape = NoiseTape::draw(3, &source.size(), scheduler.as_ref());
    let condition =
        |prompt: &str| model.condition(prompt, "", &picture(), &[Role::Text, Role::Image]).unwrap();
    let (instructed, empty) = (condition("a red circle"), condition(""));
    let guidance = request().guidance();
    let scheduler = scheduler.as_ref();
    let whole = |predictor, conditioning| {
        DenoisePlan::whole(predictor, scheduler, conditioning, guidance, &tape)
    };
    let run = |plan: &DenoisePlan<'_>| {
        let mut steps = vec![];
        let clean = denoise(plan, Box::new(Unwatched), &mut |done, latents| {
            steps.push((done.step.index, done.of, latents.shallow_clone()));
            ControlFlow::Continue(latents)
        });
        (clean.unwrap(), steps)
    };
    let (clean, steps) = run(&whole(&model, &instructed));

    // The second half of a run is that of the whole.
    let initial = steps[1].2.shallow_clone();
    let plan = DenoisePlan { made: 2..5, initial, ..whole(&model, &instructed) };
    let (again, rest) = run(&plan);
    assert_eq!(again, clean);
    assert_eq!(rest.iter().map(|it| (it.0, it.1)).collect::<Vec<_>>(), [(2, 5), (3, 5), (4, 5)]);

    // From the picture at the level of the last step little is left to change.
    let noise = tape.initial();
    let plan = |index: usize| DenoisePlan {
        made: index..5,
        initial: scheduler.add_noise(&source, noise, index),
        ..whole(&model, &instructed)
    };
    let apart = |index| relative_error(&run(&plan(index)).0, &source);
    assert!(apart(4) < apart(2), "{} {}", apart(4), apart(2));
    assert_eq!(scheduler.add_noise(&source, noise, 5), source);

    // A predictor that does not listen.
    let deaf = Deaf(&model);
    let (deaf, _) = run(&whole(&deaf, &instructed));
    let (silent, _) = run(&whole(&model, &empty));
    assert!(relative_error(&deaf, &silent) < 1e-5);
    assert!(relative_error(&clean, &silent) > 1e-3);
}

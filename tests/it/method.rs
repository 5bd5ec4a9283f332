//! The pipeline and IAM-Edit against diffusers' outputs, recorded by `tests/record/method.py`.

use std::{ops::ControlFlow, sync::Arc};

use image::RgbImage;
use retouch::{
    attention::{
        processor::{AttnProcessor, Unwatched},
        role::Role,
    },
    edit::{
        choices::{MethodKind, Preserve, PreviewDecode, Resize, Unparsed},
        edit_mask::{EditMask, MaskChoice},
        event::EditEvent,
        grid::Grid,
        knobs::Confidence,
        localization::Localization,
        request::EditRequest,
        settings::{EditSettings, Modulation},
        things::Scene,
    },
    editing::{
        editor::Editor,
        iam_edit::{
            self,
            attn_modulator::AttnModulator,
            attn_store::{AttnStore, WatchedLevels},
            localization_map::{LocalizedPrompt, Maps},
        },
        session::EditSession,
    },
    picture::{mask::Mask, size::Size},
    pipelines::{
        EditPipeline, Predictor,
        conditioning::Conditioning,
        denoise::{DenoisePlan, denoise},
        guidance::NoisePrediction,
        instruct_pix2pix::InstructPix2PixPipeline,
    },
    sampling::{GuidanceScales, Steps},
    schedulers::noise::NoiseTape,
};
use tch::{Device, Kind, Tensor};

use crate::support::{Recorded, fixtures, load_pipeline, psnr, relative_error};

/// fp32: the figures seen are below 1e-5.
const TOLERANCE: f64 = 1e-4;

const CASES: [(&str, &str); 3] = [("square", "sd1"), ("odd", "sd1"), ("linear", "linear")];
const INSTRUCTION: &str = "change the red circle to a blue star";
const OBJECT: std::ops::Range<usize> = 11..21;
const SEED: u64 = 11;

struct Case {
    name: &'static str,
    pipeline: InstructPix2PixPipeline,
    recorded: Recorded,
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        CASES.into_iter().map(|(name, snapshot)| Self {
            name,
            pipeline: load_pipeline(&fixtures().join("models").join(snapshot), Kind::Float),
            recorded: Recorded::open(
                &fixtures().join("method").join(format!("{name}.safetensors")),
            ),
        })
    }

    fn picture(&self) -> RgbImage {
        self.recorded.picture("picture")
    }

    fn conditioning(&self) -> Conditioning {
        self.pipeline.condition(INSTRUCTION, "", &self.picture(), &Role::TRIPLE).unwrap()
    }

    fn guidance() -> GuidanceScales {
        GuidanceScales { text: 4.0.try_into().unwrap(), image: 1.3.try_into().unwrap() }
    }

    fn steps() -> Steps {
        20.try_into().unwrap()
    }

    /// A whole run with a guest in the attention.
    fn denoised(&self, attn: Box<dyn AttnProcessor>) -> Tensor {
        let conditioning = self.conditioning();
        let size = conditioning.latent_size();
        let scheduler = self.pipeline.scheduler(None, Self::steps(), size).unwrap();
        let shape = self.pipeline.encode_image(&self.picture()).unwrap().size();
        let tape = NoiseTape::draw(SEED, &shape, scheduler.as_ref());
        let (model, scheduler) = (&self.pipeline, scheduler.as_ref());
        let plan = DenoisePlan::whole(model, scheduler, &conditioning, Self::guidance(), &tape);
        denoise(&plan, attn, &mut |_, latents| ControlFlow::Continue(latents)).unwrap()
    }

    /// Averaged maps of a whole run, with a store that watches halves and quarters.
    fn maps(&self) -> (Tensor, Tensor) {
        let sites = self.pipeline.sites(self.conditioning().latent_size());
        let store = AttnStore::new(WatchedLevels::nearest(&sites, 1, 2).unwrap(), 0..usize::MAX);
        let maps = store.maps();
        let _ = self.denoised(Box::new(store));
        let maps = maps.lock().unwrap();
        (maps.isam.as_ref().unwrap().mean(), maps.icam.as_ref().unwrap().mean())
    }

    fn request(&self, modulation: Modulation) -> EditRequest {
        let mut settings = EditSettings::paper();
        settings.steps = Self::steps();
        settings.guidance = Self::guidance();
        settings.modulation = modulation;
        settings.preserve = Preserve::None;
        settings.resize = Resize::Native;
        let mask = self.recorded.tensor("mask");
        let size = mask.size();
        let bytes = Vec::<u8>::try_from((mask * 255).view(-1)).unwrap();
        let mask = image::GrayImage::from_raw(size[1] as u32, size[0] as u32, bytes).unwrap();
        EditRequest {
            image: Arc::new(self.picture()),
            instruction: INSTRUCTION.to_owned(),
            negative_prompt: String::new(),
            method: MethodKind::IamEdit,
            object: None,
            action: None,
            verbatim: false,
            unparsed: Unparsed::Refuse,
            seed: SEED,
            // Models of random weights are sure of nothing.
            settings: EditSettings {
                min_confidence: Confidence::try_from(0.0).unwrap(),
                ..settings
            },
            mask: MaskChoice { shapes: Some(drawn(&mask)), ..MaskChoice::default() },
            preview_every: 0,
            preview_decode: PreviewDecode::Linear,
        }
    }
}

fn drawn(image: &image::GrayImage) -> Mask {
    let size = Size { width: image.width(), height: image.height() };
    Mask::from_fn(size, |x, y| image.get_pixel(x, y).0[0] >= 128)
}

#[test]
fn plain_instruct_pix2pix_equals_diffusers_after_20_steps() {
    for case in Case::all() {
        let image = case.pipeline.decode(&case.denoised(Box::new(Unwatched))).unwrap();
        let psnr = psnr(&image, &case.recorded.picture("plain"));
        println!("{}: plain {psnr:.1} dB", case.name);
        assert!(psnr >= 50.0, "{}: {psnr:.1} dB", case.name);
    }
}

#[test]
fn averaged_maps_equal_those_of_diffusers() {
    for case in Case::all() {
        let (isam, icam) = case.maps();
        for (name, map) in [("isam", isam), ("icam", icam)] {
            let error = relative_error(&map, &case.recorded.tensor(name));
            println!("{}: {name} {error:.1e}", case.name);
            assert!(error < TOLERANCE, "{}: {name} {error}", case.name);
        }
    }
}

#[test]
fn word_maps_and_scores_of_given_clusters_equal_the_reference() {
    for case in Case::all() {
        let (isam, icam) = (case.recorded.tensor("isam"), case.recorded.tensor("icam"));
        let sites = case.pipeline.sites(case.conditioning().latent_size());
        let levels = WatchedLevels::nearest(&sites, 1, 2).unwrap();
        let grid = |level| {
            let site = sites.iter().find(|site| site.level == level).unwrap();
            Grid { height: site.height, width: site.width }
        };
        let (isam_grid, icam_grid) = (grid(levels.isam), grid(levels.icam));
        let tokens = case.pipeline.tokenize(INSTRUCTION).unwrap();
        let (text, objects) = (INSTRUCTION, &[OBJECT][..]);
        let prompt = LocalizedPrompt { text, tokens: &tokens, objects, said: &[] };
        let maps = Maps { isam: &isam, isam_grid, icam: &icam, icam_grid };
        let labels = Vec::<i64>::try_from(case.recorded.tensor("labels")).unwrap();
        let picture = RgbImage::new(64, 64);
        let scene = Scene { picture: &picture, grid: isam_grid, parts: &labels };
        let found = Localization::from_parts(prompt, maps, scene, 0.3);

        let scores = Vec::<f32>::try_from(case.recorded.tensor("scores")).unwrap();
        for (cell, &label) in labels.iter().enumerate() {
            let cluster = found.clusters[usize::from(found.labels[cell]) - 1];
            assert!((cluster.score - f64::from(scores[label as usize])).abs() < TOLERANCE);
        }
        assert!(found.clusters.windows(2).all(|pair| pair[0].score >= pair[1].score));
        let words: Vec<_> =
            found.words.iter().filter(|it| it.is_object).map(|it| it.word.as_str()).collect();
        assert_eq!(words, ["red", "circle"]);
    }
}

#[test]
fn the_noise_under_each_modulation_equals_the_reference() {
    for case in Case::all() {
        let conditioning = case.conditioning();
        let mask = case.recorded.tensor("mask").to_kind(Kind::Float).unsqueeze(0).unsqueeze(0);
        let guests: [(&str, Box<dyn AttnProcessor>); 4] = [
            ("plain", Box::new(Unwatched)),
            ("gate", Box::new(AttnModulator::new(Modulation::Gate, mask.shallow_clone()))),
            ("mask", Box::new(AttnModulator::new(Modulation::Mask, mask.shallow_clone()))),
            ("null", Box::new(AttnModulator::new(Modulation::Null, mask))),
        ];
        for (name, guest) in guests {
            let latents = case.recorded.tensor("latents");
            let (noise, _) = case.pipeline.predict_noise(&latents, 500.0, &conditioning, guest);
            let noise = noise.unwrap();
            let rows = Tensor::cat(&Role::TRIPLE.map(|it| noise.of(it).unwrap()), 0);
            let error = relative_error(&rows, &case.recorded.tensor(&format!("noise_{name}")));
            println!("{}: {name} {error:.1e}", case.name);
            assert!(error < TOLERANCE, "{}: {name} {error}", case.name);
        }
    }
}

#[test]
fn a_mask_of_ones_changes_nothing_and_the_other_branches_never_change() {
    let case = Case::all().next().unwrap();
    let conditioning = case.conditioning();
    let latents = case.recorded.tensor("latents");
    let predict = |guest: Box<dyn AttnProcessor>| {
        case.pipeline.predict_noise(&latents, 500.0, &conditioning, guest).0.unwrap()
    };
    let plain = predict(Box::new(Unwatched));
    let picture = case.picture();
    let shape = [1, 1, i64::from(picture.height()), i64::from(picture.width())];
    for modulation in [Modulation::Gate, Modulation::Mask, Modulation::Null] {
        let ones = Tensor::ones(shape, (Kind::Float, Device::Cpu));
        let open = predict(Box::new(AttnModulator::new(modulation, ones.shallow_clone())));
        assert!(relative_error(&open.text(), &plain.text()) < 1e-5, "{modulation:?}");
        let closed = predict(Box::new(AttnModulator::new(modulation, ones.zeros_like())));
        assert!(relative_error(&closed.text(), &plain.text()) > 1e-3, "{modulation:?}");
        let others =
            |it: &NoisePrediction| [Role::Image, Role::Uncond].map(|role| it.of(role).unwrap());
        for (closed, plain) in others(&closed).iter().zip(&others(&plain)) {
            assert!(relative_error(closed, plain) < 1e-6, "{modulation:?}");
        }
    }
}

#[test]
fn a_whole_edit_inside_a_given_mask_equals_the_reference() {
    for case in Case::all() {
        let Case { name, recorded, .. } = &case;
        let modes = [Modulation::Gate, Modulation::Mask, Modulation::Null];
        let requests = modes.map(|mode| (mode, case.request(mode)));
        let expected = modes.map(|mode| recorded.picture(&format!("edit_{}", mode.name())));
        let plain = recorded.picture("plain");
        let name = *name;
        let editor = Editor::new(Box::new(case.pipeline), None);
        for ((mode, request), expected) in requests.into_iter().zip(expected) {
            let edited =
                editor.edit(&request, &mut |_: EditEvent| ControlFlow::Continue(())).unwrap();
            let close = psnr(&edited.image, &expected);
            println!("{name}: {} {close:.1} dB", mode.name());
            assert!(close >= 50.0, "{name}: {mode:?} {close:.1} dB");
            assert!(psnr(&edited.image, &plain) < 50.0, "{name}: {mode:?} changes nothing");
        }
    }
}

#[test]
fn outside_the_mask_pixels_are_the_inputs_own_at_any_size() {
    let case = Case::all().next().unwrap();
    let mut request = case.request(Modulation::Gate);
    // An input larger than the model's picture: the mask and the composite are at the input's own size.
    let large =
        image::imageops::resize(&case.picture(), 61, 47, image::imageops::FilterType::Triangle);
    let mut mask = image::GrayImage::new(61, 47);
    for (x, y, pixel) in mask.enumerate_pixels_mut() {
        pixel.0 = [if (20..31).contains(&x) && (9..30).contains(&y) { 255 } else { 0 }];
    }
    request.image = Arc::new(large.clone());
    request.settings.preserve = Preserve::Pixel;
    request.settings.resize = Resize::Fit(None);
    request.mask.shapes = Some(drawn(&mask));
    let editor = Editor::new(Box::new(case.pipeline), None);
    let edited =
        editor.edit(&request, &mut |_: EditEvent| ControlFlow::Continue(())).unwrap().image;
    assert_eq!(edited.dimensions(), (61, 47));
    let mut changed = 0;
    for (x, y, pixel) in edited.enumerate_pixels() {
        if mask.get_pixel(x, y).0 == [0] {
            assert_eq!(pixel, large.get_pixel(x, y), "at {x}, {y}");
        } else {
            changed += u32::from(pixel != large.get_pixel(x, y));
        }
    }
    assert!(changed > 100, "only {changed} pixels changed inside the mask");
}

#[test]
fn preserved_latents_end_as_the_source_where_the_mask_is_closed() {
    let case = Case::all().next().unwrap();
    let mut request = case.request(Modulation::Gate);
    request.settings.preserve = Preserve::Latent;
    let session = EditSession::new(&case.pipeline, request.clone());
    let mask = EditMask::settle(&session, None).unwrap().unwrap();
    let latents =
        iam_edit::edit(&session, &mask, &mut |_: EditEvent| ControlFlow::Continue(())).unwrap();
    let source = session.image_latents().unwrap();
    let size = latents.size();
    let open = mask.gate_tensor(Device::Cpu).adaptive_max_pool2d([size[2], size[3]]).0;
    let change = (latents - source).abs();
    let closed: Tensor = 1.0 - &open;
    assert!((&change * closed).max().double_value(&[]) < 1e-6);
    assert!((&change * &open).max().double_value(&[]) > 0.1);
}

#[test]
fn attention_goes_beyond_a_given_mask_where_the_rest_is_put_back() {
    let case = Case::all().next().unwrap();
    let mut request = case.request(Modulation::Gate);
    request.settings.grow = 0.25.try_into().unwrap();
    let open = |request: &EditRequest| {
        let session = EditSession::new(&case.pipeline, request.clone());
        let mask = EditMask::settle(&session, None).unwrap().unwrap();
        let cells = |it: Tensor| it.sum(Kind::Int64).int64_value(&[]);
        (cells(mask.gate_tensor(Device::Cpu)), cells(mask.attended_tensor(Device::Cpu)))
    };
    let (mask, attended) = open(&request);
    assert_eq!(mask, attended, "nothing is put back");

    request.settings.preserve = Preserve::Latent;
    let (same, attended) = open(&request);
    assert_eq!(mask, same, "what may change");
    assert!(attended > mask, "{attended} of {mask} cells");
}

#[test]
fn a_break_stops_the_edit_within_one_step() {
    let case = Case::all().next().unwrap();
    let request = case.request(Modulation::Gate);
    let editor = Editor::new(Box::new(case.pipeline), None);
    let mut steps = 0;
    let stopped = editor.edit(&request, &mut |event: EditEvent| {
        steps += u32::from(matches!(event, EditEvent::StepDone(_)));
        if steps == 3 {
            ControlFlow::Break(retouch::sampling::Interrupted)
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(matches!(stopped, Err(retouch::editing::EditError::Interrupted(_))));
    assert_eq!(steps, 3);
}

#[test]
fn one_seed_gives_one_picture() {
    let case = Case::all().next().unwrap();
    let request = case.request(Modulation::Gate);
    let editor = Editor::new(Box::new(case.pipeline), None);
    let run = |request: &EditRequest| {
        editor.edit(request, &mut |_: EditEvent| ControlFlow::Continue(())).unwrap().image
    };
    let first = run(&request);
    assert_eq!(first, run(&request));
    assert_ne!(first, run(&EditRequest { seed: SEED + 1, ..request }));
}

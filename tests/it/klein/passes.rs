//! Both passes, jobs that share the model, recorded calls, and the memory of the text encoder.

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex},
    thread,
};

use image::RgbImage;
use retouch::{
    attention::{processor::Unwatched, role::Role},
    edit::{
        choices::{PreviewDecode, Resize},
        event::EditEvent,
        localizer::Localizer,
        request::EditRequest,
        settings::Modulation,
    },
    editing::{EditError, editor::Editor, model_settings},
    executor::{batcher, captured::Captured},
    pipelines::{
        BatchPipeline, EditPipeline, NoiseCall, Predictor, conditioning::LatentSize, rows::RowModel,
    },
};
use tch::{Device, Kind, Tensor};

use super::{INSTRUCTION, SNAPSHOTS, pipeline};
use crate::captured::{Counts, Rerunning};
use crate::support::{edit_request, psnr, relative_error};

/// fp32: sums over a batch of another size are made in another order.
const TOLERANCE: f64 = 1e-5;

fn picture() -> RgbImage {
    RgbImage::from_fn(96, 64, |x, y| image::Rgb([x as u8 * 2, y as u8 * 3, (x ^ y) as u8]))
}

fn request(name: &str) -> EditRequest {
    let mut settings = model_settings::standard(pipeline(name).guidance());
    settings.steps = 4.try_into().unwrap();
    settings.localize_steps = 4.try_into().unwrap();
    settings.resize = Resize::Native;
    edit_request(&picture(), INSTRUCTION, settings)
}

fn edit(model: Box<dyn EditPipeline>, request: &EditRequest) -> Result<RgbImage, EditError> {
    let editor = Editor::new(model, None);
    editor.edit(request, &mut |_: EditEvent| ControlFlow::Continue(())).map(|it| it.image)
}

#[test]
fn both_passes_run_with_every_modulation_that_the_model_has() {
    for name in SNAPSHOTS {
        let editor = Editor::new(Box::new(pipeline(name)), None);
        let mut request = request(name);
        request.preview_every = 1;
        let (mut steps, mut previews) = (0, Vec::new());
        let mut sink = |event: EditEvent| {
            if let EditEvent::StepDone(step) = event {
                steps += 1;
                previews.extend(step.preview.as_ref().map(|it| it.dimensions()));
            }
            ControlFlow::Continue(())
        };
        let mut open = editor.open(request.clone());
        let found = open.localize(&mut sink).unwrap().unwrap();
        let cell = editor.pipeline().geometry().vae_scale_factor;
        assert_eq!(
            (found.grid.width, found.grid.height),
            (i64::from(96 / cell), i64::from(64 / cell))
        );
        let objects = found.words.iter().filter(|it| it.is_object).map(|it| it.word.as_str());
        assert_eq!(objects.collect::<Vec<_>>(), ["red", "circle"], "{name}");
        assert!(found.clusters.len() > 1 && found.clusters.iter().any(|it| it.selected));
        let edited = open.edit(&mut sink).unwrap();
        assert_ne!(edited.image, picture());
        let mask = edited.mask.unwrap();
        for (x, y, pixel) in edited.image.enumerate_pixels() {
            let is_edited = mask.full().as_image().get_pixel(x, y).0 != [0];
            assert!(is_edited || pixel == picture().get_pixel(x, y), "{name}: {x}, {y}");
        }
        assert!(steps > 4 && previews.len() == steps, "{name}: {steps} {previews:?}");

        let edited = |modulation| {
            let mut request = request.clone();
            request.settings.modulation = modulation;
            request.preview_every = 0;
            edit(Box::new(pipeline(name)), &request)
        };
        let gated = edited(Modulation::Gate).unwrap();
        for other in [Modulation::Mask, Modulation::Reference, Modulation::Isolate] {
            assert_ne!(edited(other).unwrap(), gated, "{name}: {other:?}");
        }
        let null = edited(Modulation::Null);
        if pipeline(name).guidance().is_distilled() {
            assert!(matches!(null, Err(EditError::Distilled { .. })), "{name}");
        } else {
            assert_ne!(null.unwrap(), gated);
        }
    }
}

#[test]
fn every_localizer_finds_a_place_or_says_why_it_can_not() {
    for name in SNAPSHOTS {
        let is_distilled = pipeline(name).guidance().is_distilled();
        for localizer in Localizer::ALL {
            let mut request = request(name);
            request.settings.localizer = localizer;
            let editor = Editor::new(Box::new(pipeline(name)), None);
            let found =
                editor.open(request).localize(&mut |_: EditEvent| ControlFlow::Continue(()));
            let compares = matches!(localizer, Localizer::NoiseDifference | Localizer::DiffEdit);
            match found {
                Err(EditError::Distilled { .. }) => assert!(is_distilled && compares),
                found => {
                    assert!(found.unwrap().is_some());
                    assert!(!(is_distilled && compares), "{name} {localizer:?}");
                }
            }
        }
    }
}

#[test]
fn the_vaes_previews_are_pictures_of_the_working_size() {
    let mut request = request("klein");
    (request.preview_every, request.preview_decode) = (1, PreviewDecode::Vae { at_most: 2 });
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let editor = Editor::new(Box::new(pipeline("klein")), None);
    let mut sink = |event: EditEvent| {
        if let EditEvent::StepDone(step) = event {
            told.lock().unwrap().extend(step.preview.map(|it| it.dimensions()));
        }
        ControlFlow::Continue(())
    };
    let _ = editor.edit(&request, &mut sink).unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.len() >= 3 && seen.iter().all(|it| *it == (96, 64)), "{seen:?}");
}

/// Calls of a model for two samples of one size.
fn calls(model: &dyn BatchPipeline) -> Vec<NoiseCall> {
    let roles: &[Role] = model.guidance().all_roles();
    let call = |seed: u32, text: &str| {
        let picture = RgbImage::from_fn(64, 64, |x, y| {
            image::Rgb([(x * seed) as u8, (y * 3) as u8, (x + y) as u8])
        });
        let conditioning = model.condition(text, "", &picture, roles).unwrap();
        let latents = model.encode_image(&picture).unwrap();
        let waves = Tensor::arange(latents.numel() as i64, (Kind::Float, Device::Cpu));
        let latents = (waves * (0.7 + f64::from(seed))).sin().view(latents.size().as_slice());
        NoiseCall::new(
            &latents,
            1000.0 - 80.0 * f64::from(seed),
            &conditioning,
            Box::new(Unwatched),
        )
    };
    vec![call(1, INSTRUCTION), call(2, "make the tree green")]
}

#[test]
fn samples_that_share_a_call_get_what_they_get_alone() {
    for name in SNAPSHOTS {
        let model = pipeline(name);
        let together = model.predict_noises(&mut calls(&model)).unwrap();
        for (mut call, shared) in calls(&model).into_iter().zip(together) {
            let alone = model.predict_noises(std::slice::from_mut(&mut call)).unwrap();
            for role in model.guidance().all_roles() {
                let [one, other] = [&shared, &alone[0]].map(|it| it.of(*role).unwrap());
                let error = relative_error(&one, &other);
                assert!(error < TOLERANCE, "{name} {role:?}: {error:e}");
            }
        }
    }
}

#[test]
fn jobs_share_the_model_step_by_step() {
    for name in SNAPSHOTS {
        let asked = |seed| EditRequest { seed, ..request(name) };
        let alone = [3, 4].map(|seed| edit(Box::new(pipeline(name)), &asked(seed)).unwrap());
        assert_ne!(alone[0], alone[1]);
        let load = move || Ok::<Box<dyn BatchPipeline>, ()>(Box::new(pipeline(name)));
        let (batched, model) = batcher::start(2, load).unwrap();
        let jobs = [3, 4].map(|seed| {
            let (handle, asked) = (batched.clone(), asked(seed));
            thread::spawn(move || edit(Box::new(handle), &asked).unwrap())
        });
        drop(batched);
        for (job, alone) in jobs.into_iter().zip(alone) {
            assert!(psnr(&job.join().unwrap(), &alone) > 60.0, "{name}");
        }
        model.join().unwrap();
    }
}

#[test]
fn recorded_calls_give_what_others_give() {
    for name in SNAPSHOTS {
        let counts = Counts::default();
        for modulation in [Modulation::Gate, Modulation::Reference, Modulation::Isolate] {
            let mut request = request(name);
            request.settings.modulation = modulation;
            let alone = edit(Box::new(pipeline(name)), &request).unwrap();
            let recorder = Box::new(Rerunning(counts.clone()));
            let recording = Captured::new(Box::new(pipeline(name)), recorder);
            let found = edit(Box::new(recording), &request).unwrap();
            assert_eq!(found, alone, "{name} {modulation:?}");
        }
        let (recorded, played) = counts.get();
        assert!(recorded > 0 && played >= recorded, "{recorded} recorded, {played} played");
    }
}

#[test]
fn sites_are_those_that_a_call_visits() {
    use retouch::attention::{
        processor::AttnProcessor,
        qkv::{Attended, Qkv},
        site::{AttnSite, Keys},
    };

    #[derive(Default)]
    struct Sites(Arc<Mutex<Vec<AttnSite>>>);

    impl AttnProcessor for Sites {
        fn watches(&self, _site: &AttnSite) -> bool {
            true
        }

        fn visit(&mut self, site: &AttnSite, qkv: &Qkv<'_>, attended: &Attended) {
            let Keys::Joint { text, shared, latents, references } = site.keys else {
                panic!("one sequence")
            };
            let length = qkv.query.size()[2];
            assert_eq!(text.length + latents.length + references.length, length);
            assert_eq!((text.start, latents.start, shared), (0, text.length, 3));
            assert_eq!(references.start, latents.start + latents.length);
            assert_eq!(attended.output.size(), qkv.query.size());
            self.0.lock().unwrap().push(*site);
        }
    }

    for name in SNAPSHOTS {
        let (model, seen) = (pipeline(name), Arc::default());
        let mut call = calls(&model).remove(0);
        call.attn = Box::new(Sites(Arc::clone(&seen)));
        model.predict_noises(&mut [call]).unwrap();
        let side = 64 / i64::from(model.geometry().vae_scale_factor);
        let sites = model.sites(LatentSize { height: side, width: side });
        assert_eq!(*seen.lock().unwrap(), sites);
        let names: Vec<String> = sites.iter().map(ToString::to_string).collect();
        assert_eq!(names[0], "transformer_blocks.0.attn");
        assert_eq!(names.last().unwrap().split('.').next(), Some("single_transformer_blocks"));
    }
}

#[test]
fn the_text_encoder_is_in_memory_while_texts_are_read() {
    let mut model = pipeline("klein");
    assert!(!model.text_encoder.is_loaded());
    let mut all = calls(&model);
    assert!(model.text_encoder.is_loaded());
    model.predict_noises(&mut all).unwrap();
    assert!(!model.text_encoder.is_loaded());
    // A prompt that was read is known.
    let again = model.condition(INSTRUCTION, "", &RgbImage::new(64, 64), &[Role::Text]).unwrap();
    assert!(!model.text_encoder.is_loaded());
    assert_eq!(again.prompts(), &all[0].conditioning.prompts().narrow(0, 0, 1));
    // Another is read by the same weights.
    let embedding = model.embed_text("a red circle").unwrap();
    assert!(model.text_encoder.is_loaded());
    model.keep_text_encoder();
    model.predict_noises(&mut all).unwrap();
    assert!(model.text_encoder.is_loaded());
    assert_eq!(model.embed_text("a red circle").unwrap(), embedding);
    let norm: f32 = embedding.iter().map(|it| it * it).sum();
    assert!((norm - 1.0).abs() < 1e-5);
}

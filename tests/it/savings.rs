//! Computations that are skipped because they can't change the result: the result is the same with them.

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex},
};

use image::RgbImage;
use retouch::{
    attention::{
        processor::{AttnProcessor, Unwatched},
        role::Role,
    },
    edit::{
        choices::{MethodKind, Preserve, Resize},
        event::{EditEvent, Pass},
        knobs::StepShare,
        request::EditRequest,
        settings::{EditSettings, Modulation},
    },
    editing::{
        editor::Editor, iam_edit::attn_modulator::AttnModulator, noise_difference,
        session::EditSession,
    },
    pipelines::{
        BatchPipeline,
        denoise::{DenoisePlan, denoise},
        instruct_pix2pix::InstructPix2PixPipeline,
    },
};
use tch::{Kind, Tensor};

use crate::support::{Spied, edit_request, fixtures, load_pipeline, psnr, relative_error};

/// The roles of each call that was made.
type Calls = Arc<Mutex<Vec<Vec<Role>>>>;

/// A model that notes the roles of every call.
fn noting(calls: &Calls) -> Spied {
    let calls = Arc::clone(calls);
    Spied::new(model(), move |model, samples| {
        let roles = samples.iter().map(|it| it.conditioning.roles().to_vec());
        calls.lock().unwrap().extend(roles);
        model.predict_noises(samples)
    })
}

fn model() -> InstructPix2PixPipeline {
    load_pipeline(&fixtures().join("models/sd1"), Kind::Float)
}

fn request(text: f64, image: f64) -> EditRequest {
    let mut settings = EditSettings::paper();
    settings.steps = 4.try_into().unwrap();
    settings.localize_steps = 3.try_into().unwrap();
    settings.guidance.text = text.try_into().unwrap();
    settings.guidance.image = image.try_into().unwrap();
    settings.preserve = Preserve::None;
    settings.resize = Resize::Native;
    let picture = RgbImage::from_fn(32, 32, |x, y| image::Rgb([x as u8 * 8, y as u8 * 8, 90]));
    let instruction = "change the red circle to a blue star";
    EditRequest { seed: 5, ..edit_request(&picture, instruction, settings) }
}

/// Latents of an edit with all branches, or with those that have a share, under each modulation.
fn latents(model: &InstructPix2PixPipeline, request: &EditRequest, all: bool) -> Vec<Tensor> {
    let session = EditSession::new(model, request.clone());
    let run = session.run(Pass::Edit, &request.instruction).unwrap();
    let conditioning = if all {
        session.conditioning(&request.instruction, &Role::TRIPLE).unwrap()
    } else {
        run.conditioning
    };
    let (scheduler, guidance) = (run.scheduler.as_ref(), request.guidance());
    let plan = DenoisePlan::whole(model, scheduler, &conditioning, guidance, &run.tape);
    // Its left half is edited.
    let mask = Tensor::zeros([1, 1, 32, 32], (Kind::Float, tch::Device::Cpu));
    let _ = mask.narrow(3, 0, 16).fill_(1.0);
    let guests: [Box<dyn AttnProcessor>; 3] = [
        Box::new(Unwatched),
        Box::new(AttnModulator::new(Modulation::Gate, mask.shallow_clone())),
        Box::new(AttnModulator::new(Modulation::Null, mask)),
    ];
    let run =
        |guest| denoise(&plan, guest, &mut |_, latents| ControlFlow::Continue(latents)).unwrap();
    guests.into_iter().map(run).collect()
}

#[test]
fn an_edit_without_a_branch_that_has_no_share_is_that_of_all_three() {
    let model = model();
    for (text, image) in [(4.0, 1.0), (4.0, 4.0), (1.0, 1.0)] {
        let request = request(text, image);
        let whole = latents(&model, &request, true);
        let fewer = latents(&model, &request, false);
        for (whole, fewer) in whole.iter().zip(&fewer) {
            let error = relative_error(fewer, whole);
            assert!(error < 1e-5, "guidance {text}, {image}: {error}");
        }
    }
}

#[test]
fn a_branch_is_computed_only_where_something_comes_of_it() {
    use Role::{Image, Text, Uncond};
    for ((text, image), roles) in [
        ((4.0, 1.3), vec![Text, Image, Uncond]),
        ((4.0, 1.0), vec![Text, Image]),
        ((4.0, 4.0), vec![Text, Uncond]),
    ] {
        let calls = Calls::default();
        let editor = Editor::new(Box::new(noting(&calls)), None);
        let mut request = request(text, image);
        // Nouns that the fixture's few tokens can tell apart.
        request.settings.localization.nouns = vec!["square".to_owned(), "house".to_owned()];
        editor.edit(&request, &mut |_: EditEvent| ControlFlow::Continue(())).unwrap();
        // Of pass 1's last call only the attention of the branch with the instruction is looked at.
        let mut expected = vec![roles; 7];
        expected[2] = vec![Text];
        assert_eq!(*calls.lock().unwrap(), expected, "guidance {text}, {image}");
    }
}

#[test]
fn steps_without_guidance_take_the_branch_with_the_instruction_alone() {
    use Role::{Image, Text, Uncond};
    let edited = |method, (text, image), modulation, guided: [f64; 2]| {
        let calls = Calls::default();
        let editor = Editor::new(Box::new(noting(&calls)), None);
        let mut request = request(text, image);
        request.method = method;
        request.settings.localization.nouns = vec!["square".to_owned(), "house".to_owned()];
        request.settings.modulation = modulation;
        request.settings.guided = StepShare::new("guided", guided).unwrap();
        let edited = editor.edit(&request, &mut |_: EditEvent| ControlFlow::Continue(())).unwrap();
        let calls = calls.lock().unwrap().clone();
        let of_pass_1 = calls.len() - 4;
        (edited.image, calls[of_pass_1..].to_vec())
    };
    let (iam, plain) = (MethodKind::IamEdit, MethodKind::InstructPix2Pix);
    let all = vec![Text, Image, Uncond];
    let (whole, calls) = edited(iam, (4.0, 1.3), Modulation::Gate, [0.0, 1.0]);
    assert_eq!(calls, vec![all.clone(); 4]);
    let (part, calls) = edited(iam, (4.0, 1.3), Modulation::Gate, [0.25, 0.75]);
    assert_eq!(calls, [vec![Text], all.clone(), all.clone(), vec![Text]]);
    assert_ne!(part, whole);
    let (_, calls) = edited(plain, (4.0, 1.3), Modulation::Gate, [0.25, 0.75]);
    assert_eq!(calls, vec![all.clone(); 4], "plain InstructPix2Pix is that of diffusers");
    // A guest that compares with the null prompt keeps a row that has it.
    let (_, calls) = edited(iam, (4.0, 1.3), Modulation::Null, [0.0, 0.75]);
    assert_eq!(calls, [all.clone(), all.clone(), all, vec![Text, Image]]);
    // With both scales at 1 the guided prediction is the one with instruction and picture.
    let (whole, _) = edited(iam, (1.0, 1.0), Modulation::Gate, [0.0, 1.0]);
    let (part, _) = edited(iam, (1.0, 1.0), Modulation::Gate, [0.25, 0.75]);
    assert!(psnr(&part, &whole) > 60.0, "{}", psnr(&part, &whole));
}

#[test]
fn the_localization_ends_with_the_last_step_that_is_averaged() {
    let calls = Calls::default();
    let editor = Editor::new(Box::new(noting(&calls)), None);
    let mut request = request(4.0, 1.3);
    request.settings.localization.nouns = vec!["square".to_owned(), "house".to_owned()];
    request.settings.localize_steps = 10.try_into().unwrap();
    let mut localized = |averaged: [f64; 2]| {
        request.settings.localization.averaged = StepShare::new("averaged", averaged).unwrap();
        calls.lock().unwrap().clear();
        let mut told = vec![];
        let found = editor.open(request.clone()).localize(&mut |event: EditEvent| {
            if let EditEvent::StepDone(report) = event {
                told.push((report.step, report.of));
            }
            ControlFlow::Continue(())
        });
        (found.unwrap().unwrap(), calls.lock().unwrap().len(), told.last().copied())
    };
    let (all, calls_of_all, _) = localized([0.0, 1.0]);
    let (some, calls_of_some, told) = localized([0.3, 0.6]);
    assert_eq!((calls_of_all, calls_of_some, told), (10, 6, Some((6, 6))));
    assert_ne!(all.words, some.words);
    // Steps before the first that is averaged are made, and leave no trace in the maps: the first six are another mean.
    assert_ne!(localized([0.0, 0.6]).0.words, some.words);
}

#[test]
fn a_noise_difference_needs_the_two_branches_that_it_compares() {
    let calls = Calls::default();
    let noting = noting(&calls);
    let request = request(4.0, 1.3);
    let session = EditSession::new(&noting, request.clone());
    noise_difference::noise_differences(&session, &request.instruction, 500, 2).unwrap();
    assert_eq!(*calls.lock().unwrap(), vec![vec![Role::Text, Role::Image]; 2]);
}

#[test]
fn a_picture_is_encoded_once_for_all_edits_of_it() {
    let model = model();
    let request = request(4.0, 1.3);
    let latents = |request: &EditRequest| {
        let session = EditSession::new(&model, request.clone());
        let _ = session.run(Pass::Edit, &request.instruction).unwrap();
        session.image_latents().unwrap().shallow_clone()
    };
    let first = latents(&request);
    // What is kept is what every later edit takes, in the loop as in the rows.
    let kept = model.encoded.get_or_encode(&request.image, || panic!("it was not kept"));
    assert_eq!(first, &kept * model.vae.config().scaling_factor);
    let _ = kept.shallow_clone().fill_(0.5);
    assert_eq!(latents(&request), kept.full_like(0.5) * model.vae.config().scaling_factor);
    let other = RgbImage::from_pixel(32, 32, image::Rgb([9; 3]));
    let other = EditRequest { image: Arc::new(other), ..request };
    assert_ne!(latents(&other), kept * model.vae.config().scaling_factor);
}

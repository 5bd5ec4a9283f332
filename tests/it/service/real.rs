//! The service with the demo model gives what a local edit gives, byte for byte.

use std::{ops::ControlFlow, path::Path};

use image::{DynamicImage, GenericImageView};
use retouch::{
    edit::{edit_mask::MaskChoice, event::EditEvent, request::EditRequest, settings::EditSettings},
    editing::editor::Editor,
    jobs::runner::{ModelInfo, Runner},
    models::snapshot::Snapshot,
    picture::decode::{self, InputLimits},
    pipelines::load,
    serving::editor_runner::EditorRunner,
    wire::{
        self,
        v1::{
            self, EditSpec, Image, LocalizationSource, MaskPolicy, edit_event::Event,
            edit_job::State, image::Source,
        },
    },
};
use tch::{Device, Kind};
use tonic::Code;

use super::harness::{Harness, kinds, reason, request};

const INSTRUCTION: &str = "change the black tree to blue";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn editor() -> (Editor, EditSettings) {
    let snapshot = Snapshot::open(&root().join("assets/demo-model")).unwrap();
    let settings = EditSettings::recommended(snapshot.retouch_json().unwrap()).unwrap();
    let pipeline = load::load(&snapshot, Kind::Float, Device::Cpu).unwrap();
    (Editor::new(pipeline, None), settings)
}

pub(super) fn runner() -> Box<dyn Runner + Send> {
    let (editor, recommended) = editor();
    let model = ModelInfo {
        name: "demo-model".to_owned(),
        digest: editor.pipeline().digest().to_owned(),
        device: "cpu".to_owned(),
        dtype: "fp32".to_owned(),
        libtorch: "2.11.0".to_owned(),
        loras: Vec::new(),
        recommended,
        preview_decoder: true,
    };
    Box::new(EditorRunner::new(editor, model, 1 << 20))
}

pub(super) fn edit() -> EditSpec {
    let picture = std::fs::read(root().join("assets/example.png")).unwrap();
    EditSpec {
        image: Some(Image { source: Some(Source::Data(picture.into())) }),
        instruction: INSTRUCTION.to_owned(),
        seed: Some(7),
        steps: Some(4),
        localize_steps: Some(4),
        ..EditSpec::default()
    }
}

/// The same edit without a server.
fn local() -> (image::RgbImage, EditRequest) {
    let (editor, recommended) = editor();
    let input = decode::read(&root().join("assets/example.png"), InputLimits::default()).unwrap();
    let request = wire::edit_request::request(
        &edit(),
        &recommended,
        input.picture.rgb,
        MaskChoice::default(),
    )
    .unwrap();
    let edited = editor.edit(&request, &mut |_: EditEvent| ControlFlow::Continue(())).unwrap();
    (edited.image, request)
}

pub(super) fn open(artifact: Option<&v1::Artifact>) -> DynamicImage {
    let artifact = artifact.unwrap();
    image::load_from_memory(&artifact.inline).unwrap_or_else(|it| panic!("{artifact:?}: {it}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_over_the_wire_is_the_local_one_with_every_map() {
    let server = Harness::real(None, runner).await;
    let mut stream = server.client.clone().stream_edit(request(edit())).await.unwrap().into_inner();
    let mut events = Vec::new();
    while let Some(event) = stream.message().await.unwrap() {
        events.push(event.event.unwrap());
    }
    let (expected, asked) = local();
    let size = asked.image.dimensions();
    let (mut words, mut previews, mut ids, mut seen) = (0, 0, 0u8, Vec::new());
    for event in &events {
        match event {
            Event::Instruction(parsed) => {
                assert_eq!(parsed.object, "the black tree");
                let span = parsed.object_start as usize..parsed.object_end as usize;
                assert_eq!(&INSTRUCTION[span], "the black tree");
            }
            Event::ClusterMap(map) => {
                let labels = open(map.labels.as_ref()).into_luma8();
                ids = map.clusters.len() as u8;
                assert!(labels.as_raw().iter().all(|id| (1..=ids).contains(id)));
                assert!(open(map.image.as_ref()).width() >= 128);
            }
            Event::Heatmap(heatmap) => {
                words += 1;
                assert!(heatmap.max >= heatmap.min && heatmap.max <= 1.0);
                assert!(open(heatmap.image.as_ref()).as_luma16().is_some());
            }
            Event::MaskProposed(it) => {
                assert_eq!(open(it.mask.as_ref()).dimensions(), size);
                assert!((0.0..=1.0).contains(&it.confidence.unwrap()));
            }
            Event::MaskSettled(it) => assert_eq!(open(it.mask.as_ref()).dimensions(), size),
            Event::Preview(preview) => {
                previews += 1;
                // By the tiny decoder, since nothing else is asked for.
                assert_eq!(open(preview.image.as_ref()).dimensions(), (64, 64));
            }
            Event::Result(result) => {
                assert_eq!(open(result.image.as_ref()).into_rgb8(), expected);
                seen.push(result.clone());
            }
            _ => {}
        }
    }
    assert!(ids > 1 && words >= 4 && previews >= 1, "{ids} {words} {previews}");
    assert_eq!(seen.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_told_what_was_understood_or_what_was_written() {
    let server = Harness::real(None, runner).await;
    let natural = "Could you please dye the black tree pruple?";
    let run = async |verbatim| {
        let spec = EditSpec { instruction: natural.to_owned(), verbatim, ..edit() };
        let job = server.client.clone().run_edit(request(spec)).await.unwrap().into_inner();
        assert_eq!(job.spec.unwrap().verbatim, verbatim);
        let events = server.watch(&job.name, 0).await;
        let warned = kinds(&events).iter().any(|it| it.starts_with("warning SPELLING_CORRECTED"));
        assert!(warned, "{:?}", kinds(&events));
        let parsed = events.into_iter().find_map(|it| match it.event? {
            Event::Instruction(parsed) => Some(parsed),
            _ => None,
        });
        (parsed.unwrap(), open(job.result.unwrap().image.as_ref()).into_rgb8())
    };
    let (parsed, image) = run(false).await;
    assert_eq!(parsed.change(), v1::ChangeKind::Recolor);
    assert_eq!([&parsed.replacement, &parsed.color], ["purple", "purple"]);
    assert_eq!(parsed.text, "Could you please dye the black tree purple?");
    assert_eq!(parsed.told, "make the black tree purple");
    let (verbatim, other) = run(true).await;
    assert_eq!(verbatim, v1::InstructionParsed { told: natural.to_owned(), ..parsed });
    assert_ne!(image, other);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_between_the_passes_changes_no_bit_of_the_result() {
    let server = Harness::real(None, runner).await;
    let review = EditSpec { mask_policy: MaskPolicy::Review as i32, ..edit() };
    let job = server.create(request(review)).await;
    server.until(&job.name, State::AwaitingMask).await;
    let folder = server.stop().await;
    let server = Harness::real(Some(&folder), runner).await;
    let accept = v1::mask_decision::Decision::Accept(v1::AcceptMask::default());
    let decision = v1::MaskDecision { decision: Some(accept), ..Default::default() };
    server.decide(&job.name, decision).await.unwrap();
    let job = server.until(&job.name, State::Succeeded).await;
    let result = job.result.unwrap();
    assert_eq!(open(result.image.as_ref()).into_rgb8(), local().0);
    assert_eq!(result.provenance.unwrap().seed, 7);
    std::fs::remove_dir_all(server.stop().await).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_decides_what_is_run() {
    let server = Harness::real(None, runner).await;
    let run = async |spec: EditSpec| {
        let answer = server.client.clone().run_edit(request(spec)).await;
        let name = answer.as_ref().map(|it| it.get_ref().name.clone()).unwrap_or_default();
        let told = if name.is_empty() { Vec::new() } else { kinds(&server.watch(&name, 0).await) };
        (answer.map(tonic::Response::into_inner), told)
    };
    // A style means the whole picture.
    let (job, told) = run(EditSpec { instruction: "make it snow".to_owned(), ..edit() }).await;
    assert_eq!(job.unwrap().state(), State::Succeeded);
    assert!(
        told.contains(&"settled".to_owned()) && !told.contains(&"proposed".to_owned()),
        "{told:?}"
    );
    // What means nothing to the model is left out, told, and kept in the spec as it was asked.
    let junk = format!("\u{feff}{INSTRUCTION}, masterpiece");
    let (job, told) = run(EditSpec { instruction: junk.clone(), ..edit() }).await;
    let job = job.unwrap();
    assert_eq!(open(job.result.unwrap().image.as_ref()).into_rgb8(), local().0);
    assert_eq!(job.spec.unwrap().instruction, junk);
    assert!(told.iter().any(|it| it.starts_with("warning TEXT_CLEANED")), "{told:?}");
    // What is not understood is a warning, or an error.
    let nonsense = EditSpec { instruction: "wibble wobble".to_owned(), ..edit() };
    let (job, told) = run(nonsense.clone()).await;
    assert_eq!(job.unwrap().state(), State::Succeeded);
    assert!(told.iter().any(|it| it.starts_with("warning NOT_PARSED")), "{told:?}");
    let (refused, _) = run(EditSpec { strict: true, ..nonsense }).await;
    assert_eq!(
        reason(&refused.unwrap_err()),
        (Code::InvalidArgument, "OBJECT_NOT_FOUND".to_owned())
    );
    // An object that is hardly found is a warning with its figure, or an error of its own, reused or not.
    let absent = EditSpec { instruction: "make the unicorn yellow".to_owned(), ..edit() };
    let (job, told) = run(absent.clone()).await;
    let job = job.unwrap();
    assert!(told.iter().any(|it| it.starts_with("warning LOW_CONFIDENCE")), "{told:?}");
    assert!(job.mask.unwrap().confidence.unwrap() < 0.5);
    assert_eq!(job.spec.unwrap().min_confidence, Some(0.5));
    let low = (Code::InvalidArgument, "LOW_CONFIDENCE".to_owned());
    let reuse_localization_of = job.name;
    for strict in [absent.clone(), EditSpec { reuse_localization_of, ..absent.clone() }] {
        let (refused, _) = run(EditSpec { strict: true, ..strict }).await;
        assert_eq!(reason(&refused.unwrap_err()), low);
    }
    let (job, _) = run(EditSpec { strict: true, min_confidence: Some(0.0), ..absent }).await;
    assert_eq!(job.unwrap().state(), State::Succeeded);
    // So is a text that the model does not read to its end, also where nothing is edited.
    let negative_prompt = vec!["blur"; 120].join(" ");
    for policy in [MaskPolicy::Auto, MaskPolicy::LocalizeOnly] {
        let mask_policy = policy as i32;
        let (job, told) =
            run(EditSpec { negative_prompt: negative_prompt.clone(), mask_policy, ..edit() }).await;
        assert_eq!(job.unwrap().state(), State::Succeeded);
        let cut = |it: &&String| it.starts_with("warning NEGATIVE_PROMPT_TRUNCATED");
        assert_eq!(told.iter().filter(cut).count(), 1, "{policy:?} {told:?}");
    }
    // The plain backbone has one pass.
    let method = v1::Method::InstructPix2pix as i32;
    let (job, told) = run(EditSpec { method, ..edit() }).await;
    assert_eq!(job.unwrap().state(), State::Succeeded);
    assert_eq!(told, ["QUEUED", "EDITING", "instruction", "result", "SUCCEEDED"]);
    // It keeps to a mask, and finds none.
    let boxes =
        Some(v1::BoxSet { boxes: vec![v1::Rect { x1: 30.0, y1: 30.0, ..v1::Rect::default() }] });
    let mask = Some(v1::Mask { boxes, ..v1::Mask::default() });
    let (job, told) = run(EditSpec { method, mask, ..edit() }).await;
    assert_eq!(job.unwrap().spec.unwrap().preserve(), v1::Preserve::Pixel);
    assert_eq!(told, ["QUEUED", "EDITING", "instruction", "settled", "result", "SUCCEEDED"]);
    let mask_policy = MaskPolicy::Review as i32;
    let (refused, _) = run(EditSpec { method, mask_policy, ..edit() }).await;
    assert!(refused.unwrap_err().message().contains("the plain backbone finds no mask"));
    // A lossy type, previews by the autoencoder.
    let output = Some(v1::OutputOptions { mime_type: "image/jpeg".to_owned(), quality: Some(80) });
    let events = Some(v1::EventOptions {
        preview_decode: v1::PreviewDecode::Vae as i32,
        preview_max_px: Some(48),
        ..Default::default()
    });
    let (job, _) = run(EditSpec { output, events, ..edit() }).await;
    let image = job.unwrap().result.unwrap().image.unwrap();
    assert_eq!(image.mime_type, "image/jpeg");
    assert!(image.inline.starts_with(&[0xff, 0xd8]));
    // Too large for the model.
    let resize = Some(v1::Resize { size: Some(v1::resize::Size::Fit(8192)) });
    let (refused, _) = run(EditSpec { resize, ..edit() }).await;
    assert_eq!(
        reason(&refused.unwrap_err()),
        (Code::InvalidArgument, "IMAGE_TOO_LARGE".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_job_about_the_object_makes_no_localization_step_and_says_so() {
    let server = Harness::real(None, runner).await;
    let run = async |spec: EditSpec| {
        let stream = server.client.clone().stream_edit(request(spec)).await.unwrap();
        let (mut stream, mut source, mut steps) = (stream.into_inner(), None, 0);
        while let Some(event) = stream.message().await.unwrap() {
            match event.event.unwrap() {
                Event::Step(step) if step.pass() == v1::Pass::Localize => steps += 1,
                Event::MaskProposed(it) => source = Some(it.localization_source()),
                _ => {}
            }
        }
        (source.unwrap(), steps > 0)
    };
    assert_eq!(run(edit()).await, (LocalizationSource::Pass, true));
    let other =
        EditSpec { instruction: "remove the black tree".to_owned(), steps: Some(2), ..edit() };
    assert_eq!(run(other.clone()).await, (LocalizationSource::Cache, false));
    assert_eq!(run(EditSpec { seed: Some(8), ..other }).await, (LocalizationSource::Pass, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_localization_serves_its_own_object_alone() {
    let server = Harness::real(None, runner).await;
    let first = server.client.clone().run_edit(request(edit())).await.unwrap().into_inner();
    let run = async |spec: EditSpec| {
        let spec = EditSpec { reuse_localization_of: first.name.clone(), steps: Some(1), ..spec };
        let answer = server.client.clone().run_edit(request(spec)).await;
        let name = answer.as_ref().map(|it| it.get_ref().name.clone()).unwrap_or_default();
        let told = if name.is_empty() { Vec::new() } else { kinds(&server.watch(&name, 0).await) };
        answer.map(|_| told)
    };
    let wording = |text: &str| EditSpec { instruction: text.to_owned(), ..edit() };
    let told = run(wording("remove the black tree")).await.unwrap();
    assert!(!told.iter().any(|it| it.starts_with("warning")), "{told:?}");
    let refused = run(wording("remove the red house")).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned()));
    // Named as meant, or without a place of its own, it is taken.
    let named = EditSpec { object: "the black tree".to_owned(), ..wording("remove the red house") };
    run(named).await.unwrap();
    let told = run(wording("make it snow")).await.unwrap();
    assert!(told.iter().any(|it| it.starts_with("warning LOCALIZATION_OTHER_WORDING")), "{told:?}");
}

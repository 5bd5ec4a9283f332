//! Jobs whose instruction asks for several edits.

use retouch::wire::v1::{
    self, EditSpec, Image, MaskPolicy, edit_event::Event, edit_job::State, image::Source,
};
use tonic::Code;

use super::{
    harness::{Harness, request},
    real::{edit, open, runner},
};
use crate::support::fixtures;

fn two_edits() -> EditSpec {
    let picture = std::fs::read(fixtures().join("scenes/two-edits.png")).unwrap();
    EditSpec {
        image: Some(Image { source: Some(Source::Data(picture.into())) }),
        instruction: "remove the cross, then paint the circle red".to_owned(),
        ..edit()
    }
}

/// One of the two as a job of its own, on a picture.
fn alone(instruction: &str, image: Option<&v1::Artifact>) -> EditSpec {
    let spec = EditSpec { instruction: instruction.to_owned(), ..two_edits() };
    match image {
        Some(it) => {
            let source = Some(Source::Artifact(it.name.clone()));
            EditSpec { image: Some(Image { source }), ..spec }
        }
        None => spec,
    }
}

fn accept() -> v1::MaskDecision {
    let accept = v1::mask_decision::Decision::Accept(v1::AcceptMask::default());
    v1::MaskDecision { decision: Some(accept), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_edits_give_what_two_jobs_give_and_say_which_is_at_work() {
    let server = Harness::real(None, runner).await;
    let job = server.create(request(two_edits())).await;
    let job = server.until(&job.name, State::Succeeded).await;
    let result = job.result.clone().unwrap();

    let mut client = server.client.clone();
    let first = client.run_edit(request(alone("remove the cross", None))).await.unwrap();
    let first = first.into_inner().result.unwrap();
    let second = alone("paint the circle red", first.image.as_ref());
    let second = client.run_edit(request(second)).await.unwrap().into_inner().result.unwrap();
    let picture = open(result.image.as_ref()).into_rgb8();
    assert_eq!(picture, open(second.image.as_ref()).into_rgb8());

    // The whole edit's mask is that of both, and what it was made from says so.
    let [whole, one, other] = [&result.mask, &first.mask, &second.mask]
        .map(|it| open(it.as_ref()).into_luma8().into_raw());
    let union: Vec<u8> = one.iter().zip(&other).map(|(one, other)| *one.max(other)).collect();
    assert_eq!(whole, union);
    assert_eq!(result.provenance.unwrap().mask_sha256, result.mask.unwrap().sha256);

    let events = server.watch(&job.name, 0).await;
    let told: Vec<String> = events.iter().filter_map(|it| name(it.event.as_ref()?)).collect();
    let part = ["instruction", "mask_proposed", "mask_settled"];
    let expected = [&["part 1 of 2: remove the cross"], &part[..]].concat();
    let expected = [&expected, &["part 2 of 2: paint the circle red"][..], &part[..]].concat();
    assert_eq!(told, expected);
    assert_eq!(job.part.unwrap().number, 2);
    std::fs::remove_dir_all(server.stop().await).unwrap();
}

fn name(event: &Event) -> Option<String> {
    Some(match event {
        Event::Part(it) => {
            assert_eq!(it.image.is_some(), it.number > 1);
            format!("part {} of {}: {}", it.number, it.of, it.instruction)
        }
        Event::Instruction(_) => "instruction".to_owned(),
        Event::MaskProposed(_) => "mask_proposed".to_owned(),
        Event::MaskSettled(_) => "mask_settled".to_owned(),
        _ => return None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_decides_the_mask_of_each_part_and_survives_a_restart_between_them() {
    let server = Harness::real(None, runner).await;
    let review = EditSpec { mask_policy: MaskPolicy::Review as i32, ..two_edits() };
    let job = server.create(request(review)).await;
    server.until(&job.name, State::AwaitingMask).await;
    let first = v1::MaskDecision { request_id: "first".to_owned(), ..accept() };
    server.decide(&job.name, first.clone()).await.unwrap();
    let awaiting = async |server: &Harness| loop {
        let now = server.until(&job.name, State::AwaitingMask).await;
        if now.part.as_ref().is_some_and(|it| it.number == 2) {
            return now;
        }
    };
    awaiting(&server).await;
    // A retry of the first decision is none on the second.
    server.decide(&job.name, first).await.unwrap();
    assert_eq!(server.get(&job.name).await.state(), State::AwaitingMask);
    let folder = server.stop().await;
    let server = Harness::real(Some(&folder), runner).await;
    awaiting(&server).await;
    let boxes = vec![v1::Rect { x0: 4.0, y0: 4.0, x1: 40.0, y1: 40.0 }];
    let mask = v1::Mask { boxes: Some(v1::BoxSet { boxes }), ..v1::Mask::default() };
    let replace = v1::mask_decision::Decision::Replace(mask);
    let decision = v1::MaskDecision { decision: Some(replace), ..Default::default() };
    server.decide(&job.name, decision).await.unwrap();
    let done = server.until(&job.name, State::Succeeded).await;
    let mask = open(done.result.unwrap().mask.as_ref()).into_luma8();
    assert_eq!(mask.get_pixel(5, 5)[0], 255, "the box of the second part");
    std::fs::remove_dir_all(server.stop().await).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_one_edit_is_refused_beside_two() {
    let server = Harness::real(None, runner).await;
    let job = server.create(request(edit())).await.name;
    server.until(&job, State::Succeeded).await;
    let localize_only = EditSpec { mask_policy: MaskPolicy::LocalizeOnly as i32, ..two_edits() };
    let reused = EditSpec { reuse_localization_of: job, ..two_edits() };
    for spec in [localize_only, reused] {
        let refused = server.refused(request(spec)).await;
        assert_eq!(refused, (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned()));
    }
    std::fs::remove_dir_all(server.stop().await).unwrap();
}

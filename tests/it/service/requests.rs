//! Invalid requests, and artifacts.

use retouch::wire::v1::{
    self, CreateEditJobRequest, EditSpec, Image, edit_job::State, image::Source,
};
use tonic::Code;
use tonic_types::StatusExt;

use super::harness::{Harness, picture, reason, request, spec};

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_cannot_be_are_refused_with_their_field() {
    let server = Harness::new().await;
    for (field, expected, spec) in unsound().into_iter().chain(unsound_sources()) {
        let status = server.client.clone().create_edit_job(request(spec)).await.unwrap_err();
        assert_eq!(reason(&status).1, expected, "{field}: {status}");
        if !field.is_empty() {
            let fields = status.get_details_bad_request().unwrap().field_violations;
            assert!(fields.iter().any(|it| it.field == field), "{field}: {fields:?}");
        }
    }
    let request_id = "x".repeat(129);
    let long = CreateEditJobRequest { request_id, ..request(spec("e")) };
    assert_eq!(server.refused(long).await.1, "INVALID_ARGUMENT");
    assert!(server.store.all().is_empty(), "nothing was kept");
}

/// Clients take headers of some KiB: a longer status would break the connection, and tell nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_long_requests_fits_into_a_status() {
    let server = Harness::new().await;
    let reversed = v1::Rect { x0: 9.0, y0: 9.0, x1: 1.0, y1: 1.0 };
    let boxes = Some(v1::BoxSet { boxes: vec![reversed; 200] });
    let mask = Some(v1::Mask { boxes, ..Default::default() });
    let status =
        server.client.clone().create_edit_job(request(EditSpec { mask, ..spec("edit") })).await;
    let status = status.unwrap_err();
    assert_eq!(reason(&status).1, "INVALID_ARGUMENT");
    assert!(status.message().ends_with("more"), "{status}");
    assert!(status.get_details_bad_request().unwrap().field_violations.len() <= 8);

    let get = v1::GetEditJobRequest { name: "é".repeat(20_000) };
    let status = server.client.clone().get_edit_job(get).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "JOB_NOT_FOUND".to_owned()));
    assert!(status.message().len() <= 1024);

    let job = server.create(request(spec("edit"))).await;
    let cancel = v1::CancelEditJobRequest { name: job.name, reason: "x".repeat(10_000) };
    let status = server.client.clone().cancel_edit_job(cancel).await.unwrap_err();
    assert_eq!(reason(&status).1, "INVALID_ARGUMENT");
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_come_and_go_in_chunks() {
    let server = Harness::new().await;
    let bytes = picture(40);
    let name = upload(&server, &bytes).await;
    let request = v1::DownloadArtifactRequest { name: name.clone(), offset: 5 };
    let mut chunks = server.client.clone().download_artifact(request).await.unwrap().into_inner();
    let mut back = Vec::new();
    while let Some(chunk) = chunks.message().await.unwrap() {
        assert_eq!(chunk.offset, 5 + back.len() as u64);
        back.extend_from_slice(&chunk.data);
    }
    assert_eq!(back, bytes[5..]);

    let image = Some(Image { source: Some(Source::Artifact(name.clone())) });
    let job = server.create(super::harness::request(EditSpec { image, ..spec("edit") })).await;
    let delete = v1::DeleteArtifactRequest { name };
    let pinned = server.client.clone().delete_artifact(delete.clone()).await.unwrap_err();
    assert_eq!(reason(&pinned), (Code::FailedPrecondition, "ARTIFACT_PINNED".to_owned()));
    server.until(&job.name, State::Succeeded).await;
    let name = job.name;
    server.client.clone().delete_edit_job(v1::DeleteEditJobRequest { name }).await.unwrap();
    server.client.clone().delete_artifact(delete).await.unwrap();
}

fn data(bytes: &[u8]) -> Image {
    Image { source: Some(Source::Data(bytes.to_vec().into())) }
}

fn boxes(x0: f64, y0: f64, x1: f64, y1: f64) -> v1::Mask {
    let boxes = vec![v1::Rect { x0, y0, x1, y1 }];
    v1::Mask { boxes: Some(v1::BoxSet { boxes }), ..Default::default() }
}

fn clusters(ids: &[u32]) -> v1::Mask {
    let clusters = Some(v1::ClusterSelection { ids: ids.to_vec() });
    v1::Mask { clusters, ..Default::default() }
}

pub(crate) async fn upload(server: &Harness, bytes: &[u8]) -> String {
    use v1::upload_artifact_request::Data;
    let header = v1::UploadHeader { mime_type: "image/png".to_owned(), ..Default::default() };
    let mut pieces = vec![v1::UploadArtifactRequest { data: Some(Data::Header(header)) }];
    pieces.extend(
        bytes.chunks(50).map(|chunk| v1::UploadArtifactRequest {
            data: Some(Data::Chunk(chunk.to_vec().into())),
        }),
    );
    let pieces = tokio_stream::iter(pieces);
    server.client.clone().upload_artifact(pieces).await.unwrap().into_inner().name
}

/// Requests that can't be, each with the field and the reason that it is refused with.
fn unsound() -> Vec<(&'static str, &'static str, EditSpec)> {
    vec![
        ("spec.instruction", "INVALID_ARGUMENT", spec(" ")),
        ("spec.instruction", "INVALID_ARGUMENT", spec("!!!")),
        ("spec.instruction", "INVALID_ARGUMENT", spec("\u{feff}<lora:detail:1>")),
        ("spec.instruction", "INVALID_ARGUMENT", spec(&"x".repeat(2001))),
        ("spec.image", "INVALID_ARGUMENT", EditSpec { image: None, ..spec("e") }),
        ("spec.steps", "INVALID_ARGUMENT", EditSpec { steps: Some(0), ..spec("e") }),
        (
            "spec.text_guidance",
            "INVALID_ARGUMENT",
            EditSpec { text_guidance: Some(f64::NAN), ..spec("e") },
        ),
        (
            "spec.cluster_count",
            "INVALID_ARGUMENT",
            EditSpec { cluster_count: Some(33), ..spec("e") },
        ),
        ("spec.method", "INVALID_ARGUMENT", EditSpec { method: 77, ..spec("e") }),
        ("spec.mask_policy", "INVALID_ARGUMENT", EditSpec { mask_policy: -1, ..spec("e") }),
        ("spec.scheduler", "INVALID_ARGUMENT", EditSpec { scheduler: 9, ..spec("e") }),
        ("spec.model", "INVALID_ARGUMENT", EditSpec { model: "other".to_owned(), ..spec("e") }),
        (
            "spec.mask",
            "INVALID_ARGUMENT",
            EditSpec { mask: Some(v1::Mask::default()), ..spec("e") },
        ),
        (
            "spec.mask.boxes",
            "INVALID_ARGUMENT",
            EditSpec { mask: Some(boxes(9.0, 9.0, 3.0, 12.0)), ..spec("e") },
        ),
        (
            "spec.mask.clusters",
            "INVALID_ARGUMENT",
            EditSpec { mask: Some(clusters(&[1])), ..spec("e") },
        ),
        (
            "spec.mask.dilate_px",
            "INVALID_ARGUMENT",
            EditSpec {
                mask: Some(v1::Mask { dilate_px: 513, ..boxes(1.0, 1.0, 9.0, 9.0) }),
                ..spec("e")
            },
        ),
        (
            "spec.output.mime_type",
            "INVALID_ARGUMENT",
            EditSpec {
                output: Some(v1::OutputOptions {
                    mime_type: "image/gif".to_owned(),
                    quality: None,
                }),
                ..spec("e")
            },
        ),
        (
            "spec.ttl",
            "INVALID_ARGUMENT",
            EditSpec { ttl: Some(prost_types::Duration { seconds: 8000, nanos: 0 }), ..spec("e") },
        ),
        (
            "spec.review_timeout",
            "INVALID_ARGUMENT",
            EditSpec {
                review_timeout: Some(prost_types::Duration { seconds: -3, nanos: 0 }),
                ..spec("e")
            },
        ),
        (
            "spec.resize.fit",
            "INVALID_ARGUMENT",
            EditSpec {
                resize: Some(v1::Resize { size: Some(v1::resize::Size::Fit(1)) }),
                ..spec("e")
            },
        ),
    ]
}

/// Requests whose pictures, masks or names of earlier jobs can't be, in the same way.
fn unsound_sources() -> Vec<(&'static str, &'static str, EditSpec)> {
    vec![
        (
            "spec.mask",
            "BAD_MASK",
            EditSpec { mask: Some(boxes(1.0, 1.0, 99.0, 12.0)), ..spec("e") },
        ),
        ("spec.image", "BAD_IMAGE", EditSpec { image: Some(data(b"GIF89a....")), ..spec("e") }),
        ("spec.image", "BAD_IMAGE", EditSpec { image: Some(data(&picture(1)[..60])), ..spec("e") }),
        (
            "spec.mask",
            "BAD_MASK",
            EditSpec {
                mask: Some(v1::Mask { image: Some(data(b"no")), ..Default::default() }),
                ..spec("e")
            },
        ),
        (
            "spec.image",
            "ARTIFACT_NOT_FOUND",
            EditSpec {
                image: Some(Image { source: Some(Source::Artifact("artifacts/x".to_owned())) }),
                ..spec("e")
            },
        ),
        (
            "spec.reuse_localization_of",
            "JOB_NOT_FOUND",
            EditSpec { reuse_localization_of: "jobs/x".to_owned(), ..spec("e") },
        ),
    ]
}

/// Creates, deletes and counts of the same jobs at once: nothing waits for ever, and no artifact is unpinned twice.
#[tokio::test(flavor = "multi_thread")]
async fn deletes_creates_and_counts_at_once_neither_wait_for_each_other_nor_delete_twice() {
    let server = Harness::new().await;
    let image = upload(&server, &picture(7)).await;
    let source = Some(Source::Artifact(image.clone()));
    let of_image = EditSpec { image: Some(Image { source }), ..spec("edit") };
    let keeper = server.create(request(of_image.clone())).await;
    server.until(&keeper.name, State::Succeeded).await;
    for round in 0..10 {
        let request_id = format!("round-{round}");
        let asked = CreateEditJobRequest { request_id, ..request(of_image.clone()) };
        let job = server.create(asked.clone()).await;
        server.until(&job.name, State::Succeeded).await;
        let calls: Vec<_> = (0..12)
            .map(|number| {
                let (mut client, asked, name) =
                    (server.client.clone(), asked.clone(), job.name.clone());
                tokio::spawn(async move {
                    match number % 3 {
                        0 => client.create_edit_job(asked).await.map(drop),
                        1 => client.get_server_info(v1::GetServerInfoRequest {}).await.map(drop),
                        _ => client
                            .delete_edit_job(v1::DeleteEditJobRequest { name })
                            .await
                            .map(drop),
                    }
                })
            })
            .collect();
        let limit = std::time::Duration::from_secs(20);
        for call in calls {
            let ended = tokio::time::timeout(limit, call).await;
            drop(ended.expect("nothing waits for ever").unwrap());
        }
    }
    let name = image;
    let pinned = server.client.clone().delete_artifact(v1::DeleteArtifactRequest { name }).await;
    assert_eq!(
        reason(&pinned.unwrap_err()).1,
        "ARTIFACT_PINNED",
        "the first job still refers to it"
    );
}

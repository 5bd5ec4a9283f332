//! Edits by JSON and by forms, and what they answer.

use http::{Method, header};
use retouch::wire::v1::{EditJob, MaskPolicy, Modulation};
use serde_json::{Value, json};

use super::plain::{self, Form, ask, asked, data_uri, file, get};
use crate::service::harness::{Harness, picture};

/// The job behind an image of an answer.
async fn job(server: &Harness, image: &Value) -> EditJob {
    server.get(image["retouch"]["job"].as_str().unwrap()).await
}

/// Checks that an answer's only image is the result of the job that it names.
async fn check_only_image(server: &Harness, answer: &Value) -> EditJob {
    let data = answer["data"].as_array().unwrap();
    assert_eq!(data.len(), 1, "{answer}");
    let job = job(server, &data[0]).await;
    let result = job.result.clone().unwrap();
    let image = result.image.unwrap();
    assert_eq!(file(&data[0]["b64_json"]), image.inline);
    assert_eq!(data[0]["retouch"]["artifact"], image.name.as_str());
    assert_eq!(data[0]["retouch"]["seed"], result.provenance.unwrap().seed);
    assert_eq!(data[0]["retouch"]["size"], "16x16");
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn json_and_a_form_ask_for_the_same_job_and_get_its_result() {
    let server = Harness::new().await;
    let json = ask(&server, &asked(json!({})), &[]).await.good();
    let form = Form::of_edit().ask(&server, &[]).await.good();
    let [json, form] =
        [check_only_image(&server, &json).await, check_only_image(&server, &form).await];
    let specs = [json, form].map(|it| {
        let mut spec = it.spec.unwrap();
        assert_eq!(spec.instruction, "make the bee blue");
        assert_eq!((spec.steps, spec.seed), (Some(3), Some(1)));
        // Each has a file of its own.
        spec.image = None;
        spec
    });
    assert_eq!(specs[0], specs[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_the_fields_of_openais() {
    let server = Harness::new().await;
    let fields = asked(json!({"output_format": "png", "size": "1024x1024"}));
    let answer = ask(&server, &fields, &[]).await.good();
    assert!(answer["created"].as_u64().unwrap() > 1_700_000_000);
    assert_eq!(answer["output_format"], "png");
    for tokens in ["total_tokens", "input_tokens", "output_tokens"] {
        assert_eq!(answer["usage"][tokens], 0);
    }
    for tokens in ["text_tokens", "image_tokens"] {
        assert_eq!(answer["usage"]["input_tokens_details"][tokens], 0);
    }
    let warnings = answer["data"][0]["retouch"]["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|it| it["reason"] == "SIZE_KEPT"), "{warnings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_other_clients_send_is_taken() {
    let server = Harness::new().await;
    // Open WebUI: texts of a form, a size, a version in the query, and a model that may not be set.
    for model in ["script", "", "None"] {
        let form = Form::default()
            .text("model", model)
            .text("prompt", "make the bee blue")
            .text("n", "1")
            .text("size", "512x512")
            .text("response_format", "b64_json")
            .file("image[]", &picture(10));
        let kind = plain::form_type();
        let path = "/v1/images/edits?api-version=2025-04-01";
        let request = plain::request(Method::POST, path, &[("content-type", &kind)], form.bytes());
        plain::send(plain::address(&server), request).await.good();
    }
    // The official clients: what is not set is left out, null, or an empty text.
    let nulls = json!({
        "model": null, "n": null, "size": null, "quality": "auto", "background": null,
        "input_fidelity": null, "moderation": "auto", "response_format": null, "stream": false,
        "output_format": null, "output_compression": null, "partial_images": 0, "mask": null,
        "user": "user-1",
    });
    let answer = ask(&server, &asked(nulls), &[]).await.good();
    let job = job(&server, &answer["data"][0]).await;
    assert_eq!(job.spec.unwrap().labels["user"], "user-1");
    let newer = ask(&server, &asked(json!({"safety_identifier": "user-2"})), &[]).await.good();
    assert_eq!(self::job(&server, &newer["data"][0]).await.spec.unwrap().labels["user"], "user-2");
    Form::of_edit()
        .text("quality", "")
        .text("n", "null")
        .text("stream", "False")
        .ask(&server, &[])
        .await
        .good();
    // One part of JSON instead of a field for each.
    let form = Form::default().file("image", &picture(10)).text("prompt", "make the bee blue");
    let answer = form.text("retouch", r#"{"seed": 8, "steps": 2}"#).ask(&server, &[]).await.good();
    assert_eq!(answer["data"][0]["retouch"]["seed"], 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_modulation_can_be_asked_for() {
    let server = Harness::new().await;
    for (name, modulation) in [
        ("gate", Modulation::Gate),
        ("mask", Modulation::Mask),
        ("null", Modulation::Null),
        ("reference", Modulation::Reference),
        ("isolate", Modulation::Isolate),
    ] {
        let fields = asked(json!({"retouch": {"modulation": name}}));
        let answer = ask(&server, &fields, &[]).await.good();
        let spec = job(&server, &answer["data"][0]).await.spec.unwrap();
        assert_eq!(spec.modulation(), modulation, "{name}");
        // In a form null is no name, so that the default holds.
        let form = Form::of_edit().text("retouch[modulation]", name);
        let answer = form.ask(&server, &[]).await.good();
        let spec = job(&server, &answer["data"][0]).await.spec.unwrap();
        let expected = if name == "null" { Modulation::Gate } else { modulation };
        assert_eq!(spec.modulation(), expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn variants_share_a_localization_and_differ_in_their_seeds() {
    let server = Harness::new().await;
    let answer = ask(&server, &asked(json!({"n": 3})), &[]).await.good();
    let mut images = Vec::new();
    for (index, image) in answer["data"].as_array().unwrap().iter().enumerate() {
        assert_eq!(image["retouch"]["seed"], 1 + index as u64);
        let spec = job(&server, image).await.spec.unwrap();
        assert_eq!(spec.localize_seed, Some(1));
        images.push(spec.image);
    }
    assert_eq!(images.len(), 3);
    assert!(images.iter().all(|it| *it == images[0]), "the picture is kept once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mask_alone_can_be_asked_for() {
    let server = Harness::new().await;
    let only = json!({"retouch": {"mask_policy": "localize_only"}});
    let answer = ask(&server, &asked(only), &[]).await.good();
    let data = &answer["data"][0];
    assert!(data.get("b64_json").is_none());
    let job = job(&server, data).await;
    assert_eq!(job.spec.unwrap().mask_policy(), MaskPolicy::LocalizeOnly);
    assert_eq!(file(&data["retouch"]["mask_b64_json"]), job.result.unwrap().mask.unwrap().inline);
    // Another edit starts from what it has learned.
    let reused = json!({"retouch": {"reuse_localization_of": data["retouch"]["job"], "steps": 3}});
    let before = server.localize_steps.load(std::sync::atomic::Ordering::Relaxed);
    ask(&server, &asked(reused), &[]).await.good();
    assert_eq!(server.localize_steps.load(std::sync::atomic::Ordering::Relaxed), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_may_be_an_artifact_of_an_earlier_answer() {
    let server = Harness::new().await;
    let first = ask(&server, &asked(json!({})), &[]).await.good();
    let name = &first["data"][0]["retouch"]["artifact"];
    let next = asked(json!({"images": [{"image_url": name}]}));
    let next = ask(&server, &next, &[]).await.good();
    let spec = job(&server, &next["data"][0]).await.spec.unwrap();
    assert!(format!("{:?}", spec.image).contains(name.as_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_nothing_is_refused_by_its_field() {
    let server = Harness::new().await;
    let none = json!([{"image_url": "artifacts/x"}]);
    for (fields, code, param) in [
        (json!({"images": none}), "ARTIFACT_NOT_FOUND", "images"),
        (json!({"mask": none[0]}), "ARTIFACT_NOT_FOUND", "mask"),
        (json!({"retouch_mask": none[0]}), "ARTIFACT_NOT_FOUND", "retouch_mask"),
        (
            json!({"retouch": {"reuse_localization_of": "jobs/x"}}),
            "JOB_NOT_FOUND",
            "retouch.reuse_localization_of",
        ),
    ] {
        let answer = ask(&server, &asked(fields.clone()), &[]).await;
        assert_eq!(answer.error(), (404, code.to_owned(), Some(param.to_owned())), "{fields}");
    }
    assert!(server.store.all().is_empty(), "none has made a job");
}

#[tokio::test(flavor = "multi_thread")]
async fn results_come_in_the_format_that_is_asked_for() {
    let server = Harness::new().await;
    for (fields, mime_type, quality) in [
        (json!({"output_format": "jpeg", "output_compression": 80}), "image/jpeg", Some(80)),
        (json!({"output_format": "jpeg", "output_compression": 0}), "image/jpeg", Some(1)),
        (json!({"output_format": "webp", "output_compression": 100}), "image/webp", None),
        (json!({"output_format": "png"}), "image/png", None),
    ] {
        let answer = ask(&server, &asked(fields.clone()), &[]).await.good();
        assert_eq!(answer["output_format"], fields["output_format"]);
        let output = job(&server, &answer["data"][0]).await.spec.unwrap().output.unwrap();
        assert_eq!((output.mime_type.as_str(), output.quality), (mime_type, quality));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loaded_model_is_listed() {
    let server = Harness::new().await;
    let list = get(&server, "/v1/models").await;
    assert_eq!(
        (list.status, list.headers[header::CONTENT_TYPE].to_str().unwrap()),
        (200, "application/json")
    );
    let list = list.json();
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&list["data"][0]["id"], &list["data"][0]["object"]),
        (&json!("script"), &json!("model"))
    );
    assert!(list["data"][0]["created"].is_u64() && list["data"][0]["owned_by"].is_string());
    assert_eq!(get(&server, "/v1/models/script").await.json(), list["data"][0]);
    let unknown = get(&server, "/v1/models/gpt-image-1").await;
    assert_eq!(unknown.error(), (404, "model_not_found".to_owned(), Some("model".to_owned())));
    let unknown = ask(&server, &asked(json!({"model": "gpt-image-1"})), &[]).await;
    assert_eq!(unknown.error(), (404, "model_not_found".to_owned(), Some("model".to_owned())));
    ask(&server, &asked(json!({"model": "script"})), &[]).await.good();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_server_is_never_opened() {
    let server = Harness::new().await;
    for url in [
        "/etc/hostname",
        "file:///etc/hostname",
        "http://127.0.0.1/a.png",
        "https://a.example/b.png",
    ] {
        let answer = ask(&server, &asked(json!({"images": [{"image_url": url}]})), &[]).await;
        let expected = (400, "INVALID_ARGUMENT".to_owned(), Some("images.image_url".to_owned()));
        assert_eq!(answer.error(), expected, "{url}");
    }
    let file_id = asked(json!({"images": [{"file_id": "file-1"}]}));
    let answer = ask(&server, &file_id, &[]).await;
    assert_eq!(answer.error().2.as_deref(), Some("images.file_id"));
    let odd = data_uri(b"no picture");
    let answer = ask(&server, &asked(json!({"images": [{"image_url": odd}]})), &[]).await;
    assert_eq!(answer.error(), (400, "BAD_IMAGE".to_owned(), Some("images".to_owned())));
    let form = Form::default().file("image", b"no picture").text("prompt", "make the bee blue");
    let answer = form.ask(&server, &[]).await;
    assert_eq!(answer.error(), (400, "BAD_IMAGE".to_owned(), Some("image".to_owned())));
}

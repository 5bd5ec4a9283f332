//! Answers as server-sent events.

use std::time::Duration;

use http::header;
use retouch::wire::v1::edit_job::State;
use serde_json::{Value, json};

use super::plain::{Answer, Form, ask, asked, data_uri, file};
use crate::service::{harness::Harness, script::Script};

/// The events of an answer: name and data.
fn events(answer: &Answer) -> Vec<(String, Value)> {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers[header::CONTENT_TYPE], "text/event-stream");
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-cache");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let frames = text.split_terminator("\n\n").filter(|it| !it.starts_with(':'));
    let event = |frame: &str| {
        let (name, data) = frame.split_once('\n').unwrap();
        let name = name.strip_prefix("event: ").unwrap().to_owned();
        (name, serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap())
    };
    frames.map(event).collect()
}

/// Checks the fields that OpenAI's clients require of every event.
fn check_common(name: &str, data: &Value) {
    assert_eq!(data["type"], name);
    assert!(data["created_at"].as_u64().unwrap() > 1_700_000_000);
    for field in ["size", "quality", "background"] {
        assert_eq!(data[field], "auto", "{field}");
    }
    assert!(["png", "jpeg", "webp"].contains(&data["output_format"].as_str().unwrap()));
    assert!(!file(&data["b64_json"]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_images_come_before_the_image() {
    // Slow enough for every preview to be seen.
    let slow = Script::with_steps_of(Duration::from_millis(300));
    let server = Harness::real(None, || Box::new(slow)).await;
    for partial_images in 0..=3_usize {
        let fields =
            json!({"stream": true, "partial_images": partial_images, "retouch": {"steps": 4}});
        let events = events(&ask(&server, &asked(fields), &[]).await);
        let (last, partials) = events.split_last().unwrap();
        // A machine that is busy may have missed some.
        let least = partial_images.min(1);
        assert!((least..=partial_images).contains(&partials.len()), "{events:?}");
        let mut steps = Vec::new();
        for (index, (name, data)) in partials.iter().enumerate() {
            assert_eq!(name, "image_edit.partial_image");
            check_common(name, data);
            assert_eq!(data["partial_image_index"], index);
            let preview = image::load_from_memory(&file(&data["b64_json"])).unwrap().to_rgb8();
            assert_eq!(preview.dimensions(), (512, 512));
            // The script's previews tell their step.
            steps.push(preview.get_pixel(0, 0).0[0]);
        }
        let every = (4 / (partial_images as u8 + 1)).max(1);
        let spread: Vec<u8> = (1..=partial_images as u8).map(|it| it * every).collect();
        assert!(steps.is_sorted() && steps.iter().all(|it| spread.contains(it)), "{steps:?}");
        let (name, data) = last;
        assert_eq!(name, "image_edit.completed");
        check_common(name, data);
        assert_eq!(data["usage"]["total_tokens"], 0);
        assert_eq!(data["usage"]["input_tokens_details"]["image_tokens"], 0);
        let job = server.get(data["retouch"]["job"].as_str().unwrap()).await;
        assert_eq!(file(&data["b64_json"]), job.result.unwrap().image.unwrap().inline);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_may_ask_for_a_stream_of_several_variants() {
    let slow = Script::with_steps_of(Duration::from_millis(300));
    let server = Harness::real(None, || Box::new(slow)).await;
    let form = Form::of_edit().text("stream", "true").text("n", "2").text("partial_images", "1");
    let events = events(&form.ask(&server, &[]).await);
    let count = |kind| events.iter().filter(|(name, _)| name == kind).count();
    assert_eq!((count("image_edit.partial_image"), count("image_edit.completed")), (2, 2));
    let seeds: Vec<_> =
        events.iter().filter_map(|(_, it)| it["retouch"]["seed"].as_u64()).collect();
    assert_eq!(seeds.iter().sum::<u64>(), 1 + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_within_a_stream_ends_it() {
    let server = Harness::new().await;
    for (prompt, code, kind) in
        [("panic", "INTERNAL", "server_error"), ("no memory", "OUT_OF_MEMORY", "server_error")]
    {
        let fields = json!({"stream": true, "prompt": prompt, "n": 2});
        let events = events(&ask(&server, &asked(fields), &[]).await);
        let (name, data) = events.last().unwrap();
        assert_eq!((name.as_str(), &data["type"]), ("error", &json!("error")), "{events:?}");
        let error = &data["error"];
        assert_eq!((&error["code"], &error["type"]), (&json!(code), &json!(kind)));
        assert!(error["message"].is_string() && error["param"].is_null());
    }
    // What is wrong before the first event is an answer of its own.
    let odd = json!({"stream": true, "images": [{"image_url": data_uri(b"odd")}]});
    assert_eq!(ask(&server, &asked(odd), &[]).await.error().1, "BAD_IMAGE");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_jobs_have_their_status() {
    let server = Harness::new().await;
    for (prompt, status, code) in [("panic", 500, "INTERNAL"), ("no memory", 503, "OUT_OF_MEMORY")]
    {
        let answer = ask(&server, &asked(json!({"prompt": prompt})), &[]).await;
        assert_eq!(answer.error(), (status, code.to_owned(), None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_answers_its_caller() {
    let server = Harness::new().await;
    let fields = asked(json!({"retouch": {"steps": 1000}}));
    let cancel = async {
        let job = loop {
            let running =
                server.store.live().into_iter().find(|it| it.state() == State::Localizing);
            if let Some(job) = running {
                break job;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        server.cancel(&job.name()).await.unwrap();
    };
    let (answer, ()) = tokio::join!(ask(&server, &fields, &[]), cancel);
    assert_eq!(answer.error(), (409, "CANCELLED_BY_API".to_owned(), None));
}

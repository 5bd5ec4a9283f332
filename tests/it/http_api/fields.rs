//! Fields that are refused: which, with which code, and by which name.

use serde_json::{Value, json};

use super::plain::{Form, ask, asked, data_uri, transparent_left};
use crate::service::harness::{Harness, picture, white};

/// Error of a request whose field is wrong.
fn invalid(param: &str) -> (u16, String, Option<String>) {
    (400, "INVALID_ARGUMENT".to_owned(), Some(param.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_field_of_json_is_named() {
    let server = Harness::new().await;
    let picture = json!({"image_url": data_uri(&picture(10))});
    for (fields, param) in [
        (json!({"prompt": null}), "prompt"),
        (json!({"prompt": ""}), "prompt"),
        (json!({"prompt": 7}), "prompt"),
        (json!({"prompt": "x".repeat(2001)}), "prompt"),
        (json!({"images": null}), "images"),
        (json!({"images": []}), "images"),
        (json!({"images": [picture, picture]}), "images"),
        (json!({"images": picture}), "images"),
        (json!({"images": ["data:image/png;base64,AAAA"]}), "images"),
        (json!({"images": [{"image_url": "data:image/png,AAAA"}]}), "images.image_url"),
        (json!({"images": [{"image_url": "data:image/png;base64"}]}), "images.image_url"),
        (json!({"images": [{"image_url": "data:image/png;base64,A*A"}]}), "images.image_url"),
        (json!({"images": [{"image_url": "AAAA"}]}), "images.image_url"),
        (json!({"mask": {"file_id": "file-1"}}), "mask.file_id"),
        (json!({"mask": {"image_url": "https://a.example/m.png"}}), "mask.image_url"),
        (json!({"mask": {"image_url": data_uri(&white()), "more": 1}}), "mask"),
        (json!({"n": 0}), "n"),
        (json!({"n": 11}), "n"),
        (json!({"n": "2"}), "n"),
        (json!({"n": 1.5}), "n"),
        (json!({"size": "1024"}), "size"),
        (json!({"size": "0x5"}), "size"),
        (json!({"size": "+5x5"}), "size"),
        (json!({"response_format": "url"}), "response_format"),
        (json!({"output_format": "gif"}), "output_format"),
        (json!({"output_compression": 101}), "output_compression"),
        (json!({"output_compression": 50}), "output_compression"),
        (json!({"output_format": "webp", "output_compression": 50}), "output_compression"),
        (json!({"stream": "true"}), "stream"),
        (json!({"stream": true, "partial_images": 4}), "partial_images"),
        (json!({"user": 1}), "user"),
        (json!({"user": "u".repeat(256)}), "user"),
        (json!({"quality": "high"}), "quality"),
        (json!({"background": "transparent"}), "background"),
        (json!({"input_fidelity": "high"}), "input_fidelity"),
        (json!({"moderation": "low"}), "moderation"),
        (json!({"style": "vivid"}), "style"),
        (json!({"image": "a"}), "image"),
        (json!({"retouch": 1}), "retouch"),
        (json!({"retouch": {"seed": -1}}), "retouch.seed"),
        (json!({"retouch": {"steps": 0}}), "retouch.steps"),
        (json!({"retouch": {"preserve": "all"}}), "retouch.preserve"),
        (json!({"output_format": "jpeg", "retouch": {"preserve": "pixel"}}), "retouch.preserve"),
        (json!({"retouch": {"modulation": "attend"}}), "retouch.modulation"),
        (json!({"retouch": {"mask_policy": "review"}}), "retouch.mask_policy"),
        (json!({"retouch": {"mask_policy": "provided"}}), "mask"),
        (
            json!({"stream": true, "retouch": {"mask_policy": "localize_only"}}),
            "retouch.mask_policy",
        ),
        (json!({"retouch": {"return_mask": 1}}), "retouch.return_mask"),
        (json!({"retouch": {"tau": 0.5}}), "retouch.tau"),
    ] {
        let answer = ask(&server, &asked(fields.clone()), &[]).await;
        assert_eq!(answer.error(), invalid(param), "{fields}: {:?}", answer.json());
        let said = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(said.starts_with(param), "{said}");
        assert!(!said.contains("spec."), "{said}");
    }
    assert!(server.store.all().is_empty(), "none has made a job");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_part_of_a_form_is_named() {
    let server = Harness::new().await;
    let form = Form::of_edit;
    for (form, param) in [
        (form().text("n", "two"), "n"),
        (form().text("stream", "yes"), "stream"),
        (form().text("prompt", "again"), "prompt"),
        (form().file("image[]", &picture(11)), "image[]"),
        (form().file("mask", &transparent_left()).file("mask", &transparent_left()), "mask"),
        (form().file("mask", &transparent_left()).file("retouch_mask", &white()), "retouch_mask"),
        (form().text("retouch[tau]", "0.5"), "retouch.tau"),
        (form().text("retouch[seed]", "2"), "retouch[seed]"),
        (form().text("retouch", "{}"), "retouch"),
        (Form::default().text("retouch", "{").text("prompt", "a bee"), "retouch"),
        (form().text("retouch[a][b]", "1"), "retouch[a][b]"),
        (form().text("retouch[]", "1"), "retouch[]"),
        (form().text("strength", "0.5"), "strength"),
        (form().text("user", &"u".repeat(70_000)), "user"),
        (Form::default().text("prompt", "make the bee blue"), "image"),
        (Form::default().file("image", &picture(10)), "prompt"),
    ] {
        let answer = form.ask(&server, &[]).await;
        assert_eq!(answer.error(), invalid(param), "{:?}", answer.json());
    }
    let many = (0..70).fold(form(), |form, index| form.text(&format!("a{index}"), "1"));
    let answer = many.ask(&server, &[]).await;
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("64"), "{answer:?}");
    assert!(server.store.all().is_empty(), "none has made a job");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_neither_a_form_nor_json_is_refused() {
    let server = Harness::new().await;
    let json = asked(json!({})).to_string();
    for (kind, body, expected) in [
        ("text/plain", json.as_str(), (415, "UNSUPPORTED_MEDIA_TYPE")),
        ("multipart/form-data", json.as_str(), (415, "UNSUPPORTED_MEDIA_TYPE")),
        ("application/json", "", (400, "INVALID_MESSAGE")),
        ("application/json", "[]", (400, "INVALID_MESSAGE")),
        ("application/json", "{\"prompt\": \"a", (400, "INVALID_MESSAGE")),
        ("application/json", "{\"prompt\": \"\u{1}\"}", (400, "INVALID_MESSAGE")),
        ("multipart/form-data; boundary=x", "--x\r\n", (400, "INVALID_MESSAGE")),
        (
            "multipart/form-data; boundary=x",
            "--x\r\n\r\nno name\r\n--x--",
            (400, "INVALID_MESSAGE"),
        ),
        ("multipart/form-data; boundary=x", &json, (400, "INVALID_MESSAGE")),
    ] {
        let headers = [("content-type", kind)];
        let request = super::plain::request(
            http::Method::POST,
            "/v1/images/edits",
            &headers,
            body.to_owned(),
        );
        let answer = super::plain::send(super::plain::address(&server), request).await;
        let (status, code, _) = answer.error();
        assert_eq!((status, code.as_str()), expected, "{kind} {body:.20}: {:?}", answer.json());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_paths_and_methods_are_refused_in_the_same_shape() {
    let server = Harness::new().await;
    for (method, path, status, code) in [
        (http::Method::GET, "/v1/images/edits", 405, "METHOD_NOT_ALLOWED"),
        (http::Method::POST, "/v1/models", 405, "METHOD_NOT_ALLOWED"),
        (http::Method::DELETE, "/v1/models/script", 405, "METHOD_NOT_ALLOWED"),
        (http::Method::POST, "/v1/images/generations", 404, "NO_SUCH_PATH"),
        (http::Method::GET, "/v1/", 404, "NO_SUCH_PATH"),
        (http::Method::GET, "/v1", 404, "NO_SUCH_PATH"),
    ] {
        let request = super::plain::request(method.clone(), path, &[], "");
        let answer = super::plain::send(super::plain::address(&server), request).await;
        let error = answer.error();
        assert_eq!((error.0, error.1.as_str()), (status, code), "{method} {path}");
        let allow = answer.headers.get("allow").map(|it| it.to_str().unwrap().to_owned());
        let expected = if path.contains("edits") { "POST" } else { "GET,HEAD" };
        assert_eq!(allow.as_deref(), (status == 405).then_some(expected), "{method} {path}");
    }
    let described: Value = super::plain::get(&server, "/v1/openapi.json").await.json();
    assert_eq!(described["openapi"], "3.1.0");
}

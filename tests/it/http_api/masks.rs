//! Masks: OpenAI's, transparent = may change, and the server's own, white = may change.

use image::{Rgba, RgbaImage};
use retouch::wire::v1::MaskPolicy;
use serde_json::json;

use super::plain::{Answer, Form, ask, asked, data_uri, file, png, transparent_left};
use crate::service::harness::{Harness, white};

/// Levels of a row of the mask that the only job of an answer was given.
async fn given(server: &Harness, answer: &Answer) -> Vec<u8> {
    let answer = answer.good();
    let job = server.get(answer["data"][0]["retouch"]["job"].as_str().unwrap()).await;
    let spec = job.spec.unwrap();
    assert_eq!(spec.mask_policy(), MaskPolicy::Provided);
    let mask = format!("{:?}", spec.mask.unwrap().image.unwrap());
    let name = mask.split('"').nth(1).unwrap();
    let bytes = server.store.artifacts.read_all(name).unwrap();
    let mask = image::load_from_memory(&bytes).unwrap().to_luma8();
    (0..mask.width()).map(|x| mask.get_pixel(x, 5).0[0]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_transparent_may_change() {
    let server = Harness::new().await;
    let expected: Vec<u8> = (0..32).map(|x| if x < 16 { 255 } else { 0 }).collect();
    let form = Form::of_edit().file("mask", &transparent_left()).ask(&server, &[]).await;
    assert_eq!(given(&server, &form).await, expected);
    let mask = json!({"mask": {"image_url": data_uri(&transparent_left())}});
    let json = ask(&server, &asked(mask), &[]).await;
    assert_eq!(given(&server, &json).await, expected);
    // Half transparent is transparent; the color does not matter.
    let half =
        RgbaImage::from_fn(32, 24, |x, _| Rgba([255, 255, 255, if x < 4 { 127 } else { 128 }]));
    let form = Form::of_edit().file("mask", &png(&half)).ask(&server, &[]).await;
    let expected: Vec<u8> = (0..32).map(|x| if x < 4 { 255 } else { 0 }).collect();
    assert_eq!(given(&server, &form).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_white_may_change_in_the_servers_own_mask() {
    let server = Harness::new().await;
    let form = Form::of_edit().file("retouch_mask", &white()).ask(&server, &[]).await;
    assert_eq!(given(&server, &form).await, [255; 32]);
    let mask = json!({"retouch_mask": {"image_url": data_uri(&white())}});
    let json = ask(&server, &asked(mask), &[]).await;
    assert_eq!(given(&server, &json).await, [255; 32]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_found_mask_is_returned_if_it_is_asked_for() {
    let server = Harness::new().await;
    let plain = ask(&server, &asked(json!({})), &[]).await.good();
    assert!(plain["data"][0]["retouch"].get("mask_b64_json").is_none());
    assert!(plain["data"][0]["retouch"]["mask_artifact"].is_string());
    let fields = json!({"retouch": {"return_mask": true, "steps": 3}});
    let answer = ask(&server, &asked(fields), &[]).await.good();
    let retouch = &answer["data"][0]["retouch"];
    let bytes = server.store.artifacts.read_all(retouch["mask_artifact"].as_str().unwrap());
    assert_eq!(file(&retouch["mask_b64_json"]), bytes.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn masks_that_say_nothing_are_refused() {
    let server = Harness::new().await;
    let opaque = png(&RgbaImage::from_pixel(32, 24, Rgba([0, 0, 0, 255])));
    let other = png(&RgbaImage::from_pixel(64, 24, Rgba([0, 0, 0, 0])));
    let black = png(&RgbaImage::from_pixel(32, 24, Rgba([0, 0, 0, 255])));
    for (name, mask, code) in [
        ("mask", white().to_vec(), "EMPTY_MASK"),
        ("mask", opaque, "EMPTY_MASK"),
        ("mask", other, "BAD_MASK"),
        ("mask", b"no picture".to_vec(), "BAD_MASK"),
        ("retouch_mask", black, "EMPTY_MASK"),
    ] {
        let answer = Form::of_edit().file(name, &mask).ask(&server, &[]).await;
        let error = answer.error();
        let expected = (400, code.to_owned(), Some(name.to_owned()));
        assert_eq!(error, expected, "{:?}", answer.json());
    }
}

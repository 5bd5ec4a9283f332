//! Tests of edit records: what is written, read back, and refused.

use std::sync::Arc;

use image::RgbImage;
use proptest::prelude::*;

use super::{
    digests::{is_bidi, pass_one_digest},
    *,
};
use crate::edit::{
    choices::{MethodKind, PreviewDecode, Resize, Unparsed},
    edit_mask::MaskChoice,
};
use crate::picture::encode::Quality;

fn request() -> EditRequest {
    EditRequest {
        image: Arc::new(RgbImage::new(16, 16)),
        instruction: "make the bee a bird".to_owned(),
        negative_prompt: String::new(),
        method: MethodKind::IamEdit,
        object: None,
        action: None,
        verbatim: false,
        unparsed: Unparsed::PlainEdit,
        seed: u64::MAX,
        settings: EditSettings::paper(),
        mask: MaskChoice::default(),
        preview_every: 0,
        preview_decode: PreviewDecode::Linear,
    }
}

fn record(request: &EditRequest, localization: Localized) -> EditRecord {
    let picture = Picture { rgb: Arc::clone(&request.image), alpha: None, icc: None };
    let origin = RunEnvironment {
        model: "demo",
        model_digest: "ab",
        device: "cuda:1",
        dtype: "fp16",
        libtorch: "2.11.0",
        loras: &[],
    };
    let format = OutputFormat::Jpeg(Quality::try_from(80).unwrap());
    let made = MadePicture {
        origin,
        preset: None,
        picture: &picture,
        format,
        localization,
        confidence: Some(0.25),
        drift: None,
        later_masks: vec![],
    };
    EditRecord::of(request, &made)
}

#[test]
fn what_the_model_was_told_is_recorded_where_it_is_not_the_instruction() {
    let asked = |instruction: &str, verbatim| EditRequest {
        instruction: instruction.to_owned(),
        verbatim,
        ..request()
    };
    let natural = "could you please make the bee a bird?";
    let told = |request: &EditRequest| record(request, Localized::Here).told;
    assert_eq!(told(&asked(natural, false)).as_deref(), Some("make the bee a bird"));
    assert_eq!(told(&asked(natural, true)), None);
    assert_eq!(told(&request()), None);
    let written = record(&asked(natural, false), Localized::Here);
    assert_eq!(EditRecord::from_json(&written.to_json()).unwrap(), written);
    // It may decide what pass 1 finds, and a text that is told as it is has the digest of an earlier version.
    let digest = |request: &EditRequest| pass_one_digest(request);
    assert_ne!(digest(&asked(natural, false)), digest(&asked(natural, true)));
    assert_eq!(digest(&request()), digest(&EditRequest { verbatim: true, ..request() }));
}

#[test]
fn a_record_comes_back_from_its_text() {
    for made in [Localized::No, Localized::Here, Localized::Before("cd".to_owned())] {
        let record = record(&request(), made);
        assert_eq!(EditRecord::from_json(&record.to_json()).unwrap(), record);
    }
}

#[test]
fn it_says_of_pass_1_what_the_mask_came_from_and_no_more() {
    let text = |made| record(&request(), made).to_json();
    for key in ["\"k\"", "\"tau\"", "\"localizer\"", "\"localize_seed\""] {
        assert!(text(Localized::Here).contains(key), "{key}");
        assert!(!text(Localized::No).contains(key), "{key}");
        assert!(!text(Localized::Before("cd".to_owned())).contains(key), "{key}");
    }
    assert!(text(Localized::Before("cd".to_owned())).contains("\"localization_sha256\":\"cd\""));
    assert!(text(Localized::No).contains("\"device\":\"cuda\""), "the kind, not which of them");
}

#[test]
fn variants_keep_the_seed_of_their_localization() {
    let mut request = request();
    request.settings.localization.seed = Some(5);
    let record = record(&request, Localized::Here);
    assert_eq!((record.seed, record.pass_one.unwrap().localize_seed), (u64::MAX, 5));
}

#[test]
fn pass_1_is_named_by_all_that_decides_it() {
    let named = |change: fn(&mut EditRequest)| {
        let mut request = request();
        change(&mut request);
        pass_one_digest(&request)
    };
    let same = named(|_| ());
    for change in [
        (|it| it.seed = 1) as fn(&mut EditRequest),
        |it| it.instruction.push('s'),
        |it| it.negative_prompt.push('s'),
        |it| it.settings.tau = 0.5.try_into().unwrap(),
        |it| it.settings.guidance.text = 2.0.try_into().unwrap(),
        |it| it.settings.resize = Resize::Fit(Some(96)),
    ] {
        assert_ne!(named(change), same);
    }
    assert_eq!(named(|it| it.settings.steps = 3.try_into().unwrap()), same);
    assert_eq!(
        named(|it| {
            it.settings.localization.seed = Some(it.seed);
            it.seed = 1;
        }),
        same
    );
}

#[test]
fn differences_are_named_with_both_values() {
    let (one, mut other) =
        (record(&request(), Localized::Here), record(&request(), Localized::Here));
    assert!(one.differences(&other, &[]).is_empty());
    other.dtype = "fp32".to_owned();
    other.seed = 3;
    assert_eq!(one.differences(&other, &["seed"]), [r#"dtype "fp32" instead of "fp16""#]);
}

#[test]
fn texts_that_are_no_record_are_refused_by_what_is_wrong() {
    let good = record(&request(), Localized::Here).to_json();
    let deep = "[".repeat(100_000);
    for (text, words) in [
        (String::new(), "can't be read"),
        ("[]".to_owned(), "layout"),
        (r#"{"record": "2"}"#.to_owned(), "layout"),
        (r#"{"retouch": "0.1.0", "instruction": "x"}"#.to_owned(), "older version"),
        (good.replacen("\"record\":2", "\"record\":7", 1), "layout 7"),
        (good.replacen("\"loras\":[]", "\"loras\":[{\"name\":\"a\"}]", 1), "sha256"),
        (good.replacen("\"seed\":", "\"sied\":", 1), "seed"),
        (good.replacen('{', "{\"path\":\"/etc/passwd\",", 1), "`path`"),
        (good.replacen("\"tau\":0.3", "\"tau\":\"low\"", 1), "unknown or misplaced"),
        (good.replacen("\"boxes\":[]", "\"boxes\":[[1,2,3]]", 1), "can't be read"),
        (deep[..1000].to_owned(), "can't be read"),
        (deep, "bytes"),
        (good.replacen("\"method\"", "\"me\u{1b}[31mthod\u{202e}\"", 1), "can't be read"),
    ] {
        let message = EditRecord::from_json(&text).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
        assert!(message.chars().all(|it| !it.is_control() && !is_bidi(it)), "{message}");
        assert!(message.len() < 400, "{message}");
    }
}

#[test]
fn the_longest_record_fits_into_a_jpeg() {
    let mut request = request();
    // The character that takes most JSON: six bytes for one.
    let longest = "\u{1}".repeat(crate::wire::spec::MAX_TEXT);
    request.instruction.clone_from(&longest);
    request.negative_prompt.clone_from(&longest);
    request.object = Some(longest);
    request.mask.clusters = vec![32; 32];
    let mut record = record(&request, Localized::Here);
    // It is cleaned of controls.
    record.told = Some("\u{10400}".repeat(crate::wire::spec::MAX_TEXT));
    record.mask.png = Some("A".repeat((8 << 10) * 4 / 3 + 4));
    assert!(record.to_json().len() < MAX_BYTES, "{}", record.to_json().len());
}

proptest! {
    /// Any accepted value is read back bit for bit.
    #[test]
    fn numbers_come_back_bit_for_bit(value in 1.0f64..30.0, share in 0.0f64..0.5, seed: u64) {
        let mut request = EditRequest { seed, ..request() };
        request.settings.guidance.text = value.try_into().unwrap();
        request.settings.guidance.image = value.try_into().unwrap();
        request.settings.grow = share.try_into().unwrap();
        request.settings.tau = share.try_into().unwrap();
        request.settings.threshold = Some(share.try_into().unwrap());
        let record = record(&request, Localized::Here);
        let read = EditRecord::from_json(&record.to_json()).unwrap();
        prop_assert_eq!(read.text_guidance.0.to_bits(), value.to_bits());
        prop_assert_eq!(read.grow.0.to_bits(), share.to_bits());
        prop_assert_eq!(read, record);
    }

    /// Any text is either read or refused, without a panic.
    #[test]
    fn any_text_is_read_or_refused(at in 0usize..1500, with: char) {
        let mut text: Vec<char> = record(&request(), Localized::Here).to_json().chars().collect();
        let at = at % text.len();
        text[at] = with;
        let _ = EditRecord::from_json(&text.into_iter().collect::<String>());
    }
}

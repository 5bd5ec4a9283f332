//! Pictures reproduced from their own metadata (`--params-from`), and what is refused on the way.

use std::{fs, path::Path, sync::Arc};

use image::{GrayImage, Luma};
use predicates::{prelude::*, str::contains};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use retouch::picture::{
    Picture,
    encode::{self, OutputFormat, Tags},
    metadata::{Metadata, Policy},
    settings::read_settings,
};
use serde_json::{Value, json};

use super::{Desk, INSTRUCTION, said, scene, source};

/// The record in a file.
pub(crate) fn record(desk: &Desk, name: &str) -> Value {
    let bytes = fs::read(desk.path(name)).unwrap();
    serde_json::from_str(&read_settings(name, &bytes).unwrap().unwrap()).unwrap()
}

/// Makes a picture again, and finds the same file but for what says where it was made.
fn again(desk: &Desk, name: &str, more: &[&str]) {
    let out = format!("again-{name}");
    let mut edit = desk.retouch(["edit", "--params-from", name, "--force", "-o", &out]);
    let said = said(edit.arg(scene()).args(more));
    assert!(said.contains(&format!("again: every pixel of {name}")), "{name}: {said}");
    assert!(!said.contains("made with other settings"), "{name}: {said}");
    let [first, second] = [name, &out].map(|it| fs::read(desk.path(it)).unwrap());
    assert!(first == second, "{name}: {said}");
}

/// Writes the scene with a record of one's own.
fn forge(desk: &Desk, name: &str, text: &str) {
    fs::write(desk.path(name), with_record(&Picture::opaque(source()), text)).unwrap();
}

fn with_record(picture: &Picture, record: &str) -> Vec<u8> {
    let tags = Tags { record, metadata: &Metadata::default(), policy: Policy::Keep };
    encode::encode(picture, OutputFormat::Png, &tags).unwrap()
}

fn paint(desk: &Desk, name: &str, side: u32, is_white: impl Fn(u32, u32) -> bool) {
    let level = |x, y| Luma([if is_white(x, y) { 255 } else { 0 }]);
    GrayImage::from_fn(side, side, level).save(desk.path(name)).unwrap();
}

#[test]
fn every_kind_of_edit_is_made_again_from_its_file() {
    let desk = Desk::new();
    paint(&desk, "dots.png", 64, |x, y| (x * 7 + y * 3) % 5 == 0 && x > 20);
    let cases: &[(&str, &[&str])] = &[
        ("found.png", &["--tau", "0.25", "--k", "6", "--negative-prompt", "a <tree> & \"more\""]),
        ("boxes.png", &["--box", "8,16,24,48", "--box", "40,0,64,10", "--feather", "3"]),
        ("painted.png", &["--mask", "dots.png", "--box", "0,0,9,9", "--invert-mask"]),
        ("clusters.png", &["--clusters", "2,3", "--dilate", "2", "--localize-seed", "11"]),
        ("plain.png", &["--method", "instruct-pix2pix", "--text-guidance", "6.283185307179586"]),
        ("masked.png", &["--method", "instruct-pix2pix", "--box", "8,16,24,48"]),
        ("paper.png", &["--preset", "paper", "--localize-steps", "2", "--object", "the star"]),
        ("small.webp", &["--size", "fit:48", "--scheduler", "ddim", "--preserve", "latent"]),
        ("lossy.jpg", &["--quality", "60", "--localizer", "attention", "--threshold", "0.4"]),
        ("whole.png", &["--action", "global", "--modulation", "null"]),
        ("verbatim.png", &["--verbatim"]),
    ];
    for (name, args) in cases {
        desk.edit(["-o", name, "--seed", "7"].iter().chain(*args).copied()).assert().success();
        again(&desk, name, &[]);
    }
    // What the model was told is recorded where it was not the instruction itself.
    for (name, asked, args) in [
        ("told.png", "could you dye the red star blue?", &[][..]),
        ("typed.png", "could you dye the red star blue?", &["--verbatim"]),
        ("added.png", "I'd like a white heart at the top", &[]),
        ("boxed.png", "could you dye the red star blue?", &["--box", "8,16,24,48"]),
    ] {
        let mut edit = desk.retouch(["edit"]);
        edit.arg(scene()).args([asked, "--steps", "2", "--seed", "7", "-o", name]).args(args);
        edit.assert().success();
        again(&desk, name, &[]);
    }
    let told = |name| record(&desk, name).get("told").cloned();
    assert_eq!(told("told.png"), Some("make the red star blue".into()));
    assert_eq!(told("added.png"), Some("add a white heart at the top".into()));
    assert_eq!([told("typed.png"), told("found.png")], [None, None]);
    let [told, typed] = ["told.png", "typed.png"].map(|it| desk.picture(it));
    assert_ne!(told, typed);
    // Without `-o` the type is the recorded one, too.
    fs::copy(scene(), desk.path("scene.png")).unwrap();
    desk.retouch(["edit", "scene.png", "--params-from", "lossy.jpg"]).assert().success();
    let [first, second] =
        ["lossy.jpg", "scene.edited.jpg"].map(|it| fs::read(desk.path(it)).unwrap());
    assert!(first == second);
}

#[test]
fn whatever_flags_an_edit_had_its_file_makes_it_again() {
    let desk = Desk::new();
    paint(&desk, "left.png", 64, |x, y| x + y / 3 < 30);
    let flag = |name: &'static str, values: &'static [&'static str]| {
        prop::option::of(prop::sample::select(values)).prop_map(move |it| it.map(|it| (name, it)))
    };
    let flags = (
        (0u64..u64::MAX, 1.0f64..30.0, 0.0f64..10.0),
        flag("--box", &["3,4,50,60", "10%,10%,90%,55%"]),
        flag("--mask", &["left.png"]),
        flag("--clusters", &["1", "2,4"]),
        flag("--dilate", &["1", "5"]),
        flag("--negative-prompt", &["blur", "ünïcödé \"<&>\""]),
        flag("--scheduler", &["euler", "dpm-solver++-2m"]),
        flag("--size", &["fit:32", "fit:80", "native"]),
        flag("--preserve", &["none", "latent"]),
        flag("--grow", &["0", "0.123456789012345678"]),
    );
    let mut runner = TestRunner::new_with_rng(
        Config { cases: 6, max_shrink_iters: 4, failure_persistence: None, ..Config::default() },
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let drawn = runner.run(&flags, |((seed, text, image), a, b, c, d, e, f, g, h, i)| {
        let numbers = [seed.to_string(), text.to_string(), image.to_string()];
        let [seed, text, image] = &numbers;
        let mut args = vec!["-o", "drawn.png", "--force", "--seed", seed];
        args.extend(["--text-guidance", text, "--image-guidance", image]);
        // A mask of shapes alone that nothing keeps to leaves `--grow` nothing to do.
        let grow = i.filter(|_| {
            h != Some(("--preserve", "none")) || c.is_some() || (a.is_none() && b.is_none())
        });
        let given = [a, b, c, d, e, f, g, h, grow].into_iter().flatten();
        args.extend(given.flat_map(|(name, value)| [name, value]));
        desk.edit(args).assert().success();
        again(&desk, "drawn.png", &[]);
        Ok(())
    });
    drawn.unwrap();
}

#[test]
fn a_record_says_what_decided_the_pixels_and_nothing_else() {
    let desk = Desk::new();
    for (name, args) in [
        ("one.png", ["--box", "8,16,24,48"]),
        ("two.png", ["--box", "9,16,24,48"]),
        ("found.png", ["--clusters", "2"]),
    ] {
        desk.edit(["-o", name, "--seed", "7"].into_iter().chain(args)).assert().success();
    }
    let [one, two, found] = ["one.png", "two.png", "found.png"].map(|it| record(&desk, it));
    assert_eq!(one["mask"]["boxes"], json!([[8, 16, 24, 48]]));
    assert_ne!(one["mask"], two["mask"]);
    assert_eq!((one.get("tau"), one.get("k")), (None, None), "no pass 1 was made");
    assert_eq!((&found["mask"]["clusters"], &found["localize_seed"]), (&json!([2]), &json!(7)));
    assert!(found["k"].is_u64() && found["tau"].is_f64());
    for key in ["retouch", "libtorch", "model_digest", "picture_sha256", "dtype"] {
        assert!(one[key].as_str().is_some_and(|it| !it.is_empty()), "{key}");
    }
    assert_eq!((&one["device"], &one["loras"]), (&json!("cpu"), &json!([])));
    // Nothing of where files lie.
    assert!(!one.to_string().contains(env!("CARGO_MANIFEST_DIR")), "{one}");
    assert!(!one.to_string().contains("assets"), "{one}");
}

#[test]
fn each_variant_is_made_again_with_the_mask_that_all_of_them_share() {
    let desk = Desk::new();
    desk.edit(["-o", "v.png", "--seed", "5", "-n", "3"]).assert().success();
    desk.edit(["-o", "six.png", "--seed", "6"]).assert().success();
    let second = record(&desk, "v-2.png");
    assert_eq!((&second["seed"], &second["localize_seed"]), (&json!(6), &json!(5)));
    assert_ne!(second, record(&desk, "six.png"));
    for name in ["v-1.png", "v-2.png", "v-3.png"] {
        again(&desk, name, &[]);
    }
    let typed = ["-o", "typed.png", "--seed", "6", "--localize-seed", "5"];
    desk.edit(typed).assert().success();
    assert_eq!(desk.picture("typed.png"), desk.picture("v-2.png"));
    // Another seed makes a variant, with the same mask.
    let mut edit = desk.retouch(["edit", "--params-from", "v-1.png", "--seed", "6", "-o", "w.png"]);
    let said = said(edit.arg(scene()));
    assert_eq!(desk.picture("w.png"), desk.picture("v-2.png"));
    assert!(!said.contains("again:") && !said.contains("differ"), "{said}");
}

#[test]
fn what_a_record_does_not_hold_is_given_anew_and_must_be_the_same() {
    let desk = Desk::new();
    for (name, seed, k) in [("found.json", "7", "10"), ("other.json", "8", "4")] {
        let args = ["localize", "--save", name, "--seed", seed, "--k", k, "-o", "m.png", "--force"];
        desk.retouch(args).arg(scene()).arg(INSTRUCTION).assert().success();
    }
    let given = ["--localization", "found.json", "--clusters", "2,3", "--seed", "7"];
    desk.edit(["-o", "out.png"].into_iter().chain(given)).assert().success();
    let record = record(&desk, "out.png");
    assert_eq!(record["localization_sha256"].as_str().unwrap().len(), 64);
    assert_eq!((record.get("k"), record.get("localize_seed")), (None, None));
    again(&desk, "out.png", &["--localization", "found.json"]);

    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 30) as u8 * 80
    };
    let large = GrayImage::from_fn(400, 400, |_, _| Luma([noise()]));
    large.save(desk.path("large.png")).unwrap();
    image::imageops::resize(&source(), 400, 400, image::imageops::FilterType::Triangle)
        .save(desk.path("scene.png"))
        .unwrap();
    let masked = ["edit", "scene.png", INSTRUCTION, "--steps", "1", "--mask", "large.png"];
    desk.retouch(masked).args(["-o", "masked.png"]).assert().success();
    paint(&desk, "half.png", 400, |x, _| x < 200);

    let replay = |of: &str, more: &[&str]| {
        let mut edit = desk.retouch(["edit", "--params-from", of, "-o", "no.png"]);
        let image = if of == "masked.png" { desk.path("scene.png") } else { scene() };
        edit.arg(image).args(more).assert()
    };
    for (of, more, words) in [
        ("out.png", &[][..], "give that one again with --localization"),
        ("out.png", &["--localization", "other.json"], "another localization"),
        ("out.png", &["--localization", "found.json", "--box", "0,0,9,9"], "without a given mask"),
        ("masked.png", &[], "give that one again with --mask"),
        ("masked.png", &["--mask", "half.png"], "another mask"),
        ("masked.png", &["--mask", "large.png", "--localization", "found.json"], "localization"),
    ] {
        replay(of, more).code(3).stderr(contains(words));
    }
    assert!(!desk.path("no.png").exists());
    replay("masked.png", &["--mask", "large.png"]).success().stderr(contains("again: every pixel"));
}

#[test]
fn other_pictures_models_and_flags_are_refused() {
    let desk = Desk::new();
    desk.edit(["-o", "out.png", "--seed", "7", "--box", "8,16,24,48"]).assert().success();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let other = root.join("assets/heldout/image/recolor-065.png").display().to_string();
    let model = root.join("tests/fixtures/models/sd1").display().to_string();
    let image = scene().display().to_string();
    let cases: &[(&[&str], i32, &str)] = &[
        (&[&other], 3, "is not the picture that it was made from"),
        (&[&image, "--model", &model], 3, "another model, called `demo-model`"),
        (&[&image, "--steps", "3"], 2, "--steps is set by the record"),
        (&[&image, "--negative-prompt", ""], 2, "--negative-prompt is set by"),
        (&[&image, "--method", "iam-edit"], 2, "--method is set by"),
        (&[&image, "remove the star"], 2, "INSTRUCTION is set by"),
        (&[&image, "--mask", "out.png"], 3, "another mask"),
        (&[&image, "--params-from", "missing.png"], 3, "missing.png"),
        (&[&image, "--params-from", &image], 3, "holds no record"),
    ];
    for (args, code, words) in cases {
        let mut edit = desk.retouch(["edit", "-o", "no.png"]);
        if !args.contains(&"--params-from") {
            edit.args(["--params-from", "out.png"]);
        }
        let run = edit.args(*args).assert().code(*code);
        run.stderr(contains(*words).and(contains("error: ")));
        assert!(!desk.path("no.png").exists(), "{args:?}");
    }
    // What of the input's metadata goes along is nobody's setting; without any there is no record.
    let strip = ["edit", "--params-from", "out.png", "--metadata", "strip", "-o", "bare.png"];
    desk.retouch(strip).arg(scene()).assert().success();
    assert_eq!(desk.picture("bare.png"), desk.picture("out.png"));
    let mut edit = desk.retouch(["edit", "--params-from", "bare.png", "-o", "no.png"]);
    edit.arg(scene()).assert().code(3).stderr(contains("holds no record"));
    // A picture that was painted over since is made again as it was, and the difference told.
    let mut painted = image::open(desk.path("out.png")).unwrap().to_rgb8();
    painted.put_pixel(30, 30, image::Rgb([1, 2, 3]));
    let text = record(&desk, "out.png").to_string();
    let painted = Picture { rgb: Arc::new(painted), alpha: None, icc: None };
    fs::write(desk.path("painted.png"), with_record(&painted, &text)).unwrap();
    let mut edit = desk.retouch(["edit", "--params-from", "painted.png", "-o", "same.png"]);
    let said = said(edit.arg(scene()));
    assert!(said.contains("1 of 4096 pixels differ from those of painted.png"), "{said}");
    assert_eq!(desk.picture("same.png"), desk.picture("out.png"));
}

#[test]
fn records_that_cannot_be_are_refused_by_the_value() {
    let desk = Desk::new();
    desk.edit(["-o", "out.png", "--seed", "7", "--box", "8,16,24,48"]).assert().success();
    let good = record(&desk, "out.png");
    let cases: &[(&str, Value, &str)] = &[
        ("steps", json!(0), "steps is 0"),
        ("steps", json!(-1), "can't be read"),
        ("text_guidance", json!("inf"), "text guidance is inf"),
        ("size", json!("fit:4"), "`size` is `fit:4`"),
        ("method", json!("rm -rf /"), "`method` is `rm -rf /`"),
        ("instruction", json!(""), "the instruction is empty"),
        ("instruction", json!("a".repeat(2001)), "2001 characters"),
        ("instruction", json!("a".repeat(70_000)), "bytes"),
        ("record", json!(9), "layout 9"),
        ("mask", json!([]), "can't be read"),
        (
            "mask",
            json!({"boxes": [[0, 0, 999, 9]], "sha256": "", "clusters": [], "invert": false, "dilate": 0, "feather": 0}),
            "outside",
        ),
        ("loras", json!([{"name": "x"}]), "sha256"),
        ("loras", json!([{"name": "x", "sha256": "ab", "scale": 1.0}]), "give --lora x:1"),
        ("model_path", json!("/etc/passwd"), "`model_path`"),
    ];
    for (key, value, words) in cases {
        let mut record = good.clone();
        record[*key] = value.clone();
        forge(&desk, "forged.png", &record.to_string());
        let mut edit = desk.retouch(["edit", "--params-from", "forged.png", "-o", "no.png"]);
        let run = edit.arg(scene()).assert().code(3);
        run.stderr(contains("forged.png: ").and(contains(*words)));
    }
    // What retouch wrote before it kept masks.
    forge(
        &desk,
        "old.png",
        r#"{"retouch":"0.1.0","model":"demo-model","instruction":"x","seed":7,"steps":2}"#,
    );
    let mut edit = desk.retouch(["edit", "--params-from", "old.png", "-o", "no.png"]);
    edit.arg(scene()).assert().code(3).stderr(contains("older version"));
    // A setting of the model's own that the record says otherwise is told.
    let mut record = good.clone();
    record["blend"] = json!(!record["blend"].as_bool().unwrap());
    record["libtorch"] = json!("1.0");
    forge(&desk, "forged.png", &record.to_string());
    let mut edit = desk.retouch(["edit", "--params-from", "forged.png", "-o", "told.png"]);
    let said = said(edit.arg(scene()));
    assert!(said.contains("made with other settings") && said.contains("blend"), "{said}");
    assert!(said.contains(r#"libtorch "2.11.0" instead of "1.0""#), "{said}");
}

#[test]
fn flags_that_would_change_nothing_are_refused() {
    let desk = Desk::new();
    let mut localize = desk.retouch(["localize", "--localize-steps", "1", "-o", "mask.png"]);
    localize.arg(scene()).args([INSTRUCTION, "--save", "found.json"]).assert().success();
    let saved = ["--localization", "found.json"];
    let boxed = ["--box", "0,0,32,32"];
    let plain = ["--method", "instruct-pix2pix"];
    let cases: &[(&[&str], &[&str])] = &[
        (&saved, &["--k", "3"]),
        (&saved, &["--tau", "0.5"]),
        (&saved, &["--localizer", "attention"]),
        (&saved, &["--localize-steps", "3"]),
        (&saved, &["--localize-seed", "3"]),
        (&boxed, &["--score", "auto"]),
        (&boxed, &["--object", "the star"]),
        (&boxed, &["--refine"]),
        (&boxed, &["--localization", "found.json"]),
        (&plain, &["--threshold", "0.5"]),
        (&plain, &["--modulation", "gate"]),
        (&["--localizer", "diffedit"], &["--k", "3"]),
        (&["--preserve", "latent"], &["--feather", "3"]),
    ];
    for (beside, flag) in cases {
        let args = ["-o", "no.png"].iter().chain(*beside).chain(*flag).copied();
        let run = desk.edit(args).assert().code(2);
        run.stderr(contains(format!("{} changes nothing", flag[0])));
        assert!(!desk.path("no.png").exists());
    }
}

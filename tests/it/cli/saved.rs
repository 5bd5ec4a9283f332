//! Saved localizations, and their refusal for edits of another object.

use std::{fs, path::Path};

use predicates::{prelude::*, str::contains};
use serde_json::{Value, json};

use super::{Desk, INSTRUCTION, said, scene};

/// A desk with a localization of the red star.
fn desk() -> Desk {
    let desk = Desk::new();
    let mut localize =
        desk.retouch(["localize", "--localize-steps", "2", "--seed", "7", "-o", "mask.png"]);
    localize.arg(scene()).args([INSTRUCTION, "--save", "found.json"]).assert().success();
    desk
}

/// An edit with it.
fn edit(desk: &Desk, instruction: &str, args: &[&str]) -> assert_cmd::Command {
    let mut edit =
        desk.retouch(["edit", "--steps", "1", "--seed", "7", "--force", "-o", "out.png"]);
    edit.arg(scene()).arg(instruction).args(["--localization", "found.json"]).args(args);
    edit
}

#[test]
fn another_wording_is_taken_and_another_object_refused() {
    let desk = desk();
    for same in [INSTRUCTION, "remove the red star", "turn the Red Star into a square"] {
        let said = said(&mut edit(&desk, same, &[]));
        // A single step may do too little, which is told of the edit and not of its localization.
        let of_reuse =
            said.lines().find(|it| it.contains("warning") && it.contains("localization"));
        assert!(of_reuse.is_none(), "{same}: {said}");
    }
    fs::remove_file(desk.path("out.png")).unwrap();
    for other in ["remove the blue square", "make the star green", "add a hat to the man"] {
        let run = edit(&desk, other, &[]).assert().code(3);
        run.stderr(contains("found.json: the localization is for `red star`"));
    }
    assert!(!desk.path("out.png").exists());
    // Whoever says that it is meant, is believed.
    edit(&desk, "make the star green", &["--object", "the red star"]).assert().success();
    for unclear in ["make it snow", "colorless green ideas", "add a red star"] {
        edit(&desk, unclear, &[]).assert().success().stderr(contains("warning: "));
    }
    let strict = edit(&desk, "colorless green ideas", &["--strict"]).assert();
    strict.failure().stderr(contains("found.json: "));
}

#[test]
fn another_model_is_refused() {
    let desk = desk();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo-model");
    for part in ["", "scheduler", "text_encoder", "tokenizer", "unet", "vae"] {
        fs::create_dir_all(desk.path("model").join(part)).unwrap();
        for entry in fs::read_dir(from.join(part)).unwrap().map(Result::unwrap) {
            if entry.path().is_file() {
                let to = desk.path("model").join(part).join(entry.file_name());
                fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    edit(&desk, INSTRUCTION, &["--model", "model"]).assert().success();
    let settings = fs::read_to_string(desk.path("model/retouch.json")).unwrap();
    let mut settings: Value = serde_json::from_str(&settings).unwrap();
    settings["tau"] = json!(0.5);
    fs::write(desk.path("model/retouch.json"), settings.to_string()).unwrap();
    let run = edit(&desk, INSTRUCTION, &["--model", "model"]).assert().code(3);
    run.stderr(contains("found.json: it was made with another model"));
}

type Change = fn(&mut Value);

#[test]
fn files_that_were_changed_by_hand_are_read_or_refused_whole() {
    let desk = desk();
    let text = fs::read_to_string(desk.path("found.json")).unwrap();
    let good: Value = serde_json::from_str(&text).unwrap();
    let changes: &[(&str, Change)] = &[
        ("`labels`", |it| it["labels"][0] = json!(99)),
        ("`area`", |it| it["clusters"][0]["area"] = json!(0.99)),
        ("`score`", |it| it["clusters"][0]["score"] = json!(-3.0)),
        ("`words`", |it| it["words"][0]["values"][0] = json!(1e39)),
        ("`resolution`", |it| it["resolution"] = json!([1_000_000, 1_000_000])),
        ("`clusters`", |it| {
            for cluster in it["clusters"].as_array_mut().unwrap() {
                cluster["selected"] = json!(false);
            }
        }),
        ("unknown field", |it| it["command"] = json!("rm")),
    ];
    for (words, change) in changes {
        let mut file = good.clone();
        change(&mut file);
        fs::write(desk.path("found.json"), file.to_string()).unwrap();
        let run = edit(&desk, INSTRUCTION, &[]).assert().code(3);
        run.stderr(contains("found.json: not a saved localization").and(contains(*words)));
    }
    // Files of the version before are read.
    let mut file = good;
    file["version"] = json!(1);
    file.as_object_mut().unwrap().remove("asked");
    fs::write(desk.path("found.json"), file.to_string()).unwrap();
    edit(&desk, INSTRUCTION, &[]).assert().success();
    // A file without end is not read to it.
    let large = fs::File::create(desk.path("found.json")).unwrap();
    large.set_len(65 << 20).unwrap();
    edit(&desk, INSTRUCTION, &[]).assert().code(3).stderr(contains("larger than 67108864 bytes"));
}

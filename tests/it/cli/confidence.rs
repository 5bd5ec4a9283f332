//! Confidence of a localization: how it is printed and stored, and the handling of objects found with low confidence.

use std::fs;

use assert_cmd::Command;
use predicates::{prelude::PredicateBooleanExt, str::contains};
use retouch::picture::settings::read_settings;
use serde_json::{Value, json};

use super::{Desk, INSTRUCTION, scene};

/// Of something that no drawn scene holds.
const ABSENT: &str = "make the unicorn yellow";

fn edit(desk: &Desk, instruction: &str, args: &[&str]) -> Command {
    let mut command = desk.retouch(["edit"]);
    command.arg(scene()).arg(instruction).args(["--steps", "2", "--seed", "7", "--force"]);
    command.args(["-o", "out.png"]).args(args);
    command
}

/// The lines of a `--json` run with this key.
fn events(command: &mut Command, key: &str) -> Vec<Value> {
    let output = command.output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|it| it.get(key).cloned()).collect()
}

#[test]
fn an_object_that_is_not_there_is_warned_of_and_refused_where_strict() {
    let desk = Desk::new();
    let run = edit(&desk, ABSENT, &[]).assert().success();
    run.stderr(
        contains("`unicorn` was found with a confidence of 0.").and(contains("confidence: 0.")),
    );
    fs::remove_file(desk.path("out.png")).unwrap();
    let strict = edit(&desk, ABSENT, &["--strict"]).assert().code(10);
    strict.stderr(contains("it may not be in the picture; name another object"));
    assert!(!desk.path("out.png").exists());
    // What is there is found surely, and a caller may ask for more or for less.
    edit(&desk, INSTRUCTION, &["--strict"]).assert().success();
    edit(&desk, INSTRUCTION, &["--strict", "--min-confidence", "1"]).assert().code(10);
    edit(&desk, ABSENT, &["--strict", "--min-confidence", "0"]).assert().success();
    // A mask of one's own needs no localization; an addition is not there yet; a style has no object.
    edit(&desk, ABSENT, &["--strict", "--box", "10,10,30,30"]).assert().success();
    edit(&desk, "add a black cross at the top", &["--strict"]).assert().success();
}

#[test]
fn programs_read_the_confidence_in_the_events_and_in_the_file() {
    let desk = Desk::new();
    for (instruction, is_there) in [(INSTRUCTION, true), (ABSENT, false)] {
        let mut run = edit(&desk, instruction, &["--json"]);
        let localized = events(&mut run, "localized");
        let confidence = localized[0]["confidence"].as_f64().unwrap();
        assert_eq!(confidence >= 0.5, is_there, "{instruction}: {confidence}");
        let warned = events(&mut edit(&desk, instruction, &["--json"]), "warning");
        let warned = warned.iter().any(|it| it["reason"] == "LOW_CONFIDENCE");
        assert_eq!(warned, !is_there, "{instruction}");
        let bytes = fs::read(desk.path("out.png")).unwrap();
        let settings = read_settings("out.png", &bytes).unwrap().unwrap();
        let settings: Value = serde_json::from_str(&settings).unwrap();
        assert_eq!(
            (&settings["confidence"], &settings["min_confidence"]),
            (&json!(confidence), &json!(0.5))
        );
    }
    let added = events(&mut edit(&desk, "add a black cross at the top", &["--json"]), "localized");
    assert_eq!(added[0]["confidence"], Value::Null);
}

#[test]
fn a_saved_localization_carries_its_confidence() {
    let desk = Desk::new();
    let mut localize = desk.retouch(["localize"]);
    localize.arg(scene()).args([ABSENT, "--seed", "7", "-o", "mask.png", "--save", "found.json"]);
    localize.assert().success().stderr(contains("may not be in the picture"));
    let saved: Value = serde_json::from_slice(&fs::read(desk.path("found.json")).unwrap()).unwrap();
    assert!(saved["confidence"].as_f64().unwrap() < 0.5);
    let with =
        |args: &[&str]| edit(&desk, ABSENT, &[&["--localization", "found.json"], args].concat());
    with(&[]).assert().success().stderr(contains("may not be in the picture"));
    with(&["--strict"]).assert().code(10);
    // Files from before the figure have none, and are used as before.
    let mut older = saved;
    older.as_object_mut().unwrap().remove("confidence");
    fs::write(desk.path("found.json"), older.to_string()).unwrap();
    with(&["--strict"]).assert().success();
}

#[test]
fn a_models_confidence_is_measured_on_objects_that_are_there_and_that_are_not() {
    let desk = Desk::new();
    let line = |id: &str, instruction: &str, absent: Value| {
        json!({"id": id, "image": scene(), "instruction": instruction, "absent": absent})
            .to_string()
    };
    let lines = [
        line("a", INSTRUCTION, json!("no")),
        line("b", "remove the red star", json!(false)),
        line("c", ABSENT, json!("word")),
        line("d", "make it snow", json!("no")),
    ];
    fs::write(desk.path("items.jsonl"), lines.join("\n")).unwrap();
    let bench = |args: &[&str]| {
        let mut bench = desk.retouch(["bench", "confidence", "items.jsonl", "--seed", "7"]);
        bench.args(args);
        bench
    };
    bench(&[])
        .assert()
        .success()
        .stdout(contains("AUROC").and(contains("Of 2 objects that are there")));
    let items = events(&mut bench(&["--json"]), "item");
    assert_eq!(items.len(), 3);
    assert_eq!((&items[2]["absent"], &items[0]["absent"]), (&json!("word"), &Value::Null));
    assert!(items[0]["evidence"]["spread"].as_f64().unwrap() <= 1.0);
    let found = &events(&mut bench(&["--json"]), "confidence")[0];
    assert_eq!((&found["there"], &found["passed_over"]), (&json!(2), &json!(1)));
    let all = &found["absent"][0];
    assert_eq!(
        (&all["kind"], &all["absent"], &all["auroc"]),
        (&json!("all"), &json!(1), &json!(1.0))
    );
    // Both kinds are needed.
    fs::write(desk.path("items.jsonl"), &lines[0]).unwrap();
    bench(&[]).assert().code(2).stderr(contains("(key `absent`)"));
    desk.retouch(["bench", "confidence", "missing.jsonl"]).assert().code(3);
}

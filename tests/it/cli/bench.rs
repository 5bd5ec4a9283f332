//! `retouch bench localize`: the number of steps that a model's localization needs, as a table and as JSON.

use predicates::str::contains;
use serde_json::Value;

use super::{Desk, INSTRUCTION, scene};

/// `retouch bench localize` on a part of the held-out scenes.
fn bench(desk: &Desk, args: &[&str]) -> assert_cmd::Command {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/heldout/manifest.jsonl");
    let mut command = desk.retouch(["bench", "localize", manifest, "--seed", "7"]);
    // Four times fewer cells: what is tested is the table, not the masks.
    command.args(["--size", "fit:32"]).args(args);
    command
}

#[test]
fn the_table_holds_every_setting_and_names_the_shortest() {
    let desk = Desk::new();
    let run = bench(&desk, &["--limit", "2", "--steps", "1,8", "--averaged", "0-1,0.25-0.5"])
        .assert()
        .success();
    let table = String::from_utf8(run.get_output().stdout.clone()).unwrap();
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    // Two samplers with two numbers of steps and two parts of them, and the reference.
    let is_figure = |it: &&str| it.parse::<f64>().is_ok();
    let figures = rows.iter().filter(|row| row.iter().rev().take(3).all(is_figure)).count();
    assert_eq!(figures, 9, "{table}");
    assert!(table.contains("0.25-0.5"), "{table}");
    assert!(table.contains("within 0.01"), "{table}");
}

#[test]
fn programs_read_means_over_the_cases() {
    let desk = Desk::new();
    let args = ["--limit", "2", "--steps", "4", "--samplers", "ddim", "--json"];
    let run = bench(&desk, &args).assert().success();
    let lines: Vec<Value> = String::from_utf8(run.get_output().stdout.clone())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let measured: Vec<&Value> = lines.iter().filter_map(|it| it.get("line")).collect();
    assert_eq!(measured.len(), 2);
    assert_eq!((&measured[0]["sampler"], &measured[0]["steps"]), (&"ddim".into(), &4.into()));
    assert_eq!((&measured[1]["sampler"], &measured[1]["steps"]), (&Value::Null, &100.into()));
    for line in measured {
        let figure = |key: &str| line[key].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&figure("reference_iou")), "{line}");
        assert!((0.0..=1.0).contains(&figure("object_iou")), "{line}");
        assert!(figure("seconds") > 0.0, "{line}");
    }
    assert_eq!(lines.last().unwrap()["cases"], 2);
}

#[test]
fn one_picture_is_measured_without_truth() {
    let desk = Desk::new();
    let mut command = desk.retouch(["bench", "localize"]);
    command.arg(scene()).args([
        INSTRUCTION,
        "--steps",
        "2",
        "--samplers",
        "euler",
        "--size",
        "fit:32",
        "--json",
    ]);
    let run = command.assert().success();
    let text = String::from_utf8(run.get_output().stdout.clone()).unwrap();
    let line = text.lines().find(|line| line.contains("\"line\"")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["line"]["object_iou"], Value::Null);
}

#[test]
fn bad_input_is_named_before_any_work() {
    let desk = Desk::new();
    let scene = scene();
    let scene = scene.to_str().unwrap();
    let empty = desk.path("empty.jsonl");
    std::fs::write(&empty, "\n").unwrap();
    for (args, code, said) in [
        (vec!["missing.jsonl"], 3, "missing.jsonl can't be read"),
        (vec!["empty.jsonl"], 3, "has no items"),
        (vec![scene], 3, "can't be read"),
        (vec!["missing.png", INSTRUCTION], 3, "missing.png"),
        (vec![scene, "  "], 2, "the instruction is empty"),
        (vec![scene, INSTRUCTION, "--steps", "0"], 2, "steps is 0"),
        (vec![scene, INSTRUCTION, "--steps", "many"], 2, "many"),
        (vec![scene, INSTRUCTION, "--samplers", "plms"], 2, "plms"),
        (vec![scene, INSTRUCTION, "--averaged", "0.6-0.3"], 2, "averaged is 0.6 to 0.3"),
        (vec![scene, INSTRUCTION, "--averaged", "half"], 2, "0.3-0.6"),
        (vec![scene, INSTRUCTION, "--limit", "0"], 2, "1.."),
        (vec![scene, "make it snow", "--steps", "1"], 2, "nothing to localize"),
        (vec![scene, INSTRUCTION, "--model", "nowhere"], 5, "nowhere"),
    ] {
        let mut command = desk.retouch(["bench", "localize"]);
        command.args(&args).assert().code(code).stderr(contains(said));
    }
}

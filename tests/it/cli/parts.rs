//! An instruction that asks for several edits, as a person types it.

use std::path::PathBuf;

use assert_cmd::Command;
use predicates::str::contains;
use serde_json::{Value, json};

use super::{Desk, records::record, said};
use crate::support::fixtures;

const INSTRUCTION: &str = "remove the cross, then paint the circle red";

fn scene() -> PathBuf {
    fixtures().join("scenes/two-edits.png")
}

fn edit<'a>(desk: &Desk, args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut edit = desk.retouch(["edit"]);
    edit.arg(scene()).arg(INSTRUCTION).args(["--steps", "2", "--localize-steps", "2"]).args(args);
    edit
}

#[test]
fn two_edits_are_told_one_by_one_and_made_again_from_their_file() {
    let desk = Desk::new();
    let args = ["--seed", "7", "-o", "out.png", "--maps", "maps", "--json"];
    let run = edit(&desk, args).assert().success();
    let text = String::from_utf8(run.get_output().stdout.clone()).unwrap();
    let lines = text.lines().map(|it| serde_json::from_str::<Value>(it).unwrap());
    let parts: Vec<Value> = lines.filter_map(|it| it.get("part").cloned()).collect();
    let part = |number, instruction| json!({"number": number, "of": 2, "instruction": instruction});
    assert_eq!(parts, [part(1, "remove the cross"), part(2, "paint the circle red")]);
    for folder in ["", "part-1/", "part-2/"] {
        assert!(desk.path(&format!("maps/{folder}contact-sheet.png")).exists(), "{folder}");
    }
    assert_eq!(record(&desk, "out.png")["told"], "remove the cross; paint the circle red");

    let mut again = desk.retouch(["edit", "--params-from", "out.png", "-o", "again.png"]);
    let said = said(again.arg(scene()));
    assert!(said.contains("again: every pixel of out.png"), "{said}");
    assert!(said.contains("edit 2 of 2: paint the circle red"), "{said}");
}

#[test]
fn what_is_about_one_edit_is_refused_beside_two() {
    let desk = Desk::new();
    let texts = "`remove the cross`, `paint the circle red`";
    let refused = edit(&desk, ["--clusters", "1", "-o", "out.png"]).assert().code(2);
    refused.stderr(contains("--clusters")).stderr(contains(texts));
    let mut localize = desk.retouch(["localize"]);
    localize.arg(scene()).args([INSTRUCTION, "-o", "mask.png"]).assert().code(2);
    localize.assert().stderr(contains(texts));
    assert!(desk.files().is_empty());
}

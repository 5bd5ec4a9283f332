//! What the model is told of an instruction, on the screen and as JSON.

use predicates::str::contains;
use serde_json::Value;

use super::{Desk, scene};

#[test]
fn what_the_model_is_told_is_said() {
    let desk = Desk::new();
    let edit = |asked: &str, args: &[&str]| {
        let mut edit = desk.retouch(["edit"]);
        edit.arg(scene()).args([asked, "--steps", "1", "--force", "-o", "out.png"]).args(args);
        edit.assert().success()
    };
    let asked = "could you please dye the red satr blue?";
    edit(asked, &[])
        .stderr(contains("warning: `satr` is read as `star`"))
        .stderr(contains("told the model: make the red star blue\n"));
    edit(asked, &["--verbatim"]).stderr(contains(format!("told the model: {asked}\n")));
    let run = edit(asked, &["--json"]);
    let text = String::from_utf8(run.get_output().stdout.clone()).unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let (parsed, others): (Vec<_>, Vec<_>) =
        events.partition(|event| event.get("instruction").is_some());
    let [parsed] = &parsed[..] else { panic!("{text}") };
    let expected = serde_json::json!({
        "action": "ACTION_CHANGE",
        "object": "the red star",
        "object_start": 21,
        "object_end": 33,
        "localization_instruction": parsed["instruction"]["localization_instruction"],
        "text": "could you please dye the red star blue?",
        "change": "CHANGE_KIND_RECOLOR",
        "replacement": "blue",
        "color": "blue",
        "told": "make the red star blue",
    });
    assert_eq!(parsed["instruction"], expected);
    assert!(others.iter().any(|it| it["warning"]["reason"] == "SPELLING_CORRECTED"));
}

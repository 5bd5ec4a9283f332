//! Today's commands over what it wrote: a batch that goes on, a localization, records; and what they print.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use assert_cmd::Command;
use predicates::{prelude::*, str::contains};
use retouch::wire::v1::{EditJob, edit_job::State};
use serde_json::Value;

use super::{assert_same_edit, data, earlier, model};
use crate::cli::{Desk, INSTRUCTION, scene};
use crate::client::Site;

/// Names and labels of the jobs at a server.
fn labels(site: &Site) -> BTreeMap<String, String> {
    let label = |it: &EditJob| it.spec.as_ref().unwrap().labels["case"].clone();
    site.jobs().iter().map(|it| (it.name.clone(), label(it))).collect()
}

#[test]
fn a_batch_that_was_stopped_then_goes_on_now() {
    let (desk, folder) = (Desk::new(), data());
    fs::create_dir(desk.path("out")).unwrap();
    for name in ["list.jsonl", "scene.png", "out/batch-state.jsonl", "out/batch-done.png"] {
        fs::copy(earlier("batch").join(name), desk.path(name)).unwrap();
    }
    let done = fs::read(desk.path("out/batch-done.png")).unwrap();
    let site = Site::start(folder.path());
    let before = labels(&site);
    let batch = || desk.retouch(["batch", "list.jsonl", "--out", "out", "--server", &site.url()]);
    let run = batch().assert().code(1).stdout(contains("failed: batch-failed: OBJECT_NOT_FOUND"));
    run.stderr(contains("1 of 3 edits failed"));
    // What was done is as it was; what ran then was found and fetched; what had failed was tried once more.
    assert_eq!(fs::read(desk.path("out/batch-done.png")).unwrap(), done);
    assert_eq!(desk.picture("out/batch-editing.png").dimensions(), (64, 64));
    let jobs = site.jobs();
    let is_running = |it: &&EditJob| before.get(&it.name).is_some_and(|it| it == "batch-editing");
    let running = jobs.iter().find(is_running).unwrap();
    assert_eq!((running.state(), running.attempt), (State::Succeeded, 2));
    let new = |site: &Site| {
        let new = labels(site).into_iter().filter(|(name, _)| !before.contains_key(name));
        new.map(|(_, label)| label).collect::<Vec<_>>()
    };
    assert_eq!(new(&site), ["batch-failed"]);
    batch().assert().code(1);
    assert_eq!(new(&site), ["batch-failed", "batch-failed"]);
}

/// `retouch edit` of the scene with the demo model as it was then.
fn edit(desk: &Desk, model: &Path, args: &[&str]) -> Command {
    let mut edit = desk.retouch(["edit"]);
    edit.arg(scene()).args(["--dtype", "fp32", "--force", "--model"]);
    edit.arg(model).args(args);
    edit
}

#[test]
fn a_localization_that_was_saved_then_is_taken_now() {
    let (desk, model) = (Desk::new(), model());
    let file = earlier("localization.json").display().to_string();
    let args = [INSTRUCTION, "--seed", "8", "--steps", "4", "--localization", &file];
    let run = edit(&desk, model.path(), &args).args(["-o", "out.png"]).assert().success();
    run.stderr(contains("warning").not());
    let then = image::open(earlier("saved.png")).unwrap().to_rgb8();
    assert_same_edit(&desk.picture("out.png"), &then, &image::open(scene()).unwrap().to_rgb8());
    // The demo model has a calibration of its confidence and wordings of edits now, and is the same model for all that.
    let mut today = desk.retouch(["edit"]);
    today.arg(scene()).args(args).args(["-o", "today.png"]).assert().success();
}

/// What is told of a record whose edit was put into its picture otherwise.
const COMPOSITING: &str = "compositing \"change\" instead of \"mask\"";

#[test]
fn a_record_of_then_gives_the_same_edit_and_says_what_it_does_not_know() {
    let (desk, model) = (Desk::new(), model());
    let saved = earlier("localization.json").display().to_string();
    let cases: &[(&str, &str, &[&str])] = &[
        ("found.png", "out.png", &[]),
        ("found.webp", "out.webp", &[]),
        ("found.jpg", "out.jpg", &["--quality", "90"]),
        ("clusters.png", "out.png", &[]),
        ("plain.png", "out.png", &[]),
        ("boxes.png", "out.png", &["--box", "8,16,24,48"]),
        ("saved.png", "out.png", &["--localization", &saved]),
    ];
    for (name, output, args) in cases {
        let path = earlier(name).display().to_string();
        let mut edit = edit(&desk, model.path(), &["--params-from", &path, "-o", output]);
        let run = edit.args(*args).assert().success();
        let said = String::from_utf8(run.get_output().stderr.clone()).unwrap();
        assert!(said.contains("an older version did not record libtorch, picture"), "{said}");
        // An edit is put into its picture otherwise than then, which is said; nothing else was made otherwise.
        let otherwise = said.split(", ").filter(|it| it.contains("instead of")).collect::<Vec<_>>();
        if *name == "plain.png" {
            assert!(otherwise.is_empty(), "{said}");
            // It was made on another machine, whose arithmetic may round otherwise.
            let (now, then) = (desk.picture(output), image::open(&path).unwrap().to_rgb8());
            let apart = now.as_raw().iter().zip(then.as_raw()).map(|(a, b)| a.abs_diff(*b));
            assert!(apart.max().unwrap() <= 1, "{said}");
            continue;
        }
        assert!(otherwise.len() == 1 && otherwise[0].contains(COMPOSITING), "{said}");
        assert!(said.contains(&format!("pixels differ from those of {path}")), "{said}");
        if output.ends_with("png") {
            let then = image::open(&path).unwrap().to_rgb8();
            assert_same_edit(
                &desk.picture(output),
                &then,
                &image::open(scene()).unwrap().to_rgb8(),
            );
        }
    }

    // What differs is told by the pixel, where the record cannot.
    let path = earlier("found.png").display().to_string();
    let mut found = edit(&desk, model.path(), &["--params-from", &path, "-o", "out.png"]);
    found.assert().success();
    let again = desk.picture("out.png");
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/heldout/image/recolor-065.png");
    let mut edit_other = desk.retouch(["edit", "--params-from", &path, "-o", "other.png"]);
    let run = edit_other.arg(other).arg("--model").arg(model.path()).assert().success();
    run.stderr(contains("of 4096 pixels differ from those of"));
    let mut box_left_out = edit(&desk, model.path(), &["--params-from"]);
    let run = box_left_out.arg(earlier("boxes.png")).assert().code(3);
    run.stderr(contains("give that one again with --mask"));
    // Today's demo model is told as then what the record does not say it was told otherwise.
    let mut today = desk.retouch(["edit", "--params-from", &path, "-o", "today.png"]);
    let run = today.arg(scene()).args(["--dtype", "fp32"]).assert().success();
    run.stderr(contains(COMPOSITING));
    assert_eq!(desk.picture("today.png"), again);
}

/// Keys of lines of JSON, with those of the objects in them.
fn keys(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                keys(inner, &path, found);
                found.insert(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|it| keys(it, path, found)),
        _ => {}
    }
}

#[test]
fn every_key_that_was_printed_as_json_is_printed_now() {
    let (desk, folder) = (Desk::new(), tempfile::tempdir().unwrap());
    let site = Site::start(folder.path());
    let url = site.url();
    let mut told = String::new();
    let mut tell = |mut command: Command, code: i32| {
        let output = command.arg("--json").assert().code(code).get_output().clone();
        let text = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
        told.push_str(&text.concat());
        text.concat()
    };
    let edit = |instruction: &str, more: &[&str]| {
        let mut edit = desk.retouch(["edit"]);
        edit.arg(scene()).args([instruction, "--steps", "2", "--localize-steps", "2"]);
        edit.args(["-o", "out.png", "--maps", "maps", "--force"]).args(more);
        edit
    };
    tell(edit(INSTRUCTION, &["--compare", "instruct-pix2pix"]), 0);
    tell(edit("colorless green ideas", &[]), 0);
    tell(edit("colorless green ideas", &["--strict"]), 4);
    let mut localize = desk.retouch(["localize", "--save", "saved.json", "-o", "mask.png"]);
    localize.arg(scene()).arg(INSTRUCTION).args(["--localize-steps", "2"]);
    tell(localize, 0);
    tell(edit(INSTRUCTION, &["--server", &url]), 0);
    let image = scene().display().to_string();
    let item =
        serde_json::json!({"id": "a", "image": image, "instruction": INSTRUCTION, "steps": 2});
    fs::write(desk.path("list.jsonl"), item.to_string()).unwrap();
    tell(desk.retouch(["batch", "list.jsonl", "--server", &url]), 0);
    let listed = tell(desk.retouch(["jobs", "list", "--server", &url]), 0);
    let newest: Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    let name = newest["name"].as_str().unwrap();
    for command in ["get", "watch", "delete"] {
        tell(desk.retouch(["jobs", command, name, "--server", &url]), 0);
    }

    let mut found = BTreeSet::new();
    for line in told.lines() {
        let line = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        keys(&line, "", &mut found);
    }
    let then = fs::read_to_string(earlier("events.txt")).unwrap();
    // A place in the queue is told where a job waits long enough to be seen waiting.
    let waits = |it: &&str| *it == "queue" || it.starts_with("queue.");
    let lost: Vec<&str> = then.lines().filter(|it| !found.contains(*it) && !waits(it)).collect();
    assert!(then.lines().count() > 90 && lost.is_empty(), "{lost:?}");
}

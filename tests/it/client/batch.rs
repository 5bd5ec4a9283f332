//! `retouch batch`: many edits, a killed run, and its resumption.

use std::{
    fs,
    time::{Duration, Instant},
};

use predicates::str::contains;
use retouch::wire::v1::edit_job::State;
use serde_json::{Value, json};

use super::{Office, held_out};
use crate::cli::INSTRUCTION;

impl Office {
    fn list(&self, lines: &[Value]) {
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        fs::write(self.desk.path("list.jsonl"), lines.join("\n")).unwrap();
    }

    fn batch(&self) -> assert_cmd::Command {
        let args = ["batch", "list.jsonl", "--out", "out", "--server", &self.site.url()];
        self.desk.retouch(args)
    }
}

fn item(id: &str, steps: u32) -> Value {
    let image = held_out("recolor-064.png").display().to_string();
    json!({"id": id, "image": image, "instruction": INSTRUCTION, "seed": 7, "steps": steps})
}

#[test]
fn a_batch_that_was_killed_goes_on_where_it_stopped() {
    let office = Office::new();
    office.list(&[item("a", 2), item("b", 120), item("c", 2)]);
    let args = ["batch", "list.jsonl", "--out", "out", "--concurrency", "1"];
    let (mut child, mut lines) = office.spawn(&args);
    assert!(lines.any(|line| line.contains("\"edited\":{\"id\":\"a\"")), "it never began");
    let started = Instant::now();
    while office.site.jobs().len() < 2 {
        assert!(started.elapsed() < Duration::from_secs(60), "there is no second job");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let first = fs::read(office.desk.path("out/a.png")).unwrap();
    assert!(!office.desk.path("out/b.png").exists());

    office.batch().assert().success().stdout(contains("3 edits in out"));
    for name in ["a", "b", "c"] {
        assert_eq!(office.desk.picture(&format!("out/{name}.png")).dimensions(), (64, 64));
    }
    assert_eq!(fs::read(office.desk.path("out/a.png")).unwrap(), first);
    // The job that the killed call left was found again.
    let jobs = office.site.jobs();
    assert_eq!(jobs.len(), 3);
    assert!(jobs.iter().all(|it| it.state() == State::Succeeded && it.attempt == 1));

    // A third call has nothing to do; another instruction is another edit.
    office.batch().assert().success();
    assert_eq!(office.site.jobs().len(), 3);
    office.list(&[item("a", 3), item("b", 120), item("c", 2)]);
    office.batch().assert().success();
    assert_eq!(office.site.jobs().len(), 4);
    assert_ne!(fs::read(office.desk.path("out/a.png")).unwrap(), first);
}

#[test]
fn failures_are_summed_up_and_tried_again_by_the_next_call() {
    let office = Office::new();
    let mut strict = item("strict", 2);
    strict["instruction"] = "colorless green ideas".into();
    strict["strict"] = true.into();
    let mut refused = item("refused", 2);
    refused["steps"] = 0.into();
    let mut absent = item("absent", 2);
    absent["image"] = "nowhere.png".into();
    office.list(&[item("good", 2), strict, refused, absent]);
    let run = office.batch().assert().code(1);
    let stdout = String::from_utf8(run.get_output().stdout.clone()).unwrap();
    for text in ["failed: strict: OBJECT_NOT_FOUND", "failed: refused: ", "failed: absent: "] {
        assert!(stdout.contains(text), "{stdout}");
    }
    run.stderr(contains("3 of 4 edits failed"));
    assert!(office.desk.path("out/good.png").exists());

    // The job that failed is asked for anew, the one that succeeded is not.
    assert_eq!(office.site.jobs().len(), 2);
    let run = office.batch().arg("--json").assert().code(1);
    run.stdout(contains(r#"{"summary":{"edits":4,"failed":3}}"#));
    assert_eq!(office.site.jobs().len(), 3);
}

#[test]
fn a_list_that_cannot_be_read_is_refused_with_its_line() {
    let office = Office::new();
    office.list(&[item("a", 2), item("a", 2)]);
    office.batch().assert().code(3).stderr(contains("list.jsonl:2: duplicate id `a`"));
    assert!(office.site.jobs().is_empty());
    // Files of somebody else's are left alone.
    office.list(&[item("mine", 2)]);
    fs::create_dir_all(office.desk.path("out")).unwrap();
    fs::write(office.desk.path("out/mine.png"), "mine").unwrap();
    office.batch().assert().code(1).stdout(contains("failed: mine"));
    assert_eq!(fs::read(office.desk.path("out/mine.png")).unwrap(), b"mine");
}

#[test]
fn what_there_is_to_know_of_an_edit_is_told_with_its_id() {
    let office = Office::new();
    let mut long = item("long", 1);
    long["negative_prompt"] = vec!["blur"; 120].join(" ").into();
    office.list(&[item("short", 1), long]);
    let expected = "warning: long: the negative prompt exceeds the model's token limit";
    let run = office.batch().assert().success();
    let said = String::from_utf8(run.get_output().stderr.clone()).unwrap();
    assert!(said.contains(expected), "{said}");
    assert!(!said.contains("warning: short"), "{said}");
}

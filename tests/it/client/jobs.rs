//! `retouch jobs`: list, decide, watch, cancel and delete.

use std::{
    fs,
    time::{Duration, Instant},
};

use predicates::{prelude::*, str::contains};
use retouch::{
    jobs::admission::Attachment,
    wire::v1::{self, CreateEditJobRequest, EditSpec, MaskPolicy, edit_job::State, image::Source},
};
use serde_json::Value;

use super::Office;
use crate::cli::{INSTRUCTION, scene};

impl Office {
    /// A job that nobody waits for.
    fn job(&self, spec: EditSpec) -> String {
        let image = v1::Image { source: Some(Source::Data(fs::read(scene()).unwrap().into())) };
        let spec = EditSpec {
            image: Some(image),
            instruction: INSTRUCTION.to_owned(),
            steps: spec.steps.or(Some(2)),
            seed: Some(7),
            ..spec
        };
        let request = CreateEditJobRequest { spec: Some(spec), ..Default::default() };
        let started = Instant::now();
        while self.site.store.model().is_none() {
            assert!(started.elapsed() < Duration::from_secs(60), "the model is never there");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.site.store.create("local", request, Attachment::Detached).unwrap().name()
    }

    fn jobs(&self, args: &[&str]) -> assert_cmd::Command {
        let mut command = self.desk.retouch(["jobs"]);
        command.args(args).args(["--server", &self.site.url()]);
        command
    }

    fn json(&self, args: &[&str]) -> Vec<Value> {
        let run = self.jobs(args).arg("--json").assert().success();
        let text = String::from_utf8(run.get_output().stdout.clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn a_mask_is_decided_from_anywhere_and_the_result_is_saved() {
    let office = Office::new();
    let review = MaskPolicy::Review as i32;
    let name = office.job(EditSpec { mask_policy: review, ..EditSpec::default() });
    office.site.wait(&name, State::AwaitingMask);
    let run = office.jobs(&["get", &name]).assert().success();
    run.stdout(contains("awaiting mask"))
        .stdout(contains("cluster 1: score"))
        .stdout(contains("--accept"));

    // What can't be.
    office.jobs(&["mask", &name]).assert().code(2).stderr(contains("say which mask"));
    let run = office.jobs(&["mask", &name, "--clusters", "31"]).assert().code(2);
    run.stderr(contains("there is no cluster 31"));

    // The first decision wins; the result is that of the same edit on this machine.
    let id = name.trim_start_matches("jobs/");
    let args = ["mask", id, "--clusters", "1", "--box", "0%,0%,50%,50%", "--dilate", "1"];
    office.jobs(&args).assert().success();
    let run = office.jobs(&["mask", &name, "--accept"]).assert().code(2);
    run.stderr(contains("MASK_ALREADY_DECIDED").or(contains("JOB_TERMINAL")));
    let run = office.jobs(&["watch", &name, "-o", "there.png"]).assert().success();
    run.stderr(contains("state: succeeded")).stdout(contains("edited: there.png"));
    let args = ["-o", "here.png", "--clusters", "1", "--box", "0%,0%,50%,50%", "--dilate", "1"];
    office.local(&args).assert().success();
    assert_eq!(office.desk.picture("here.png"), office.desk.picture("there.png"));

    office.jobs(&["delete", &name]).assert().success().stdout(contains("deleted"));
    office.jobs(&["get", &name]).assert().code(2).stderr(contains("JOB_NOT_FOUND"));
}

#[test]
fn jobs_are_listed_and_cancelled() {
    let office = Office::new();
    let labels = [("who".to_owned(), "me".to_owned())].into();
    let long = office.job(EditSpec { steps: Some(1000), labels, ..EditSpec::default() });
    let other = office.job(EditSpec { steps: Some(1000), ..EditSpec::default() });
    let names = |args: &[&str]| -> Vec<String> {
        office.json(args).iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&["list"]), [other.clone(), long.clone()]);
    assert_eq!(names(&["list", "-n", "1"]), std::slice::from_ref(&other));
    assert_eq!(names(&["list", "--label", "who=me"]), std::slice::from_ref(&long));
    assert!(names(&["list", "--state", "succeeded"]).is_empty());
    office.jobs(&["list"]).assert().success().stdout(contains(INSTRUCTION));

    // A live job is not deleted.
    office.jobs(&["delete", &long]).assert().code(2).stderr(contains("JOB_LIVE"));
    for name in [&long, &other] {
        let run = office.jobs(&["cancel", name, "--reason", "changed my mind"]).assert().success();
        run.stdout(contains("cancelled"));
    }
    assert_eq!(office.json(&["get", &long])[0]["state"], "STATE_CANCELLED");
    let run = office.jobs(&["watch", &long, "-o", "out.png"]).assert().code(1);
    run.stderr(contains("CANCELLED_BY_API: changed my mind"));
    assert!(office.desk.files().is_empty());
}

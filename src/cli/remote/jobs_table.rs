//! Text output of jobs: a table of many, or the details of one.

use std::{
    fmt::Write,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use serde_json::Value;

use crate::cli::printable::printable;
use crate::wire::{
    message_json,
    v1::{EditJob, edit_job::State},
};

/// Longest instruction in a table, in characters.
const INSTRUCTION: usize = 48;

/// Narrowest column of an instruction, in characters.
const NARROW: usize = 8;

/// A table with one job per line; instructions are truncated to fit lines into `columns`, if limited.
pub(crate) fn table(jobs: &[EditJob], columns: Option<usize>) -> String {
    if jobs.is_empty() {
        return "no jobs".to_owned();
    }
    let row = |job: &EditJob| [job.name.clone(), state(job.state()), age(job)];
    let head = ["JOB", "STATE", "AGE"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head).chain(jobs.iter().map(row)).collect();
    let [job, state, age] =
        [0, 1, 2].map(|at| rows.iter().map(|it| it[at].len()).max().unwrap_or(0));
    let left = columns.map_or(INSTRUCTION, |it| it.saturating_sub(job + state + age + 6));
    let instruction = |job: &EditJob| {
        let text = job.spec.as_ref().map_or("", |it| it.instruction.as_str());
        cut(text, left.min(INSTRUCTION))
    };
    let last = std::iter::once("INSTRUCTION".to_owned()).chain(jobs.iter().map(instruction));
    let mut text = String::new();
    for ([name, in_state, since], last) in rows.iter().zip(last) {
        let last = if left < NARROW { "" } else { &last };
        let line = format!("{name:<job$}  {in_state:<state$}  {since:>age$}  {last}");
        writeln!(text, "{}", line.trim_end()).expect("a text can be written to");
    }
    text
}

/// A text on one line, truncated to `columns`.
fn cut(text: &str, columns: usize) -> String {
    let plain = printable(text);
    if plain.chars().count() <= columns {
        return plain.into_owned();
    }
    plain.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

/// Details of a job, one per line.
pub(crate) fn details(job: &EditJob) -> String {
    let mut text = String::new();
    let mut fact = |label: &str, value: String| {
        if !value.is_empty() {
            writeln!(text, "{label:<12} {}", printable(&value)).expect("a text can be written to");
        }
    };
    fact("job", job.name.clone());
    fact("state", state(job.state()));
    fact("age", age(job));
    if let Some(spec) = &job.spec {
        fact("instruction", spec.instruction.clone());
        fact("model", spec.model.clone());
        fact("seed", spec.seed.map(|it| it.to_string()).unwrap_or_default());
        fact("steps", spec.steps.map(|it| it.to_string()).unwrap_or_default());
        let labels = spec.labels.iter().map(|(key, value)| format!("{key}={value}"));
        fact("labels", labels.collect::<Vec<_>>().join(" "));
    }
    fact("attempt", job.attempt.to_string());
    fact("worker", job.worker.clone());
    if let Some(queue) = &job.queue
        && job.state() == State::Queued
    {
        fact("queue", format!("{} of {}", queue.position, queue.length));
    }
    if let Some(mask) = &job.mask {
        fact("proposed", format!("{:.1} % of the picture", mask.area * 100.0));
        for cluster in &mask.clusters {
            let mark = if cluster.selected { "  selected" } else { "" };
            let (id, score, area) = (cluster.id, cluster.score, cluster.area * 100.0);
            fact("", format!("cluster {id}: score {score:.2}, {area:.0} %{mark}"));
        }
    }
    if let Some(image) = job.result.as_ref().and_then(|it| it.image.as_ref()) {
        let (width, height, kind) = (image.width, image.height, &image.mime_type);
        fact("result", format!("{width}x{height} {kind}"));
        fact("artifact", image.name.clone());
    }
    if let Some(error) = &job.error {
        fact("error", format!("{}: {}", error.reason, error.message));
    }
    if job.state() == State::AwaitingMask {
        fact("next", format!("retouch jobs mask {} --accept, or --clusters 1,3", job.name));
    }
    text
}

/// A job as JSON, without the bytes of its pictures.
pub(crate) fn json(job: &EditJob) -> Value {
    let mut job = job.clone();
    let result = job.result.iter_mut().flat_map(|it| it.image.iter_mut().chain(&mut it.mask));
    let mask = job.mask.iter_mut().flat_map(|it| &mut it.mask);
    result.chain(mask).for_each(|it| it.inline = Bytes::new());
    message_json::job(&job)
}

/// A state in words.
pub(crate) fn state(state: State) -> String {
    state.as_str_name().trim_start_matches("STATE_").to_lowercase().replace('_', " ")
}

fn age(job: &EditJob) -> String {
    let since = job.create_time.and_then(|it| SystemTime::try_from(it).ok());
    let age = since.and_then(|it| it.elapsed().ok()).unwrap_or(Duration::ZERO).as_secs();
    match age {
        0..120 => format!("{age} s"),
        120..7200 => format!("{} min", age / 60),
        7200..172_800 => format!("{} h", age / 3600),
        _ => format!("{} d", age / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v1::{Artifact, EditResult, EditSpec};

    fn job() -> EditJob {
        let inline = Bytes::from_static(b"bytes");
        let image = Artifact { name: "artifacts/1".to_owned(), inline, ..Artifact::default() };
        EditJob {
            name: "jobs/1".to_owned(),
            state: State::AwaitingMask as i32,
            spec: Some(EditSpec { instruction: "x".repeat(60), ..EditSpec::default() }),
            result: Some(EditResult { image: Some(image), ..EditResult::default() }),
            ..EditJob::default()
        }
    }

    #[test]
    fn a_table_fits_into_its_columns() {
        assert_eq!(table(&[], None), "no jobs");
        let lines =
            |columns| table(&[job()], columns).lines().map(str::to_owned).collect::<Vec<_>>();
        let [head, wide] = &lines(None)[..] else { panic!() };
        assert_eq!(head, "JOB     STATE          AGE  INSTRUCTION");
        assert_eq!(*wide, format!("jobs/1  awaiting mask  0 s  {}…", "x".repeat(47)));
        assert_eq!(lines(Some(40))[1], "jobs/1  awaiting mask  0 s  xxxxxxxxxxx…");
        assert_eq!(lines(Some(30)), ["JOB     STATE          AGE", "jobs/1  awaiting mask  0 s"]);
    }

    #[test]
    fn what_others_wrote_stays_in_its_line() {
        let mut job = job();
        job.spec.as_mut().unwrap().instruction = "a\nb\u{1b}[2J".to_owned();
        assert_eq!(table(&[job.clone()], None).lines().count(), 2);
        assert!(!details(&job).contains('\u{1b}'));
    }

    #[test]
    fn json_has_the_names_of_the_schema_and_no_bytes() {
        let json = json(&job());
        assert_eq!(json["state"], "STATE_AWAITING_MASK");
        assert_eq!(json["result"]["image"]["name"], "artifacts/1");
        assert!(json["result"]["image"].get("inline").is_none());
    }

    #[test]
    fn a_job_that_waits_says_what_to_type() {
        assert!(details(&job()).contains("retouch jobs mask jobs/1 --accept"));
    }
}

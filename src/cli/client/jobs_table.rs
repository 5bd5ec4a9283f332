//! Jobs for people: a table of many, or all that there is to say of one.

use std::{
    fmt::Write,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use serde_json::Value;

use crate::wire::{
    message_json,
    v1::{EditJob, edit_job::State},
};

/// Most characters of an instruction in a table.
const INSTRUCTION: usize = 48;

/// A table, a job a line.
pub(crate) fn table(jobs: &[EditJob]) -> String {
    if jobs.is_empty() {
        return "no jobs".to_owned();
    }
    let mut text = format!("{:<41}  {:<13}  {:>6}  INSTRUCTION\n", "JOB", "STATE", "AGE");
    for job in jobs {
        let instruction = job.spec.as_ref().map_or("", |it| it.instruction.as_str());
        let short: String = instruction.chars().take(INSTRUCTION).collect();
        let dots = if short.len() < instruction.len() { "…" } else { "" };
        let (name, state, age) = (&job.name, state(job.state()), age(job));
        let line = writeln!(text, "{name:<41}  {state:<13}  {age:>6}  {short}{dots}");
        line.expect("a text can be written to");
    }
    text
}

/// All that a person wants to know of a job, a fact a line.
pub(crate) fn details(job: &EditJob) -> String {
    let mut text = String::new();
    let mut fact = |label: &str, value: String| {
        if !value.is_empty() {
            writeln!(text, "{label:<12} {value}").expect("a text can be written to");
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
            fact("", format!("cluster {id}: score {score:.2}, {area:.0} % of the picture{mark}"));
        }
    }
    if let Some(image) = job.result.as_ref().and_then(|it| it.image.as_ref()) {
        let (width, height, kind) = (image.width, image.height, &image.mime_type);
        fact("result", format!("{width}x{height} {kind}, {}", image.name));
    }
    if let Some(error) = &job.error {
        fact("error", format!("{}: {}", error.reason, error.message));
    }
    if job.state() == State::AwaitingMask {
        fact("next", format!("retouch jobs mask {} --accept, or --clusters 1,3", job.name));
    }
    text
}

/// A job for programs, without the bytes of its pictures.
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
    fn a_table_cuts_long_instructions() {
        let text = table(&[job()]);
        assert!(text.contains("awaiting mask"), "{text}");
        assert!(text.contains(&format!("{}…", "x".repeat(48))), "{text}");
        assert_eq!(table(&[]), "no jobs");
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

//! Events as JSON, a line each, under the names of the gRPC schema; pictures are left out.

use serde_json::{Value, json};

use crate::edit::{
    event::{InstructionParsed, Pass, StepReport},
    localization::{Cluster, Localization, WordMap},
};
use crate::instruction::Action;

/// What the instruction was understood as.
pub fn instruction(parsed: &InstructionParsed) -> Value {
    json!({"instruction": {
        "action": action(parsed.action),
        "object": parsed.object,
        "object_start": parsed.object_span.as_ref().map(|it| it.start),
        "object_end": parsed.object_span.as_ref().map(|it| it.end),
        "localization_instruction": parsed.localization_instruction,
        "text": parsed.text,
    }})
}

/// Something to know that is no error.
pub fn warning_line(reason: &str, message: &str) -> Value {
    json!({"warning": {"reason": reason, "message": message}})
}

/// A denoising step that is done.
pub fn step(report: &StepReport) -> Value {
    json!({"step": {
        "pass": pass(report.pass),
        "step": report.step,
        "total": report.of,
        "timestep": report.timestep,
    }})
}

/// What pass 1 learned.
pub fn localized(localization: &Localization) -> Value {
    json!({"localized": {
        "clusters": localization.clusters.iter().map(cluster).collect::<Vec<_>>(),
        "words": localization.words.iter().map(word).collect::<Vec<_>>(),
        "confidence": localization.confidence,
    }})
}

/// The mask that the edit uses: its share of the picture, 0 to 1, and where it came from.
pub fn mask_settled(area: f64, source: &str) -> Value {
    json!({"mask_settled": {"area": area, "source": source}})
}

/// A place in a server's queue, from 1.
pub fn queue(position: u32, length: u32) -> Value {
    json!({"queue": {"position": position, "length": length}})
}

/// A job's state, under the schema's name.
pub fn state(state: &str, detail: &str) -> Value {
    json!({"state": {"state": state, "detail": detail}})
}

/// The schema's name of a kind of edit.
pub fn action(action: Action) -> &'static str {
    match action {
        Action::Change => "ACTION_CHANGE",
        Action::Add => "ACTION_ADD",
        Action::Remove => "ACTION_REMOVE",
        Action::Global => "ACTION_GLOBAL",
    }
}

fn pass(pass: Pass) -> &'static str {
    match pass {
        Pass::Localize => "PASS_LOCALIZE",
        Pass::Edit => "PASS_EDIT",
    }
}

fn cluster(cluster: &Cluster) -> Value {
    json!({
        "id": cluster.id,
        "score": cluster.score,
        "area": cluster.area,
        "selected": cluster.selected,
    })
}

fn word(word: &WordMap) -> Value {
    let (min, max) = word.range();
    json!({"word": word.word, "is_object": word.is_object, "min": min, "max": max})
}

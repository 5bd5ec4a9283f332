//! Events as JSON lines with the field names of the gRPC schema, without pictures.

use serde_json::{Value, json};

use crate::edit::{
    drift::Drift,
    event::{InstructionParsed, Pass, StepReport},
    localization::{Cluster, Localization, WordMap},
    parts::Part,
};
use crate::instruction::Action;
use crate::picture::align::Displacement;
use crate::wire::enums::InSchema;

/// One of several edits that the instruction asks for begins.
pub fn part(part: &Part) -> Value {
    json!({"part": {"number": part.number, "of": part.of, "instruction": part.instruction}})
}

/// The parsed instruction.
pub fn instruction(parsed: &InstructionParsed) -> Value {
    json!({"instruction": {
        "action": action(parsed.action),
        "object": parsed.object,
        "object_start": parsed.object_span.as_ref().map(|it| it.start),
        "object_end": parsed.object_span.as_ref().map(|it| it.end),
        "localization_instruction": parsed.localization_instruction,
        "text": parsed.text,
        "change": parsed.change.map(|it| it.write().as_str_name()),
        "replacement": parsed.replacement,
        "color": parsed.color,
        "told": parsed.told,
    }})
}

/// A warning.
pub fn warning_line(reason: &str, message: &str) -> Value {
    json!({"warning": {"reason": reason, "message": message}})
}

/// A finished denoising step.
pub fn step(report: &StepReport) -> Value {
    json!({"step": {
        "pass": pass(report.pass),
        "step": report.step,
        "total": report.of,
        "timestep": report.timestep,
    }})
}

/// Result of pass 1.
pub fn localized(localization: &Localization) -> Value {
    json!({"localized": {
        "clusters": localization.clusters.iter().map(cluster).collect::<Vec<_>>(),
        "words": localization.words.iter().map(word).collect::<Vec<_>>(),
        "confidence": localization.confidence,
    }})
}

/// The mask that the edit uses: its share of the picture, 0 to 1, and its source.
pub fn mask_settled(area: f64, source: &str) -> Value {
    json!({"mask_settled": {"area": area, "source": source}})
}

/// How the edit moved the whole picture.
pub fn drift(drift: Drift) -> Value {
    let Drift { displacement: Displacement { right, down, zoom }, agreement, is_undone } = drift;
    json!({"drift": {
        "right": right,
        "down": down,
        "zoom": zoom,
        "agreement": agreement,
        "undone": is_undone,
    }})
}

/// Position in a server's queue, from 1.
pub fn queue(position: u32, length: u32) -> Value {
    json!({"queue": {"position": position, "length": length}})
}

/// A job's state by its name in the schema.
pub fn state(state: &str, detail: &str) -> Value {
    json!({"state": {"state": state, "detail": detail}})
}

/// Name of a kind of edit in the schema.
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

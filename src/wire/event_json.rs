//! Events as JSON, a line each, under the names of the gRPC schema.

use serde_json::{Value, json};

use crate::editing::{
    edit_mask::EditMask,
    event::{EditEvent, Pass},
    iam_edit::localization_map::{Cluster, Localization, WordMap},
    instruction::Action,
};

/// The event as one JSON object; pictures are left out.
pub fn event(event: &EditEvent) -> Value {
    match event {
        EditEvent::InstructionParsed(parsed) => json!({"instruction": {
            "action": action(parsed.action),
            "object": parsed.object,
            "object_start": parsed.object_span.as_ref().map(|it| it.start),
            "object_end": parsed.object_span.as_ref().map(|it| it.end),
            "localization_instruction": parsed.localization_instruction,
        }}),
        EditEvent::Warning(warning) => warning_line(warning.reason.code(), &warning.message),
        EditEvent::StepDone(report) => json!({"step": {
            "pass": pass(report.pass),
            "step": report.step,
            "total": report.of,
            "timestep": report.timestep,
        }}),
        EditEvent::Localized(localization) => json!({"localized": localized(localization)}),
        EditEvent::MaskSettled(mask) => json!({"mask_settled": mask_settled(mask)}),
    }
}

/// A warning that comes from elsewhere than an edit.
pub fn warning_line(reason: &str, message: &str) -> Value {
    json!({"warning": {"reason": reason, "message": message}})
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

fn localized(localization: &Localization) -> Value {
    json!({
        "clusters": localization.clusters.iter().map(cluster).collect::<Vec<_>>(),
        "words": localization.words.iter().map(word).collect::<Vec<_>>(),
    })
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

fn mask_settled(mask: &EditMask) -> Value {
    json!({"area": mask.area(), "source": mask.source().name()})
}

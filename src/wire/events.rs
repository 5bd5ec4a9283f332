//! Events of an edit as messages of the schema.

use crate::edit::drift::Drift;
use crate::edit::event::{InstructionParsed, LocalizationSource, Remedy, StepReport, Warning};
use crate::picture::align::Displacement;
use crate::wire::{
    enums::{InSchema, number},
    v1,
};

/// How the instruction was parsed.
pub fn instruction(parsed: InstructionParsed) -> v1::InstructionParsed {
    let span = parsed.object_span.unwrap_or_default();
    v1::InstructionParsed {
        action: parsed.action.write() as i32,
        object: parsed.object,
        object_start: span.start as u32,
        object_end: span.end as u32,
        localization_instruction: parsed.localization_instruction,
        text: parsed.text,
        change: number(parsed.change),
        replacement: parsed.replacement,
        color: parsed.color,
        told: parsed.told,
    }
}

/// A warning, with its remedy as a field of the spec.
pub fn warning(Warning { reason, message, remedy }: Warning) -> v1::Warning {
    let message = match remedy {
        Some(Remedy::ScoreAuto) => format!("{message}; `spec.score` AUTO may help"),
        None => message,
    };
    v1::Warning { reason: reason.code().to_owned(), message }
}

/// A finished denoising step, without the time that is left.
pub fn step(report: &StepReport) -> v1::StepProgress {
    v1::StepProgress {
        pass: report.pass.write() as i32,
        step: report.step as u32,
        total: report.of as u32,
        timestep: report.timestep,
        eta: None,
    }
}

/// How the edit moved the whole picture.
pub fn drift(drift: Drift) -> v1::Drift {
    let Drift { displacement: Displacement { right, down, zoom }, agreement, is_undone } = drift;
    v1::Drift { right, down, zoom, agreement, undone: is_undone }
}

/// The same, read.
pub fn read_drift(drift: &v1::Drift) -> Drift {
    let &v1::Drift { right, down, zoom, agreement, undone: is_undone } = drift;
    Drift { displacement: Displacement { right, down, zoom }, agreement, is_undone }
}

/// Where a localization came from.
pub fn localization_source(source: LocalizationSource) -> v1::LocalizationSource {
    match source {
        LocalizationSource::Pass => v1::LocalizationSource::Pass,
        LocalizationSource::Cache => v1::LocalizationSource::Cache,
    }
}

//! Events of an edit beside its steps: the parsed instruction and warnings.

use std::{ops::ControlFlow, sync::Arc};

use crate::edit::{
    choices::Unparsed,
    event::{EditEvent, EventSink, InstructionParsed, Remedy, Warning, WarningReason},
    knobs::Tau,
    localization::Localization,
    localization_instruction::LocalizationInstruction,
    localizer::{ClusterScore, Localizer, ScoreSource},
    request::EditRequest,
    selection::{Fallback, MIN_CONTRAST},
};
use crate::editing::{EditError, baselines::watch_your_steps, session::EditSession};
use crate::instruction::{Instruction, Phrase, spelling::Correction};

/// Emits what was understood of the instruction, after which of several edits it is and a warning of each misspelled
/// word.
///
/// # Errors
/// [`EditError::Interrupted`] if the sink stops the run.
pub(super) fn announce(
    session: &EditSession<'_>,
    instruction: &Instruction,
    found: Option<&LocalizationInstruction>,
    sink: &mut dyn EventSink,
) -> Result<(), EditError> {
    session.is_announced.set(true);
    let part = &session.part;
    if part.of > 1 {
        let image = Arc::clone(&session.request.image);
        emit(sink, EditEvent::PartStarted(part.clone(), image))?;
    }
    for Correction { written, read, .. } in part.corrections.iter().chain(instruction.corrections())
    {
        let message = format!("`{written}` is read as `{read}`");
        warn(sink, WarningReason::SpellingCorrected, message)?;
    }
    let parsed = InstructionParsed {
        action: instruction.action(),
        object: match named(instruction, Phrase::text) {
            spared if instruction.spares_objects() => format!("everything except {spared}"),
            object => object,
        },
        object_span: instruction.objects().first().and_then(Phrase::span),
        text: instruction.text().to_owned(),
        change: instruction.change(),
        replacement: instruction.replacement().unwrap_or_default().to_owned(),
        color: instruction.color().unwrap_or_default().to_owned(),
        told: session.told().to_owned(),
        localization_instruction: found
            .filter(|_| session.request.settings.localizer.asks_for_the_object())
            .map(|it| it.text.clone())
            .unwrap_or_default(),
    };
    emit(sink, EditEvent::InstructionParsed(parsed))
}

/// The names of all objects, joined.
pub(super) fn named(instruction: &Instruction, name: fn(&Phrase) -> &str) -> String {
    instruction.objects().iter().map(name).collect::<Vec<_>>().join(" and ")
}

/// The warning for a localization whose attention has no contrast, if that applies.
pub(super) fn flat_attention(found: &Localization, request: &EditRequest) -> Option<Warning> {
    let contrast = found.contrast.filter(|&it| it < MIN_CONTRAST)?;
    let asked = request.settings.score;
    let (what, remedy) = match (asked, found.scored_by) {
        (ClusterScore::NoiseDifference, _)
        | (_, ScoreSource::PredictedChange | ScoreSource::Copying) => return None,
        (_, ScoreSource::NoiseDifference) => {
            ("clusters are scored by the noise difference instead", None)
        }
        (_, ScoreSource::Attention) => ("the mask may be wrong", Some(Remedy::ScoreAuto)),
    };
    let message = format!(
        "the model's attention to the object is flat, {contrast:.2} times the picture's mean in the best cluster; {what}"
    );
    Some(Warning { reason: WarningReason::FlatAttention, message, remedy })
}

/// Warns if a localization's confidence is below the minimum; cached localizations are treated alike.
///
/// # Errors
/// [`EditError::LowConfidence`] if the caller is strict, [`EditError::Interrupted`] if the sink stops the run.
pub(super) fn check_confidence(
    request: &EditRequest,
    found: &Localization,
    sink: &mut dyn EventSink,
) -> Result<(), EditError> {
    let least = request.settings.min_confidence.get();
    let Some(confidence) = found.confidence.filter(|&it| it < least) else { return Ok(()) };
    let words = found.words.iter().filter(|it| it.is_object).map(|it| it.word.as_str());
    let object = words.collect::<Vec<_>>().join(" ");
    if request.unparsed == Unparsed::Refuse {
        return Err(EditError::LowConfidence { object, confidence, least });
    }
    let message = format!(
        "`{object}` was found with a confidence of {confidence:.2}, below {least}: it may not be in the picture"
    );
    warn(sink, WarningReason::LowConfidence, message)
}

pub(super) fn fallback_message(
    fallback: Fallback,
    found: &Localization,
    request: &EditRequest,
) -> String {
    let settings = &request.settings;
    if settings.localizer != Localizer::Iam || found.scored_by == ScoreSource::PredictedChange {
        return "no cell is above the threshold; the highest one is taken".to_owned();
    }
    let tau = match found.scored_by {
        ScoreSource::NoiseDifference => {
            settings.threshold.map_or(watch_your_steps::THRESHOLD, Tau::get)
        }
        ScoreSource::Attention | ScoreSource::PredictedChange | ScoreSource::Copying => {
            settings.tau.get()
        }
    };
    match fallback {
        Fallback::NonePassed => format!("no cluster scores above {tau}; the best one is taken"),
        Fallback::AllPassed => {
            format!("every cluster scores above {tau}; only the best one is taken")
        }
    }
}

pub(super) fn warn(
    sink: &mut dyn EventSink,
    reason: WarningReason,
    message: String,
) -> Result<(), EditError> {
    emit(sink, EditEvent::Warning(Warning { reason, message, remedy: None }))
}

pub(super) fn emit(sink: &mut dyn EventSink, event: EditEvent) -> Result<(), EditError> {
    match sink.emit(event) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(interrupted) => Err(interrupted.into()),
    }
}

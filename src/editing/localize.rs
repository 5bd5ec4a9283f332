//! Pass 1 with each localizer; all return a [`Localization`].

use crate::edit::{
    event::EventSink,
    grid::{Field, Grid},
    knobs::Tau,
    localization::Localization,
    localization_instruction::LocalizationInstruction,
    localizer::{Localizer, ScoreSource},
};
use crate::editing::{
    EditError,
    baselines::{attention_threshold, diffedit, watch_your_steps},
    iam_edit::{
        self, InstructionAttention,
        localization_map::{object_fields, word_maps},
    },
    session::EditSession,
};
use crate::pipelines::conditioning::LatentSize;

/// Finds the region that the instruction edits, with the request's localizer.
///
/// # Errors
/// [`EditError`] if the model fails or has no usable attention layers, or if the sink stops the run.
pub fn localize(
    session: &EditSession<'_>,
    instruction: &LocalizationInstruction,
    sink: &mut dyn EventSink,
) -> Result<Localization, EditError> {
    match session.request.settings.localizer {
        Localizer::Iam => iam_edit::localize(session, instruction, sink),
        Localizer::Attention => by_attention(session, instruction, sink),
        Localizer::NoiseDifference => {
            let field = watch_your_steps::relevance(session)?;
            Ok(by_difference(session, &field, watch_your_steps::THRESHOLD))
        }
        Localizer::DiffEdit => {
            let field = diffedit::difference(session)?;
            Ok(by_difference(session, &field, diffedit::THRESHOLD))
        }
    }
}

/// Thresholds the objects' attention, upsampled to the latent grid.
fn by_attention(
    session: &EditSession<'_>,
    instruction: &LocalizationInstruction,
    sink: &mut dyn EventSink,
) -> Result<Localization, EditError> {
    let attention = InstructionAttention::gather(session, instruction, sink)?;
    let (prompt, maps) = (attention.prompt(instruction), attention.maps());
    let LatentSize { height, width } = LatentSize::of(session.image_latents()?);
    let grid = Grid { height, width };
    let objects = object_fields(prompt, maps).into_iter().map(Field::normalized);
    let objects = objects.map(|it| it.resized(grid)).collect();
    let field = attention_threshold::highest(objects).ok_or(EditError::NoAttention)?;
    let threshold = threshold(session, attention_threshold::THRESHOLD);
    let found =
        Localization::from_threshold(prompt.text, &field, threshold, word_maps(prompt, maps));
    Ok(Localization { resolution: maps.icam_grid, ..found })
}

/// Thresholds the instruction's noise difference; no denoising pass.
fn by_difference(session: &EditSession<'_>, field: &Field, default: f64) -> Localization {
    let instruction = &session.instruction;
    let found =
        Localization::from_threshold(instruction, field, threshold(session, default), vec![]);
    Localization { scored_by: ScoreSource::NoiseDifference, ..found }
}

/// The request's threshold, else the localizer's default.
fn threshold(session: &EditSession<'_>, default: f64) -> f64 {
    session.request.settings.threshold.map_or(default, Tau::get)
}

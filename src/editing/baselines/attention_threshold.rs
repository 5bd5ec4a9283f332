//! Baseline: a threshold on the object's cross-attention, without clusters, to measure what IAM-Edit's self-attention
//! adds.

use crate::edit::{
    event::EventSink,
    grid::{Field, Grid},
    localization::Localization,
    localization_instruction::LocalizationInstruction,
    localizer::Localizer,
};
use crate::editing::{
    EditError,
    iam_edit::{
        InstructionAttention,
        localization_map::{object_fields, word_maps},
    },
    method::MaskSource,
    session::EditSession,
};
use crate::pipelines::conditioning::LatentSize;

/// Threshold as a fraction of the attention's range; cells above it are edited.
///
/// No paper gives a value; this one is measured in `docs/ablations.md`.
const THRESHOLD: f64 = 0.05;

/// Thresholds the objects' attention, upsampled to the latent grid.
#[derive(Debug)]
pub struct AttentionThreshold;

impl MaskSource for AttentionThreshold {
    fn localizer(&self) -> Localizer {
        Localizer::Attention
    }

    fn localize(
        &self,
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
        let field = highest(objects).ok_or(EditError::NoAttention)?;
        let (threshold, words) = (session.threshold(THRESHOLD), word_maps(prompt, maps));
        let found = Localization::from_threshold(prompt.text, &field, threshold, words);
        Ok(Localization { resolution: maps.icam_grid, ..found })
    }
}

/// The cell-wise maximum over the objects' attention maps; `None` without objects.
fn highest(objects: Vec<Field>) -> Option<Field> {
    objects.into_iter().reduce(|mut best, object| {
        best.values.iter_mut().zip(object.values).for_each(|(best, it)| *best = best.max(it));
        best
    })
}

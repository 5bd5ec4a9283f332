//! Another source of masks: where cells no longer copy their own place of the picture.
//!
//! Of models whose latents attend to the picture that is edited. κ(c) = Σ P[x(c), r(d)] over d near c, divided by the same
//! over all d, is near 1 where a cell copies its own place and low where it is edited. Pass 1 makes the first calls of a
//! run with the edit's own instruction, and ends there.
//!
//! A hypothesis of this project: no paper has it, and it was not measured on trained weights.

use crate::edit::{
    event::{EventSink, Pass},
    grid::Field,
    localization::{Localization, WordMap},
    localization_instruction::LocalizationInstruction,
    localizer::{Localizer, ScoreSource},
};
use crate::editing::{
    EditError,
    copy_field::CopyStore,
    method::MaskSource,
    session::{Course, EditSession},
    watched_blocks::WatchedBlocks,
};

/// Threshold as a fraction of the range of what is not copied; cells above it are edited.
pub const THRESHOLD: f64 = 0.5;

/// Thresholds the share of its attention to the picture that a cell does not give its own place.
#[derive(Debug)]
pub struct Copying;

impl MaskSource for Copying {
    fn localizer(&self) -> Localizer {
        Localizer::Copy
    }

    fn localize(
        &self,
        session: &EditSession<'_>,
        _instruction: &LocalizationInstruction,
        sink: &mut dyn EventSink,
    ) -> Result<Localization, EditError> {
        session.check_attends_to_picture("the localizer `copy`")?;
        let run = session.run(Pass::Localize, session.told())?;
        let settings = &session.request.settings.localization;
        let averaged = settings.averaged.of(run.scheduler.steps().len());
        let (made, last) = (averaged.end, averaged.end - 1);
        let sites = session.pipeline.sites(run.conditioning.latent_size());
        let blocks = WatchedBlocks::of(settings.isam_blocks.as_ref(), &sites)?;
        let store = CopyStore::new(blocks, averaged);
        let field = store.field();
        // What the last call predicts leads nowhere.
        let course = Course { guided: 0..last, made, ..session.course(Pass::Localize, &run) };
        let _ = session.denoise(&course, &run, Box::new(store), sink, &|_, latents| latents)?;
        let field = field.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let copied = field.as_ref().ok_or(EditError::NoAttention)?.own_share();
        let values = copied.values.iter().map(|it| 1.0 - it).collect();
        let map = Field { values, ..copied };
        let words = vec![WordMap::of_localizer(self.localizer(), &map)];
        let (threshold, changed) = (session.threshold(THRESHOLD), map.smoothed().normalized());
        let found = Localization::from_threshold(session.told(), &changed, threshold, words);
        Ok(Localization { scored_by: ScoreSource::Copying, ..found })
    }
}

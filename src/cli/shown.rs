//! What is shown of an edit, wherever it runs: the events of the model here, or of a server, in one vocabulary.

use std::sync::Arc;

use image::{GrayImage, RgbImage};

use crate::edit::{
    event::{EditEvent, InstructionParsed, Pass, Remedy, StepReport},
    localization::Localization,
};

/// Something that happened to an edit.
#[derive(Debug, Clone)]
pub(crate) enum Shown {
    /// The instruction was understood.
    Parsed(InstructionParsed),
    /// Something to know that is no error.
    Warning {
        /// Upper-snake code.
        reason: String,
        /// For people: one line.
        message: String,
    },
    /// What the picture looks like after a step, from 1.
    Preview(Pass, usize, Arc<RgbImage>),
    /// A denoising step is done.
    Step(StepReport),
    /// The first pass is over.
    Localized(Arc<Localization>),
    /// The mask that the edit uses.
    Mask(ShownMask),
    /// A place in a server's queue, from 1, and the queue's length.
    Queue(u32, u32),
    /// A server's job changed its state: the schema's name, and why.
    State(&'static str, String),
}

/// The mask that an edit uses.
#[derive(Debug, Clone)]
pub(crate) struct ShownMask {
    /// At the size of the result, white = edit.
    pub(crate) image: Arc<GrayImage>,
    /// Share of the picture, 0 to 1.
    pub(crate) area: f64,
    /// The schema's name of where it came from.
    pub(crate) source: &'static str,
}

impl Shown {
    /// An event of an edit that runs here; a step comes after its preview.
    pub(crate) fn of(event: EditEvent) -> (Option<Self>, Self) {
        match event {
            EditEvent::InstructionParsed(parsed) => (None, Self::Parsed(parsed)),
            EditEvent::Warning(warning) => {
                let reason = warning.reason.code().to_owned();
                let message = match warning.remedy {
                    Some(Remedy::ScoreAuto) => {
                        format!("{}; --score auto may help", warning.message)
                    }
                    None => warning.message,
                };
                (None, Self::Warning { reason, message })
            }
            EditEvent::StepDone(mut report) => {
                let preview = report.preview.take();
                let preview = preview.map(|it| Self::Preview(report.pass, report.step, it));
                (preview, Self::Step(report))
            }
            EditEvent::Localized(localization, _) => (None, Self::Localized(localization)),
            EditEvent::MaskSettled(mask) => {
                let image = Arc::new(mask.full().as_image().clone());
                let (area, source) = (mask.area(), mask.source().name());
                (None, Self::Mask(ShownMask { image, area, source }))
            }
        }
    }
}

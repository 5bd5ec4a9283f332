//! Events of an edit as shown to the user, the same for local edits and those on a server.

use std::sync::Arc;

use image::{GrayImage, RgbImage};

use crate::edit::{
    drift::Drift,
    event::{EditEvent, InstructionParsed, Pass, Remedy, StepReport},
    localization::Localization,
    parts::Part,
};

/// An event to be shown.
#[derive(Debug, Clone)]
pub(crate) enum Shown {
    /// One of several edits that the instruction asks for begins, on this picture or else the input.
    Part(Part, Option<Arc<RgbImage>>),
    /// The instruction was parsed.
    Parsed(InstructionParsed),
    /// A warning.
    Warning {
        /// Reason in upper snake case.
        reason: String,
        /// Message for people, in one line.
        message: String,
    },
    /// Preview after a denoising step, from 1.
    Preview(Pass, usize, Arc<RgbImage>),
    /// A denoising step has ended.
    Step(StepReport),
    /// Pass 1 has ended.
    Localized(Arc<Localization>),
    /// The mask that the edit uses.
    Mask(ShownMask),
    /// How the edit moved the whole picture.
    Drift(Drift),
    /// Position in a server's queue, from 1, and the queue's length.
    Queue(u32, u32),
    /// A change of a server job's state: its name in the schema, and the reason.
    State(&'static str, String),
}

/// The mask that an edit uses.
#[derive(Debug, Clone)]
pub(crate) struct ShownMask {
    /// At the size of the result; white is edited.
    pub(crate) image: Arc<GrayImage>,
    /// Share of the picture, 0 to 1.
    pub(crate) area: f64,
    /// Its source, by the schema's name.
    pub(crate) source: &'static str,
}

impl Shown {
    /// Converts an event of a local edit; a step comes after its preview.
    pub(crate) fn of(event: EditEvent) -> (Option<Self>, Self) {
        match event {
            EditEvent::PartStarted(part, image) => (None, Self::Part(part, Some(image))),
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
            EditEvent::DriftTold(drift) => (None, Self::Drift(drift)),
        }
    }
}

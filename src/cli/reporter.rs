//! The listener of a local run: shows events, keeps what the maps need, hears Ctrl-C.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use image::RgbImage;

use crate::cli::{error::CliError, screen::Screen};
use crate::editing::{
    edit_mask::EditMask,
    event::{EditEvent, EventSink, InstructionParsed, Pass},
    iam_edit::localization_map::Localization,
};
use crate::sampling::Interrupted;

/// Set by Ctrl-C.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

/// Shows events and keeps what the maps need.
#[derive(Debug)]
pub(crate) struct Reporter<'a> {
    screen: &'a mut Screen,
    interrupt: Interrupt,
    record: Record,
}

/// What an edit said, for its maps.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// What the instruction was understood as.
    pub(crate) parsed: Option<InstructionParsed>,
    /// What pass 1 learned.
    pub(crate) localization: Option<Arc<Localization>>,
    /// The mask that was used.
    pub(crate) mask: Option<Arc<EditMask>>,
    /// Pass, step and picture of each preview.
    pub(crate) previews: Vec<(Pass, usize, Arc<RgbImage>)>,
}

impl Interrupt {
    /// Listens for Ctrl-C and for a request to end: the first stops the run within a step, the second ends the process.
    ///
    /// # Errors
    /// [`CliError::Defect`] if there is a listener already.
    pub(crate) fn listen() -> Result<Self, CliError> {
        let interrupt = Self::default();
        let flag = Arc::clone(&interrupt.0);
        let listener = move || {
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        };
        ctrlc::set_handler(listener).map_err(|error| CliError::Defect(error.to_string()))?;
        Ok(interrupt)
    }

    /// Breaks if Ctrl-C was heard.
    pub(crate) fn check(&self) -> ControlFlow<Interrupted> {
        if self.0.load(Ordering::Relaxed) {
            ControlFlow::Break(Interrupted)
        } else {
            ControlFlow::Continue(())
        }
    }
}

impl<'a> Reporter<'a> {
    /// A reporter onto a screen.
    pub(crate) fn new(screen: &'a mut Screen, interrupt: &Interrupt) -> Self {
        Self { screen, interrupt: interrupt.clone(), record: Record::default() }
    }

    /// What was said so far.
    pub(crate) fn into_record(self) -> Record {
        self.record
    }
}

impl EventSink for Reporter<'_> {
    fn emit(&mut self, event: EditEvent) -> ControlFlow<Interrupted> {
        self.screen.event(&event);
        match event {
            EditEvent::InstructionParsed(parsed) => self.record.parsed = Some(parsed),
            EditEvent::Localized(localization) => self.record.localization = Some(localization),
            EditEvent::MaskSettled(mask) => self.record.mask = Some(mask),
            EditEvent::StepDone(report) => {
                if let Some(preview) = report.preview {
                    self.record.previews.push((report.pass, report.step, preview));
                }
            }
            EditEvent::Warning(_) => {}
        }
        self.interrupt.check()
    }
}

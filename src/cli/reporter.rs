//! The listener of an edit: shows events, keeps what the maps need, hears Ctrl-C.

use std::{collections::HashSet, ops::ControlFlow, sync::Arc};

use image::{GrayImage, RgbImage};
use serde_json::Value;

use crate::cli::{interrupt::Interrupt, screen::Screen, shown::Shown};
use crate::edit::{
    event::{EditEvent, EventSink, InstructionParsed, Pass},
    localization::Localization,
};
use crate::sampling::Interrupted;

/// Shows events and keeps what the maps need.
#[derive(Debug)]
pub(crate) struct Reporter<'a> {
    screen: &'a mut Screen,
    interrupt: Interrupt,
    record: Record,
    /// Warnings that were shown; each variant of an edit says them again.
    warned: HashSet<(String, String)>,
}

/// What an edit said, for its maps.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// What the instruction was understood as.
    pub(crate) parsed: Option<InstructionParsed>,
    /// What pass 1 learned.
    pub(crate) localization: Option<Arc<Localization>>,
    /// The mask that was used.
    pub(crate) mask: Option<Arc<GrayImage>>,
    /// Pass, step and picture of each preview.
    pub(crate) previews: Vec<(Pass, usize, Arc<RgbImage>)>,
}

impl Record {
    /// Keeps a preview; of several variants, the first one's.
    fn keep(&mut self, pass: Pass, step: usize, picture: Arc<RgbImage>) {
        if !self.previews.iter().any(|(of, at, _)| (*of, *at) == (pass, step)) {
            self.previews.push((pass, step, picture));
        }
    }
}

impl<'a> Reporter<'a> {
    /// A reporter onto a screen.
    pub(crate) fn new(screen: &'a mut Screen, interrupt: &Interrupt) -> Self {
        let (record, warned) = (Record::default(), HashSet::new());
        Self { screen, interrupt: interrupt.clone(), record, warned }
    }

    /// Shows an event, a warning once, and keeps what the maps need of it.
    pub(crate) fn show(&mut self, event: Shown) {
        if let Shown::Warning { reason, message } = &event
            && !self.warned.insert((reason.clone(), message.clone()))
        {
            return;
        }
        self.screen.event(&event);
        match event {
            Shown::Parsed(parsed) => self.record.parsed = Some(parsed),
            Shown::Localized(localization) => self.record.localization = Some(localization),
            Shown::Mask(mask) => self.record.mask = Some(mask.image),
            Shown::Preview(pass, step, picture) => self.record.keep(pass, step, picture),
            Shown::Step(_) | Shown::Warning { .. } | Shown::Queue(..) | Shown::State(..) => {}
        }
    }

    /// The screen, for what does not come from the edit.
    pub(crate) fn screen(&mut self) -> &mut Screen {
        self.screen
    }

    /// A fact, such as the name of a job.
    pub(crate) fn fact(&mut self, key: &str, value: &Value) {
        self.screen.fact(key, value);
    }

    /// What was said so far.
    pub(crate) fn into_record(self) -> Record {
        self.record
    }
}

impl EventSink for Reporter<'_> {
    fn emit(&mut self, event: EditEvent) -> ControlFlow<Interrupted> {
        let (preview, event) = Shown::of(event);
        if let Some(preview) = preview {
            self.show(preview);
        }
        self.show(event);
        self.interrupt.check()
    }
}

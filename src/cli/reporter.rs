//! Listener of an edit's events: shows them, collects those for the maps, and checks for Ctrl-C.

use std::{collections::HashSet, ops::ControlFlow, sync::Arc};

use image::{GrayImage, RgbImage};
use serde_json::Value;

use crate::cli::{interrupt::Interrupt, screen::Screen, shown::Shown};
use crate::edit::{
    event::{EditEvent, EventSink, InstructionParsed, Pass},
    localization::Localization,
};
use crate::sampling::Interrupted;

/// Shows events, and collects those for the maps.
#[derive(Debug)]
pub(crate) struct Reporter<'a> {
    screen: &'a mut Screen,
    interrupt: Interrupt,
    record: Record,
    /// Warnings already shown, since each variant of an edit repeats them.
    warned: HashSet<(String, String)>,
}

/// Collected events, for the maps.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// The parsed instruction.
    pub(crate) parsed: Option<InstructionParsed>,
    /// Result of pass 1.
    pub(crate) localization: Option<Arc<Localization>>,
    /// The mask that the edit used.
    pub(crate) mask: Option<Arc<GrayImage>>,
    /// Pass, step (from 1) and picture of each preview.
    pub(crate) previews: Vec<(Pass, usize, Arc<RgbImage>)>,
}

impl Record {
    /// Collects a preview of the first variant.
    fn keep(&mut self, pass: Pass, step: usize, picture: Arc<RgbImage>) {
        if !self.previews.iter().any(|(of, at, _)| (*of, *at) == (pass, step)) {
            self.previews.push((pass, step, picture));
        }
    }
}

impl<'a> Reporter<'a> {
    /// A reporter that shows events on a screen.
    pub(crate) fn new(screen: &'a mut Screen, interrupt: &Interrupt) -> Self {
        let (record, warned) = (Record::default(), HashSet::new());
        Self { screen, interrupt: interrupt.clone(), record, warned }
    }

    /// Shows an event, each warning once, and collects it for the maps.
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

    /// The screen, for other output.
    pub(crate) fn screen(&mut self) -> &mut Screen {
        self.screen
    }

    /// Shows a fact, such as the name of a job.
    pub(crate) fn fact(&mut self, key: &str, value: &Value) {
        self.screen.fact(key, value);
    }

    /// The events collected so far.
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

//! Listener of an edit's events: shows them, collects those for the maps, and checks for Ctrl-C.

use std::{collections::HashSet, ops::ControlFlow, sync::Arc};

use image::{GrayImage, RgbImage};
use serde_json::Value;

use crate::cli::{interrupt::Interrupt, screen::Screen, shown::Shown};
use crate::edit::{
    event::{EditEvent, EventSink, InstructionParsed, Pass},
    localization::Localization,
    parts::Part,
};
use crate::sampling::Interrupted;

/// Shows events, and collects those for the maps.
#[derive(Debug)]
pub(crate) struct Reporter<'a> {
    screen: &'a mut Screen,
    interrupt: Interrupt,
    /// One for each part of the edit.
    records: Vec<Record>,
    /// Whether parts come again, for another variant.
    repeats: bool,
    /// Warnings already shown, since each variant of an edit repeats them.
    warned: HashSet<(String, String)>,
}

/// Collected events, for the maps.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Which of several edits it is, and the picture that it begins with, if not the input.
    pub(crate) part: Option<(Part, Option<Arc<RgbImage>>)>,
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
        let (records, warned) = (vec![Record::default()], HashSet::new());
        Self { screen, interrupt: interrupt.clone(), records, repeats: false, warned }
    }

    /// Shows an event, each warning once, and collects it for the maps.
    pub(crate) fn show(&mut self, event: Shown) {
        if let Shown::Warning { reason, message } = &event
            && !self.warned.insert((reason.clone(), message.clone()))
        {
            return;
        }
        self.screen.event(&event);
        if let Shown::Part(part, picture) = event {
            self.begin(part, picture);
            return;
        }
        let Some(record) = self.records.last_mut().filter(|_| !self.repeats) else { return };
        match event {
            Shown::Parsed(parsed) => record.parsed = Some(parsed),
            Shown::Localized(localization) => record.localization = Some(localization),
            Shown::Mask(mask) => record.mask = Some(mask.image),
            Shown::Preview(pass, step, picture) => record.keep(pass, step, picture),
            Shown::Part(..)
            | Shown::Step(_)
            | Shown::Drift(_)
            | Shown::Warning { .. }
            | Shown::Queue(..)
            | Shown::State(..) => {}
        }
    }

    /// Collects what follows as one of several edits, unless that was made for an earlier variant.
    fn begin(&mut self, part: Part, picture: Option<Arc<RgbImage>>) {
        let number = part.number;
        if number > 1 {
            self.repeats = number <= self.records.len();
        }
        if self.repeats {
            return;
        }
        let part = Some((part, picture));
        match self.records.last_mut() {
            Some(first) if number == 1 => first.part = part,
            _ => self.records.push(Record { part, ..Record::default() }),
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

    /// The events collected so far, of each part of the edit; at least one.
    pub(crate) fn into_records(self) -> Vec<Record> {
        self.records
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

//! Events that an edit emits while it runs, and the sink that receives them.

use std::{ops::ControlFlow, ops::Range, sync::Arc};

use image::RgbImage;

use crate::edit::{drift::Drift, edit_mask::EditMask, localization::Localization, parts::Part};
use crate::instruction::{Action, change::Change};
use crate::sampling::Interrupted;

/// The passes of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pass {
    /// Pass 1: localization.
    Localize,
    /// Pass 2: the edit.
    Edit,
}

/// An event.
#[derive(Debug, Clone)]
pub enum EditEvent {
    /// One of several edits that the instruction asks for begins, on this picture; what follows is about it.
    PartStarted(Part, Arc<RgbImage>),
    /// The instruction was parsed.
    InstructionParsed(InstructionParsed),
    /// A warning.
    Warning(Warning),
    /// A denoising step finished.
    StepDone(StepReport),
    /// Pass 1 finished: clusters, scores, word maps.
    Localized(Arc<Localization>, LocalizationSource),
    /// The mask was determined.
    MaskSettled(Arc<EditMask>),
    /// Pass 2 moved the whole picture by so much.
    DriftTold(Drift),
}

/// Where a localization came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LocalizationSource {
    /// Pass 1 of this edit.
    Pass,
    /// The cache: an earlier edit localized the same object in the same picture.
    Cache,
}

/// Result of parsing the instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstructionParsed {
    /// The kind of edit.
    pub action: Action,
    /// The object, as written; empty for an edit of the whole picture.
    pub object: String,
    /// Its byte range in `text`; `None` if it does not occur there.
    pub object_span: Option<Range<usize>>,
    /// The instruction as it was written, cleaned and with misspelled words corrected.
    pub text: String,
    /// What kind of change it is, if it is one.
    pub change: Option<Change>,
    /// What the object becomes, as written; empty if nothing is said of that.
    pub replacement: String,
    /// The new color, as written, of a change that recolors; else empty.
    pub color: String,
    /// What the model is told.
    pub told: String,
    /// The localization instruction; empty if nothing is localized, or by the edit's own instruction.
    pub localization_instruction: String,
}

impl InstructionParsed {
    /// What was understood, in a few words: `recolor the star to blue`, `change the bee to a bird`.
    pub fn in_short(&self) -> String {
        let object = if self.object.is_empty() { "the whole picture" } else { &self.object };
        let verb = match self.change {
            Some(Change::Recolor) => "recolor",
            _ if self.action == Action::Global => Action::Change.name(),
            _ => self.action.name(),
        };
        let becomes = if self.color.is_empty() { &self.replacement } else { &self.color };
        match self.change {
            Some(_) if becomes.is_empty() => format!("{verb} {object}"),
            // `make the dog bigger`: what it becomes is no thing to change to.
            Some(Change::Alter) => format!("{verb} {object}: {becomes}"),
            Some(Change::Recolor | Change::Replace) => format!("{verb} {object} to {becomes}"),
            None => format!("{verb} {object}"),
        }
    }
}

/// A finished denoising step.
#[derive(Debug, Clone)]
pub struct StepReport {
    /// The pass.
    pub pass: Pass,
    /// Index of the step, from 1.
    pub step: usize,
    /// Number of steps of the pass.
    pub of: usize,
    /// The diffusion timestep, 0 to 999.
    pub timestep: f64,
    /// Preview of the predicted picture, one pixel per latent cell.
    pub preview: Option<Arc<RgbImage>>,
}

/// A warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Its kind.
    pub reason: WarningReason,
    /// Message of one line.
    pub message: String,
    /// Suggested remedy.
    pub remedy: Option<Remedy>,
}

/// A remedy for a warning; command line and service word it as a flag or a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Remedy {
    /// Score clusters by the noise difference where attention is flat
    /// ([`ClusterScore::Auto`](crate::edit::localizer::ClusterScore::Auto)).
    ScoreAuto,
}

/// Kinds of warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WarningReason {
    /// The instruction exceeds the model's token limit.
    InstructionTruncated,
    /// Text without meaning for the model (such as prompt weights) was removed from the request.
    TextCleaned,
    /// A misspelled word of the instruction is read as the right one.
    SpellingCorrected,
    /// The negative prompt exceeds the model's token limit.
    NegativePromptTruncated,
    /// The localization instruction, including the object, exceeds the model's token limit.
    LocalizationTruncated,
    /// The instruction has characters of a script that the model was not trained on.
    NonLatinText,
    /// No object was recognized: the whole picture is edited.
    NotParsed,
    /// No cluster passed the threshold, or all did: the best one is used.
    MaskFallback,
    /// The attention to the object's words is flat over the picture.
    FlatAttention,
    /// The object was found with low confidence: it may not be in the picture.
    LowConfidence,
    /// A reused localization was made for another wording.
    OtherWording,
    /// A reused localization was made by the model that the server had before.
    OtherModel,
    /// The edit left the picture inside the mask as it was.
    NoChange,
    /// Two settings contradict each other, and one is ignored.
    Ignored,
}

/// Receives the events of an edit.
pub trait EventSink {
    /// Handles an event; `ControlFlow::Break` stops the edit within one step.
    fn emit(&mut self, event: EditEvent) -> ControlFlow<Interrupted>;
}

impl<F: FnMut(EditEvent) -> ControlFlow<Interrupted>> EventSink for F {
    fn emit(&mut self, event: EditEvent) -> ControlFlow<Interrupted> {
        self(event)
    }
}

impl WarningReason {
    /// The code in upper snake case.
    pub fn code(self) -> &'static str {
        match self {
            Self::InstructionTruncated => "INSTRUCTION_TRUNCATED",
            Self::TextCleaned => "TEXT_CLEANED",
            Self::SpellingCorrected => "SPELLING_CORRECTED",
            Self::NegativePromptTruncated => "NEGATIVE_PROMPT_TRUNCATED",
            Self::LocalizationTruncated => "LOCALIZATION_TRUNCATED",
            Self::NonLatinText => "NON_LATIN_TEXT",
            Self::NotParsed => "NOT_PARSED",
            Self::MaskFallback => "MASK_FALLBACK",
            Self::FlatAttention => "FLAT_ATTENTION",
            Self::LowConfidence => "LOW_CONFIDENCE",
            Self::OtherWording => "LOCALIZATION_OTHER_WORDING",
            Self::OtherModel => "LOCALIZATION_OTHER_MODEL",
            Self::NoChange => "NO_CHANGE",
            Self::Ignored => "IGNORED",
        }
    }
}

/// Compile-time check that events are `Send`: they hold pictures and numbers, no tensors.
const _: fn() = || {
    fn crosses_threads<T: Send + Sync>() {}
    crosses_threads::<EditEvent>();
};

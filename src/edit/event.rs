//! What an edit says of itself while it runs, and who listens.

use std::{ops::ControlFlow, ops::Range, sync::Arc};

use image::RgbImage;

use crate::edit::{edit_mask::EditMask, localization::Localization};
use crate::instruction::Action;
use crate::sampling::Interrupted;

/// The passes of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pass {
    /// Finds the mask.
    Localize,
    /// Makes the edit.
    Edit,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum EditEvent {
    /// The instruction was understood.
    InstructionParsed(InstructionParsed),
    /// Something to know that is no error.
    Warning(Warning),
    /// A denoising step is done.
    StepDone(StepReport),
    /// The first pass is over: clusters, scores, word maps.
    Localized(Arc<Localization>, LocalizationSource),
    /// The mask that the edit uses.
    MaskSettled(Arc<EditMask>),
}

/// Where a localization came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LocalizationSource {
    /// A pass of this edit.
    Pass,
    /// An earlier edit of the same object in the same picture, so that no step was made.
    Cache,
}

/// What the instruction was understood as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstructionParsed {
    /// The kind of edit.
    pub action: Action,
    /// The object, as written; empty for the whole picture.
    pub object: String,
    /// Where it stands in `text`, in bytes, if it does.
    pub object_span: Option<Range<usize>>,
    /// The instruction as the model reads it.
    pub text: String,
    /// The localization instruction; empty if nothing is to be localized.
    pub localization_instruction: String,
}

/// A denoising step that is done.
#[derive(Debug, Clone)]
pub struct StepReport {
    /// In which pass.
    pub pass: Pass,
    /// From 1.
    pub step: usize,
    /// Of how many.
    pub of: usize,
    /// The diffusion timestep, 0 to 999.
    pub timestep: f64,
    /// The picture predicted so far, at the latent's own size.
    pub preview: Option<Arc<RgbImage>>,
}

/// Something to know that is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What kind.
    pub reason: WarningReason,
    /// For people: one line.
    pub message: String,
    /// What may help.
    pub remedy: Option<Remedy>,
}

/// What may help against a warning; each door says it in its own words, as a flag or a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Remedy {
    /// To score clusters by the noise difference where attention is flat
    /// ([`ClusterScore::Auto`](crate::edit::localizer::ClusterScore::Auto)).
    ScoreAuto,
}

/// The kinds of warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WarningReason {
    /// The instruction is longer than the model reads.
    InstructionTruncated,
    /// Something in the request's texts means nothing to the model, and was left out.
    TextCleaned,
    /// The negative prompt is longer than the model reads.
    NegativePromptTruncated,
    /// The localization instruction, with the object in it, is longer than the model reads.
    LocalizationTruncated,
    /// The instruction holds letters that the model was not made for.
    NonLatinText,
    /// No object was found: the whole picture is edited.
    NotParsed,
    /// No cluster passed, or all did: the best one is taken.
    MaskFallback,
    /// The attention to the object's words is the same all over the picture.
    FlatAttention,
    /// The object was hardly found: it may not be in the picture.
    LowConfidence,
    /// A localization that was made before is of another wording.
    OtherWording,
    /// Two given values contradict each other, and one is passed over.
    Ignored,
}

/// Who listens to an edit.
pub trait EventSink {
    /// Takes an event; a break stops the edit within one step.
    fn emit(&mut self, event: EditEvent) -> ControlFlow<Interrupted>;
}

impl<F: FnMut(EditEvent) -> ControlFlow<Interrupted>> EventSink for F {
    fn emit(&mut self, event: EditEvent) -> ControlFlow<Interrupted> {
        self(event)
    }
}

impl WarningReason {
    /// The upper-snake code.
    pub fn code(self) -> &'static str {
        match self {
            Self::InstructionTruncated => "INSTRUCTION_TRUNCATED",
            Self::TextCleaned => "TEXT_CLEANED",
            Self::NegativePromptTruncated => "NEGATIVE_PROMPT_TRUNCATED",
            Self::LocalizationTruncated => "LOCALIZATION_TRUNCATED",
            Self::NonLatinText => "NON_LATIN_TEXT",
            Self::NotParsed => "NOT_PARSED",
            Self::MaskFallback => "MASK_FALLBACK",
            Self::FlatAttention => "FLAT_ATTENTION",
            Self::LowConfidence => "LOW_CONFIDENCE",
            Self::OtherWording => "LOCALIZATION_OTHER_WORDING",
            Self::Ignored => "IGNORED",
        }
    }
}

/// Events cross threads, so they hold pictures and numbers, no tensors.
const _: fn() = || {
    fn crosses_threads<T: Send + Sync>() {}
    crosses_threads::<EditEvent>();
};

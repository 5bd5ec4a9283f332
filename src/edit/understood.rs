//! What an edit's instruction was understood to say, and what the model is told of it.
//!
//! A model knows the phrasings that it was trained on, and a caller writes others. Where the model has templates
//! (`edit_instruction` in its `retouch.json`), it is told what was understood in the words of its template. A model
//! without them is told the text itself, less the courtesies around a command.

use crate::edit::request::EditRequest;
use crate::instruction::{
    Instruction, Overrides, ParseError,
    steps::Step,
    templates::edit_instruction,
    told::Told,
    wording::{Use, Wording},
};

/// An instruction as it was read, and what the model is told.
#[derive(Debug, Clone)]
pub struct Understood {
    /// The instruction as it was read, or why it can't be.
    pub read: Result<Instruction, ParseError>,
    /// What the model is told.
    pub told: Told,
    /// What it is told, read in turn, where a template words it.
    reread: Option<Instruction>,
}

impl Understood {
    /// Reads the instruction of a request.
    pub fn of(request: &EditRequest) -> Self {
        let overrides = Overrides { object: request.object.as_deref(), action: request.action };
        let read = Instruction::parse_with(&request.instruction, overrides);
        let (told, reread) = match &read {
            Ok(read) if request.verbatim => (read.as_written(), None),
            Ok(read) => match in_models_words(request, read) {
                Some(told) => {
                    let reread = Instruction::parse_with(&told.text, overrides).ok();
                    (told, reread.filter(|it| is_same(it, read)))
                }
                None => (read.without_courtesies(), None),
            },
            Err(_) => (Told { text: cleaned(request), object_spans: None }, None),
        };
        Self { read, told, reread }
    }

    /// The instruction whose objects pass 1 names to the model: as it is told, if a template words it, else as it was
    /// read.
    pub fn named(&self) -> Option<&Instruction> {
        self.reread.as_ref().or(self.read.as_ref().ok())
    }

    /// What the model is told, if that is not the instruction as it was written.
    pub fn reworded(&self, request: &EditRequest) -> Option<&str> {
        Some(self.told.text.as_str()).filter(|it| *it != cleaned(request))
    }
}

/// The edit in the words of the model's template.
///
/// A text that asks for several edits has no template, and neither has one of which the caller's object or kind of edit
/// says that it was misread.
fn in_models_words(request: &EditRequest, read: &Instruction) -> Option<Told> {
    let steps = Instruction::parse_all(&request.instruction).ok()?;
    let [Step { instruction, .. }] = &steps[..] else { return None };
    let agrees = is_same(read, instruction);
    agrees.then(|| edit_instruction(instruction, &request.settings.templates)).flatten()
}

/// Whether two instructions do the same to things of the same names.
fn is_same(one: &Instruction, other: &Instruction) -> bool {
    let heads = |it: &Instruction| {
        it.objects().iter().map(|it| it.head().to_lowercase()).collect::<Vec<_>>()
    };
    one.action() == other.action() && heads(one) == heads(other)
}

fn cleaned(request: &EditRequest) -> String {
    Wording::of(&request.instruction, Use::Instruction).text
}

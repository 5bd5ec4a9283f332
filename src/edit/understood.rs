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
}

impl Understood {
    /// Reads the instruction of a request.
    pub fn of(request: &EditRequest) -> Self {
        let overrides = Overrides { object: request.object.as_deref(), action: request.action };
        let read = Instruction::parse_with(&request.instruction, overrides);
        let told = match &read {
            Ok(read) if request.verbatim => read.as_written(),
            Ok(read) => in_models_words(request, read).unwrap_or_else(|| read.without_courtesies()),
            Err(_) => Told { text: cleaned(request), object_spans: None },
        };
        Self { read, told }
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
    let (named, found) = (read.objects(), instruction.objects());
    let same = named.iter().zip(found).all(|(a, b)| a.head().eq_ignore_ascii_case(b.head()));
    let agrees = read.action() == instruction.action() && named.len() == found.len() && same;
    agrees.then(|| edit_instruction(instruction, &request.settings.templates)).flatten()
}

fn cleaned(request: &EditRequest) -> String {
    Wording::of(&request.instruction, Use::Instruction).text
}

//! The parts of an edit: an instruction that asks for several edits is made in parts, one after the other.
//!
//! Each part is an edit of its own, with a localization and a mask, on the picture that the part before it made. An
//! instruction that asks for one edit has one part, which is told as it was written.

use crate::edit::request::EditRequest;
use crate::instruction::{Instruction, spelling::Correction};

/// Most edits that one instruction may ask for.
pub const MOST_PARTS: usize = 8;

/// One of the edits that an instruction asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its number, from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
    /// What it asks for, in words that say the whole of it.
    pub instruction: String,
    /// The misspelled words of the whole instruction, for the first of several parts.
    pub corrections: Vec<Correction>,
}

/// Why an instruction that asks for several edits is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartsError {
    /// It asks for too many.
    #[error(
        "asks for {0} edits one after the other, at most {MOST_PARTS}; send them one at a time"
    )]
    TooMany(usize),
    /// It comes with something that is about one of them.
    #[error(
        "asks for {count} edits one after the other, and {what} belongs to one; send them one at a time: {parts}",
        count = .parts.len(), parts = listed(.parts)
    )]
    OneOnly {
        /// What came with it.
        what: &'static str,
        /// The instructions of the parts.
        parts: Vec<String>,
    },
}

impl Part {
    /// The only part of an edit with this instruction.
    pub fn only(instruction: &str) -> Self {
        let (instruction, corrections) = (instruction.to_owned(), Vec::new());
        Self { number: 1, of: 1, instruction, corrections }
    }
}

impl EditRequest {
    /// The edits that the request asks for, in order; at least one.
    ///
    /// A caller who names the object or the kind of edit, or has the text told as it is, says that it is one edit.
    pub fn parts(&self) -> Vec<Part> {
        let is_one = self.object.is_some() || self.action.is_some() || self.verbatim;
        parts(&self.instruction, is_one)
    }
}

/// The edits that an instruction asks for; one if `is_one` says so.
pub fn parts(instruction: &str, is_one: bool) -> Vec<Part> {
    let steps =
        if is_one { Vec::new() } else { Instruction::parse_all(instruction).unwrap_or_default() };
    let of = steps.len();
    if of < 2 {
        return vec![Part::only(instruction)];
    }
    let part = |(index, step): (usize, &Instruction)| Part {
        number: index + 1,
        of,
        instruction: step.text().to_owned(),
        corrections: step.corrections().to_vec(),
    };
    steps.iter().map(|it| &it.instruction).enumerate().map(part).collect()
}

/// Refuses an instruction that asks for too many edits, or for several beside `what`, which belongs to one.
///
/// # Errors
/// [`PartsError`].
pub fn check(parts: &[Part], what: Option<&'static str>) -> Result<(), PartsError> {
    match (parts.len(), what) {
        (count, _) if count > MOST_PARTS => Err(PartsError::TooMany(count)),
        (2.., Some(what)) => {
            let parts = parts.iter().map(|it| it.instruction.clone()).collect();
            Err(PartsError::OneOnly { what, parts })
        }
        _ => Ok(()),
    }
}

fn listed(parts: &[String]) -> String {
    parts.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ")
}

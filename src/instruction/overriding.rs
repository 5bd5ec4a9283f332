//! What the user says about an instruction, laid over what the parser reads.

use super::listing;
use super::phrase::{self, Found};
use super::wording::{Use, Wording, has_words};
use super::{Action, Instruction, Overrides, ParseError, Phrase, Stands, words};

/// An instruction with what the user says of its object and action.
pub(super) fn overridden(
    text: &str,
    read: Result<Instruction, ParseError>,
    overrides: Overrides<'_>,
) -> Result<Instruction, ParseError> {
    let empty = || Instruction {
        text: text.to_owned(),
        action: Action::Change,
        objects: Vec::new(),
        replacement: None,
        change: None,
        place: None,
        exception: None,
        corrections: Vec::new(),
    };
    let instruction = match (overrides.object, overrides.action, read) {
        (None, None, read) => return read,
        (None, Some(Action::Global), read) => {
            let read = read.unwrap_or_else(|_| empty());
            Instruction {
                action: Action::Global,
                objects: Vec::new(),
                change: None,
                place: None,
                exception: None,
                ..read
            }
        }
        (None, Some(action), read) => Instruction { action, ..read? },
        (Some(object), action, read) => {
            let objects = named(text, object)?;
            let found = read.as_ref().ok().map(|it| it.action).filter(|it| *it != Action::Global);
            let action = action.or(found).unwrap_or(Action::Change);
            Instruction { action, objects, ..read.unwrap_or_else(|_| empty()) }
        }
    };
    if instruction.action != Action::Global && instruction.objects.is_empty() {
        return Err(ParseError::NoObject { text: text.to_owned(), action: instruction.action });
    }
    Ok(instruction)
}

/// The objects that the user named, each where it stands in the instruction if it does.
fn named(text: &str, object: &str) -> Result<Vec<Phrase>, ParseError> {
    let cleaned = Wording::of(object, Use::Object).text;
    let found = listing::phrases(&words::tokens(&cleaned));
    if found.is_empty() || !has_words(&cleaned) {
        return Err(ParseError::NotAnObject(object.to_owned()));
    }
    let tokens = words::tokens(text);
    Ok(found.iter().map(|it| locate(text, &tokens, &cleaned, it)).collect())
}

/// A phrase as it stands in the instruction, with its determiner there, or else as the user wrote it.
fn locate(text: &str, tokens: &[words::Token], object: &str, found: &Found) -> Phrase {
    let name: Vec<String> =
        words::tokens(&object[found.name.clone()]).into_iter().map(|it| it.lower).collect();
    let at = tokens.windows(name.len()).position(|it| it.iter().map(|it| &it.lower).eq(&name));
    let standing = at.and_then(|at| {
        let end = at + name.len();
        let opening = (0..=at).find(|&from| {
            phrase::phrase(&tokens[from..end])
                .is_some_and(|it| it.name.start == tokens[at].span.start)
        })?;
        phrase::phrase(&tokens[opening..end])
    });
    match standing {
        Some(standing) => Phrase::new(text, &standing, Stands::InInstruction),
        None => Phrase::new(object, found, Stands::Elsewhere),
    }
}

//! An instruction as a text for a model: as it was written, or without its courtesies.

use std::ops::Range;

use super::{Instruction, Phrase, courtesy};

/// A text for a model, and where the objects stand in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The text.
    pub text: String,
    /// Bytes of each object's name without its determiner, in order; `None` if one does not stand in the text.
    pub object_spans: Option<Vec<Range<usize>>>,
}

impl Instruction {
    /// Its text without the courtesies around a command: `make the star blue` for `could you make the star blue?`.
    ///
    /// A text that begins with its verb and does not end with thanks stays as it is.
    ///
    /// ```
    /// use retouch::instruction::Instruction;
    ///
    /// let instruction = Instruction::parse("Could you please make the star blue? Thanks!")?;
    /// assert_eq!(instruction.without_courtesies().text, "make the star blue");
    /// # Ok::<(), retouch::instruction::ParseError>(())
    /// ```
    ///
    /// Of an edit of everything but a thing it is what shall happen to everything, since naming the thing draws the
    /// model to it: `make everything blue` for `make everything except the star blue`.
    pub fn without_courtesies(&self) -> Told {
        let told = self.told_in(courtesy::command(&self.text));
        let Some(exception) = &self.exception else { return told };
        let words = self.text[exception.clone()].trim();
        let (before, after) = told.text.split_once(words).unwrap_or((&told.text, ""));
        let comma = |c: char| c.is_whitespace() || c == ',';
        let text =
            format!("{} {}", before.trim_end_matches(comma), after.trim_start_matches(comma));
        // `keep only the star` says nothing else.
        let text = if text.trim().is_empty() { "remove everything" } else { text.trim() };
        Told { text: text.to_owned(), object_spans: None }
    }

    /// Its text before misspelled words were corrected, cleaned.
    pub fn as_written(&self) -> Told {
        let mut text = self.text.clone();
        for it in self.corrections.iter().rev() {
            text.replace_range(it.span.clone(), &it.written);
        }
        let written = |at: usize| {
            let before = self.corrections.iter().filter(|it| it.span.end <= at);
            before.fold(at, |at, it| at + it.written.len() - it.read.len())
        };
        let within = |it: Range<usize>| written(it.start)..written(it.end);
        let object_spans = self.name_spans().map(|it| it.map(within)).collect();
        Told { text, object_spans }
    }

    /// These bytes of its text.
    pub(super) fn told_in(&self, part: Range<usize>) -> Told {
        let within = |it: Range<usize>| {
            let inside = part.start <= it.start && it.end <= part.end;
            inside.then(|| it.start - part.start..it.end - part.start)
        };
        let object_spans = self.name_spans().map(|it| within(it?)).collect();
        Told { text: self.text[part.clone()].to_owned(), object_spans }
    }

    fn name_spans(&self) -> impl Iterator<Item = Option<Range<usize>>> {
        self.objects.iter().map(Phrase::name_span)
    }
}

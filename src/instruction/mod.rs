//! Parser of instructions: kind of edit, object, replacement.
//!
//! Text in, typed spans out: no tensor, no model. IAM-Edit takes the object as given with its data and sorts
//! instructions into change, add and remove by a classifier (sections "Instruction attention maps" and "Localization
//! instruction"); here a small grammar reads both from the text.
//!
//! # Why a grammar of its own
//! The object must be a span of the text, and an instruction is a narrow kind of English: a command, a wish, a
//! statement or a bare phrase. harper-core 3.0.0, a maintained crate with part-of-speech tags and noun chunks, was
//! tried: it has 266 dependencies (a neural network framework among them), takes minutes to compile and 14 MB in the
//! binary; and its tagger, trained on prose, tags the verbs of commands as nouns (`paint/NOUN the house red`, also
//! change, swap and color) and splits the chunk `the black and white dog`. Here the verb, on which everything depends,
//! is found by a list, and the rest by prepositions and determiners, which are closed classes.
//!
//! # What is read as what
//! - **change**: replace, turn, recolor, resize, pose: something that is there will look different.
//! - **add**: what is added is the object, also what somebody is given, wears or holds.
//! - **remove**: what goes is the object, not what it is taken from.
//! - **global**: the object is the picture as a whole, its style, season, light, or `it`: nothing to localize.
//! - The property of a thing is the thing: in `the color of the car` and `the car's color` the object is the car.
//! - Two commands in one instruction are one edit of all their objects for [`Instruction::parse`]: an addition if one
//!   of them adds, since then the instruction itself has to localize. [`Instruction::parse_all`] tells them apart.
//! - Where an object is ([`Place`]) is no part of its name, neither behind it (`the house on the left`) nor before it
//!   (`the left house`).
//! - A misspelled word that the grammar turns on is read as the right one, and told: [`Instruction::corrections`].

mod change;
mod clause;
mod complement;
mod courtesy;
mod grammar;
mod imperative;
mod lexicon;
pub mod nouns;
mod object;
mod overriding;
mod phrase;
mod place;
mod predicate;
mod reading;
mod sharing;
mod spelling;
pub mod templates;
pub mod wording;
mod words;

use std::fmt;
use std::ops::Range;

use thiserror::Error;

use crate::choice::choices;

pub use change::Change;
pub use object::Phrase;
pub use place::{Area, CountedFrom, Place, PlaceKind, Relation};
pub use reading::Step;
pub use spelling::Correction;

use wording::{Use, Wording, has_words};

choices! {
    /// What kind of edit an instruction asks for.
    pub enum Action {
        /// An object becomes another or looks different.
        ///
        /// An existing object, which may stand differently, too.
        Change = "change",
        /// An object is added.
        Add = "add",
        /// An object is taken away.
        Remove = "remove",
        /// The whole picture; no mask.
        ///
        /// Its style, season, filter; there is no object.
        Global = "global",
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the caller specifies instead of the parser.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overrides<'a> {
    /// The object or objects: `the cat and the dog`.
    ///
    /// It need not occur in the instruction, since the localization instruction names it: `make it black` with the
    /// object `the dog` works.
    pub object: Option<&'a str>,
    /// The kind of edit.
    pub action: Option<Action>,
}

/// An instruction, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    text: String,
    action: Action,
    objects: Vec<Phrase>,
    replacement: Option<Range<usize>>,
    change: Option<Change>,
    place: Option<Place>,
    corrections: Vec<Correction>,
}

/// Why an instruction cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    /// There is no word in it.
    #[error("the instruction has no words; say what to edit, as in `make the dog black`")]
    Empty,
    /// It has no word in Latin letters.
    #[error(
        "the instruction `{0}` has no word in Latin letters; write it in English, or name the object and the action"
    )]
    NotLatin(String),
    /// No rule of the grammar matches.
    #[error(
        "cannot tell what `{0}` edits; begin with a verb, as in `make the dog black`, or name the object and the action"
    )]
    NotUnderstood(String),
    /// The requested kind of edit needs an object, and there is none.
    #[error("`{text}` names no object to {action}; name the object")]
    NoObject {
        /// The instruction.
        text: String,
        /// The kind of edit.
        action: Action,
    },
    /// The object that the caller named has no noun.
    #[error("`{0}` names no object; write a noun phrase, as in `the black dog`")]
    NotAnObject(String),
}

impl Instruction {
    /// Parses an instruction after [cleaning](wording) it.
    ///
    /// ```
    /// use retouch::instruction::{Action, Instruction};
    ///
    /// let instruction = Instruction::parse("Replace the black dog on the sofa with a cat.")?;
    /// assert_eq!(instruction.action(), Action::Change);
    /// assert_eq!(instruction.objects()[0].text(), "the black dog on the sofa");
    /// assert_eq!(instruction.objects()[0].name(), "black dog");
    /// assert_eq!(instruction.replacement(), Some("a cat"));
    /// # Ok::<(), retouch::instruction::ParseError>(())
    /// ```
    ///
    /// # Errors
    /// [`ParseError`] if the text is empty, not English, or matches no rule.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Self::parse_with(text, Overrides::default())
    }

    /// Parses an instruction whose object or kind of edit the caller specifies.
    ///
    /// If the text can't be parsed but an object is given, the edit is a change unless the action says otherwise.
    ///
    /// # Errors
    /// As [`Instruction::parse`], and [`ParseError::NoObject`], [`ParseError::NotAnObject`].
    pub fn parse_with(text: &str, overrides: Overrides<'_>) -> Result<Self, ParseError> {
        let cleaned = Wording::of(text, Use::Instruction).text;
        if !has_words(&cleaned) {
            return Err(ParseError::Empty);
        }
        let (text, corrections) = spelling::corrected(&cleaned);
        let read = reading::joined(&text).map(|it| Self { corrections, ..it });
        overriding::overridden(&text, read, overrides)
    }

    /// Reads the edits that an instruction asks for one after the other: two for `make the star blue and remove the
    /// circle`, one for most.
    ///
    /// Each has a text of its own, which says the whole of it and reads the same alone: a verb that two share is in both
    /// (`paint the car red and the house blue`), a pronoun is what it stands for. With one edit the text is that of
    /// [`Instruction::parse`].
    ///
    /// ```
    /// use retouch::instruction::Instruction;
    ///
    /// let steps = Instruction::parse_all("First paint the car red and the house blue, then remove the tree.")?;
    /// let texts: Vec<&str> = steps.iter().map(|it| it.instruction.text()).collect();
    /// assert_eq!(texts, ["paint the car red", "paint the house blue", "remove the tree"]);
    /// # Ok::<(), retouch::instruction::ParseError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Instruction::parse`].
    pub fn parse_all(text: &str) -> Result<Vec<Step>, ParseError> {
        let cleaned = Wording::of(text, Use::Instruction).text;
        if !has_words(&cleaned) {
            return Err(ParseError::Empty);
        }
        let (text, corrections) = spelling::corrected(&cleaned);
        reading::steps(&text, &corrections)
    }

    /// The instruction after [cleaning](wording); all spans are byte ranges of it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The kind of edit.
    pub fn action(&self) -> Action {
        self.action
    }

    /// The objects that are changed, added or removed, in text order; empty for a global edit.
    pub fn objects(&self) -> &[Phrase] {
        &self.objects
    }

    /// What the object, or for a global edit the picture, becomes, as written: `a cat`, `red`, `smile`.
    ///
    /// Of several commands, the first that has one counts.
    pub fn replacement(&self) -> Option<&str> {
        self.replacement_span().map(|it| &self.text[it])
    }

    /// Byte range of the replacement in the instruction.
    pub fn replacement_span(&self) -> Option<Range<usize>> {
        self.replacement.clone()
    }

    /// What kind of change it is; `None` for another action, and where nothing is said of what the object becomes.
    pub fn change(&self) -> Option<Change> {
        self.change
    }

    /// The new color, as written, of a change that recolors: `red`, `emerald green`, `the same color as the star`.
    pub fn color(&self) -> Option<&str> {
        self.replacement().filter(|_| self.change == Some(Change::Recolor))
    }

    /// Where the edit is: where an addition is to come, or the place of the first object that has one.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref().or_else(|| self.objects.iter().find_map(Phrase::place))
    }

    /// The words that were misspelled, with what they were read as; [`Instruction::text`] has them corrected.
    pub fn corrections(&self) -> &[Correction] {
        &self.corrections
    }
}

//! Reads an instruction: the kind of edit, the object, what it becomes.
//!
//! Pure text in, typed spans out: no tensor, no model. IAM-Edit takes the editing object as given with its data and
//! sorts instructions by a classifier into change, add and remove (sections "Instruction attention maps" and
//! "Localization instruction"); here a small grammar reads both from the text.
//!
//! # Why a grammar of its own
//! The object must be a span of the text, and an instruction is a narrow kind of English: a command, a wish, a
//! statement or a bare phrase. harper-core 3.0.0, the well-kept crate with parts of speech and noun chunks, was
//! tried: 266 crates (a neural network framework among them), minutes to compile, 14 MB in the binary, and its
//! tagger, taught on prose, takes the verbs of commands for nouns (`paint/NOUN the house red`, also change, swap and
//! color) and breaks the chunk `the black and white dog`. The verb, the one thing that must be right, is right by a
//! list, and the rest follows from prepositions and determiners, which are closed classes.
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
//! - `everything except the dog` is read as the dog, which stays, as is `keep the dog, remove everything else`:
//!   [`Instruction::spares_objects`].
//! - What is spoken of before it is said what to do with it is the object: `Why is the grass so yellow? Make it
//!   green!`, `Sofa: burnt orange`. A reason before a command (`the sky is dull, so add clouds`) asks for nothing.
//! - A misspelled word that the grammar turns on is read as the right one, and told: [`Instruction::corrections`].

mod adding;
pub mod area;
mod becoming;
pub mod change;
mod clause;
mod complement;
mod contrast;
mod courtesies;
mod courtesy;
mod denials;
mod exception;
mod fate;
mod grammar;
mod idioms;
mod imperative;
mod lexicon;
mod listing;
mod lists;
mod naming;
pub mod nouns;
mod overriding;
mod phrase;
pub mod place;
mod predicate;
mod reading;
mod rewording;
mod sharing;
pub mod spelling;
pub mod steps;
pub mod templates;
pub mod told;
mod topic;
mod wish;
pub mod wording;
mod words;

use std::fmt;
use std::ops::Range;

use thiserror::Error;

use crate::choice::choices;

use change::Change;
use place::Place;
use spelling::Correction;
use steps::Step;
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

/// A noun phrase that names an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phrase {
    text: String,
    /// Byte of the instruction at which `text` stands; `None` for an object that only the user named.
    start: Option<usize>,
    // Bytes of `text`.
    to_head: Range<usize>,
    name: Range<usize>,
    head: Range<usize>,
    /// The words before the name that say where it is: `left` of `the left house`.
    opening: Option<Range<usize>>,
    /// The adjectives of a relative clause: `red` of `the star that is red`.
    qualifier: Option<Range<usize>>,
    plural: bool,
    definite: bool,
    place: Option<Box<Place>>,
}

/// Where the words of a phrase come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    InInstruction,
    Elsewhere,
}

/// What the user says about an instruction, over what the parser reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overrides<'a> {
    /// The object or objects: `the cat and the dog`.
    ///
    /// It need not stand in the instruction, since the localization instruction names it anyway: `make it black` with
    /// the object `the dog` is a good instruction.
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
    /// The words by which its objects are what is not edited.
    exception: Option<Range<usize>>,
    corrections: Vec<Correction>,
}

/// Why an instruction cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    /// There is no word in it.
    #[error("the instruction has no words; say what to edit, as in `make the dog black`")]
    Empty,
    /// It has words, none of them in Latin letters.
    #[error(
        "the instruction `{0}` has no word in Latin letters; write it in English, or name the object and the action"
    )]
    NotLatin(String),
    /// The grammar does not know what it says.
    #[error(
        "cannot tell what `{0}` edits; begin with a verb, as in `make the dog black`, or name the object and the action"
    )]
    NotUnderstood(String),
    /// A kind of edit was asked for that needs an object, and there is none.
    #[error("`{text}` names no object to {action}; name the object")]
    NoObject {
        /// The instruction.
        text: String,
        /// The kind of edit.
        action: Action,
    },
    /// The object that the user named has no noun.
    #[error("`{0}` names no object; write a noun phrase, as in `the black dog`")]
    NotAnObject(String),
}

impl Instruction {
    /// Reads an instruction, [cleaned](wording).
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
    /// [`ParseError`] if the text is empty, not English, or says nothing that the grammar knows.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Self::parse_with(text, Overrides::default())
    }

    /// Reads an instruction of which the user knows the object or the kind of edit better.
    ///
    /// With an object, and an instruction that cannot be read, the edit is a change unless the action says otherwise.
    ///
    /// # Errors
    /// As [`Instruction::parse`], and [`ParseError::NoObject`], [`ParseError::NotAnObject`].
    pub fn parse_with(text: &str, overrides: Overrides<'_>) -> Result<Self, ParseError> {
        let cleaned = Wording::of(text, Use::Instruction).text;
        if !has_words(&cleaned) {
            return Err(ParseError::Empty);
        }
        let (text, corrections) = spelling::corrected(&cleaned);
        let read = overriding::overridden(&text, reading::joined(&text), overrides)?;
        Ok(Self { corrections, ..read })
    }

    /// Reads the edits that an instruction asks for one after the other: two for `make the star blue and remove the
    /// circle`, one for most.
    ///
    /// Each has a text of its own, which says the whole of it and reads the same alone: a verb that two share is in
    /// both (`paint the car red and the house blue`), a pronoun is what it stands for. With one edit the text is that
    /// of [`Instruction::parse`].
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
        steps::steps(&text, &corrections)
    }

    /// The instruction as it was written, [cleaned](wording); all spans are bytes of it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The kind of edit.
    pub fn action(&self) -> Action {
        self.action
    }

    /// What is changed, added or removed, in the order of the text; empty for a global edit alone.
    pub fn objects(&self) -> &[Phrase] {
        &self.objects
    }

    /// What the object becomes, or the picture of a global edit, as written: `a cat`, `red`, `smile`.
    ///
    /// Of several commands in one instruction it is the first that has one.
    pub fn replacement(&self) -> Option<&str> {
        self.replacement_span().map(|it| &self.text[it])
    }

    /// Bytes of the replacement in the instruction.
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

//! Parser of instructions: kind of edit, object, replacement.
//!
//! Text in, typed spans out: no tensor, no model. IAM-Edit takes the object as given with its data and sorts
//! instructions into change, add and remove by a classifier (sections "Instruction attention maps" and "Localization
//! instruction"); here a small grammar reads both from the text.
//!
//! # Why not an existing parser
//! The object must be a span of the text, and an instruction is a narrow kind of English: a command, a wish, a
//! statement or a bare phrase. harper-core 3.0.0, a maintained crate with part-of-speech tags and noun chunks, was
//! tried: it has 266 dependencies (a neural network framework among them), takes minutes to compile and 14 MB in the
//! binary; and its tagger, trained on prose, tags the verbs of commands as nouns (`paint/NOUN the house red`, also
//! change, swap and color) and splits the chunk `the black and white dog`. Here the verb, on which everything depends,
//! is found by a list, and the rest by prepositions and determiners, which are closed classes.
//!
//! # Interpretation
//! - **change** (replace, turn, recolor, resize, pose): an existing object will look different.
//! - **add**: the object is what is added; also what somebody is given, wears or holds.
//! - **remove**: the object is what is removed, not what it is removed from.
//! - **global**: the object is the whole picture, its style, season or light, or `it`; nothing is localized.
//! - The owner of a property is the object: in `the color of the car` and `the car's color` it is the car.
//! - Several commands are one edit of all their objects; it is an addition if one of them adds, since then the
//!   instruction itself is the localization instruction.

mod clause;
mod complement;
mod grammar;
mod imperative;
mod lexicon;
pub mod nouns;
mod phrase;
mod predicate;
pub mod wording;
mod words;

use std::fmt;
use std::ops::Range;

use thiserror::Error;

use grammar::Reading;
use phrase::{Definiteness, Found};
use wording::{Use, Wording, has_words};

/// What kind of edit an instruction asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// An existing object becomes another one, or looks or stands differently.
    Change,
    /// A new object appears.
    Add,
    /// An existing object disappears.
    Remove,
    /// The picture as a whole changes (style, season, filter); there is no object.
    Global,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Change => "change",
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Global => "global",
        })
    }
}

/// A noun phrase that names an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phrase {
    text: String,
    /// Byte offset of `text` in the instruction; `None` for an object that only the caller named.
    start: Option<usize>,
    // Bytes of `text`.
    to_head: Range<usize>,
    name: Range<usize>,
    head: Range<usize>,
    plural: bool,
    definite: bool,
}

impl Phrase {
    /// The whole phrase, with its modifiers: `the red cup on the table`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The phrase up to its head noun: `the red cup`.
    pub fn noun_phrase(&self) -> &str {
        &self.text[self.to_head.clone()]
    }

    /// The noun phrase without determiner or possessive: `red cup`, and `shirt` of `the man's shirt`.
    pub fn name(&self) -> &str {
        &self.text[self.name.clone()]
    }

    /// The head noun: `cup`.
    pub fn head(&self) -> &str {
        &self.text[self.head.clone()]
    }

    /// The determiner or possessive, trimmed: `the`, `her`, `the man's`, or empty.
    pub fn determiner(&self) -> &str {
        self.text[self.to_head.start..self.name.start].trim_end()
    }

    /// Whether it denotes several things; `clothes` and `glasses` count as one.
    pub fn is_plural(&self) -> bool {
        self.plural
    }

    /// Whether it is definite, so refers to something in the picture: `the dog`, `her dog`, `him`.
    pub fn is_definite(&self) -> bool {
        self.definite
    }

    /// Byte range of the whole phrase in the instruction; `None` if it does not occur there.
    pub fn span(&self) -> Option<Range<usize>> {
        self.start.map(|start| start..start + self.text.len())
    }

    /// Byte range of the name in the instruction; `None` if it does not occur there.
    pub fn name_span(&self) -> Option<Range<usize>> {
        self.start.map(|start| start + self.name.start..start + self.name.end)
    }

    /// Byte range of the name in [`Phrase::text`].
    pub fn name_in_text(&self) -> Range<usize> {
        self.name.clone()
    }

    fn new(source: &str, found: &Found, stands: Stands) -> Self {
        let at = found.all.start;
        let within = |it: &Range<usize>| it.start - at..it.end - at;
        Self {
            text: source[found.all.clone()].to_owned(),
            start: (stands == Stands::InInstruction).then_some(at),
            to_head: within(&found.noun_phrase),
            name: within(&found.name),
            head: within(&found.head),
            plural: found.plural,
            definite: found.definiteness == Definiteness::Definite,
        }
    }
}

/// Where the words of a phrase come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    InInstruction,
    Elsewhere,
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

/// A parsed instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    text: String,
    action: Action,
    objects: Vec<Phrase>,
    replacement: Option<Range<usize>>,
}

/// Why an instruction can't be parsed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    /// It has no words.
    #[error("the instruction has no word in it; say what to edit, as in `make the dog black`")]
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
        let text = &Wording::of(text, Use::Instruction).text;
        if !has_words(text) {
            return Err(ParseError::Empty);
        }
        let read = read(text);
        let instruction = match (overrides.object, overrides.action, read) {
            (None, None, read) => return read,
            (None, Some(Action::Global), read) => {
                let replacement = read.ok().and_then(|it| it.replacement);
                Self {
                    text: text.to_owned(),
                    action: Action::Global,
                    objects: Vec::new(),
                    replacement,
                }
            }
            (None, Some(action), read) => Self { action, ..read? },
            (Some(object), action, read) => {
                let objects = named(text, object)?;
                let (found, replacement) =
                    read.map_or((None, None), |it| (Some(it.action), it.replacement));
                let found = found.filter(|it| *it != Action::Global);
                let action = action.or(found).unwrap_or(Action::Change);
                Self { text: text.to_owned(), action, objects, replacement }
            }
        };
        if instruction.action != Action::Global && instruction.objects.is_empty() {
            return Err(ParseError::NoObject { text: text.to_owned(), action: instruction.action });
        }
        Ok(instruction)
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
}

/// Parses all clauses and merges the results.
fn read(text: &str) -> Result<Instruction, ParseError> {
    let tokens = words::tokens(text);
    if !text.chars().any(|c| c.is_alphabetic() && c < '\u{250}') {
        return Err(ParseError::NotLatin(text.to_owned()));
    }
    let mut whole: Option<Reading> = None;
    for clause in clause::clauses(&tokens) {
        let Some(reading) = grammar::read(clause) else { continue };
        whole = Some(match whole {
            None => reading,
            Some(before) if refers_back(clause) && !before.objects.is_empty() => {
                again(before, clause, reading)
            }
            Some(before) => join(before, reading),
        });
    }
    let Some(Reading { action, objects, replacement }) = whole else {
        return Err(ParseError::NotUnderstood(text.to_owned()));
    };
    let objects = objects.iter().map(|it| Phrase::new(text, it, Stands::InInstruction)).collect();
    Ok(Instruction { text: text.to_owned(), action, objects, replacement })
}

/// Whether a clause's object is the previous clause's: `… and replace it with a cat`, `… and make them red`.
fn refers_back(clause: &[words::Token]) -> bool {
    clause
        .get(1)
        .is_some_and(|it| ["it", "them", "with", "by", "into", "to"].iter().any(|word| it.is(word)))
}

/// Merges a second command about the first one's objects: `the tie is ugly, remove it`, `remove the cup, put a vase
/// there`.
fn again(before: Reading, clause: &[words::Token], next: Reading) -> Reading {
    let removes = lexicon::verb_in(&[lexicon::REMOVING], &clause[0].lower).is_some();
    match (before.action, &next.replacement) {
        (_, None) if removes => Reading { action: Action::Remove, replacement: None, ..before },
        (Action::Remove, Some(_)) => {
            Reading { action: Action::Change, replacement: next.replacement, ..before }
        }
        (_, None) if next.action == Action::Add => join(before, next),
        _ => Reading { replacement: before.replacement.or(next.replacement), ..before },
    }
}

/// Merges two commands into one edit.
fn join(before: Reading, next: Reading) -> Reading {
    let action = match (before.action, next.action) {
        (Action::Global, _) | (_, Action::Global) => Action::Global,
        (Action::Add, _) | (_, Action::Add) => Action::Add,
        (one, other) if one == other => one,
        _ => Action::Change,
    };
    let objects =
        if action == Action::Global { Vec::new() } else { [before.objects, next.objects].concat() };
    Reading { action, objects, replacement: before.replacement.or(next.replacement) }
}

/// The objects that the caller named, each located in the instruction if it occurs there.
fn named(text: &str, object: &str) -> Result<Vec<Phrase>, ParseError> {
    let cleaned = Wording::of(object, Use::Object).text;
    let found = phrase::phrases(&words::tokens(&cleaned));
    if found.is_empty() || !has_words(&cleaned) {
        return Err(ParseError::NotAnObject(object.to_owned()));
    }
    let tokens = words::tokens(text);
    Ok(found.iter().map(|it| locate(text, &tokens, &cleaned, it)).collect())
}

/// A phrase as it occurs in the instruction, with its determiner there, else as the caller wrote it.
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

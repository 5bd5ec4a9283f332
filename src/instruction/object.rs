//! An object of an edit: the noun phrase that names it, cut into its parts, with the place that singles it out.

use std::ops::Range;

use super::lexicon::{ADJECTIVES, COLORS, SHADES, SIZES, has};
use super::phrase::{Definiteness, Found};
use super::place::Place;

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
    /// The words before the name that say where it is: `left` of `the left house`.
    opening: Option<Range<usize>>,
    /// The adjectives of a relative clause: `red` of `the star that is red`.
    qualifier: Option<Range<usize>>,
    plural: bool,
    definite: bool,
    place: Option<Box<Place>>,
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

    /// The noun phrase without its determiner, its owner and its place: `red cup`, `shirt` of `the man's shirt`, `house`
    /// of `the left house`.
    pub fn name(&self) -> &str {
        &self.text[self.name.clone()]
    }

    /// The main noun: `cup`.
    pub fn head(&self) -> &str {
        &self.text[self.head.clone()]
    }

    /// What stands before the name, trimmed: `the`, `her`, `the man's`, `the left`, or nothing.
    pub fn determiner(&self) -> &str {
        self.text[self.to_head.start..self.name.start].trim_end()
    }

    /// [`Phrase::determiner`] without a place: `the` of `the left house`.
    pub fn plain_determiner(&self) -> &str {
        let end = self.opening.as_ref().map_or(self.name.start, |it| it.start);
        self.text[self.to_head.start..end].trim_end()
    }

    /// The adjectives of a relative clause behind the name: `red` of `the star that is red`.
    pub fn qualifier(&self) -> Option<&str> {
        self.qualifier.clone().map(|it| &self.text[it])
    }

    /// The color words that the object is singled out by, in the order of the text: `light` and `blue`.
    pub fn colors(&self) -> impl Iterator<Item = &str> {
        self.attributes()
            .filter(|it| has(COLORS, &it.to_lowercase()) || has(SHADES, &it.to_lowercase()))
    }

    /// The size words that the object is singled out by: `small`.
    pub fn sizes(&self) -> impl Iterator<Item = &str> {
        self.attributes().filter(|it| has(SIZES, &it.to_lowercase()))
    }

    /// The words that describe the object: what stands before its main noun, and the adjectives of a relative clause.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        let before = &self.text[self.name.start..self.head.start.max(self.name.start)];
        let behind = self.qualifier().unwrap_or_default();
        let described = |it: &&str| {
            let word = it.to_lowercase();
            has(ADJECTIVES, &word) || has(COLORS, &word)
        };
        before.split_whitespace().chain(behind.split_whitespace().filter(described))
    }

    /// Where the object is said to be, or where it is to come.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_deref()
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

    pub(super) fn new(source: &str, found: &Found, stands: Stands) -> Self {
        let at = found.all.start;
        let within = |it: &Range<usize>| it.start - at..it.end - at;
        Self {
            text: source[found.all.clone()].to_owned(),
            start: (stands == Stands::InInstruction).then_some(at),
            to_head: within(&found.noun_phrase),
            name: within(&found.name),
            head: within(&found.head),
            opening: found.opening.as_ref().map(|it| within(&it.span)),
            qualifier: found.qualifier.as_ref().map(within),
            plural: found.plural,
            definite: found.definiteness == Definiteness::Definite,
            place: None,
        }
    }

    pub(super) fn with_place(self, place: Option<Place>) -> Self {
        Self { place: place.map(Box::new), ..self }
    }
}

/// Where the words of a phrase come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stands {
    InInstruction,
    Elsewhere,
}

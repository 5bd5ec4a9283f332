//! A noun phrase that names an object, by its parts.

use std::ops::Range;

use super::lexicon::{ADJECTIVES, COLORS, SHADES, SIZES};
use super::lists::has;
use super::phrase::{Definiteness, Found};
use super::place::Place;
use super::{Phrase, Stands};

impl Phrase {
    /// All of the phrase, with what singles the object out: `the red cup on the table`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The phrase up to its main noun: `the red cup`.
    pub fn noun_phrase(&self) -> &str {
        &self.text[self.to_head.clone()]
    }

    /// The noun phrase without its determiner, its owner and its place: `red cup`, `shirt` of `the man's shirt`,
    /// `house` of `the left house`.
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

    /// Whether it names several things; `clothes` and `glasses` are one.
    pub fn is_plural(&self) -> bool {
        self.plural
    }

    /// Whether it points at something that is there: `the dog`, `her dog`, `him`.
    pub fn is_definite(&self) -> bool {
        self.definite
    }

    /// Bytes of the whole phrase in the instruction; `None` if it does not stand there.
    pub fn span(&self) -> Option<Range<usize>> {
        self.start.map(|start| start..start + self.text.len())
    }

    /// Bytes of the name in the instruction; `None` if it does not stand there.
    pub fn name_span(&self) -> Option<Range<usize>> {
        self.start.map(|start| start + self.name.start..start + self.name.end)
    }

    /// Bytes of the name in [`Phrase::text`].
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

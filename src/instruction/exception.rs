//! Edits of everything but a thing: `make everything except the star blue`, `apart from the dog, blur everything`.
//!
//! Such a clause is read as one about the thing that is spared, with which it has all else in common, and the words of
//! the exception are kept: the edit is where the thing is not.

use std::ops::Range;

use super::clause::Clause;
use super::grammar::{self, Reading};
use super::lexicon::{REMOVING, TAKING, verb_in};
use super::listing::phrases;
use super::phrase::noun_phrase_len;
use super::words::{Token, matched};
use super::{Action, Instruction};

/// What is taken out of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exception {
    /// Bytes of its words, up to the thing or with it.
    pub(super) span: Range<usize>,
    /// The thing, where it does not stand in its place among the clause's words.
    thing: Vec<Token>,
}

impl Instruction {
    /// Whether everything but the objects is edited: `remove everything except the dog`.
    pub fn spares_objects(&self) -> bool {
        self.exception.is_some()
    }
}

/// What stands for all that there is.
const ALL: &[&str] = &[
    "everything/anything else?",
    "all of it/this/that",
    "the whole/entire/rest/remaining picture/image/photo/scene",
    "the rest of the picture/image/photo/scene",
];

/// What takes something out of it.
const EXCEPT: &[&str] = &[
    "except/excepting/excluding for?",
    "but/besides/bar/barring for?",
    "with the exception of",
    "apart/aside from",
    "other than",
    "save/minus for?",
    "outside of?",
    "that/which is not",
    "that/which isn't",
];

/// A clause about everything but a thing, with its exception; any other as it is.
pub(super) fn spared(clause: Clause) -> Clause {
    let tokens = &clause.tokens;
    let found = behind(tokens).or_else(|| ahead(tokens)).or_else(|| at_the_end(tokens));
    match found {
        Some((tokens, exception)) => Clause { tokens, exception: Some(exception), ..clause },
        None => clause,
    }
}

/// What a clause says.
pub(super) fn read(clause: &Clause) -> Option<Reading> {
    let reading = grammar::read(&clause.tokens)?;
    let thing = clause.exception.as_ref().map_or(&[][..], |it| &it.thing);
    if thing.is_empty() {
        return Some(reading);
    }
    let removes = clause.tokens.iter().any(|it| verb_in(&[REMOVING, TAKING], &it.lower).is_some());
    let gone = removes && reading.replacement.is_none();
    let action = if gone { Action::Remove } else { Action::Change };
    Some(Reading { action, objects: phrases(thing), ..reading })
}

/// Bytes of the exception's words, with the thing where it follows them.
pub(super) fn span(exception: &Exception, objects: &[Range<usize>]) -> Range<usize> {
    let Exception { span, thing } = exception;
    let end = objects.iter().map(|it| it.end).max().unwrap_or(span.end);
    if thing.is_empty() { span.start..end.max(span.end) } else { span.clone() }
}

/// `make the star blue` of `make everything except the star blue`.
fn behind(tokens: &[Token]) -> Option<(Vec<Token>, Exception)> {
    let (at, all) = (0..tokens.len()).find_map(|at| {
        let all = matched(&tokens[at..], "all").or_else(|| everything(&tokens[at..]))?;
        let from = at + all;
        let from = from + usize::from(tokens.get(from)?.is(","));
        except(&tokens[from..]).map(|_| (at, from - at))
    })?;
    let from = at + all;
    let rest = &tokens[from + except(&tokens[from..])?..];
    (noun_phrase_len(rest) > 0).then(|| {
        let span = tokens[from].span.start..rest[0].span.start;
        ([&tokens[..at], rest].concat(), Exception { span, thing: Vec::new() })
    })
}

/// `remove everything`, but the cat, of `except for the cat, remove everything`.
fn ahead(tokens: &[Token]) -> Option<(Vec<Token>, Exception)> {
    let n = except(tokens)?;
    let comma = n + tokens[n..].iter().position(|it| it.is(","))?;
    let (thing, rest) = (&tokens[n..comma], &tokens[comma + 1..]);
    let is_all = (0..rest.len()).any(|at| everything(&rest[at..]).is_some());
    (is_all && noun_phrase_len(thing) > 0).then(|| {
        let span = tokens[0].span.start..rest[0].span.start;
        (rest.to_vec(), Exception { span, thing: thing.to_vec() })
    })
}

/// `make everything blurry`, but the bee, of `make everything blurry except the bee`.
fn at_the_end(tokens: &[Token]) -> Option<(Vec<Token>, Exception)> {
    if tokens.first()?.is("i") || tokens[0].is("we") {
        return None;
    }
    let at = (1..tokens.len()).find(|&at| everything(&tokens[at..]).is_some())?;
    let (mark, n) = (at..tokens.len()).find_map(|at| Some((at, except(&tokens[at..])?)))?;
    let thing = &tokens[mark + n..];
    (noun_phrase_len(thing) > 0).then(|| {
        let span = tokens[mark].span.start..thing[thing.len() - 1].span.end;
        (tokens[..mark].to_vec(), Exception { span, thing: thing.to_vec() })
    })
}

fn everything(tokens: &[Token]) -> Option<usize> {
    ALL.iter().filter_map(|it| matched(tokens, it)).max()
}

fn except(tokens: &[Token]) -> Option<usize> {
    EXCEPT.iter().filter_map(|it| matched(tokens, it)).max()
}

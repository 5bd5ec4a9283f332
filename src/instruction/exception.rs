//! Edits of everything but a thing: `make everything except the star blue`, `apart from the dog, blur everything`.
//!
//! Such a clause is read as one about the thing that is spared, with which it has all else in common, and the words of
//! the exception are kept: the edit is where the thing is not.

use std::ops::Range;

use super::Instruction;
use super::clause::Clause;
use super::phrase::noun_phrase_len;
use super::words::{Token, matched};

impl Instruction {
    /// Whether everything but the objects is edited: `remove everything except the dog`.
    pub fn spares_objects(&self) -> bool {
        self.exception.is_some()
    }
}

/// What stands for all that there is.
const ALL: &[&str] = &[
    "everything/anything/all else?",
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

/// A clause about everything but a thing as one about the thing; any other as it is.
pub(super) fn spared(clause: Clause) -> Clause {
    let tokens = &clause.tokens;
    let found = behind(tokens).or_else(|| ahead(tokens)).or_else(|| at_the_end(tokens));
    match found {
        Some((tokens, exception)) => Clause { tokens, exception: Some(exception), ..clause },
        None => clause,
    }
}

/// `make the star blue` of `make everything except the star blue`.
fn behind(tokens: &[Token]) -> Option<(Vec<Token>, Range<usize>)> {
    let (at, all) = (0..tokens.len()).find_map(|at| Some((at, everything(&tokens[at..])?)))?;
    let from = at + all;
    let from = from + usize::from(tokens.get(from)?.is(","));
    let n = except(&tokens[from..])?;
    let rest = &tokens[from + n..];
    (noun_phrase_len(rest) > 0)
        .then(|| ([&tokens[..at], rest].concat(), tokens[from].span.start..rest[0].span.start))
}

/// `remove the cat` of `except for the cat, remove everything`.
fn ahead(tokens: &[Token]) -> Option<(Vec<Token>, Range<usize>)> {
    let n = except(tokens)?;
    let comma = n + tokens[n..].iter().position(|it| it.is(","))?;
    let (thing, rest) = (&tokens[n..comma], &tokens[comma + 1..]);
    let (at, all) = (0..rest.len()).find_map(|at| Some((at, everything(&rest[at..])?)))?;
    (noun_phrase_len(thing) > 0).then(|| {
        let read = [&rest[..at], thing, &rest[at + all..]].concat();
        (read, tokens[0].span.start..rest[0].span.start)
    })
}

/// `make the bee blurry` of `make everything blurry except the bee`.
fn at_the_end(tokens: &[Token]) -> Option<(Vec<Token>, Range<usize>)> {
    if tokens.first()?.is("i") || tokens[0].is("we") {
        return None;
    }
    let (at, all) = (1..tokens.len()).find_map(|at| Some((at, everything(&tokens[at..])?)))?;
    let from = at + all;
    let (mark, n) = (from..tokens.len()).find_map(|at| Some((at, except(&tokens[at..])?)))?;
    let thing = &tokens[mark + n..];
    (noun_phrase_len(thing) > 0).then(|| {
        let read = [&tokens[..at], thing, &tokens[from..mark]].concat();
        (read, tokens[mark].span.start..thing[0].span.start)
    })
}

fn everything(tokens: &[Token]) -> Option<usize> {
    ALL.iter().filter_map(|it| matched(tokens, it)).max()
}

fn except(tokens: &[Token]) -> Option<usize> {
    EXCEPT.iter().filter_map(|it| matched(tokens, it)).max()
}

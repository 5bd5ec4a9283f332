//! Edits of everything but a thing: `make everything except the star blue`, `apart from the dog, blur everything`.
//!
//! Such a clause is read as one about the thing that is spared, with which it has all else in common, and the words of
//! the exception are kept: the edit is where the thing is not.

use std::ops::Range;

use super::clause::Clause;
use super::courtesy::bare;
use super::grammar::{self, Reading};
use super::lexicon::{DETERMINERS, GONE, REMOVING, TAKING, VANISHING, verb_in};
use super::listing::phrases;
use super::lists::{has, longest};
use super::phrase::{noun_phrase_len, starts_definite};
use super::words::{Token, cover, matched};
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
    "everyone/everybody else?",
    "all else",
    "all of it/this/that",
    "it/this all",
    "every/all/any/each other? the? object/objects/thing/things/item/items/element/elements",
    "every/all other/the? person/people/figure/figures",
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

/// What says of a thing that it stays, before the rest is edited: `keep the horse, remove everything else`.
const KEPT: &str = "keep/spare/leave/preserve/retain only?";

/// What stands for the rest then.
const ELSE: &[&str] = &[
    "everything/anything/everyone/everybody/all else",
    "the rest",
    "all the? rest/others",
    "the remainder",
];

/// What says it behind: `make everything grey but leave the rose as it is`.
const STAYS: &[&str] = &[
    "and/but/, not",
    "and/but/, and/but? keep/spare/leave/preserve/retain",
    "and/but/, and/but? don't/dont touch/change/remove/edit/alter",
    "and/but/, and/but? do not touch/change/remove/edit/alter",
];

/// How it is said to stay.
const AS_IT_IS: &[&str] = &[
    "alone",
    "as it is/was",
    "as they are/were",
    "as is",
    "unchanged/untouched/intact/there",
    "in place",
    "the way it is",
];

/// A clause about everything but a thing, with its exception; any other as it is.
pub(super) fn spared(clause: Clause) -> Clause {
    let tokens = &clause.tokens;
    let found = alone(tokens)
        .or_else(|| behind(tokens))
        .or_else(|| ahead(tokens))
        .or_else(|| at_the_end(tokens));
    match found {
        Some((mut tokens, exception)) => {
            tokens.retain(|it| !it.is("else"));
            Clause { tokens, exception: Some(exception), ..clause }
        }
        None => clause,
    }
}

/// What a clause says.
pub(super) fn read(clause: &Clause) -> Option<Reading> {
    let spared = clause.exception.as_ref().is_some_and(|it| !it.thing.is_empty());
    // `everything black and white`.
    let looks = || {
        let everything =
            everything(&clause.tokens).filter(|&it| spared && it < clause.tokens.len())?;
        Some(Reading::global(&clause.tokens[everything..]))
    };
    let reading = grammar::read(&clause.tokens).or_else(looks)?;
    let objects = phrases(clause.exception.as_ref().map_or(&[][..], |it| &it.thing));
    if objects.is_empty() {
        return Some(reading);
    }
    let goes = |it: &Token| {
        verb_in(&[REMOVING, TAKING, VANISHING, "go"], &it.lower).is_some() || has(GONE, &it.lower)
    };
    let removes = clause.tokens.iter().any(goes);
    let left_out = clause.tokens.iter().any(|it| has(GONE, &it.lower));
    let replacement = reading.replacement.clone().filter(|_| !left_out);
    let gone = removes && replacement.is_none();
    let action = if gone { Action::Remove } else { Action::Change };
    Some(Reading { action, objects, replacement, ..reading })
}

/// Bytes of the exception's words, with the thing where it follows them.
pub(super) fn span(exception: &Exception, objects: &[Range<usize>]) -> Range<usize> {
    let Exception { span, thing } = exception;
    let end = objects.iter().map(|it| it.end).max().filter(|_| thing.is_empty());
    span.start..end.unwrap_or(span.end).max(span.end)
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
    let n = except(&tokens[from..])?;
    let rest = &tokens[from + n..];
    (noun_phrase_len(rest) > 0).then(|| {
        let span = covered(&tokens[from..from + n]);
        // A thing for which a pronoun stood was named before.
        let span = span.start..rest[0].span.start.max(span.end);
        ([&tokens[..at], rest].concat(), Exception { span, thing: Vec::new() })
    })
}

/// `remove everything`, but the cat, of `except for the cat, remove everything`.
fn ahead(tokens: &[Token]) -> Option<(Vec<Token>, Exception)> {
    let (thing, rest) = parted_ahead(tokens)?;
    let (thing, rest) = (&tokens[thing], bare(&tokens[rest..]));
    let start = tokens[0].span.start;
    let span = start..rest.first()?.span.start.max(start);
    Some((rest.to_vec(), Exception { span, thing: thing.to_vec() }))
}

/// How many words a thing ahead may have, and those up to what is said of all else.
const LONGEST: usize = 24;

/// Where the thing stands that a clause about everything begins with, and where the rest begins.
fn parted_ahead(tokens: &[Token]) -> Option<(Range<usize>, usize)> {
    let only = matched(tokens, "only/just").filter(|&n| starts_definite(&tokens[n..]));
    let kept = matched(tokens, KEPT).or(only);
    let n = except(tokens).or(kept)?;
    let tokens = &tokens[..tokens.len().min(n + 2 * LONGEST)];
    let whole = if kept.is_some() { ELSE } else { ALL };
    let is_all = |at: &usize| whole.iter().any(|it| matched(&tokens[*at..], it).is_some());
    let all = (n..tokens.len()).rfind(is_all)?;
    let joints =
        |at: usize| tokens[at..].iter().take_while(|it| has(", and but", &it.lower)).count();
    // Of a list of things the last joint counts: `except for the cat, the dog and the bird, remove everything`.
    let end = (n..all.min(n + LONGEST)).find(|&at| {
        let parts = tokens[at].is(",") || kept.is_some() && has("and but", &tokens[at].lower);
        let rest = at + joints(at);
        parts && rest <= all && (rest == all || !has(DETERMINERS, &tokens[rest].lower))
    })?;
    let stays = (n + 1..end).find(|&at| longest(&tokens[at..], STAYING).is_some());
    if only.is_some() && stays.is_none() {
        return None;
    }
    let thing = n..n + without_ending(&tokens[n..stays.unwrap_or(end)]).len();
    (noun_phrase_len(&tokens[thing.clone()]) > 0).then(|| (thing, end + joints(end)))
}

/// How it is said that a thing stays.
const STAYING: &[&str] = &[
    "should/may/must/can/could/shall/will/might stay/remain/survive/be/keep",
    "stays/remains/stay/remain/survives/survive",
    "gets/is to stay/remain",
];

/// The thing of `keep only the thing`, `nothing but the thing should remain`, which say that all else goes.
fn kept_alone(tokens: &[Token]) -> Option<Range<usize>> {
    const KEPT_ALONE: &[&str] = &[
        "keep/leave/preserve/retain/spare only/just/nothing but/except?",
        "only/just keep/leave/preserve/retain/show",
    ];
    const NOTHING_BUT: &[&str] = &[
        "nothing/nobody/noone/none but/except/besides/save/beyond for?",
        "nothing other/else than/but/except",
        "no one/thing/object but/except/besides for?",
        "only/just",
    ];
    if let Some(n) = longest(tokens, KEPT_ALONE) {
        let all = (n..tokens.len()).any(|at| longest(&tokens[at..], ELSE).is_some());
        let thing = n..n + without_ending(&tokens[n..]).len();
        return (noun_phrase_len(&tokens[thing.clone()]) > 0 && !all).then_some(thing);
    }
    let n = longest(tokens, NOTHING_BUT)?;
    let says = |at: usize| STAYING.iter().find_map(|it| matched(&tokens[at..], it)).map(|n| at + n);
    let (at, end) = (n + 1..tokens.len()).find_map(|at| Some((at, says(at)?)))?;
    let ends = tokens[end..].iter().all(|it| {
        has(
            "left there visible here standing seen in the picture photo image \
        scene shot frame , please kept over",
            &it.lower,
        )
    });
    (ends && noun_phrase_len(&tokens[n..at]) > 0).then_some(n..at)
}

/// `remove everything`, but the thing, of `keep only the thing`.
fn alone(tokens: &[Token]) -> Option<(Vec<Token>, Exception)> {
    let thing = tokens[kept_alone(tokens)?].to_vec();
    let Range { start, end } = covered(tokens);
    let word = |lower: &str| Token { lower: lower.to_owned(), span: start..start, quoted: false };
    Some((vec![word("remove"), word("everything")], Exception { span: start..end, thing }))
}

/// Whether a token stands in an exception or right behind one, so that no other edit begins there.
pub(super) fn holds(tokens: &[Token], at: usize) -> bool {
    at <= 2 * LONGEST && parted_ahead(tokens).is_some_and(|it| at <= it.1)
        || (at.saturating_sub(3).max(1)..at).any(|it| stays(tokens, it).is_some())
}

/// Whether a clause begins with what is spared.
pub(super) fn leads(tokens: &[Token]) -> bool {
    parted_ahead(tokens).is_some() || kept_alone(tokens).is_some()
}

/// The length of what says, behind a clause about everything, that a thing stays.
pub(super) fn stays(tokens: &[Token], at: usize) -> Option<usize> {
    let n = longest(&tokens[at..], STAYS)?;
    let thing = &tokens[at + n..tokens.len().min(at + n + LONGEST)];
    let all = (0..at).any(|it| everything(&tokens[it..]).is_some());
    (all && noun_phrase_len(thing) > 0 && everything(thing).is_none()).then_some(n)
}

/// `make everything blurry`, but the bee, of `make everything blurry except the bee`.
fn at_the_end(tokens: &[Token]) -> Option<(Vec<Token>, Exception)> {
    // `Everything is fine except the bin` asks for nothing.
    let asked = tokens.iter().any(|it| has("should must shall needs has", &it.lower));
    let at = (usize::from(!asked)..tokens.len()).find(|&at| everything(&tokens[at..]).is_some())?;
    let mark = |at: usize| stays(tokens, at).or_else(|| except(&tokens[at..]));
    let (mark, n) = (at + 1..tokens.len()).find_map(|at| Some((at, mark(at)?)))?;
    let thing = without_ending(&tokens[mark + n..]);
    (noun_phrase_len(thing) > 0).then(|| {
        let span = covered(&tokens[mark..]);
        (tokens[..mark].to_vec(), Exception { span, thing: thing.to_vec() })
    })
}

/// A thing without the words that say how it stays.
fn without_ending(thing: &[Token]) -> &[Token] {
    let ends =
        |n: &usize| AS_IT_IS.iter().any(|it| matched(&thing[*n..], it) == Some(thing.len() - n));
    (1..thing.len()).find(ends).map_or(thing, |n| &thing[..n])
}

/// The bytes from the first word to the last in the text, in whatever order the words stand.
fn covered(tokens: &[Token]) -> Range<usize> {
    cover(tokens.iter().map(|it| &it.span)).unwrap_or(0..0)
}

fn everything(tokens: &[Token]) -> Option<usize> {
    longest(tokens, ALL)
}

fn except(tokens: &[Token]) -> Option<usize> {
    longest(tokens, EXCEPT)
}

//! Cuts an instruction into clauses of one edit each, without the words that only make it polite.

use std::ops::Range;

use super::change::is_color;
use super::courtesy::{bare, keeps};
use super::denials::without_denials;
use super::exception::{self, Exception};
use super::grammar;
use super::lexicon::{
    ADDING, CHANGING, COLORING, DETERMINERS, GIVING, MAKING, MODALS, PERSONS, REMOVING, REPLACING,
    SURE_VERBS, TAKING, WORKING, verb_in,
};
use super::lists::has;
use super::place;
use super::rewording::plain;
use super::topic;
use super::words::{Token, find, matched};

/// A part of an instruction that asks for one edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clause {
    /// Its words, without courtesies; of two that share words, all of each.
    pub(super) tokens: Vec<Token>,
    /// The place that it begins with: `on the left, add a tree`.
    pub(super) place: Vec<Token>,
    /// Whether it says `instead`, or `in its place`.
    pub(super) instead: bool,
    /// What is taken out of everything: `except the dog` of `everything except the dog`.
    pub(super) exception: Option<Exception>,
    /// Bytes of all that is said, where the clause before it names the thing: `Sofa: red`.
    pub(super) spoken: Option<Range<usize>>,
}

/// How many words are read together. People's sentences have fewer; a text of any length takes time as its length.
const LONGEST: usize = 160;

/// The clauses of an instruction, each with one edit, none empty.
pub(super) fn clauses(mut tokens: &[Token]) -> Vec<Clause> {
    let mut found = Vec::new();
    while !tokens.is_empty() {
        let (piece, rest) = tokens.split_at(piece_len(tokens));
        found.extend(clauses_of(&plain(piece)));
        tokens = rest;
    }
    found
}

/// The number of words that are read together: all, or those up to the last stop or pause that fits.
fn piece_len(tokens: &[Token]) -> usize {
    if tokens.len() <= LONGEST {
        return tokens.len();
    }
    let last = |mark| tokens[..LONGEST].iter().rposition(|it| it.is(mark)).filter(|&it| it > 0);
    last(";").or_else(|| last(",")).map_or(LONGEST, |it| it + 1)
}

fn clauses_of(tokens: &[Token]) -> Vec<Clause> {
    let mut found = Vec::new();
    for sentence in tokens.split(|it| it.is(";")) {
        let mut rest = sentence;
        while let Some(cut) = (1..rest.len()).find(|&at| begins_clause(rest, at)) {
            let joint = usize::from(has("plus so", &rest[cut - 1].lower));
            found.extend(clause(&rest[..cut - joint]));
            rest = &rest[cut..];
        }
        found.extend(clause(rest));
    }
    found
}

/// What says that something comes in the place of what has gone.
const IN_ITS_PLACE: &[&str] = &[
    "instead",
    "in its/his/her/their/that place/stead/spot",
    "there instead",
    "where it is/was",
    "where they are/were",
];

/// A clause that asks for something.
fn clause(tokens: &[Token]) -> Option<Clause> {
    let tokens = &without_denials(tokens)[..];
    let ahead = IN_ITS_PLACE[1..].iter().find_map(|it| matched(bare(tokens), it));
    if let Some(n) = ahead.filter(|&n| n < bare(tokens).len()) {
        return clause(&bare(tokens)[n..]).map(|it| Clause { instead: true, ..it });
    }
    let at = |it: &&str| (1..tokens.len()).find(|&at| matched(&tokens[at..], it).is_some());
    let said = IN_ITS_PLACE.iter().filter_map(at).min();
    let last = |at: &usize| find(&tokens[*at..], "of").is_none();
    let cut = said.filter(last);
    let tokens = &tokens[..cut.unwrap_or(tokens.len())];
    let changing = [CHANGING, COLORING];
    let opened = tokens.iter().position(|it| verb_in(&changing, &it.lower).is_some());
    let shaped = shaped(&tokens[opened.unwrap_or(0)..]);
    let body = bare(shaped.as_deref().unwrap_or(tokens));
    let (place, body) = place_first(body);
    let body = bare(body);
    if body.is_empty() || keeps(body) {
        return None;
    }
    let (tokens, place) = (body.to_vec(), place.to_vec());
    Some(Clause { tokens, place, instead: cut.is_some(), exception: None, spoken: None })
}

/// `change the hut so that it is a castle` as `change the hut to a castle`.
fn shaped(tokens: &[Token]) -> Option<Vec<Token>> {
    const SO: [&str; 2] = [
        "so/until/till that? it/they/he/she is/are/becomes/become/looks/turns/'s like/into?",
        "so/until/till that? it's/they're/he's/she's",
    ];
    verb_in(&[CHANGING, COLORING], &tokens.first()?.lower)?;
    let so = |at: usize| SO.iter().find_map(|it| matched(&tokens[at..], it));
    let (at, n) = (2..tokens.len()).find_map(|at| Some((at, so(at)?)))?;
    let to = Token { lower: "to".to_owned(), ..tokens[at].clone() };
    let painted = verb_in(&[COLORING], &tokens[0].lower).is_some();
    if painted && !is_color(&tokens[at + n..]) {
        return None;
    }
    (at + n < tokens.len()).then(|| [&tokens[..at], &[to], &tokens[at + n..]].concat())
}

/// The place that a command begins with, and the command: `on the left, add a tree`.
fn place_first(tokens: &[Token]) -> (&[Token], &[Token]) {
    let commands = |at: usize| {
        let verb = tokens.get(at).is_some_and(|it| verb_in(&LISTS, &it.lower) == Some(&it.lower));
        let there = matched(&tokens[at.min(tokens.len())..], "there should/must/could/is/are/has");
        verb || there.is_some()
            || matched(&tokens[at..], "i/we/i'd/we'd/please/could/can/you").is_some()
    };
    let opens = tokens.first().is_some_and(|it| place::opens_place(&it.lower));
    let comma = (1..tokens.len()).find(|&at| tokens[at].is(","));
    let start = match comma {
        Some(at) if at + 1 < tokens.len() && commands(at + 1) => Some((at, at + 1)),
        _ => (2..tokens.len().min(8))
            .find(|&at| commands(at) && !has(DETERMINERS, &tokens[at - 1].lower))
            .map(|at| (at, at)),
    };
    match start {
        Some((end, rest)) if opens => (&tokens[..end], &tokens[rest..]),
        _ => (&[], tokens),
    }
}

/// The verbs that may begin a clause.
const LISTS: [&str; 9] = [
    ADDING,
    CHANGING,
    REPLACING,
    REMOVING,
    GIVING,
    COLORING,
    MAKING,
    WORKING,
    "have let take get wipe cut throw move",
];

/// Whether a second edit begins at a token: `… and make the sky blue`, `…, then add a bird`.
fn begins_clause(tokens: &[Token], at: usize) -> bool {
    let joint = &tokens[at - 1];
    if exception::holds(tokens, at) {
        return false;
    }
    if joint.is("then") && at + 1 < tokens.len() {
        return !shares_verb(&tokens[at..]);
    }
    if !has("and , but or so plus", &joint.lower) || is_place_alone(&tokens[..at - 1]) {
        return false;
    }
    if topic::follows(&tokens[..at - 1], joint, &tokens[at..]) {
        return true;
    }
    if joint.is("so") {
        return false;
    }
    let rest = bare_opening(&tokens[at..]);
    let Some(first) = rest.first() else { return false };
    let next = rest.get(1);
    if has(SURE_VERBS, &first.lower) {
        return next.is_some_and(|it| !has(", and or is are", &it.lower));
    }
    if joint.is("but") && matched(rest, "without/with/minus/no").is_some() {
        return true;
    }
    let polite = matched(rest, "i'd/we'd/i/we like/want/need/would/love").is_some()
        || matched(rest, "could/can/would you/we").is_some();
    if polite || states(&tokens[..at - 1], rest) {
        return true;
    }
    let opens_object = next.is_some_and(|it| {
        has(DETERMINERS, &it.lower)
            || has(PERSONS, &it.lower)
            || has("it out off in rid away them", &it.lower)
    });
    let takes = [TAKING];
    let plain =
        |lists: &[&'static str]| verb_in(lists, &first.lower).is_some_and(|it| it == first.lower);
    (plain(&LISTS) || plain(&takes) || first.is("do")) && opens_object
}

/// Whether a stretch behind `then` has no verb of its own: `remove the bird, then the cloud`.
pub(super) fn shares_verb(rest: &[Token]) -> bool {
    let opens = rest.first().is_some_and(|it| has(DETERMINERS, &it.lower));
    opens && grammar::statement_verb(rest).is_none()
}

/// Whether a stretch says where and nothing else: `on the left`.
fn is_place_alone(tokens: &[Token]) -> bool {
    let verb = |it: &Token| verb_in(&LISTS, &it.lower).is_some_and(|verb| verb == it.lower);
    let leads =
        |it: &Token| place::opens_place(&it.lower) || has("where instead rather", &it.lower);
    tokens.first().is_some_and(leads)
        && tokens.len() < 8
        && !(1..tokens.len())
            .any(|at| verb(&tokens[at]) && !has(DETERMINERS, &tokens[at - 1].lower))
}

/// What follows `and also`, `and then please`.
fn bare_opening(mut tokens: &[Token]) -> &[Token] {
    const WORDS: &str = "also then please now and finally next afterwards just , lastly but pls maybe perhaps only \
        simply so";
    loop {
        let n = usize::from(tokens.first().is_some_and(|it| has(WORDS, &it.lower)));
        let n = n.max(matched(tokens, "after that").unwrap_or(0));
        if n == 0 {
            return tokens;
        }
        tokens = &tokens[n..];
    }
}

/// Whether two statements stand side by side: `the cat should be white and the dog should be black`.
fn states(before: &[Token], rest: &[Token]) -> bool {
    let modal = |it: &Token| has(MODALS, &it.lower) || has("needs has must is are", &it.lower);
    let definite = rest
        .first()
        .is_some_and(|it| has("the this that his her my its our their there", &it.lower));
    let own = rest.iter().take(7).take_while(|it| !has("and , who which that", &it.lower));
    let ought = |it: &Token| has("should must needs shall", &it.lower);
    let own: Vec<&Token> = own.skip(1).collect();
    let commanded = before.first().is_some_and(|it| verb_in(&LISTS, &it.lower).is_some());
    definite
        && (own.iter().any(|it| modal(it)) && before.iter().skip(1).any(modal)
            || commanded && own.iter().any(|it| ought(it)))
}

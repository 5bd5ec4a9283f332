//! Leaves out of a clause, and of a text that a model is told, what only makes it polite; out of a clause also what
//! gives a reason or says what is to stay.
//!
//! The phrases are patterns ([`matched`]), so that a line stands for a family: `could/can/would you please?`.

use std::ops::Range;

use super::courtesies::{ASIDES, CLOSINGS, OPENINGS, THANKS};
use super::exception;
use super::lexicon::{COMMANDS, is_adjective, verb_in};
use super::lists::{has, longest};
use super::words::{self, Token, find, matched, prefix_len};

/// A clause without courtesies and asides.
pub(super) fn bare(mut tokens: &[Token]) -> &[Token] {
    loop {
        let closing = THANKS.iter().chain(CLOSINGS).filter_map(|it| ending(tokens, it)).max();
        let aside = (2..tokens.len())
            .filter(|&at| exception::stays(tokens, at).is_none())
            .find(|&at| longest(&tokens[at..], ASIDES).is_some());
        tokens = match (opening(tokens), closing, aside) {
            (Some(n), _, _) => &tokens[n..],
            (_, Some(n), _) if n < tokens.len() => &tokens[..tokens.len() - n],
            (_, _, Some(at)) => &tokens[..at],
            _ => return tokens,
        };
    }
}

/// Bytes of a text without courtesies before its verb and thanks at its end; all of it where there are none.
pub(super) fn command(text: &str) -> Range<usize> {
    let all = words::tokens(text);
    // `see a balloon` is a wish, not a command.
    let verb = |it: &Token| !it.is("see") && verb_in(&COMMANDS, &it.lower).is_some();
    let begins = |tokens: &[Token]| tokens.first().is_some_and(verb);
    let mut asked = &all[..];
    while !begins(asked) {
        let Some(n) = opening(asked) else { break };
        asked = &asked[n..];
    }
    let polite = begins(asked) && asked.len() < all.len();
    let mut tokens = if polite { asked } else { &all[..] };
    let (mut start, mut end) = (0, text.len());
    if polite {
        start = tokens[0].span.start;
        end = text.trim_end_matches(['?', ' ']).len();
    }
    loop {
        let said = tokens.iter().rposition(Token::is_word).map_or(0, |it| it + 1);
        let closing = THANKS.iter().filter_map(|it| ending(&tokens[..said], it)).max();
        let Some(n) = closing.filter(|&n| n < said) else { return start..end };
        tokens = &tokens[..said - n];
        let last = tokens.iter().rfind(|it| it.is_word());
        end = last.map_or(end, |it| it.span.end);
    }
}

/// The number of tokens at the beginning that say nothing of the edit.
fn opening(tokens: &[Token]) -> Option<usize> {
    if exception::leads(tokens) {
        return None;
    }
    OPENINGS
        .iter()
        .filter_map(|it| matched(tokens, it))
        .filter(|&n| n < tokens.len() || n == 1 && is_joint(&tokens[0]))
        .filter(|&n| !opens_phrase(tokens, n))
        .max()
}

fn is_joint(token: &Token) -> bool {
    has(", ; and or but then", &token.lower)
}

/// Whether an opening's word begins a noun phrase after all: `right eye bigger`, `second car to a bus`, `last …`.
fn opens_phrase(tokens: &[Token], n: usize) -> bool {
    let ambiguous = n == 1
        && has(
            "second third last right only first plus so see to next after once like",
            &tokens[0].lower,
        );
    let Some(next) = tokens.get(n) else { return false };
    if n == 1 && tokens[0].is("next") && next.is("to") {
        return true;
    }
    if n == 1 && tokens[0].is("like") {
        return verb_in(&COMMANDS, &next.lower).is_none();
    }
    if tokens[0].is("after") || tokens[0].is("once") {
        return n == 1 && !next.lower.ends_with("ing") && !has("the this that", &next.lower);
    }
    if tokens[0].is("to") || tokens[0].is("see") {
        return next.is("the") && tokens[0].is("to");
    }
    ambiguous
        && !next.is(",")
        && (tokens[0].is("second") || !longest(&tokens[n..], OPENINGS).is_some())
        && !has("the a an please can could i i'd we let", &next.lower)
        && verb_in(&COMMANDS, &next.lower).is_none()
}

/// The number of tokens at the end that a pattern takes.
fn ending(tokens: &[Token], pattern: &str) -> Option<usize> {
    let most = pattern.split(' ').count();
    (1..=most.min(tokens.len()))
        .rev()
        .find(|&n| matched(&tokens[tokens.len() - n..], pattern) == Some(n))
        .filter(|&n| !completes(&tokens[..tokens.len() - n], &tokens[tokens.len() - n..]))
}

/// Whether an ending is a part of what is said: `make it pretty`, `the house on the right`.
fn completes(before: &[Token], end: &[Token]) -> bool {
    if end[0].is("right") {
        return !before.last().is_some_and(|it| it.is(","));
    }
    if end[0].is("pretty") {
        return end.len() == 1 && !before.last().is_some_and(|it| it.is(","));
    }
    // `make it a little bit` says nothing, `make the house over there` neither.
    end[0].is("a") && before.last().is_some_and(|it| has("by with to", &it.lower))
        || end[0].is("so") && before.last().is_some_and(is_word_before)
}

fn is_word_before(token: &Token) -> bool {
    is_adjective(&token.lower)
}

/// Whether a clause asks for nothing to be done: what it names is to stay.
pub(super) fn keeps(clause: &[Token]) -> bool {
    const KEPT: &[&str] = &[
        "keep/leave/preserve/maintain/retain/ensure",
        "without touching/changing/altering/affecting/modifying/moving",
        "do not touch/change/alter/modify/edit/affect/remove/delete/move/mess/add/make/do",
        "don't/dont touch/change/alter/modify/edit/affect/remove/delete/move/mess/add/make/do/worry",
        "be so kind/good",
        "everything/nothing/all else should/must/can/to/has",
        "the rest should/must/can/stays/has/of",
        "nothing else",
        "no other changes/change/edits",
    ];
    if exception::leads(clause) {
        return false;
    }
    if THANKS.iter().any(|it| matched(clause, it) == Some(clause.len())) {
        return true;
    }
    let denied = clause[0].is("not") && find(clause, "but").is_none();
    denied
        || longest(clause, KEPT).is_some()
            && find(clause, "instead of").is_none()
            && prefix_len(clause, "leave out").is_none()
}

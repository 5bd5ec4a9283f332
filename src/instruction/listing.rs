//! Parts a stretch of words into the noun phrases that `and` and commas join.

use std::ops::Range;

use super::lexicon::is_adjective;
use super::phrase::{
    Definiteness, Found, determiner_len, noun_phrase_len, phrase, possessive_end, starts_definite,
    starts_indefinite,
};
use super::words::{Token, prefix_len, starts_with};

/// Reads a stretch of words as noun phrases joined by `and` or commas.
pub(super) fn phrases(tokens: &[Token]) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let mut pending: Option<Range<usize>> = None;
    for piece in pieces(tokens) {
        let joined = match pending.take() {
            Some(last) if belongs(&tokens[last.clone()], &tokens[piece.clone()]) => {
                last.start..piece.end
            }
            Some(last) => {
                found.extend(phrase(&tokens[last]));
                piece
            }
            None => piece,
        };
        pending = Some(joined);
    }
    found.extend(pending.and_then(|last| phrase(&tokens[last])));
    // `the tree, the tall one` is one thing said twice.
    let listed = tokens.iter().any(|it| it.is("and") || it.is("or"));
    if !listed
        && found.len() == 2
        && found[1].noun == "one"
        && found[1].definiteness == Definiteness::Definite
    {
        found.pop();
    }
    found
}

/// The stretches between `and`, `or` and commas.
fn pieces(tokens: &[Token]) -> Vec<Range<usize>> {
    const JOINTS: [&str; 8] =
        ["as well as", "along with", "together with", "and", "or", "nor", "plus", ","];
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while at < tokens.len() {
        let Some(n) = JOINTS.iter().find_map(|it| prefix_len(&tokens[at..], it)) else {
            at += 1;
            continue;
        };
        pieces.push(start..at);
        at += n;
        while starts_with(&tokens[at..], "also") || starts_with(&tokens[at..], "then") {
            at += 1;
        }
        start = at;
    }
    pieces.push(start..tokens.len());
    pieces.retain(|it| !it.is_empty());
    pieces
}

/// Whether a piece after `and` belongs to the phrase before it: `the black and white dog`,
/// `the man with a hat and a beard`.
fn belongs(before: &[Token], piece: &[Token]) -> bool {
    let opens = determiner_len(piece) > 0 || possessive_end(piece, 0).is_some();
    let open = &before[determiner_len(before)..];
    if !open.is_empty() && open.iter().all(|it| is_adjective(&it.lower) || !it.is_word()) && !opens
    {
        return true;
    }
    if before.iter().any(|it| it.is("between")) {
        return true;
    }
    let modified = noun_phrase_len(before) < before.len();
    if !modified || starts_definite(piece) {
        return phrase(piece).is_none();
    }
    !(starts_indefinite(before) && starts_indefinite(piece))
}

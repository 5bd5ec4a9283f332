//! Finds the noun phrases in a stretch of words, and their parts.
//!
//! Nouns are an open class, so a phrase is found by what can *not* be inside one: it runs from its determiner to the
//! first preposition, relative pronoun or participle, and its last word is its head.

use std::ops::Range;

use super::lexicon::{
    ATTRIBUTES, BEING, DEFINITE, DETERMINERS, ED_NOUNS, INDEFINITE, ING_NOUNS, MEASURES, PERSONS,
    PLACES, PLURAL_DETERMINERS, PREPOSITIONS, QUANTIFIERS, RELATIVES, SHADES, SUBJECTS, THINGS,
    WHOLES, is_adjective, is_comparative,
};
use super::lists::has;
use super::nouns::is_plural;
use super::place::{self, Opening, PlaceKind};
use super::words::{Token, bytes, matched};

/// A noun phrase, as bytes of the instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// All of it, with what singles the object out: `the red cup on the table`.
    pub(super) all: Range<usize>,
    /// Up to its head: `the red cup`.
    pub(super) noun_phrase: Range<usize>,
    /// Without its determiner: `red cup`.
    pub(super) name: Range<usize>,
    /// Its main noun: `cup`.
    pub(super) head: Range<usize>,
    /// The words of place before the name.
    pub(super) opening: Option<Opening>,
    /// The adjectives of a relative clause: `red` of `the star that is red`.
    pub(super) qualifier: Option<Range<usize>>,
    /// Whether it is said where it is, so that a picture is one in the picture: `the picture on the wall`.
    pub(super) hung: bool,
    /// The main noun in lower case.
    pub(super) noun: String,
    pub(super) plural: bool,
    pub(super) definiteness: Definiteness,
}

/// Whether a phrase points at something that is there, or brings something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Definiteness {
    /// `the dog`, `her dog`, `the man's dog`, `him`.
    Definite,
    /// `a dog`, `another dog`.
    Indefinite,
    /// `dogs`.
    Bare,
}

impl Found {
    /// Whether it names no object but the picture, what belongs to all of it, or `it`.
    pub(super) fn is_whole(&self) -> bool {
        // `everything on the table` is what stands there.
        !self.hung && (has(WHOLES, &self.noun) || has("everything anything something", &self.noun))
            || has(THINGS, &self.noun) && !has("everything anything something", &self.noun)
    }

    /// Whether it names a property that nothing in the phrase has: `a red color`.
    pub(super) fn is_attribute(&self) -> bool {
        // `the blue shape` is a thing.
        let thing = self.definiteness == Definiteness::Definite
            && self.name.start < self.head.start
            && has("shape pattern design", &self.noun);
        has(ATTRIBUTES, &self.noun) && !thing && !self.hung
    }
}

/// Reads a stretch of words as one noun phrase.
pub(super) fn phrase(tokens: &[Token]) -> Option<Found> {
    if let Some(one) = one_of(tokens) {
        return Some(one);
    }
    let parts = anatomy(tokens)?;
    if let Some(owner) = owner(tokens, &parts) {
        return Some(owner);
    }
    let determiner = &tokens[..parts.determiner];
    let head = &tokens[parts.head];
    let plural = is_plural(&head.lower)
        || determiner.iter().any(|it| has(PLURAL_DETERMINERS, &it.lower))
            && !determiner.iter().any(|it| it.is("one") || it.is("each"));
    let (opening, kind) = opening(tokens, &parts).unzip();
    let name = parts.determiner + opening.unwrap_or(0);
    let described = described(tokens, parts.end).filter(|it| !it.is_empty());
    Some(Found {
        all: bytes(tokens)?,
        noun_phrase: bytes(&tokens[..parts.end])?,
        name: bytes(&tokens[name..parts.end])?,
        opening: bytes(&tokens[parts.determiner..name])
            .and_then(|span| Some(Opening { span, kind: kind? })),
        hung: opening.is_some()
            || tokens
                .get(parts.end)
                .is_some_and(|it| has("on above behind beside next under hanging over", &it.lower)),
        qualifier: described.and_then(|it| bytes(&tokens[it])),
        head: head.span.clone(),
        noun: if head.is("thing") && determiner.iter().any(|it| has("whole entire", &it.lower)) {
            "everything".to_owned()
        } else {
            head.lower.clone()
        },
        plural,
        definiteness: definiteness(determiner, head),
    })
}

/// One of several: `the leftmost of the three boats`, `the larger of the two circles`.
fn one_of(tokens: &[Token]) -> Option<Found> {
    let at = determiner_len(tokens);
    let which = tokens.get(at)?;
    let of = at + 1;
    let kind = place::opening_kind(&tokens[at..]);
    if !starts_definite(tokens)
        || !tokens.get(of)?.is("of")
        || !opens_noun_phrase(&tokens[of + 1..])
    {
        return None;
    }
    if kind.is_none() && !is_comparative(&which.lower) && !which.lower.ends_with("est") {
        return None;
    }
    let among = phrase(&tokens[of + 1..])?;
    let opening = kind.map(|kind| Opening { span: which.span.clone(), kind });
    let start = tokens[0].span.start;
    if start > among.all.start {
        return Some(among);
    }
    Some(Found {
        all: start..among.all.end,
        noun_phrase: start..among.noun_phrase.end,
        plural: false,
        opening,
        ..among
    })
}

/// The words of place before the name: `left` in `the left house`, not in `a second moon`, which is a new one.
fn opening(tokens: &[Token], parts: &Anatomy) -> Option<(usize, PlaceKind)> {
    if tokens[..parts.determiner].iter().any(|it| has(INDEFINITE, &it.lower)) {
        return None;
    }
    place::opening(&tokens[parts.determiner..parts.end])
}

/// The adjectives of a relative clause that stands at a token: `red` of `that is red`, and of `that is red blue`.
pub(super) fn described(tokens: &[Token], at: usize) -> Option<Range<usize>> {
    let rest = tokens.get(at..)?;
    let lead = matched(rest, "that/which/who is/are/was/were/look/looks")
        .or_else(|| matched(rest, "that/who 's"))?;
    let from = at + lead;
    let mut end = from;
    while let Some(token) = tokens.get(end) {
        let joint = end > from
            && token.is("and")
            && tokens.get(end + 1).is_some_and(|it| is_adjective(&it.lower));
        let shade = has(SHADES, &token.lower) || has("very so not the", &token.lower);
        let more = end == from || shaded(&tokens[from..end]) || tokens[end - 1].is("and");
        if !joint && !(more && (shade || is_adjective(&token.lower))) {
            break;
        }
        end += 1;
    }
    (end > from).then_some(from..end)
}

/// Whether the last word only shades what follows it: `dark`, `very`.
fn shaded(tokens: &[Token]) -> bool {
    tokens.last().is_some_and(|it| has(SHADES, &it.lower) || has("very so not the", &it.lower))
}

/// How many tokens the noun phrase at the start of a stretch takes, without what follows its head.
pub(super) fn noun_phrase_len(tokens: &[Token]) -> usize {
    anatomy(tokens).map_or(0, |it| it.end)
}

/// Whether a stretch begins with a determiner that points at something.
pub(super) fn starts_definite(tokens: &[Token]) -> bool {
    tokens.first().is_some_and(|it| has(DEFINITE, &it.lower))
        || tokens.iter().take(3).any(|it| it.is("'s"))
}

/// Whether a stretch begins with a determiner that brings something new.
pub(super) fn starts_indefinite(tokens: &[Token]) -> bool {
    tokens.first().is_some_and(|it| has(INDEFINITE, &it.lower))
}

/// Whether a stretch begins with no determiner, though a noun phrase could have one.
pub(super) fn starts_bare(tokens: &[Token]) -> bool {
    let owned = tokens.iter().take(3).any(|it| it.is("'s"));
    tokens
        .first()
        .is_some_and(|it| !has(DETERMINERS, &it.lower) && !has(PERSONS, &it.lower) && !owned)
}

/// Whether a token closes the noun phrase that stands before it.
pub(super) fn closes(tokens: &[Token], at: usize) -> bool {
    let word = tokens[at].lower.as_str();
    has(PREPOSITIONS, word)
        || has(RELATIVES, word)
        || has(PLACES, word)
        || tokens[at].is("->")
        || tokens[at].is(";")
        || at > 0 && has(SUBJECTS, word)
        || at > 0
            && has(BEING, word)
            && has("whatever everything anything something", &tokens[at - 1].lower)
        || at > 0
            && has("right directly just straight exactly somewhere", word)
            && tokens.get(at + 1).is_some_and(|it| has(PREPOSITIONS, &it.lower))
        || at > 0 && place::ends_with_corner(tokens, at)
        || has("minus round", word)
            && at > 0
            && tokens
                .get(at + 1)
                .is_some_and(|it| has("the a an my his her its our their", &it.lower))
        || has("up down", word) && tokens.get(at + 1).is_some_and(|it| has(PREPOSITIONS, &it.lower))
        || is_participle(tokens, at)
}

/// Where the parts of a noun phrase end, in tokens.
struct Anatomy {
    determiner: usize,
    head: usize,
    end: usize,
}

fn anatomy(tokens: &[Token]) -> Option<Anatomy> {
    let mut determiner = determiner_len(tokens);
    if let Some(owner) = possessive_end(tokens, determiner) {
        determiner = owner + determiner_len(&tokens[owner..]);
    }
    if determiner >= tokens.len() {
        // Only `this`, `her`, `the other one`: the last word is the phrase.
        determiner = tokens.len().checked_sub(1)?;
    }
    if determiner > 0
        && has(
            "one ones other others both these those this that all each couple",
            &tokens[determiner - 1].lower,
        )
        && closes(tokens, determiner)
    {
        // `the one at the bottom`.
        determiner -= 1;
    }
    let mut end = determiner + 1;
    if !tokens[determiner].is_word() || has("the a an", &tokens[determiner].lower) {
        return None;
    }
    while end < tokens.len() {
        if tokens[end].is("of") {
            if opens_noun_phrase(&tokens[end + 1..]) || end + 1 == tokens.len() {
                break;
            }
        } else if closes(tokens, end)
            || tokens[end].is("'s")
            || tokens[end].is(",") && !is_adjective(&tokens[end - 1].lower)
            || tokens[end].quoted && !tokens[end - 1].quoted
            || has("a an the his her my their", &tokens[end].lower)
        {
            break;
        }
        end += 1;
    }
    while end > determiner + 1 && (!tokens[end - 1].is_word() || tokens[end - 1].is("and")) {
        end -= 1;
    }
    let of = (determiner..end).find(|&i| tokens[i].is("of"));
    let head = match of {
        Some(of) if of > determiner && !has(MEASURES, &tokens[of - 1].lower) => of - 1,
        _ => end - 1,
    };
    Some(Anatomy { determiner, head, end })
}

/// The one who has the property that a phrase names: `the color of the car`, `the car's color`, `the car color`.
fn owner(tokens: &[Token], parts: &Anatomy) -> Option<Found> {
    if !has(ATTRIBUTES, &tokens[parts.head].lower) {
        return None;
    }
    if tokens.get(parts.end).is_some_and(|it| it.is("of")) {
        return phrase(&tokens[parts.end + 1..]);
    }
    let compound = if starts_indefinite(tokens) { 0..0 } else { parts.determiner..parts.head };
    let last = tokens[compound].last();
    if last.is_some_and(|it| !is_adjective(&it.lower)) {
        return phrase(&tokens[..parts.head]);
    }
    let mark = tokens[..parts.determiner].iter().rposition(|it| it.is("'s"))?;
    phrase(&tokens[..mark])
}

/// How many tokens say which or how many.
pub(super) fn determiner_len(tokens: &[Token]) -> usize {
    let mut n = 0;
    while let Some(token) = tokens.get(n) {
        // `the bottom half of the wall`.
        let part = "top/bottom/left/right/upper/lower/other/front/back half/part/side/end of";
        if let Some(part) = matched(&tokens[n..], part).filter(|_| n > 0) {
            n += part;
            continue;
        }
        let of = n > 0 && token.is("of") && has(QUANTIFIERS, &tokens[n - 1].lower);
        if !of && (!has(DETERMINERS, &token.lower) || token.quoted != tokens[0].quoted) {
            break;
        }
        n += 1;
    }
    n
}

/// Where the possessive that opens a phrase ends: 3 in `the man 's hat`.
pub(super) fn possessive_end(tokens: &[Token], from: usize) -> Option<usize> {
    let close = (from + 1..tokens.len())
        .find(|&i| tokens[i].is("of") || closes(tokens, i))
        .unwrap_or(tokens.len());
    let mark = tokens[..close].iter().rposition(|it| it.is("'s"))?;
    (mark > from && mark + 1 < close).then_some(mark + 1)
}

fn opens_noun_phrase(tokens: &[Token]) -> bool {
    determiner_len(tokens) > 0 || tokens.iter().take(3).any(|it| it.is("'s"))
}

/// Whether a token is a participle that follows its noun: `the man holding a cup`, `the car parked outside`.
fn is_participle(tokens: &[Token], at: usize) -> bool {
    let word = tokens[at].lower.as_str();
    let after_noun = at.checked_sub(1).is_some_and(|before| {
        let before = &tokens[before];
        before.is_word()
            && !has(DETERMINERS, &before.lower)
            && !is_adjective(&before.lower)
            && !before.is("and")
    });
    if !after_noun {
        return false;
    }
    if word.len() > 4 && word.ends_with("ing") && !has(ING_NOUNS, word) {
        return true;
    }
    let leads_on =
        tokens.get(at + 1).is_some_and(|it| has(PREPOSITIONS, &it.lower) || has(PLACES, &it.lower));
    (word.len() > 4 && word.ends_with("ed") && !has(ED_NOUNS, word)
        || has("made seen shown worn held", word))
        && leads_on
}

fn definiteness(determiner: &[Token], head: &Token) -> Definiteness {
    let any = |list: &'static str| determiner.iter().any(|it| has(list, &it.lower));
    let owned = determiner.iter().any(|it| it.is("'s")) && !starts_indefinite(determiner);
    if any(DEFINITE) && !any("a an some another") || has(PERSONS, &head.lower) || owned {
        Definiteness::Definite
    } else if determiner.is_empty() {
        Definiteness::Bare
    } else {
        Definiteness::Indefinite
    }
}

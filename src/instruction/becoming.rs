//! Finds where what an object becomes begins: `blue` in `the house blue`, `a robot` in `the woman a robot`.
//!
//! It is found from the end of the stretch, where the adjective or the new noun stands, so that no list of nouns is
//! needed.

use super::change::is_finish;
use super::lexicon::{
    COLORS, DETERMINERS, GONE, ING_NOUNS, MATERIALS, NOUN_ADJECTIVES, PERSONS, PREPOSITIONS,
    SHADES, STRENGTHENING, is_adjective, is_comparative,
};
use super::lists::has;
use super::phrase::described;
use super::words::{Token, matched, prefix_len};

/// Where what an object becomes begins, in a stretch that begins with the object: 2 in `the house blue`.
pub(super) fn start(tokens: &[Token]) -> Option<usize> {
    let at = start_of_words(tokens)?;
    let number = |it: &Token| {
        it.lower.parse::<u32>().is_ok()
            || has(
                "two three four five six seven eight nine ten fifteen twenty thirty forty fifty sixty hundred several",
                &it.lower,
            )
    };
    let unit = at.checked_sub(2).filter(|&before| {
        before > 0
            && number(&tokens[before])
            && has(
                "years times inches feet shades sizes meters centimeters months",
                &tokens[before + 1].lower,
            )
    });
    let more = at.checked_sub(2).filter(|&before| {
        before > 0 && matched(&tokens[before..], "a/much bit/little/lot/touch/tad").is_some()
    });
    Some(unit.or(more).unwrap_or(at))
}

/// The same, behind `a bit` and the like.
fn start_of_words(tokens: &[Token]) -> Option<usize> {
    let find_at = |test: &dyn Fn(usize) -> bool| (1..tokens.len()).find(|&at| test(at));
    let leads = [
        "upside down",
        "inside out",
        "into",
        "out of",
        "twice as",
        "half as",
        "times as",
        "to be",
        "as",
        "like",
        "to look",
        "in the style",
        "in the shape",
        "the same",
        "the color of",
        "the colour of",
        "the size of",
        "the shape of",
        "the height of",
        "same color",
        "same colour",
    ];
    let described = (1..tokens.len()).find_map(|at| described(tokens, at));
    if let Some(clause) = described.filter(|it| it.end < tokens.len())
        && !has(PREPOSITIONS, &tokens[clause.end].lower)
    {
        return Some(clause.end);
    }
    let than = find_at(&|at| {
        is_comparative(&tokens[at].lower) && tokens.get(at + 1).is_some_and(|it| it.is("than"))
    });
    if than.is_some() {
        return than;
    }
    let colored = find_at(&|at| tokens[at].is("in") && is_finish(&tokens[at + 1..]));
    if colored.is_some() {
        return colored;
    }
    find_at(&|at| leads.iter().any(|it| prefix_len(&tokens[at..], it).is_some()))
        .or_else(|| {
            let part = |at: usize| tokens.get(at + 1).is_some_and(|it| it.is("of"));
            find_at(&|at| {
                has(STRENGTHENING, &tokens[at].lower) && follows_noun(tokens, at) && !part(at)
            })
        })
        .or_else(|| {
            // `the meadow full of poppies`.
            let look = tokens.last().is_some_and(|it| is_adjective(&it.lower));
            find_at(&|at| !look && prefix_len(&tokens[at..], "full of").is_some())
        })
        .or_else(|| new_noun(tokens))
        .or_else(|| final_state(tokens))
        .or_else(|| switched(tokens))
        .or_else(|| last_phrase(tokens))
}

/// Where an article stands right behind the object: 2 in `the woman a robot`.
pub(super) fn new_noun(tokens: &[Token]) -> Option<usize> {
    (1..tokens.len()).find(|&at| has("a an", &tokens[at].lower) && follows_noun(tokens, at))
}

/// A state at the end, as a preposition and one bare word: `on fire`, `at night`.
fn final_state(tokens: &[Token]) -> Option<usize> {
    let at = tokens.len().checked_sub(2)?;
    let bare = !has(DETERMINERS, &tokens[at + 1].lower) && !has(PERSONS, &tokens[at + 1].lower);
    (at > 0 && has("on in at from under", &tokens[at].lower) && bare && follows_noun(tokens, at))
        .then_some(at)
}

/// The end of `the lights on`, `the screen turned off`.
fn switched(tokens: &[Token]) -> Option<usize> {
    let last = tokens.len().checked_sub(1)?;
    let turned = last > 1 && tokens[last - 1].lower.ends_with("ed");
    (last > 0 && has("on off", &tokens[last].lower)).then_some(last - usize::from(turned))
}

/// How a material is worked, as it is said before it.
const WORKED: &str =
    "wrought cast solid stainless stained brushed polished woven pure corrugated frosted carved";

/// The last word with the adjectives before it, if a noun stands before them.
pub(super) fn last_phrase(tokens: &[Token]) -> Option<usize> {
    let last = tokens.len().checked_sub(1)?;
    if !tokens[last].is_word()
        || has(PREPOSITIONS, &tokens[last].lower)
        || !follows_noun(tokens, last) && !is_adjective(&tokens[last].lower)
    {
        return None;
    }
    let extends = |at: usize| {
        is_adjective(&tokens[at].lower)
            || has(STRENGTHENING, &tokens[at].lower)
            || has("colored coloured shaped themed styled covered", &tokens[at + 1].lower)
            // `wrought iron`, `stained glass`.
            || has(MATERIALS, &tokens[at + 1].lower)
                && has(WORKED, &tokens[at].lower)
            || at > 0 && has("and ,", &tokens[at].lower) && is_adjective(&tokens[at - 1].lower)
    };
    let shades = |at: usize| {
        has(SHADES, &tokens[at].lower)
            && has(COLORS, &tokens[at + 1].lower)
            && tokens[..at].iter().any(is_noun)
    };
    // `the traffic light green`.
    let lamp = |at: usize| {
        tokens[at].is("light")
            && has("traffic street night head tail ceiling", &tokens[at - 1].lower)
    };
    let extends = |at: usize| !lamp(at) && (shades(at) || extends(at));
    let mut at = last;
    while at > 1 && extends(at - 1) {
        at -= 1;
    }
    while at > 1
        && at <= last
        && has("the a an this that my his her its their", &tokens[at - 1].lower)
    {
        // `the circle and the square yellow`: what stands behind a determiner is a noun.
        at += 1;
    }
    let named =
        tokens[..at].iter().rposition(|it| has("the this that my his her its their", &it.lower));
    if let Some(named) = named
        && at > named + 1
        && tokens[named + 1..at].iter().all(|it| is_adjective(&it.lower))
        && let Some(noun) = (at..last).find(|&it| has(NOUN_ADJECTIVES, &tokens[it].lower))
    {
        // `the biggest square black`.
        at = noun + 1;
    }
    let noun = |end: usize| tokens[..end].iter().any(is_noun) || stands_for_noun(&tokens[..end]);
    let subject = |end: usize| {
        let opened = tokens[..end].iter().all(|it| has(DETERMINERS, &it.lower));
        let opened = opened && !stands_for_noun(&tokens[..end]);
        let state = is_adjective(&tokens[last].lower) || has(GONE, &tokens[last].lower);
        !opened && (noun(end) || state)
    };
    let closed = |end: usize| {
        !has(PREPOSITIONS, &tokens[end - 1].lower) && !has("of and 's", &tokens[end - 1].lower)
    };
    while at <= last && !(subject(at) && closed(at)) {
        at += 1;
    }
    // `the blue square white`: of adjectives alone, the last that can be a noun is the object's.
    if at <= last && !noun(at) {
        let object = (at..last).rfind(|&it| has(NOUN_ADJECTIVES, &tokens[it].lower));
        at = object.map_or(at, |it| it + 1);
    }
    (at <= last).then_some(at)
}

/// Whether a word is a noun where one can stand: neither a determiner nor an adjective.
pub(super) fn is_noun(token: &Token) -> bool {
    token.is_word() && !has(DETERMINERS, &token.lower) && !is_adjective(&token.lower)
}

/// Whether words end with what stands for a noun: `the other one`, `those two`.
fn stands_for_noun(tokens: &[Token]) -> bool {
    let [.., before, last] = tokens else { return false };
    has("one ones", &last.lower) && has("the other this that", &before.lower)
        || has("two three four five", &last.lower) && has("the those these other", &before.lower)
}

/// Whether a token stands right behind a noun, so that a new phrase may begin with it.
pub(super) fn follows_noun(tokens: &[Token], at: usize) -> bool {
    const LEADS_ON: &str = "of and or with who which that";
    let Some(before) = at.checked_sub(1).map(|it| &tokens[it]) else { return false };
    let word = before.lower.as_str();
    let participle = at > 1 && word.ends_with("ing") && !has(ING_NOUNS, word);
    before.is_word()
        && !participle
        && ![DETERMINERS, PREPOSITIONS, LEADS_ON].iter().any(|it| has(it, word))
}

/// What an object becomes, without the word that leads to it.
pub(super) fn lead(said: &[Token]) -> &[Token] {
    if said.len() > 2 && said[0].is("as") && said[2..].iter().any(|it| it.is("as")) {
        return said;
    }
    if said.first().is_some_and(|it| it.is("in")) && is_finish(&said[1..]) {
        return &said[1..];
    }
    let n = ["out of", "to be", "to look like", "into", "as", "like"]
        .iter()
        .find_map(|it| prefix_len(said, it));
    &said[n.filter(|&n| n < said.len()).unwrap_or(0)..]
}

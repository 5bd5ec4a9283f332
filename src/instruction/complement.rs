//! Reads commands that set two phrases side by side, with nothing between them: `make X Y`, `give X Y`, `have X do Y`.
//!
//! Where the first phrase ends is found from the end of the clause, where the adjective or the new noun stands, so
//! that no list of nouns is needed.

use super::Action;
use super::adding;
use super::becoming::{follows_noun, is_noun, last_phrase, lead, new_noun, start};
use super::change::{is_color, is_comparison, is_finish, trimmed};
use super::fate;
use super::grammar::Reading;
use super::lexicon::{
    BEING, CLOTHES, DETERMINERS, GONE, ING_NOUNS, PERSONS, PREPOSITIONS, RECIPIENTS, THINGS,
    is_adjective, is_comparative,
};
use super::listing::phrases;
use super::lists::has;
use super::nouns::is_plural;
use super::phrase::{Definiteness, Found, starts_definite, starts_indefinite};
use super::predicate;
use super::words::{Token, find, matched};

/// `make X Y`.
pub(super) fn make(rest: &[Token]) -> Option<Reading> {
    if rest.is_empty() {
        return None;
    }
    let pronoun = pronoun_len(rest);
    if pronoun > 0 {
        let said = lead(&rest[pronoun..]);
        if predicate::is_verb(said) {
            return predicate::read(&rest[..pronoun], said, false);
        }
        if has(THINGS, &rest[0].lower) {
            return Some(Reading::global(said));
        }
        return Reading::of(Action::Change, phrases(&rest[..pronoun]), said);
    }
    if starts_indefinite(rest)
        && let Some(of) = find(rest, "out of")
            .or_else(|| find(rest, "from"))
            .filter(|it| starts_definite(&rest[it.end..]))
    {
        return Reading::of(Action::Change, phrases(&rest[of.end..]), &rest[..of.start]);
    }
    if let Some(reading) = each(rest) {
        return Some(reading);
    }
    let described = rest.last().is_some_and(|it| is_adjective(&it.lower));
    // `the boat a ship flying over clouds` flies only as what it becomes, `the man holding a cup older` all along.
    let article = new_noun(rest).unwrap_or(rest.len());
    let compared = (1..rest.len()).find(|&at| is_comparison(&rest[at..])).unwrap_or(rest.len());
    // `the donkey pulling the cart a zebra` pulls it all along, too.
    let verb = predicate::verb_at(rest)
        .filter(|&at| at < article.min(compared))
        .filter(|&at| !(described || article < rest.len()) || !rest[at].lower.ends_with("ing"));
    if let Some(verb) = verb {
        return predicate::read(&rest[..verb], &rest[verb..], false);
    }
    if let Some(split) = start(rest) {
        return Reading::of(Action::Change, phrases(&rest[..split]), lead(&rest[split..]));
    }
    let objects = phrases(rest);
    let new = objects.first()?.definiteness != Definiteness::Definite;
    Reading::of(if new { Action::Add } else { Action::Change }, objects, &[])
}

/// `the dog black and the cat white`.
fn each(rest: &[Token]) -> Option<Reading> {
    let and = (1..rest.len()).find(|&at| rest[at].is("and") && starts_definite(&rest[at + 1..]))?;
    let (one, other) = (&rest[..and], &rest[and + 1..]);
    let (split, next) = (start(one)?, start(other)?);
    let becomes = &one[split..];
    let looks =
        becomes.last().is_some_and(|it| is_adjective(&it.lower)) || has("a an", &becomes[0].lower);
    let objects = [phrases(&one[..split]), phrases(&other[..next])].concat();
    looks.then(|| Reading::of(Action::Change, objects, lead(becomes))).flatten()
}

/// `have X do Y`, `let X be Y`, `show X`.
pub(super) fn have(rest: &[Token]) -> Option<Reading> {
    let first = rest.first()?;
    if first.is("there") {
        return predicate::read(&rest[..1], &rest[1..], false);
    }
    if let Some(reading) = version(rest).or_else(|| shown_as(rest)) {
        return Some(reading);
    }
    let pronoun = pronoun_len(rest);
    if pronoun > 0 && has(THINGS, &first.lower) && rest.get(1).is_some_and(|it| it.is("as")) {
        return Some(Reading::global(&rest[2..]));
    }
    if let Some(reading) = with_something(rest) {
        return Some(reading);
    }
    if pronoun > 0 {
        return predicate::read(&rest[..pronoun], &rest[pronoun..], false);
    }
    if first.is("no") {
        return Reading::of(Action::Remove, phrases(&rest[1..]), &[]);
    }
    if let Some(reading) = done(rest) {
        return Some(reading);
    }
    if let Some(with) = find(rest, "with").filter(|it| it.start > 0 && starts_definite(rest)) {
        let with = &rest[with.end..];
        let fewer = with.first().is_some_and(|it| has("fewer less no", &it.lower));
        if fewer {
            return Reading::of(Action::Remove, phrases(&with[1..]), &[]);
        }
    }
    if let Some(without) = find(rest, "without").filter(|it| it.start > 0) {
        return Reading::of(Action::Remove, phrases(&rest[without.end..]), &[]);
    }
    if starts_definite(rest) {
        let out = find(rest, "out of").or_else(|| find(rest, "out")).or_else(|| find(rest, "away"));
        if let Some(out) =
            out.filter(|it| it.start > 0 && phrases(&rest[it.end..]).iter().all(Found::is_whole))
        {
            return Reading::of(Action::Remove, phrases(&rest[..out.start]), &[]);
        }
    }
    if let Some(verb) = predicate::verb_at(rest) {
        return predicate::read(&rest[..verb], &rest[verb..], false);
    }
    if let Some(reading) = compared(rest) {
        return Some(reading);
    }
    let objects = phrases(rest);
    if objects.first()?.definiteness != Definiteness::Definite {
        return Reading::of(Action::Add, objects, &[]).map(|it| Reading { placed: true, ..it });
    }
    match start(rest) {
        Some(split) if has(GONE, &rest[split].lower) => {
            Reading::of(Action::Remove, phrases(&rest[..split]), &[])
        }
        Some(split) => Reading::of(Action::Change, phrases(&rest[..split]), lead(&rest[split..])),
        None => Reading::of(Action::Add, objects, &[]),
    }
}

/// `him with a longer beard`.
fn with_something(rest: &[Token]) -> Option<Reading> {
    let pronoun = pronoun_len(rest);
    if pronoun == 0 || has(THINGS, &rest[0].lower) || !rest.get(pronoun)?.is("with") {
        return None;
    }
    let with = &rest[pronoun + 1..];
    let gift = || Reading::of(Action::Add, phrases(with), &[]);
    compared(with).or_else(|| gift().map(|it| it.at("to", &rest[..pronoun])))
}

/// `the tractor as a tank`.
fn shown_as(rest: &[Token]) -> Option<Reading> {
    let mark = find(rest, "as").filter(|it| starts_indefinite(&rest[it.end..]))?;
    let known = starts_definite(rest) && mark.start > 1;
    known
        .then(|| Reading::of(Action::Change, phrases(&rest[..mark.start]), &rest[mark.end..]))
        .flatten()
}

/// `a purple version of the backpack`.
fn version(rest: &[Token]) -> Option<Reading> {
    let at = rest.iter().position(|it| has("version variant edition", &it.lower))?;
    let look = &rest[usize::from(starts_indefinite(rest))..at];
    let of = rest.get(at + 1).is_some_and(|it| it.is("of")) && starts_definite(&rest[at + 2..]);
    (of && !look.is_empty())
        .then(|| Reading::of(Action::Change, phrases(&rest[at + 2..]), look))
        .flatten()
}

/// What is wished to be done to something: `the fence painted white`, `the bench replaced with a sofa`.
pub(super) fn done(rest: &[Token]) -> Option<Reading> {
    let done = |at: usize| fate::passive(&rest[..at], &rest[at..]);
    let at = |at: &usize| {
        starts_definite(rest) && follows_noun(rest, *at) && !has(BEING, &rest[at - 1].lower)
    };
    (1..rest.len()).filter(at).find_map(done)
}

/// A wish for more of what is there: `a bigger window`.
pub(super) fn compared(rest: &[Token]) -> Option<Reading> {
    let article = rest.first().is_some_and(|it| has("a an", &it.lower));
    let at = usize::from(article);
    let at = at + matched(&rest[at..], "much/far/way/slightly/even").unwrap_or(0);
    let more = rest.get(at).is_some_and(|it| is_comparative(&it.lower));
    (more && rest.len() > at + 1)
        .then(|| {
            Reading::of(Action::Change, phrases(&rest[at + 1..]), &rest[usize::from(article)..=at])
        })
        .flatten()
}

/// A phrase without a verb, with what it becomes: `the sofa in red`; or a new thing: `a red hat on the dog`.
pub(super) fn named(rest: &[Token]) -> Option<Reading> {
    if let Some(reading) = version(rest).or_else(|| done(rest)).or_else(|| with_something(rest)) {
        return Some(reading);
    }
    if let Some(reading) = shown_as(rest) {
        return Some(reading);
    }
    if let Some(reading) = compared(rest) {
        return Some(reading);
    }
    if let Some(without) = find(rest, "without").filter(|it| it.start > 0 && starts_definite(rest))
    {
        return Reading::of(Action::Remove, phrases(&rest[without.end..]), &[]);
    }
    // `the street with no cars`.
    if let Some(with) = find(rest, "with").filter(|it| it.start > 0 && starts_definite(rest))
        && rest.get(with.end).is_some_and(|it| has("no fewer", &it.lower))
    {
        return Reading::of(Action::Remove, phrases(&rest[with.end + 1..]), &[]);
    }
    if let Some(target) = find(rest, "for").filter(|it| is_color(trimmed(&rest[..it.start])))
        && starts_definite(&rest[target.end..])
    {
        return Reading::of(Action::Change, phrases(&rest[target.end..]), &rest[..target.start]);
    }
    let counted = rest
        .first()
        .is_some_and(|it| has("a an some another two three four five several more", &it.lower));
    let placed = (1..rest.len()).any(|at| {
        has("on in at over under above for next near beside between below behind", &rest[at].lower)
    });
    let new = |it: &Token| is_noun(it) && !has(THINGS, &it.lower);
    let named = rest.iter().take_while(|it| !has(PREPOSITIONS, &it.lower)).any(new);
    let bare = rest.first().is_some_and(|it| is_noun(it) || is_adjective(&it.lower));
    if counted || placed && named && bare {
        let objects = phrases(rest);
        return Reading::of(Action::Add, objects, &[]).map(|it| Reading { placed, ..it });
    }
    let split = start(rest).filter(|&at| starts_definite(rest) || is_color(&rest[at..]))?;
    if has(GONE, &rest[split].lower) {
        return Reading::of(Action::Remove, phrases(&rest[..split]), &[]);
    }
    let becomes = lead(&rest[split..]);
    let looks = is_finish(becomes) || becomes.iter().all(|it| is_adjective(&it.lower));
    looks.then(|| Reading::of(Action::Change, phrases(&rest[..split]), becomes)).flatten()
}

/// `give X Y`, `give Y to X`.
pub(super) fn give(rest: &[Token]) -> Option<Reading> {
    let hers =
        rest.first().is_some_and(|it| it.is("her")) && rest.len() > 2 && find(rest, "to").is_none();
    let split = given_at(rest).or(hers.then_some(1));
    let Some(at) = split else {
        let to = find(rest, "to").unwrap_or(rest.len()..rest.len());
        let mut gifts = phrases(&rest[..to.start]);
        let receivers = &rest[to.end..];
        gifts.extend(adding::given_behind(receivers));
        return Reading::of(Action::Add, gifts, &[]).map(|it| it.at("to", receivers));
    };
    let receivers = phrases(&rest[..at]);
    let gifts = phrases(&rest[at..]);
    if receivers.iter().any(|it| it.is_whole() && !has("it this that", &it.noun)) {
        return Some(Reading::global(&rest[at..]));
    }
    if is_comparison(&rest[at..]) || is_color(&rest[at..]) {
        return Reading::of(Action::Change, receivers, &rest[at..]);
    }
    let coated = find(&rest[at..], "paint").is_some() && is_color(trimmed(&rest[at..]));
    if coated || !gifts.is_empty() && gifts.iter().all(Found::is_attribute) {
        return Reading::of(Action::Change, receivers, &rest[at..]);
    }
    if rest[0].is("me") || rest[0].is("us") {
        return have(&rest[1..]);
    }
    let reading = Reading::of(Action::Add, gifts, &[])?;
    let reading = reading.at("to", &rest[..at]);
    Some(if reading.action == Action::Global { Reading::global(&rest[at..]) } else { reading })
}

/// Where the gift begins in `the man a hat`; `None` if the gift comes first.
fn given_at(rest: &[Token]) -> Option<usize> {
    let pronoun = pronoun_len(rest);
    if pronoun > 0 && pronoun < rest.len() {
        return Some(pronoun);
    }
    let opens = |list: &'static str| {
        (1..rest.len()).find(|&at| has(list, &rest[at].lower) && follows_noun(rest, at))
    };
    let looks =
        |at: usize| is_comparison(&rest[at..]) || is_color(&rest[at..]) && rest[at].is("the");
    let shared = (1..rest.len()).find(|&at| looks(at) && follows_noun(rest, at));
    if shared.is_some() {
        return shared;
    }
    if let Some(at) = opens("a an some more another") {
        return Some(at);
    }
    if find(rest, "to").is_some_and(|it| it.start > 0) {
        return None;
    }
    let receiver = (0..rest.len()).find(|&at| has(RECIPIENTS, &rest[at].lower)).map(|it| it + 1);
    let receiver = receiver.filter(|&at| {
        at < rest.len()
            && !has(PREPOSITIONS, &rest[at].lower)
            && !has("'s and , who that", &rest[at].lower)
    });
    let named = receiver.filter(|&at| !rest[at].lower.ends_with("ing"));
    named.or_else(|| opens(DETERMINERS)).or_else(|| last_phrase(rest))
}

/// The length of a pronoun at the start that is the whole object: 1 for `it`, for `her` in `her a robot`.
fn pronoun_len(rest: &[Token]) -> usize {
    let first = rest[0].lower.as_str();
    let alone = match first {
        "her" => is_her_alone(&rest[1..]),
        "this" | "that" | "these" | "those" | "all" => rest.get(1).is_none_or(|next| {
            has("a an look be into to as with more less very", &next.lower) || rest.len() == 2
        }),
        // `its door brown`.
        "its" => rest.len() < 3,
        _ => has(PERSONS, first) || has(THINGS, first),
    };
    usize::from(alone)
}

/// Whether `her` before these words is a person, not the owner of what follows.
fn is_her_alone(next: &[Token]) -> bool {
    const OPENS: &str = "a an the some more less very look into to as with super extra two";
    let Some(first) = next.first() else { return true };
    let described = |it: &Token| is_adjective(&it.lower);
    let adjectives = described(first)
        && next.get(1).is_some_and(|it| it.is("and"))
        && next.last().is_some_and(described);
    let acts = predicate::is_verb(next)
        && next.get(1).is_none_or(|it| has(DETERMINERS, &it.lower) || has(PREPOSITIONS, &it.lower));
    next.len() == 1 && !is_plural(&first.lower) && !has(CLOTHES, &first.lower)
        || has(OPENS, &first.lower)
        || is_comparative(&first.lower)
        || first.lower.ends_with("ing") && !has(ING_NOUNS, &first.lower)
        || adjectives
        || acts
}

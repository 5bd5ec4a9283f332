//! Reads commands that bring something in: `add X to Z`, `put X on Z`, `dress Z in X`, `crown Z with X`.

use std::ops::Range;

use super::Action;
use super::becoming;
use super::grammar::Reading;
use super::imperative::{is_mark, split};
use super::lexicon::{CLOTHES, ENDOWING, PERSONS, THINGS, is_adjective, pairs, verb_in};
use super::listing::phrases;
use super::lists::has;
use super::phrase::{Definiteness, Found, phrase, starts_definite, starts_indefinite};
use super::words::{Token, find, starts_with};

/// `crown X with Y`, `surround X with Y`.
pub(super) fn endow(verb: &Token, rest: &[Token]) -> Option<Reading> {
    let (_, relation) = pairs(ENDOWING).find(|it| verb_in(&[it.0], &verb.lower).is_some())?;
    let (receiver, gift) = split(rest, &["with", "by"])?;
    Reading::of(Action::Add, phrases(gift), &[]).map(|it| it.at(relation, receiver))
}

/// `add X to Z`, `put X on Z`, `put Z in X`.
pub(super) fn add(verb: &Token, rest: &[Token]) -> Option<Reading> {
    let rest =
        if rest.len() > 1 && has("in on up down back", &rest[0].lower) { &rest[1..] } else { rest };
    let place = place(rest);
    let (what, at) =
        place.as_ref().map_or((rest, &rest[..0]), |it| (&rest[..it.start], &rest[it.end..]));
    let known = phrase(what).is_some_and(|it| it.definiteness == Definiteness::Definite);
    let draws = verb_in(&["draw sketch show"], &verb.lower).is_some();
    if known
        && draws
        && let Some((old, new)) = split(rest, &["as", "like"])
    {
        return Reading::of(Action::Change, phrases(old), new);
    }
    let moves =
        verb_in(&["put place set lay position bring drop throw float tuck"], &verb.lower).is_some();
    let person = what.len() == 1 && has(PERSONS, &what[0].lower);
    if what.len() == 1 && has(THINGS, &what[0].lower) {
        return Some(Reading::global(place.map_or(&rest[1..], |it| &rest[it.start..])));
    }
    if moves && (known || person) {
        let worn = phrase(at).is_some_and(|it| has(CLOTHES, &it.noun));
        if starts_indefinite(at) || worn || person && !at.is_empty() {
            return Reading::of(Action::Add, phrases(at), &[])
                .map(|it| if worn { it.at("on", what) } else { it });
        }
        let onto = place.clone().map_or(&rest[..0], |it| &rest[it.start..]);
        if at.len() == 1 && !has(PERSONS, &at[0].lower)
            || at.is_empty() && !starts_with(rest, "the")
        {
            return Reading::of(Action::Change, phrases(what), onto);
        }
        if at.is_empty()
            && let Some(split) = becoming::start(what)
        {
            return Reading::of(Action::Change, phrases(&what[..split]), &what[split..]);
        }
    }
    let given = place.as_ref().is_some_and(|it| rest[it.start].is("to"));
    let mut objects = phrases(place.map_or(rest, |it| {
        // A second object may stand behind the place of the first: `a hat on the dog and a scarf on the cat`.
        if given || starts_definite(rest) { &rest[..it.start] } else { rest }
    }));
    if objects.first().is_some_and(|it| it.definiteness != Definiteness::Definite) {
        objects.retain(|it| it.definiteness != Definiteness::Definite);
    }
    let color = |it: &Found| is_adjective(&it.noun) && it.definiteness == Definiteness::Bare;
    let look = |it: &Found| it.is_attribute() || color(it);
    let target = phrases(at);
    if objects.iter().all(look) && target.iter().any(|it| !it.is_whole()) {
        return Reading::of(Action::Change, target, what);
    }
    if given {
        objects.extend(given_behind(at));
    }
    let placed = !at.is_empty();
    Reading::of(Action::Add, objects, &[])
        .map(|it| if it.action == Action::Global { Reading::global(rest) } else { it })
        .map(|it| Reading { placed, ..it })
}

/// Where the word stands that says where the things before it are put.
pub(super) fn place(tokens: &[Token]) -> Option<Range<usize>> {
    let places = [
        "to",
        "onto",
        "into",
        "on",
        "in",
        "over",
        "at",
        "inside",
        "around",
        "upon",
        "under",
        "across",
        "against",
        "above",
        "below",
        "behind",
        "beside",
        "between",
        "near",
        "along",
        "beneath",
        "underneath",
        "next",
        "for",
    ];
    places
        .iter()
        .filter_map(|it| find(tokens, it))
        .filter(|it| it.start > 0)
        .min_by_key(|it| it.start)
}

/// What others are given behind the first receiver: `a hat` in `the man and a hat to the woman`.
pub(super) fn given_behind(mut receivers: &[Token]) -> Vec<Found> {
    let mut gifts = Vec::new();
    while let Some((more, others)) = next_gifts(receivers) {
        gifts.extend(more);
        receivers = others;
    }
    gifts
}

/// The next gifts behind a receiver, and what stands behind their own place.
///
/// A place by another word than `to` counts behind a definite receiver alone: in `a man and a woman on the left` both
/// receive.
fn next_gifts(receivers: &[Token]) -> Option<(Vec<Found>, &[Token])> {
    // Without an article a noun is known by its -s: `and sunglasses to her`, but not `and also to her`.
    let new = |it: &Found| match it.definiteness {
        Definiteness::Definite => false,
        Definiteness::Indefinite => !has("bit little", &it.noun),
        Definiteness::Bare => it.noun.ends_with('s') && !it.noun.ends_with("ss"),
    };
    let mut joints = (1..receivers.len()).filter(|&at| has("and ,", &receivers[at].lower));
    joints.find_map(|joint| {
        let rest = &receivers[joint + 1..];
        let place = place(rest)?;
        let gifts = phrases(&rest[..place.start]);
        let placed = gifts.last()?.noun_phrase.end == rest[place.start - 1].span.end
            && is_mark(rest, place.start);
        let to = rest[place.start].is("to") && gifts.len() == 1;
        let known = || {
            phrase(&receivers[..joint]).is_some_and(|it| it.definiteness == Definiteness::Definite)
        };
        (placed && gifts.iter().all(new) && (to || known())).then_some((gifts, &rest[place.end..]))
    })
}

/// `dress X in Y`, `dress X as Y`.
pub(super) fn dress(rest: &[Token]) -> Option<Reading> {
    if let Some((person, role)) = split(rest, &["as", "like"]) {
        let up = person.last().is_some_and(|it| it.is("up"));
        return Reading::of(
            Action::Change,
            phrases(&person[..person.len() - usize::from(up)]),
            role,
        );
    }
    let Some((person, dress)) = split(rest, &["in", "with"]) else {
        return Reading::of(Action::Change, phrases(rest), &[]);
    };
    let relation = if rest[person.len()].is("with") { "to" } else { "on" };
    Reading::of(Action::Add, phrases(dress), &[]).map(|it| it.at(relation, person))
}

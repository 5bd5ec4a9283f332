//! Reads commands, by what their verb does to its object: `change X to Y`, `remove X from Z`, `put X on Z`.

use std::ops::Range;

use super::Action;
use super::adding::{add, dress, endow, place};
use super::becoming;
use super::change::is_finish;
use super::complement;
use super::grammar::Reading;
use super::lexicon::{
    ADDING, ATTRIBUTES, BEING, CHANGING, COLOR_VERBS, COLORING, COMMANDS, DETERMINERS, DRESSING,
    GIVING, HAVING, LETTING, PERSONS, PREPOSITIONS, REMOVING, REPLACING, SETTINGS, TAKING, THINGS,
    WORKING, is_adjective, verb_in,
};
use super::listing::phrases;
use super::lists::has;
use super::phrase::{Found, starts_definite, starts_indefinite};
use super::predicate;
use super::words::{Token, find, matched, prefix_len, starts_with};

/// Whether a clause begins with a verb that commands an edit.
pub(super) fn is_command(clause: &[Token]) -> bool {
    let Some(next) = clause.get(1) else { return false };
    verb_in(&COMMANDS, &clause[0].lower).is_some()
        && !next.is("->")
        && !next.is("'s")
        && (!has("is are was were should", &next.lower))
        && (!next.is("to") && !next.is("into") || verb_in(&[CHANGING], &clause[0].lower).is_some())
}

/// Whether the verb of a command takes the thing to change or remove itself as its object, so that `instead of`
/// in it contrasts something else.
pub(super) fn names_its_object(clause: &[Token]) -> bool {
    is_command(clause)
        && verb_in(&[REPLACING, REMOVING, GIVING], &clause[0].lower).is_some()
        && !has("me us", &clause[1].lower)
}

/// Reads a command; `None` if the clause does not begin with a verb.
pub(super) fn read(clause: &[Token]) -> Option<Reading> {
    let verb = clause.first()?;
    let rest = &clause[1..];
    if verb_in(&["get do dispose"], &verb.lower).is_some()
        && let Some(n) = ["rid of", "away with", "of"].iter().find_map(|it| prefix_len(rest, it))
    {
        return remove(&rest[n..]);
    }
    if !is_command(clause) {
        return unknown(clause);
    }
    let is = |list: &'static str| verb_in(&[list], &verb.lower).is_some();
    if is("get give show bring find draw paint make add put build create")
        && has("me us", &rest[0].lower)
        && rest.len() > 1
    {
        return complement::have(&rest[1..]);
    }
    // `get the sky to look pink`.
    let to = find(rest, "to").filter(|it| it.start > 0 && predicate::is_verb(&rest[it.end..]));
    if let Some(to) = to.filter(|_| is("get have") && starts_definite(rest)) {
        return predicate::read(&rest[..to.start], &rest[to.end..], false);
    }
    if is("get have")
        && !has("out off away", &rest[0].lower)
        && !starts_definite(rest)
        && !has(THINGS, &rest[0].lower)
        && split(rest, &["to", "into"]).is_none()
    {
        return complement::have(rest);
    }
    if is("drop lose skip leave") && starts_definite(skip_particle(rest)) && place(rest).is_none() {
        return remove(rest);
    }
    if is("set") && rest.iter().any(|it| has(ATTRIBUTES, &it.lower)) {
        return change(rest);
    }
    if is("clear rid empty strip clean free")
        && let Some(of) =
            find(rest, "of").filter(|it| it.start > 0 && !starts_definite(&rest[it.end..]))
    {
        return Reading::of(Action::Remove, phrases(&rest[of.end..]), &[])
            .map(|it| it.at("from", &rest[..of.start]));
    }
    if let Some(reading) = endow(verb, rest) {
        return Some(reading);
    }
    if is(TAKING)
        && let Some(reading) = take(verb, rest)
    {
        return Some(reading);
    }
    if is("clean tidy sweep mop wipe pick") && rest[0].is("up") && starts_definite(&rest[1..]) {
        return remove(&rest[1..]);
    }
    let hides = is("paint cover draw") && rest[0].is("over") || is("cover") && rest[0].is("up");
    if hides && starts_definite(&rest[1..]) && split(rest, &["with", "in"]).is_none() {
        return remove(&rest[1..]);
    }
    let around =
        |it: Range<usize>| has("around on over under in inside next", &rest[it.start].lower);
    if is(WORKING) && starts_indefinite(rest) && place(rest).is_some_and(around) {
        return add(verb, rest);
    }
    match () {
        () if is(REMOVING) => remove(rest),
        () if is(REPLACING) || is("switch") && find(rest, "for").is_some() => replace(verb, rest),
        () if is(GIVING) => complement::give(rest),
        () if is(COLORING) => color(verb, rest),
        () if is("get have") && complement::done(rest).is_some() => complement::done(rest),
        () if is("make render get turn") && !is_turned(rest) => complement::make(rest),
        () if is(CHANGING) && !is("style") => change(rest),
        () if is(DRESSING) => dress(rest),
        () if is(LETTING) => complement::have(rest),
        () if is(WORKING) && !(is(ADDING) && starts_indefinite(rest)) => work(rest),
        () if is(ADDING) => add(verb, rest),
        () if is(HAVING) => Reading::of(Action::Add, phrases(rest), &[]),
        () => unknown(clause),
    }
}

/// Whether `turn` stands with what parts its object from what it becomes.
fn is_turned(rest: &[Token]) -> bool {
    has("off on into to", &rest[0].lower) || split(rest, &["into", "to"]).is_some()
}

/// `change X to Y`, `turn X into Y`, `change to Y`.
fn change(rest: &[Token]) -> Option<Reading> {
    let rest = skip_particle(rest);
    let Some((old, new)) = split(rest, &["into", "to", "for", "with", "by", "as", "->"]) else {
        let material = |at: &usize| rest[*at].is("in") && is_finish(&rest[at + 1..]);
        if let Some(at) = (1..rest.len()).find(material) {
            return Reading::of(Action::Change, phrases(&rest[..at]), &rest[at + 1..]);
        }
        return whole(rest, &[]).or_else(|| Reading::of(Action::Change, phrases(rest), &[]));
    };
    let old = find(old, "from").map_or(old, |it| &old[..it.start]);
    let new = became(new);
    if matches!(old, [hour] if has(SETTINGS, &hour.lower)) {
        return Some(Reading::global(new));
    }
    whole(old, new).or_else(|| Reading::of(Action::Change, phrases(old), new))
}

/// `replace X with Y`, `swap X for Y`, `swap X and Y`, `substitute Y for X`.
fn replace(verb: &Token, rest: &[Token]) -> Option<Reading> {
    let brings = rest.first().is_some_and(|it| it.is("in"))
        || verb_in(&["substitute"], &verb.lower).is_some();
    let rest = skip_particle(rest);
    if brings && let Some((new, old)) = split(rest, &["for"]) {
        return Reading::of(Action::Change, phrases(old), new);
    }
    let Some((old, new)) = split(rest, &["with", "by", "for", "against", "into", "to", "->"])
    else {
        return Reading::of(Action::Change, phrases(rest), &[]);
    };
    whole(old, new).or_else(|| Reading::of(Action::Change, phrases(old), new))
}

/// `remove X`, `remove X from Z`.
fn remove(rest: &[Token]) -> Option<Reading> {
    let mut rest = skip_particle(rest);
    while rest.last().is_some_and(|it| has("off away out down", &it.lower)) {
        rest = &rest[..rest.len() - 1];
    }
    let source =
        ["from", "off", "out of"].iter().filter_map(|it| find(rest, it)).min_by_key(|it| it.start);
    let Some(source) = source.filter(|it| it.start > 0) else {
        return Reading::of(Action::Remove, phrases(rest), &[]);
    };
    let objects = phrases(&rest[..source.start]);
    if !objects.is_empty() && objects.iter().all(Found::is_attribute) {
        // `remove the color from the car` leaves the car there.
        return Reading::of(Action::Change, phrases(&rest[source.end..]), &[]);
    }
    Reading::of(Action::Remove, objects, &[])
}

/// `take away X`, `cut X out`, `take X from Z`; `None` without a word that says that the object goes.
fn take(verb: &Token, rest: &[Token]) -> Option<Reading> {
    let goes = |it: &Token| {
        has("away off out", &it.lower)
            || it.is("down")
                && verb_in(&["chop tear knock take pull cut saw"], &verb.lower).is_some()
    };
    if goes(rest.first()?) {
        return remove(&rest[1..]);
    }
    let off = find(rest, "off").is_some() && !verb.is("move");
    let from = find(rest, "from").or_else(|| find(rest, "out of")).is_some();
    let taken = off || from && verb_in(
        &["take cut tear rip pull wipe peel scrub wash get clean pick pluck fish sweep move throw"],
        &verb.lower,
    )
    .is_some();
    (rest.last().is_some_and(goes) || taken).then(|| remove(rest)).flatten()
}

/// `paint X red`, `color X in blue`, `paint a flower on X`.
fn color(verb: &Token, rest: &[Token]) -> Option<Reading> {
    let paints = verb_in(&["paint spray"], &verb.lower).is_some();
    let rest = skip_particle(rest);
    let rest = if starts_with(rest, "paint") { &rest[1..] } else { rest };
    if paints && starts_indefinite(rest) {
        return add(verb, rest);
    }
    if let Some((old, new)) = split(rest, &["with", "in", "to", "into", "as", "like"])
        && (!starts_definite(new) || starts_with(new, "the color") || starts_with(new, "the style"))
    {
        return whole(old, new).or_else(|| Reading::of(Action::Change, phrases(old), new));
    }
    complement::make(rest)
}

/// `blur X`, `cover X with Y`, `rotate X`, `zoom in`.
fn work(rest: &[Token]) -> Option<Reading> {
    let particle = rest.first().is_some_and(|it| has("in out on", &it.lower));
    if particle && !starts_definite(&rest[1..]) {
        return Some(Reading::global(&[]));
    }
    let rest = skip_particle(rest);
    if let Some(over) = find(rest, "upside down").or_else(|| find(rest, "inside out")) {
        let old = &rest[..over.start];
        return whole(old, &rest[over.clone()])
            .or_else(|| Reading::of(Action::Change, phrases(old), &rest[over]));
    }
    let marks = ["into", "with", "to", "by", "using", "in", "from"];
    let (old, new) = match split(rest, &marks) {
        // `move the cat to the left` says where to, `blur the man in the back` which one.
        Some((old, new)) if starts_definite(new) && rest[old.len()].is("to") => (old, &new[..0]),
        Some((_, new)) if starts_definite(new) => (rest, &new[..0]),
        Some(parts) => parts,
        None => (rest, &rest[..0]),
    };
    if new.is_empty()
        && old.last().is_some_and(|it| is_adjective(&it.lower))
        && let Some(split) = becoming::start(old)
    {
        return Reading::of(Action::Change, phrases(&old[..split]), &old[split..]);
    }
    whole(old, new).or_else(|| Reading::of(Action::Change, phrases(old), new))
}

/// A verb that the lists lack, with an object that points at something: `melt the clock`.
fn unknown(clause: &[Token]) -> Option<Reading> {
    let (verb, rest) = clause.split_first()?;
    if rest.first()?.is("in") && starts_indefinite(&rest[1..]) {
        return add(verb, &rest[1..]);
    }
    if has("out in up over", &rest.first()?.lower)
        && starts_definite(&rest[1..])
        && has(COLOR_VERBS, &verb.lower)
    {
        return Reading::of(Action::Change, phrases(&rest[1..]), &clause[..1]);
    }
    if has("up down over", &rest.first()?.lower) && starts_definite(&rest[1..]) {
        return work(&rest[1..]);
    }
    let away = matched(rest, "away/out/off").or_else(|| matched(rest, "up away?"));
    let picks = |n: usize| !rest[0].is("up") || n > 1;
    if let Some(n) = away.filter(|&n| n < rest.len() && picks(n) && starts_definite(&rest[n..])) {
        return remove(&rest[n..]);
    }
    // `fish the bottle out of the canal`.
    let source = ["out of", "away from", "off"].iter().find_map(|it| find(rest, it));
    let source = source.filter(|it| it.start > 1 && starts_definite(&rest[it.end..]));
    if source.is_some() && starts_definite(rest) && verb.is_word() && !has(BEING, &verb.lower) {
        return remove(rest);
    }
    let next = rest.first()?;
    let odd = !verb.is_word()
        || has(DETERMINERS, &verb.lower)
        || has(PREPOSITIONS, &verb.lower)
        || has(PERSONS, &verb.lower)
        || has(THINGS, &verb.lower);
    if odd || predicate::verb_at(clause).is_some() && !starts_definite(rest) {
        return None;
    }
    let counted = starts_indefinite(rest) || has("two three four five several", &rest[0].lower);
    let acts = !is_adjective(&verb.lower) && counted && !has("no with", &verb.lower);
    if acts && place(rest).is_some() {
        return add(verb, rest);
    }
    let points = starts_definite(rest) || has(PERSONS, &next.lower) || next.is("it");
    points.then(|| work(rest)).flatten()
}

/// A global edit, if the object is missing, `it` or the like.
fn whole(old: &[Token], new: &[Token]) -> Option<Reading> {
    let pronoun = old.len() == 1 && has(THINGS, &old[0].lower);
    (old.is_empty() || pronoun).then(|| Reading::global(new))
}

/// Parts an object from what it becomes at the first of these words that stands in it, in order of the words.
///
/// `the man with the hat with a dog` is parted at the second `with`: what comes is new, so it is seldom definite.
pub(super) fn split<'a>(rest: &'a [Token], marks: &[&str]) -> Option<(&'a [Token], &'a [Token])> {
    let marks = marks.iter().map(|mark| {
        let places: Vec<usize> =
            (0..rest.len()).filter(|&at| rest[at].is(mark) && is_mark(rest, at)).collect();
        let fresh = places.iter().copied().find(|&at| !starts_definite(&rest[at + 1..]));
        fresh.or_else(|| places.first().copied())
    });
    let at = marks.flatten().find(|&at| at + 1 < rest.len())?;
    Some((&rest[..at], &rest[at + 1..]))
}

/// Whether a preposition can part: `next to` and `from left to right` cannot.
pub(super) fn is_mark(rest: &[Token], at: usize) -> bool {
    let before = at.checked_sub(1).map(|it| rest[it].lower.as_str());
    // `as red as a fire engine`.
    let as_as = rest[at].is("as")
        && (rest.get(at + 2).is_some_and(|it| it.is("as"))
            || at > 1 && rest[at - 2].is("as") && is_adjective(&rest[at - 1].lower));
    if as_as || matched(&rest[at..], "to the far? left/right/side").is_some() {
        return false;
    }
    !rest[at].is("to")
        || before.is_none_or(|it| {
            !has("next near nearer nearest close closest adjacent attached due similar closer", it)
        })
}

/// What a thing becomes, without `be`, `look like` or `become` before it.
fn became(new: &[Token]) -> &[Token] {
    const LEADS: [&str; 9] = [
        "look like",
        "be like",
        "look as",
        "resemble",
        "become",
        "be",
        "being",
        "look",
        "something like",
    ];
    let n = LEADS.iter().find_map(|it| prefix_len(new, it)).filter(|&n| n < new.len());
    &new[n.unwrap_or(0)..]
}

/// Leaves out a particle that goes with the verb: `swap out the cat`.
fn skip_particle(rest: &[Token]) -> &[Token] {
    let particle =
        rest.len() > 1 && has("out up off away over on in down back around", &rest[0].lower);
    &rest[usize::from(particle)..]
}

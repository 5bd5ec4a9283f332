//! Reads what is said of a subject: in `have the man wear a hat`, `what if the car was red`, `she should smile`.

use super::Action;
use super::becoming;
use super::change::{is_comparison, is_finish};
use super::fate::{APPROVED, displaced, finished, missed, passive, worded};
use super::grammar::Reading;
use super::imperative;
use super::lexicon::{
    BECOMING, BEING, COME, DETERMINERS, DOING, GONE, HAVING, NOUN_ADJECTIVES, PLACES, PREPOSITIONS,
    REMOVING, SEEMING, TAKING, THINGS, VANISHING, is_adjective, verb_in,
};
use super::listing::phrases;
use super::lists::has;
use super::phrase::{Definiteness, Found, starts_indefinite};
use super::words::{Token, find, matched, prefix_len};

/// Lists of the verbs that part a subject from what is said of it.
const VERBS: [&str; 6] = [HAVING, BECOMING, SEEMING, VANISHING, DOING, "be been lose remove take"];

/// Adverbs that may stand before a verb.
const ADVERBS: &str =
    "now also still just really actually all both always only have had there 'd 've already";

/// Reads a subject and what is said of it; `negated` if the sentence denies it.
pub(super) fn read(subject: &[Token], said: &[Token], negated: bool) -> Option<Reading> {
    let reading = read_said(subject, said, negated)?;
    // What comes is named by the subject, and where it comes to behind the verb.
    let start = said.first().map(|it| it.span.start).filter(|_| reading.action != Action::Add);
    Some(Reading { said: start, ..reading })
}

fn read_said(subject: &[Token], said: &[Token], negated: bool) -> Option<Reading> {
    let denied = subject.last().is_some_and(|it| it.is("not") || it.is("never"));
    let subject = &subject[..subject.len() - usize::from(denied)];
    let (said, negated) = skip_adverbs(said, negated || denied);
    let Some(verb) = said.first() else { return absence(subject, negated) };
    let rest = &said[1..];
    if let Some(reading) = missed(subject, said) {
        return Some(reading);
    }
    if has(BEING, &verb.lower) || verb.is("'s") && !subject.is_empty() {
        return complement(subject, rest, negated);
    }
    if let Some(reading) = displaced(subject, said) {
        return Some(reading);
    }
    if let Some(new) = worded(subject, said).or_else(|| finished(said)) {
        return change(subject, new);
    }
    // `the sign should say "open"`.
    let words = matched(said, "say/spell/state").map(|n| &said[n..]);
    if let Some(words) = words.filter(|it| it.first().is_some_and(|it| it.quoted)) {
        return Reading::of(Action::Add, phrases(words), &[]).map(|it| it.at("to", subject));
    }
    if matched(said, "has/have no business/place/right/reason").is_some() {
        return Reading::of(Action::Remove, phrases(subject), &[]);
    }
    let welcome = starts_indefinite(subject) && !negated;
    if welcome
        && verb_in(&["look seem feel"], &verb.lower).is_some()
        && rest.first().is_some_and(|it| !it.is("like"))
    {
        return Reading::of(Action::Add, phrases(subject), &[]);
    }
    if matched(said, "come/comes/go/goes off/out/down/away") == Some(said.len()) {
        return Reading::of(Action::Remove, phrases(subject), &[]);
    }
    if matched(said, "get/gets/got").is_some()
        && let Some(reading) = passive(subject, rest)
    {
        return Some(reading);
    }
    let verb_of = |list: &'static str| verb_in(&[list], &verb.lower);
    if verb_of("grow get").is_some() && rest.len() == 1 && is_adjective(&rest[0].lower) {
        return change(subject, said);
    }
    if verb_of(HAVING).is_some() {
        return having(subject, rest, negated).or_else(|| change(subject, said));
    }
    if verb_of(BECOMING).is_some() && rest.first().is_some_and(|it| has("on off", &it.lower)) {
        return change(subject, said);
    }
    if verb_of(BECOMING).is_some() {
        let from = rest.first().is_some_and(|it| it.is("from"));
        let to = rest.iter().position(|it| from && it.is("to")).unwrap_or(0);
        return change(subject, after(&rest[to..], "into to a"));
    }
    if verb.is("go") && rest.first().is_none_or(|it| it.is("away")) {
        return Reading::of(Action::Remove, phrases(subject), &[]);
    }
    if verb_of(SEEMING).is_some() {
        let look = [&["as if", "as though"][..], &["like", "as"][..]].concat();
        let n = look.iter().find_map(|it| prefix_len(rest, it)).unwrap_or(0);
        let looks = after(&rest[n..], "as");
        if looks.first().is_some_and(|it| it.is("with")) {
            return Reading::of(Action::Add, phrases(&looks[1..]), &[]);
        }
        return change(subject, if looks.is_empty() { said } else { looks });
    }
    if verb_of(VANISHING).is_some() && rest.first().is_some_and(|it| it.is("from")) {
        return Reading::of(Action::Remove, phrases(subject), &[])
            .map(|it| it.at("from", &rest[1..]));
    }
    if verb_of(VANISHING).is_some() || negated && has("exist appear show", &verb.lower) {
        return Reading::of(Action::Remove, phrases(subject), &[]);
    }
    if verb_of(REMOVING).is_some()
        || verb_of(TAKING).is_some()
            && rest.first().is_some_and(|it| has("off away out", &it.lower))
    {
        return imperative::read(said);
    }
    if verb_of("appear exist come show").is_some()
        && rest.first().is_none_or(|it| has(PREPOSITIONS, &it.lower) || has(PLACES, &it.lower))
    {
        return Reading::of(Action::Add, phrases(subject), &[]);
    }
    if starts_indefinite(subject) && !negated {
        return Reading::of(Action::Add, phrases(subject), &[]);
    }
    if rest.first().is_some_and(|it| it.is("a") || it.is("an")) {
        return Reading::of(Action::Add, phrases(rest), &[]);
    }
    change(subject, said)
}

/// Whether a stretch begins with a verb that can be said of a subject.
pub(super) fn is_verb(tokens: &[Token]) -> bool {
    tokens.first().is_some_and(|it| verb_in(&VERBS, &it.lower).is_some() || has(BEING, &it.lower))
}

/// Where the verb stands that parts a subject from what is said of it: 2 in `the man wear a hat`.
///
/// A participle is taken only if no other verb follows: `the boy holding the kite wear a cap`.
pub(super) fn verb_at(tokens: &[Token]) -> Option<usize> {
    let verbs = || (1..tokens.len()).filter(|&at| is_verb_here(tokens, at));
    verbs().find(|&at| !tokens[at].lower.ends_with("ing")).or_else(|| verbs().next())
}

/// Whether a verb stands behind a noun.
fn is_verb_here(tokens: &[Token], at: usize) -> bool {
    const LEADS_ON: &str = "and or who which that";
    let nounlike = |it: &Token| {
        it.is_word()
            && ![DETERMINERS, PREPOSITIONS, LEADS_ON].iter().any(|list| has(list, &it.lower))
    };
    if tokens[at].is("left") {
        return false;
    }
    let before = &tokens[at - 1];
    // `the traffic light turn green`: an adjective behind a noun is a noun itself.
    let noun = !is_adjective(&before.lower)
        // `the orange square disappear`.
        || at > 1
            && has(NOUN_ADJECTIVES, &before.lower)
            && (is_adjective(&tokens[at - 2].lower) || has(DETERMINERS, &tokens[at - 2].lower))
        || at > 1 && nounlike(&tokens[at - 2]) && !is_adjective(&tokens[at - 2].lower);
    let pronoun = at == 1 && has("her that this it all", &before.lower);
    (nounlike(before) && noun || pronoun) && is_verb(&tokens[at..]) && !is_noun_here(tokens, at)
}

/// Whether a word that could be a verb is the second part of a compound noun: `the water fall on the left`.
fn is_noun_here(tokens: &[Token], at: usize) -> bool {
    let next = tokens.get(at + 1);
    let ambiguous = has(
        "drink cook fish ski rest face fall climb smoke play paint surf point show sink set rose match",
        &tokens[at].lower,
    );
    ambiguous
        && next.is_some_and(|it| {
            is_adjective(&it.lower) || has("to into with wear be look", &it.lower)
        })
}

fn skip_adverbs(mut said: &[Token], mut negated: bool) -> (&[Token], bool) {
    while let Some(first) = said.first() {
        let denies = first.is("not") || first.is("never");
        if !denies
            && (!has(ADVERBS, &first.lower)
                || has("have had", &first.lower) && !followed_by_been(said))
        {
            break;
        }
        negated |= denies;
        said = &said[1..];
    }
    (said, negated)
}

fn followed_by_been(said: &[Token]) -> bool {
    said.get(1).is_some_and(|it| it.is("been"))
}

fn absence(subject: &[Token], negated: bool) -> Option<Reading> {
    negated.then(|| Reading::of(Action::Remove, phrases(subject), &[])).flatten()
}

/// What a subject has or wears: added, or with a denial taken away.
fn having(subject: &[Token], rest: &[Token], negated: bool) -> Option<Reading> {
    if rest
        .first()
        .is_some_and(|it| verb_in(&VERBS, &it.lower).is_some() && it.lower.ends_with("ing"))
    {
        return read(subject, rest, negated);
    }
    if is_comparison(rest) {
        return change(subject, rest);
    }
    let denied = rest.first().is_some_and(|it| has("no fewer less", &it.lower));
    let rest = &rest[usize::from(denied)..];
    let place =
        rest.first().is_none_or(|it| has(PREPOSITIONS, &it.lower) || has(PLACES, &it.lower));
    // `wear a hat and hold an umbrella`.
    let more = (1..rest.len().saturating_sub(1))
        .find(|&at| rest[at].is("and") && verb_in(&[HAVING], &rest[at + 1].lower).is_some());
    if let Some(and) = more {
        let one = having(subject, &rest[..and], negated)?;
        let other = having(subject, &rest[and + 2..], negated)?;
        return (one.action == other.action)
            .then(|| Reading { objects: [one.objects.clone(), other.objects].concat(), ..one });
    }
    let objects = phrases(rest);
    if place || objects.is_empty() {
        return None;
    }
    if objects.iter().all(Found::is_attribute) {
        return change(subject, rest);
    }
    Reading::of(if denied || negated { Action::Remove } else { Action::Add }, objects, &[])
        .map(|it| it.at("to", subject))
}

/// What a subject is or shall be.
fn complement(subject: &[Token], rest: &[Token], negated: bool) -> Option<Reading> {
    let (rest, negated) = skip_adverbs(rest, negated);
    let existential = subject.last().is_some_and(|it| it.is("there"));
    if existential {
        let denied = rest.first().is_some_and(|it| has("no fewer less", &it.lower));
        let rest = &rest[usize::from(denied)..];
        // `there's room for a swing`.
        let room =
            matched(rest, "still? enough/plenty? of? room/space/place for").filter(|_| !negated);
        let rest = &rest[room.unwrap_or(0)..];
        return Reading::of(
            if denied || negated { Action::Remove } else { Action::Add },
            phrases(rest),
            &[],
        );
    }
    let Some(first) = rest.first() else { return absence(subject, negated) };
    if let Some(new) = finished(rest) {
        return change(subject, new);
    }
    if starts_indefinite(subject) && !negated && has("missing lacking absent", &first.lower) {
        return Reading::of(Action::Add, phrases(subject), &[]);
    }
    let approved = matched(rest, APPROVED)
        .is_some_and(|n| rest.get(n).is_none_or(|it| has(PREPOSITIONS, &it.lower)));
    // `the roof in black would be great`.
    let finish = (1..subject.len())
        .find(|&at| subject[at].is("in") && is_finish(&subject[at + 1..]))
        .filter(|_| approved && !negated);
    if let Some(at) = finish {
        return change(&subject[..at], &subject[at + 1..]);
    }
    if starts_indefinite(subject) && approved && !negated {
        return Reading::of(Action::Add, phrases(subject), &[])
            .map(|it| Reading { placed: true, ..it });
    }
    if let Some(reading) = passive(subject, rest) {
        return Some(reading);
    }
    let placed = has(PREPOSITIONS, &first.lower) || has(PLACES, &first.lower);
    let alone = rest.get(1).is_none_or(|it| has(PREPOSITIONS, &it.lower));
    // `she isn't supposed to wear a hat`.
    if negated && let Some(n) = matched(rest, "supposed/meant/allowed/expected to") {
        return read(subject, &rest[n..], true);
    }
    if has(GONE, &first.lower) && alone
        || prefix_len(rest, "taken away").or_else(|| prefix_len(rest, "taken out")).is_some()
        || negated && has("needed wanted necessary required supposed meant", &first.lower)
        || negated && (placed || has("here there visible present shown", &first.lower))
    {
        return Reading::of(Action::Remove, phrases(subject), &[]);
    }
    if has(COME, &first.lower) {
        return Reading::of(Action::Add, phrases(subject), &[]);
    }
    if verb_in(&[HAVING], &first.lower).is_some() && first.lower.ends_with("ing") {
        return read(subject, rest, negated);
    }
    if verb_in(
        &["replace swap change turn transform convert switch exchange substitute"],
        &first.lower,
    )
    .is_some()
    {
        return change(subject, after(&rest[1..], "with by to into for"));
    }
    let lacks = has("missing lacking being looking becoming", &first.lower);
    if !lacks
        && first.lower.ends_with("ing")
        && starts_indefinite(&rest[1..])
        && !starts_indefinite(subject)
        && !negated
    {
        return Reading::of(Action::Add, phrases(&rest[1..]), &[]).map(|it| it.at("to", subject));
    }
    let brings = starts_indefinite(subject) && (placed || first.lower.ends_with("ing"));
    if brings {
        return Reading::of(Action::Add, phrases(subject), &[]);
    }
    if negated {
        let but = find(rest, "but").map_or(rest.len(), |it| it.end);
        return change(subject, &rest[but..]);
    }
    change(subject, rest)
}

/// A change of the subject; of `it`, of the picture as a whole.
pub(super) fn change(subject: &[Token], becomes: &[Token]) -> Option<Reading> {
    if subject.len() == 1 && has(THINGS, &subject[0].lower) {
        let colored = becomes.first().is_some_and(|it| it.is("in"));
        return Some(Reading::global(if colored { becoming::lead(becomes) } else { becomes }));
    }
    let objects = phrases(subject);
    let new =
        objects.iter().any(|it| it.definiteness == Definiteness::Indefinite) && becomes.is_empty();
    Reading::of(if new { Action::Add } else { Action::Change }, objects, becomes)
}

/// What follows one of these words at the start, or all of it.
fn after<'a>(tokens: &'a [Token], words: &'static str) -> &'a [Token] {
    match tokens.first() {
        Some(first) if has(words, &first.lower) && !first.is("a") => &tokens[1..],
        _ => tokens,
    }
}

//! Reads what sets two things side by side: `a bird instead of the bee`; and what is spoken of before an edit of it.

use super::Action;
use super::change::is_color;
use super::courtesy::bare;
use super::grammar::{Reading, read, statement_verb};
use super::imperative;
use super::lexicon::{DETERMINERS, HAVING, MODALS, PERSONS, RELATIVES, is_adjective, verb_in};
use super::listing::phrases;
use super::lists::{has, longest};
use super::phrase::{Definiteness, noun_phrase_len, starts_definite, starts_indefinite};
use super::topic;
use super::wish::unwrap_wish;
use super::words::{Token, find, matched, prefix_len, starts_with};

/// What a clause speaks of that asks for nothing, before one that does: `see that tree? …`, `the tree is ugly, …`.
pub(super) fn topic(clause: &[Token]) -> Option<Reading> {
    const SPOKEN_OF: &[&str] = &[
        "see/notice/spot/about/regarding/concerning/with/for/take/consider",
        "do/can? you/u know/see/notice",
        "there/theres is/are/'s?",
        "there's",
        "i/we see/said/mean/meant/have/hate/dislike/notice/noticed",
        "i/we do/did/can? not/can't/cannot/don't/didn't like/stand/need/want/love",
        "i'm/we're not a? big/huge? fan of",
        "i/we am/are not a? big/huge? fan of",
        "nobody/noone/no one? needs/wants/likes to? see/have?",
        "look at",
        "find/select/choose/pick/grab/locate/identify/take",
        "i/we accidentally/mistakenly? drew/put/added/made/left/got/had",
        "do something/anything about/with",
        "something/anything about/with",
        "i keep seeing/noticing",
        "no need for",
        "there is no need for",
        "as for",
    ];
    // `take the hat off the man` is an edit.
    let taken =
        clause[0].is("take") && clause.iter().any(|it| has("off away out from down", &it.lower));
    if taken {
        return None;
    }
    let spoken = longest(clause, SPOKEN_OF);
    if spoken.is_none() && topic::told_by(clause).is_some() {
        return None;
    }
    let is = |it: &Token| has("is are looks look seems seem was has isn't doesn't", &it.lower);
    let short =
        |at: usize| clause[at].is("'s") && has("it that this there he she", &clause[at - 1].lower);
    let said = (1..clause.len())
        .find(|&at| is(&clause[at]) || short(at))
        .filter(|&at| !has(RELATIVES, &clause[at - 1].lower));
    let rest = match (spoken, said) {
        (Some(n), _) => &clause[n..],
        (None, Some(at)) if starts_definite(clause) => &clause[..at],
        (None, None) if starts_definite(clause) && statement_verb(clause).is_none() => {
            topic::spoken_of(clause).unwrap_or(clause)
        }
        _ => return None,
    };
    let reading = Reading::of(Action::Remove, phrases(topic::without_look(rest)), &[])?;
    (reading.action == Action::Remove).then_some(Reading { complains: true, ..reading })
}

pub(super) fn after_for(tokens: &[Token]) -> &[Token] {
    &tokens[prefix_len(tokens, "for").unwrap_or(0)..]
}

/// `a bird instead of a bee`, `it should be a bird, not a bee`, `not a bee but a bird`.
pub(super) fn contrast(clause: &[Token]) -> Option<Reading> {
    const INSTEAD: [&str; 6] = [
        "instead of",
        "in place of",
        "rather than",
        "in lieu of",
        "where there was",
        "in the place of",
    ];
    if imperative::names_its_object(clause) {
        return None;
    }
    if let Some(n) = prefix_len(clause, "instead of").or_else(|| prefix_len(clause, "rather than"))
    {
        let looks = n + clause[n..].iter().take_while(|it| is_adjective(&it.lower)).count();
        if looks > n && clause.get(looks).is_some_and(|it| it.is(",")) && looks + 1 < clause.len() {
            // `instead of yellow, make the boat black`.
            return read(bare(&clause[looks + 1..]));
        }
        let comma = clause.iter().position(|it| it.is(","));
        let end = comma.unwrap_or(n + noun_phrase_len(&clause[n..]));
        let new = &clause[(end + usize::from(comma.is_some())).min(clause.len())..];
        let new = brought(unwrap_wish(bare(new)).0);
        return Reading::of(Action::Change, phrases(&clause[n..end]), new);
    }
    if (starts_with(clause, "not") || starts_with(clause, "no"))
        && let Some(but) = find(clause, "but")
    {
        return Reading::of(
            Action::Change,
            phrases(&clause[1..but.start]),
            brought(&clause[but.end..]),
        );
    }
    let mark = INSTEAD.iter().find_map(|it| find(clause, it)).or_else(|| {
        let not = clause.iter().position(|it| it.is("not"))?;
        let noun_follows = clause.get(not + 1).is_some_and(|it| has(DETERMINERS, &it.lower));
        let bare = clause[not - not.min(1)].is(",");
        (not > 0 && (noun_follows || bare)).then_some(not..not + 1)
    })?;
    let new = brought(&clause[..mark.start]);
    let old = &clause[mark.end..];
    if let Some(at) =
        find(old, "for").filter(|it| starts_definite(&old[it.end..]) && is_color(&old[..it.start]))
        && is_color(new)
    {
        // `brown instead of white for the fur`.
        return Reading::of(Action::Change, phrases(&old[at.end..]), new);
    }
    let objects = phrases(old);
    if objects.is_empty() || new.is_empty() {
        return None;
    }
    if old.len() == 1 && !has(PERSONS, &old[0].lower) {
        // `make the car red, not blue`, `the wall should be brick instead of wood`: two looks of one object.
        let one = read(&clause[..mark.start]).filter(|it| {
            it.replacement.is_some()
                && it.objects.iter().all(|it| it.definiteness == Definiteness::Definite)
        });
        let left = &clause[..mark.start];
        let colors = left.iter().take_while(|it| is_adjective(&it.lower)).count();
        if one.is_none() && is_adjective(&old[0].lower) && colors > 0 && colors < left.len() {
            // `a green heart instead of red`.
            return Reading::of(Action::Change, phrases(&left[colors..]), &left[..colors]);
        }
        if one.is_some() || is_adjective(&old[0].lower) {
            return one.or_else(|| read(&clause[..mark.start]));
        }
    }
    Reading::of(Action::Change, objects, new)
}

/// `I'd rather have a cross than a square`.
pub(super) fn preferred(clause: &[Token]) -> Option<Reading> {
    // `a tram would suit better than the bus`.
    if let Some(better) = (1..clause.len()).find(|&at| {
        matched(&clause[at..], "better/nicer/cooler/prettier/lovelier than/over").is_some()
    }) && starts_definite(&clause[better + 2..])
    {
        let new = unwrap_wish(&clause[..better]).0;
        let verb = new.iter().position(|it| {
            has(MODALS, &it.lower) || has("is looks suits fits works be look", &it.lower)
        });
        if let Some(verb) = verb.filter(|&it| it > 0)
            && !starts_definite(new)
        {
            return Reading::of(Action::Change, phrases(&clause[better + 2..]), &new[..verb]);
        }
    }
    let n = matched(clause, "i'd/we'd/i/we would? rather/sooner/prefer to? have/see?")?;
    let to = || {
        let to = ["to a", "to an", "to the", "to my"].iter().find_map(|it| find(clause, it));
        to.map(|it| it.start..it.end - 1)
    };
    let than = find(clause, "than").or_else(|| find(clause, "over")).or_else(to);
    let than = than.filter(|it| it.start > n)?;
    Reading::of(Action::Change, phrases(&clause[than.end..]), bare(&clause[n..than.start]))
}

/// `put a wolf where the dog is`, `where the dog is, put a wolf`.
pub(super) fn whereabouts(clause: &[Token]) -> Option<Reading> {
    if let Some(n) = matched(clause, "where there is/was/are/were") {
        let comma = n + clause[n..].iter().position(|it| it.is(","))?;
        let new = bare(&clause[comma + 1..]);
        let old = phrases(bare(&clause[n..comma]));
        return Reading::of(Action::Change, old, brought(unwrap_wish(new).0));
    }
    let at = clause.iter().position(|it| it.is("where"))?;
    let is = at
        + clause[at..]
            .iter()
            .position(|it| has("is was are were stands sits stood sat", &it.lower))?;
    let new = if at == 0 {
        &clause[is + 1..]
    } else if is + 1 == clause.len() {
        &clause[..at]
    } else {
        return None;
    };
    let new = &new[new.iter().take_while(|it| it.is(",")).count()..];
    let new = unwrap_wish(new).0;
    let subject = statement_verb(new).filter(|_| starts_indefinite(new));
    if let Some(verb) = subject {
        return Reading::of(Action::Change, phrases(&clause[at + 1..is]), &new[..verb]);
    }
    let placed =
        matched(&clause[at.saturating_sub(3)..at], "in/at/on the place/spot/position").is_some();
    let new = if at > 3 && placed { &clause[..at - 3] } else { new };
    let brings =
        starts_indefinite(new) || imperative::is_command(new) || statement_verb(new).is_some();
    let old = phrases(&clause[at + 1..is]);
    brings.then(|| Reading::of(Action::Change, old, brought(new))).flatten()
}

/// The new thing in `make it a bird`, `there should be a bird`, `use a bird`, `a bird`.
fn brought(clause: &[Token]) -> &[Token] {
    let mut clause = clause;
    // `would an armchair be possible`.
    if clause.len() > 2 && has(MODALS, &clause[0].lower) && starts_indefinite(&clause[1..]) {
        let end = clause.iter().position(|it| it.is("be")).unwrap_or(clause.len());
        return &clause[1..end];
    }
    // `it would look nicer with a thatched roof`.
    let shown =
        matched(clause, "it/this/that/things/everything would? look/be like/nicer/better? with");
    if let Some(n) = shown.filter(|&n| n < clause.len()) {
        return &clause[n..];
    }
    // `put her in a kimono`.
    if let Some(n) =
        matched(clause, "put/place/set him/her/them/me/us in/into").filter(|&n| n < clause.len())
    {
        return &clause[n..];
    }
    while clause.last().is_some_and(|it| has(", there here", &it.lower)) {
        clause = &clause[..clause.len() - 1];
    }
    let after_verb =
        clause.iter().rposition(|it| it.is("be") || it.is("is") || it.is("was") || it.is("were"));
    let after_verb = after_verb
        .or_else(|| clause.iter().rposition(|it| verb_in(&[HAVING], &it.lower).is_some()));
    if let Some(at) = after_verb {
        let having = clause
            .get(at + 1)
            .is_some_and(|it| it.lower.ends_with("ing") && verb_in(&[HAVING], &it.lower).is_some());
        return &clause[at + 1 + usize::from(having)..];
    }
    let start = usize::from(imperative::is_command(clause));
    let rest = &clause[start..];
    &rest[usize::from(start > 0 && rest.first().is_some_and(|it| has("it me us", &it.lower)))..]
}

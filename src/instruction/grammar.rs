//! Reads one clause: decides whether it is a command, a wish, a statement or a bare phrase.

use std::ops::Range;

use super::Action;
use super::change::{self, is_color};
use super::complement;
use super::contrast::{after_for, contrast, preferred, whereabouts};
use super::imperative;
use super::lexicon::{
    ATTRIBUTES, BEING, CHANGING, CLOTHES, COLORING, COLORS, DETERMINERS, GIVING, GONE, MODALS,
    NEGATED, PERSONS, REMOVING, REPLACING, SETTINGS, SURE_VERBS, THINGS, WHOLES, is_adjective,
    verb_in,
};
use super::listing::phrases;
use super::lists::{has, longest};
use super::phrase::{Found, closes, noun_phrase_len, phrase, starts_definite, starts_indefinite};
use super::predicate;
use super::wish::{Frame, UNWANTED, unwrap_wish};
use super::words::{Token, bytes, find, matched, starts_with};

/// What one clause asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) action: Action,
    pub(super) objects: Vec<Found>,
    /// What the object becomes, as bytes of the instruction.
    pub(super) replacement: Option<Range<usize>>,
    /// A landmark that the verb implies, with its relation: `to` and `the dog` of `give the dog a hat`.
    pub(super) implied: Option<(&'static str, Found)>,
    /// Whether it says where an addition is to come.
    pub(super) placed: bool,
    /// Where in the text it begins to be said of the object what it does.
    pub(super) said: Option<usize>,
    /// Whether it only says that something is not liked.
    pub(super) complains: bool,
}

impl Reading {
    /// A reading about these objects; one about the picture as a whole is global.
    pub(super) fn of(action: Action, objects: Vec<Found>, replacement: &[Token]) -> Option<Self> {
        let replacement = bytes(change::trimmed(replacement));
        let (whole, named): (Vec<Found>, Vec<Found>) =
            objects.into_iter().partition(Found::is_whole);
        if named.iter().all(Found::is_attribute) && (!whole.is_empty() || !named.is_empty()) {
            return Some(Self::new(Action::Global, Vec::new(), replacement));
        }
        (!named.is_empty()).then(|| Self::new(action, named, replacement))
    }

    fn new(action: Action, objects: Vec<Found>, replacement: Option<Range<usize>>) -> Self {
        Self {
            action,
            objects,
            replacement,
            implied: None,
            placed: false,
            said: None,
            complains: false,
        }
    }

    /// The same, with a landmark that the verb implies.
    pub(super) fn at(self, relation: &'static str, landmark: &[Token]) -> Self {
        let implied = phrase(landmark).filter(|it| !it.is_whole()).map(|it| (relation, it));
        Self { implied: implied.or(self.implied), ..self }
    }

    /// An edit of the picture as a whole.
    pub(super) fn global(becomes: &[Token]) -> Self {
        Self::new(Action::Global, Vec::new(), bytes(becomes))
    }
}

/// Reads a clause; `None` if it says nothing that the grammar knows.
pub(super) fn read(clause: &[Token]) -> Option<Reading> {
    if has("everything all", &clause[0].lower)
        && let Some(mark) = find(clause, "except").or_else(|| find(clause, "but"))
    {
        let reading = Reading::of(Action::Remove, phrases(after_for(&clause[mark.end..])), &[])?;
        return Some(Reading { complains: true, ..reading });
    }
    if let Some(n) = longest(clause, UNWANTED) {
        let end = (n + 1..clause.len())
            .find(|&at| matched(&clause[at..], "would/will/might be").is_some());
        let things = phrases(&clause[n..end.unwrap_or(clause.len())]);
        let reading = Reading::of(Action::Remove, things, &[])?;
        return Some(Reading { complains: true, ..reading });
    }
    if let Some(reading) = preferred(clause) {
        return Some(reading);
    }
    let (clause, framed) = unwrap_wish(clause);
    if let Some(reading) = whereabouts(clause) {
        return Some(reading);
    }
    if clause.is_empty() || has("what who which where when why how", &clause[0].lower) {
        return None;
    }
    if framed == Frame::Want {
        return contrast(clause)
            .or_else(|| complement::done(clause))
            .or_else(|| statement(clause))
            .or_else(|| complement::have(clause));
    }
    if let Some(reading) = supposed(clause) {
        return Some(reading);
    }
    contrast(clause)
        .or_else(|| style(clause))
        .or_else(|| fragment(clause))
        .or_else(|| question(clause))
        .or_else(|| statement(clause))
        .or_else(|| imperative::read(clause))
        .or_else(|| becoming(clause))
        .or_else(|| setting(clause))
        .or_else(|| complement::named(clause))
}

/// `what if we replaced the cat`, `what if you made it blue`: what one supposes to do as the command for it.
fn supposed(clause: &[Token]) -> Option<Reading> {
    const DOING: [&str; 6] =
        [CHANGING, REPLACING, REMOVING, COLORING, "add make give put", "turn paint take"];
    if !has("we you i i'd we'd", &clause[0].lower) {
        return None;
    }
    let verb = clause.get(1)?;
    let lower = verb_in(&DOING, &verb.lower)?.to_owned();
    imperative::read(&[&[Token { lower, ..verb.clone() }], &clause[2..]].concat())
}

/// Whether a clause asks for something, so that another one beside it may only say why.
pub(super) fn asks(clause: &[Token]) -> bool {
    let asked = |it: &Token| has(MODALS, &it.lower) || has("needs ought instead ->", &it.lower);
    let sure = verb_in(&[SURE_VERBS, COLORING, GIVING, "put swap get take"], &clause[0].lower);
    imperative::is_command(clause)
        && (sure.is_some() || starts_definite(&clause[1..]) || starts_indefinite(&clause[1..]))
        || unwrap_wish(clause).1 == Frame::Want
        || clause.iter().any(asked)
        || clause.iter().any(|it| has(GONE, &it.lower))
        || has("no without with more some a an two three has", &clause[0].lower)
        || longest(clause, UNWANTED).is_some()
}

/// `as a painting`, `in the style of Van Gogh`, `like a cartoon`, `at night`.
fn style(clause: &[Token]) -> Option<Reading> {
    let first = &clause[0];
    if first.is("as") || first.is("like") {
        return Some(Reading::global(&clause[1..]));
    }
    has("in at on during under inside by using into to from", &first.lower).then(|| {
        Reading::global(if first.is("into") || first.is("to") { &clause[1..] } else { clause })
    })
}

/// A phrase without a verb: `with a hat`, `without the hat`, `no hat`, `more flowers`.
fn fragment(clause: &[Token]) -> Option<Reading> {
    let rest = &clause[1..];
    if let Some(reading) = off_and_on(clause) {
        return Some(reading);
    }
    // `hat off`.
    if let Some((off, worn)) = clause.split_last()
        && off.is("off")
        && worn.last().is_some_and(|it| has(CLOTHES, &it.lower))
        && noun_phrase_len(worn) == worn.len()
    {
        return Reading::of(Action::Remove, phrases(worn), &[]);
    }
    match clause[0].lower.as_str() {
        "with" => Reading::of(Action::Add, phrases(rest), &[]),
        "without" | "no" | "minus" | "fewer" => {
            Reading::of(Action::Remove, phrases(without_more(rest)), &[])
        }
        "one" | "two" | "three" if rest.first().is_some_and(|it| it.is("more")) => {
            Reading::of(Action::Add, phrases(&rest[1..]), &[])
        }
        "more" | "extra" | "another" | "some" | "additional" => {
            let objects = phrases(rest);
            let adjective =
                objects.iter().all(|it| is_adjective(&it.noun) || it.noun.ends_with("ic"));
            let statement = statement_verb(clause).is_some();
            if objects.is_empty() || statement {
                return None;
            }
            if adjective && !objects[0].plural {
                return Some(Reading::global(clause));
            }
            Reading::of(Action::Add, objects, &[])
        }
        "less" => match phrase(rest) {
            Some(many) if many.plural => Reading::of(Action::Remove, vec![many], &[]),
            _ => Some(Reading::global(clause)),
        },
        _ => None,
    }
}

/// `stickers off the laptop`, `elephant out, mouse in`.
fn off_and_on(clause: &[Token]) -> Option<Reading> {
    let n = noun_phrase_len(clause);
    let behind = clause.get(n..).filter(|it| n > 0 && !it.is_empty())?;
    let goes =
        matched(behind, "out ,? and/but?").or_else(|| matched(behind, "off/away ,? and/but?"));
    let new = goes.map(|it| &behind[it..]).filter(|it| it.len() > 1);
    if let Some((last, new)) = new.and_then(<[Token]>::split_last)
        && (last.is("in") || last.is("on"))
    {
        return Reading::of(Action::Change, phrases(&clause[..n]), new);
    }
    let source = matched(behind, "off").or_else(|| matched(behind, "away from"))?;
    let from = starts_definite(&behind[source..]) && !imperative::is_command(clause);
    from.then(|| Reading::of(Action::Remove, phrases(&clause[..n]), &[])).flatten()
}

fn without_more(rest: &[Token]) -> &[Token] {
    &rest[usize::from(rest.first().is_some_and(|it| it.is("more")))..]
}

/// `can the dog be black`, `could there be a bird`.
fn question(clause: &[Token]) -> Option<Reading> {
    if starts_with(clause, "do away") {
        return None;
    }
    if !has(MODALS, &clause[0].lower) && !has("is are does do did was were", &clause[0].lower)
        || clause.len() < 3
    {
        return None;
    }
    let subject = &clause[1..];
    let replaces = subject.iter().position(|it| it.is("replace"));
    let n = if let Some(verb) = replaces.filter(|_| starts_indefinite(subject)) {
        verb
    } else if let Some(verb) = predicate::verb_at(subject) {
        verb
    } else if subject[0].is("there")
        || has(PERSONS, &subject[0].lower)
        || has(THINGS, &subject[0].lower)
    {
        1
    } else {
        noun_phrase_len(subject)
    };
    (n > 0 && n < subject.len())
        .then(|| predicate::read(&subject[..n], &subject[n..], false))
        .flatten()
}

/// `the car is red`, `he should wear a hat`, `there is a dog`, `the dog needs a hat`.
fn statement(clause: &[Token]) -> Option<Reading> {
    let verb = statement_verb(clause)?;
    let mut subject = &clause[..verb];
    while clause[verb].is("to")
        && subject.len() > 1
        && subject.last().is_some_and(|it| has(OUGHT, &it.lower))
    {
        subject = &subject[..subject.len() - 1];
    }
    let negated = has(NEGATED, &clause[verb].lower)
        || clause[0].is("neither")
        || starts_with(clause, "none of");
    let rest = if has(MODALS, &clause[verb].lower)
        || clause[verb].is("to")
        || negated && !has(BEING, &clause[verb].lower)
    {
        &clause[verb + 1..]
    } else {
        &clause[verb..]
    };
    let reading = predicate::read(subject, rest, negated)?;
    let is = has("is are 's looks look seems seem was", &clause[verb].lower);
    let complains = is && rest.get(1).is_some_and(|it| has(FAULTS, &it.lower));
    let said = reading.said.map(|_| clause[verb].span.start);
    Some(Reading { said, complains, ..reading })
}

/// Words by which somebody says that a thing is not liked.
const FAULTS: &str = "too ugly weird wrong boring distracting annoying bad terrible awful odd dull strange horrible \
    off so";

/// Verbs that with `to` say what ought to be.
const OUGHT: &str = "needs need has have ought wants want is are supposed got meant going";

/// Where the verb of a statement stands.
pub(super) fn statement_verb(clause: &[Token]) -> Option<usize> {
    // `melt the clock`: no subject stands right before a determiner.
    let unknown = !has(DETERMINERS, &clause.first()?.lower)
        && clause[1..].first().is_some_and(|it| has("the his her", &it.lower));
    if unknown || imperative::is_command(clause) && !starts_with(clause, "show") {
        return None;
    }
    let modal = clause
        .iter()
        .position(|it| has(MODALS, &it.lower) || has(NEGATED, &it.lower))
        .filter(|&it| it > 0);
    let being = || {
        let relative = |at: usize| has("who which that whose", &clause[at - 1].lower);
        let is = |at: usize| {
            has(BEING, &clause[at].lower)
                || clause[at].is("'s") && has(THINGS, &clause[at - 1].lower)
                || clause[at].is("'s")
                    && (clause[at - 1].is("there") || has(PERSONS, &clause[at - 1].lower))
        };
        (1..clause.len()).find(|&at| is(at) && !relative(at))
    };
    let wished = || {
        let to = clause.iter().position(|it| it.is("to")).filter(|&it| it > 0)?;
        predicate::is_verb(&clause[to + 1..]).then_some(to)
    };
    modal.or_else(wished).or_else(being).or_else(|| {
        let subject = phrase(&clause[..1]).is_some() || has(DETERMINERS, &clause[0].lower);
        subject.then(|| predicate::verb_at(clause)).flatten()
    })
}

/// `bee to bird`, `red car -> blue car`.
fn becoming(clause: &[Token]) -> Option<Reading> {
    let at = (1..clause.len()).find(|&at| {
        clause[at].is("->")
            || clause[at].is("into")
            || clause[at].is("to") && imperative::is_mark(clause, at)
    })?;
    let skip = clause[at..].iter().take_while(|it| it.is("->")).count().max(1);
    if clause[at + skip..].is_empty() {
        return None;
    }
    let from = find(&clause[..at], "from").filter(|it| it.start > 0);
    let old = from.map_or(&clause[..at], |it| &clause[..it.start]);
    Reading::of(Action::Change, phrases(old), &clause[at + skip..])
}

/// A style, a season or an hour, said alone: `winter`, `pixel art`, `black and white`.
fn setting(clause: &[Token]) -> Option<Reading> {
    // `fog in the valley` comes to a place.
    let comes = has("fog mist snow rain smoke storm frost", &clause[0].lower)
        && clause.len() > 2
        && has("in on over above across along", &clause[1].lower)
        && starts_definite(&clause[2..])
        && phrase(&clause[2..]).is_some_and(|it| !it.is_whole());
    if comes {
        return None;
    }
    let known = |it: &Token| has(SETTINGS, &it.lower) || has(WHOLES, &it.lower);
    let colors = || clause.iter().all(|it| has(COLORS, &it.lower) || it.is("and"));
    let named = phrase(clause).is_some_and(|it| !has(ATTRIBUTES, &it.noun))
        && clause
            .iter()
            .enumerate()
            .any(|(at, it)| known(it) && (at + 1 == clause.len() || closes(clause, at + 1)));
    let look = find(clause, "in").map(|it| &clause[it.end..]).filter(|it| is_color(it));
    (named || colors()).then(|| Reading::global(look.unwrap_or(clause)))
}

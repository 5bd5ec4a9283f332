//! Reads the clauses of an instruction: joined as one edit, or as steps that follow each other.

use std::ops::Range;

use super::change::{self, Change};
use super::clause::{self, Clause};
use super::contrast;
use super::exception;
use super::grammar::{self, Reading};
use super::imperative;
use super::lexicon::{
    ATTRIBUTES, CHANGING, COLORING, COLORS, DETERMINERS, MATERIALS, REMOVING, SETTINGS, TAKING,
    VANISHING, is_adjective, verb_in,
};
use super::lists::has;
use super::nouns::is_plural;
use super::place::{self, Place, PlaceKind};
use super::sharing;
use super::topic;
use super::words::{self, Token, find, matched};
use super::{Action, Instruction, ParseError, Phrase, Stands};

/// A clause and what it says.
pub(super) struct Edit {
    pub(super) clause: Clause,
    pub(super) reading: Reading,
}

/// How a clause goes on from the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// It speaks of other things.
    Apart,
    /// It speaks of the object before it by a pronoun: `… and paint it red`.
    Pronoun,
    /// It puts something in the place of what has been removed: `… and put a dog in its place`.
    InItsPlace,
    /// It says what to do about what was only complained of: `I don't like the tie, remove it`.
    Remedy,
}

// === one edit ===

/// Reads all clauses and joins what they say.
pub(super) fn joined(text: &str) -> Result<Instruction, ParseError> {
    joined_of(text, &edits(text)?)
}

/// Joins what clauses say.
pub(super) fn joined_of(text: &str, edits: &[Edit]) -> Result<Instruction, ParseError> {
    let mut whole: Option<Instruction> = None;
    for (at, edit) in edits.iter().enumerate() {
        let built = built(text, edit);
        whole = Some(match whole {
            None => built,
            Some(whole) => match link(&edits[at - 1], edit) {
                Link::Apart => join(whole, built),
                link => again(whole, link, edit, built),
            },
        });
    }
    whole.ok_or_else(|| ParseError::NotUnderstood(text.to_owned()))
}

/// The clauses that say something, with what they say.
pub(super) fn edits(text: &str) -> Result<Vec<Edit>, ParseError> {
    let tokens = words::tokens(text);
    if !text.chars().any(|c| c.is_alphabetic() && c < '\u{250}') {
        return Err(ParseError::NotLatin(text.to_owned()));
    }
    let mut found: Vec<Edit> = Vec::new();
    let clauses = clause::clauses(&tokens);
    let followers: Vec<bool> = clauses.iter().map(|it| pronoun(&it.tokens).is_some()).collect();
    let mut spoken: Option<Vec<Token>> = None;
    for (at, clause) in clauses.iter().enumerate() {
        if (!found.is_empty() || spoken.is_some()) && comments(&clause.tokens) {
            continue;
        }
        if adds_it(&clause.tokens)
            && found.last().is_some_and(|it| it.reading.action == Action::Add)
        {
            continue;
        }
        let told = spoken.take().and_then(|it| topic::followed(&it, clause));
        let clause = told.unwrap_or_else(|| clause.clone());
        if followers.get(at + 1) == Some(&true)
            && let Some(reading) = contrast::topic(&clause.tokens)
        {
            found.push(Edit { clause, reading });
            continue;
        }
        if let Some(next) = clauses.get(at + 1)
            && let Some(topic) = topic::spoken_of(&clause.tokens)
            && topic::is_told(&clause.tokens)
            && topic::followed(topic, next).is_some()
        {
            spoken = Some(topic.to_vec());
            continue;
        }
        if let Some(reading) = topic::proposed(&clause.tokens) {
            found.push(Edit { clause, reading });
            continue;
        }
        for clause in sharing::parts(exception::spared(clause)) {
            if let Some(reading) = exception::read(&clause) {
                found.push(Edit { clause, reading });
            }
        }
    }
    Ok(without_context(found))
}

/// Whether a clause only asks to add what has been named: `please add one`.
fn adds_it(clause: &[Token]) -> bool {
    matched(clause, "add/put/draw/include/insert/paint one/it/some/them there/in/back?")
        == Some(clause.len())
}

/// The edits without what only says why, beside a command: `red is ugly, make the heart green`.
fn without_context(found: Vec<Edit>) -> Vec<Edit> {
    let tokens = |it: &Edit| it.clause.tokens.clone();
    if !found.iter().any(|it| grammar::asks(&tokens(it))) {
        return found;
    }
    let commanded = found.iter().any(|it| imperative::is_command(&tokens(it)));
    let referred: Vec<bool> =
        found.iter().skip(1).map(|it| pronoun(&tokens(it)).is_some()).chain([false]).collect();
    let kept = |edit: &Edit, referred: bool| {
        let vague = pronoun(&tokens(edit)).is_none()
            && edit.reading.action == Action::Global
            && !imperative::is_command(&tokens(edit));
        grammar::asks(&tokens(edit)) && !(vague && commanded) || edit.reading.complains && referred
    };
    found.into_iter().zip(referred).filter(|it| kept(&it.0, it.1)).map(|it| it.0).collect()
}

/// Whether a clause only says something about the edit before it: `it looks odd`, `that will be fun`.
fn comments(clause: &[Token]) -> bool {
    const SAID: &str = "it/that/this/they/these/those/he/she \
        is/was/looks/look/will/would/ruins/spoils/distracts/doesn't/does/'s/are/were/has/just/really/seems/isn't";
    const FELT: &str = "nobody/i/we/people/noone don't/really? need/needs/like/likes/hate/hates/want/wants \
        it/them/that";
    matched(clause, SAID).is_some()
        || matched(clause, FELT) == Some(clause.len())
        || matched(clause, "it's/that's/they're/it'll/that'll/i'm/he's/she's").is_some()
}

/// An edit as an instruction.
fn built(text: &str, edit: &Edit) -> Instruction {
    let (tokens, reading) = (&edit.clause.tokens, &edit.reading);
    let objects: Vec<Phrase> = (0..reading.objects.len())
        .map(|at| {
            let place = place_of(text, tokens, reading, at);
            Phrase::new(text, &reading.objects[at], Stands::InInstruction).with_place(place)
        })
        .collect();
    let implied = reading.implied.as_ref().and_then(|it| Place::implied(text, it.0, &it.1));
    let first = || place::behind(text, &edit.clause.place, reading.action);
    let own = objects.iter().find_map(Phrase::place).cloned();
    let spans: Vec<Range<usize>> = reading.objects.iter().map(|it| it.all.clone()).collect();
    let exception = edit.clause.exception.as_ref().map(|it| exception::span(it, &spans));
    let place = own.or(implied).or_else(first).filter(|_| reading.action != Action::Global);
    Instruction {
        text: text.to_owned(),
        action: reading.action,
        objects,
        replacement: reading.replacement.clone(),
        change: changes(tokens, reading).filter(|_| reading.action == Action::Change),
        place,
        exception: exception.filter(|_| !reading.objects.is_empty()),
        corrections: Vec::new(),
    }
}

/// Where an object is, by the words before its name and those behind it.
fn place_of(text: &str, tokens: &[Token], reading: &Reading, at: usize) -> Option<Place> {
    let found = &reading.objects[at];
    let from = found.noun_phrase.end;
    let others = reading.objects.iter().map(|it| it.noun_phrase.start);
    let ends: Vec<usize> =
        others.chain(reading.replacement.iter().map(|it| it.start)).chain(reading.said).collect();
    let moved = tokens
        .first()
        .is_some_and(|it| verb_in(&["move shift slide drag push"], &it.lower).is_some());
    // A thing that was named before stands among words that come later in the text.
    let begin = tokens.iter().position(|it| it.span.end == from).map_or(tokens.len(), |it| it + 1);
    let stops = |it: &&Token| !(ends.contains(&it.span.start) || moved && it.is("to"));
    let len = tokens[begin..].iter().take_while(stops).count();
    let behind = place::behind(text, &tokens[begin..begin + len], reading.action);
    let before = found.opening.as_ref();
    match (before.map(|it| &it.kind), behind.as_ref().map(Place::kind)) {
        (Some(&PlaceKind::Nth { nth, .. }), Some(&PlaceKind::Area(side))) => {
            behind.zip(before).map(|it| it.0.counted(text, it.1, nth, side))
        }
        (Some(_), _) => before.map(|it| Place::opening(text, it)),
        (None, _) => behind,
    }
}

/// The kind of change that a reading asks for.
pub(super) fn changes(tokens: &[Token], reading: &Reading) -> Option<Change> {
    let span = reading.replacement.clone()?;
    let becomes = inside(tokens, &span);
    let before = tokens.iter().rfind(|it| it.span.end <= span.start);
    let leads = before.is_some_and(|it| has("into to with by for -> as", &it.lower));
    let contrasts = ["instead of", "in place of", "rather than", "not", "where"]
        .iter()
        .any(|it| find(tokens, it).is_some());
    let noun = becomes.last().is_some_and(|it| !is_adjective(&it.lower));
    // `repaint the theatre in aubergine`: one bare noun behind a verb of color is one.
    let colored = tokens.first().is_some_and(|it| verb_in(&[COLORING], &it.lower).is_some())
        && before.is_some_and(|it| it.is("in"))
        && matches!(becomes, [color] if color.is_word() && !is_plural(&color.lower));
    let named = tokens.iter().take_while(|it| it.span.start < span.start);
    let by_color = named.into_iter().any(|it| has("color colour", &it.lower));
    if by_color && before.is_some_and(|it| it.is("to")) && becomes.len() < 3 && is_plain(becomes) {
        return Some(Change::Recolor);
    }
    let from = find(tokens, "from")
        .and_then(|it| tokens.get(it.end))
        .is_some_and(|it| has(COLORS, &it.lower));
    if from && becomes.len() < 4 && before.is_some_and(|it| it.is("to") || it.is("into")) {
        return Some(Change::Recolor);
    }
    if colored && !has(MATERIALS, &becomes[0].lower) {
        return Some(Change::Recolor);
    }
    change::kind(becomes, (leads || contrasts) && noun)
}

/// Whether words name nothing but a look: no article, no number.
fn is_plain(becomes: &[Token]) -> bool {
    becomes.iter().all(|it| it.is_word() && !has(DETERMINERS, &it.lower))
}

/// The tokens of a span.
fn inside<'a>(tokens: &'a [Token], span: &Range<usize>) -> &'a [Token] {
    let start = tokens.iter().position(|it| it.span.start >= span.start).unwrap_or(tokens.len());
    let len = tokens[start..].iter().take_while(|it| it.span.end <= span.end).count();
    &tokens[start..start + len]
}

/// How a clause goes on from the one before it.
pub(super) fn link(before: &Edit, next: &Edit) -> Link {
    let has_object = !before.reading.objects.is_empty();
    let tokens = &next.clause.tokens;
    let removed = before.reading.action == Action::Remove;
    let put = tokens.len() > 2 && tokens[tokens.len() - 1].is("there")
        || matched(tokens, "replace/substitute/swap/exchange with/by/for").is_some();
    if !has_object {
        return Link::Apart;
    }
    let wished = before.reading.complains
        && matched(tokens, "i/we/i'd/we'd want/like/need/prefer/love/would/rather").is_some();
    if removed && next.reading.action == Action::Add && (next.clause.instead || put || wished) {
        return Link::InItsPlace;
    }
    let global = next.reading.replacement.as_ref().is_some_and(|it| {
        next.reading.action == Action::Global
            && inside(tokens, it).iter().all(|it| has(SETTINGS, &it.lower))
    });
    if global || pronoun(tokens).is_none() && !put {
        return Link::Apart;
    }
    if removed && verb_in(&["replace swap exchange substitute"], &tokens[0].lower).is_some() {
        return Link::InItsPlace;
    }
    // `recolor the tree; I'd like it to be orange`.
    let vague = before.reading.action == Action::Change
        && before.reading.replacement.is_none()
        && verb_in(&[COLORING, CHANGING], &before.clause.tokens[0].lower).is_some();
    if before.reading.complains || vague { Link::Remedy } else { Link::Pronoun }
}

/// Where a pronoun stands for the object: 1 in `paint it red`.
pub(super) fn pronoun(clause: &[Token]) -> Option<usize> {
    const VERBS: &str = " \
        make/paint/turn/give/remove/move/replace/color/colour/put/change/delete/erase/have/let/dye/get/swap";
    let stands = |at: usize| {
        clause.get(at).is_some_and(|it| has("it them that this those these one him her", &it.lower))
    };
    let alone = |at: usize| {
        clause[at].is("it")
            || clause[at].is("them")
            || clause[at].is("him")
            || clause
                .get(at + 1)
                .is_none_or(|it| is_adjective(&it.lower) || it.is("to") || it.is("into"))
                && !clause[at].is("one")
    };
    let by_verb = (1..3).find(|&at| stands(at) && alone(at));
    let subject = matched(clause, "it/they should/must/could/needs/need").map(|_| 0);
    let rid = matched(clause, "get rid of it/them").map(|it| it - 1);
    let bare = matched(clause, VERBS)
        .filter(|_| clause.get(1).is_some_and(|it| has("with by into to", &it.lower)))
        .filter(|_| verb_in(&["replace swap substitute exchange"], &clause[0].lower).is_some());
    let wished = matched(clause, "i/we would? want/like/need/prefer/love it/them")
        .or_else(|| matched(clause, "i'd/we'd want/like/need/prefer/love it/them"))
        .map(|it| it - 1);
    // `change its color to pink`.
    let owned = (1..3).find(|&at| {
        clause.get(at).is_some_and(|it| has("its their", &it.lower))
            && clause.get(at + 1).is_some_and(|it| has(ATTRIBUTES, &it.lower))
    });
    let by_verb = by_verb.or(wished).or(owned);
    by_verb.or(subject).or(rid).or(bare)
}

/// A second command about the objects of the first: `the tie is ugly, remove it`, `remove the cup, put a vase there`.
fn again(before: Instruction, link: Link, edit: &Edit, next: Instruction) -> Instruction {
    if before.action == Action::Global {
        return join(before, next);
    }
    let tokens = &edit.clause.tokens;
    let away = tokens.last().is_some_and(|it| has("away off out down", &it.lower));
    let vanishes = matched(tokens, "make/let/have it/them/him/her/this/that").is_some_and(|n| {
        tokens[n..].first().is_some_and(|it| verb_in(&[VANISHING, "go"], &it.lower).is_some())
    });
    let removes = verb_in(&[REMOVING], &tokens[0].lower).is_some()
        || vanishes
        || matched(tokens, "get rid of").is_some()
        || away && verb_in(&[TAKING], &tokens[0].lower).is_some();
    let becomes = next
        .replacement
        .clone()
        .or_else(|| words::cover(edit.reading.objects.iter().map(|it| &it.noun_phrase)));
    match (link, becomes) {
        (Link::InItsPlace, Some(becomes)) => Instruction {
            action: Action::Change,
            replacement: Some(becomes),
            change: Some(Change::Replace),
            ..before
        },
        (Link::Remedy, _) if removes && before.action == Action::Change => {
            Instruction { action: Action::Remove, replacement: None, change: None, ..before }
        }
        (Link::Remedy, _) if removes => Instruction { replacement: None, ..before },
        (Link::Remedy, _) => Instruction {
            action: Action::Change,
            replacement: next.replacement,
            change: changes(tokens, &edit.reading),
            ..before
        },
        _ if removes => Instruction { action: Action::Remove, replacement: None, ..before },
        _ if next.action == Action::Add => join(before, next),
        _ => {
            let change = before.change.or(next.change);
            Instruction { replacement: before.replacement.or(next.replacement), change, ..before }
        }
    }
}

/// Two commands as one edit.
fn join(before: Instruction, next: Instruction) -> Instruction {
    let action = match (before.action, next.action) {
        (Action::Global, _) | (_, Action::Global) => Action::Global,
        (Action::Add, _) | (_, Action::Add) => Action::Add,
        (one, other) if one == other => one,
        _ => Action::Change,
    };
    let mut objects = before.objects;
    objects.extend(next.objects);
    if action == Action::Global {
        objects.clear();
    }
    Instruction {
        action,
        objects,
        replacement: before.replacement.or(next.replacement),
        change: before.change.or(next.change),
        place: before.place.or(next.place),
        ..before
    }
}

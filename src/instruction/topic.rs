//! What is spoken of before it is said what to do with it: `Why is the grass so yellow? Make it green!`, `Sofa: red`.
//!
//! A clause that asks for nothing names a thing; the next one asks for an edit of it, by a pronoun or by a bare look.

use super::Action;
use super::change::is_finish;
use super::clause::Clause;
use super::courtesy::bare;
use super::grammar::{self, Reading};
use super::imperative;
use super::lexicon::{
    BEING, DETERMINERS, MODALS, NEGATED, PERSONS, PREPOSITIONS, RELATIVES, SPEAKERS, THINGS,
    is_adjective,
};
use super::listing::phrases;
use super::lists::{has, longest};
use super::phrase::{noun_phrase_len, phrase, starts_definite, starts_indefinite};
use super::reading::pronoun;
use super::wish::UNWANTED;
use super::words::{Token, cover, matched};

/// Verbs by which something is said of a thing that is there, beyond forms of `be`.
const TELLING: &str = "looks look seems seem feels feel appears sounds has have had ruins ruin spoils spoil distracts \
    distract bothers bother annoys annoy blocks block clashes clash makes make takes take draws draw hides hide covers \
    cover sticks stick stands stand needs need keeps keep does do did used doesn't don't didn't isn't aren't wasn't \
    weren't steals gets catches attracts lacks matches fits suits wears works gives got came went";

/// How many words are looked at on either side of a joint.
const LONGEST: usize = 30;

/// A clause in which the thing of the clause before it has the place of its pronoun, or is said to take a look.
pub(super) fn followed(topic: &[Token], clause: &Clause) -> Option<Clause> {
    let tokens = &clause.tokens;
    if let Some(at) = referring(tokens) {
        let (before, after) = (&tokens[..at], &tokens[at + 1..]);
        // `pump up the tyre` for `pump it up`.
        let particle = matches!(after, [only] if has("up out off away down", &only.lower));
        let parts = if particle { [before, after, topic] } else { [before, topic, after] };
        return Some(Clause { tokens: parts.concat(), ..clause.clone() });
    }
    let look = look(tokens, clause.instead)?;
    let to = Token { lower: "->".to_owned(), ..look.first()?.clone() };
    let end = topic.last()?.span.end;
    let to = Token { span: end..end, ..to };
    let spoken = cover(topic.iter().chain(look).map(|it| &it.span));
    Some(Clause { tokens: [topic, &[to], look].concat(), spoken, ..clause.clone() })
}

/// Where a pronoun stands for what was spoken of.
pub(super) fn referring(tokens: &[Token]) -> Option<usize> {
    let thing = |it: &Token| has("it them they 'em", &it.lower);
    let person = |it: &Token| has("him", &it.lower);
    let asked = matched(
        tokens,
        "could/can/would/should/might/may/must/will it/they/he/she be/become/have/turn/get/look",
    );
    let said = matched(
        tokens,
        "it/they/he/she should/must/could/can/needs/need/has/would/may/might/ought",
    );
    // `they'd look better in tan`.
    let said = said.or_else(|| matched(tokens, "it'd/they'd/he'd/she'd look/be/suit"));
    if asked.is_some() {
        return Some(1);
    }
    if said.is_some() {
        return Some(0);
    }
    let at = (1..tokens.len().min(6)).find(|&at| thing(&tokens[at]) || person(&tokens[at]));
    let object =
        at.filter(|&at| tokens[..at].iter().all(|it| !has(", ; who which that", &it.lower)));
    object.or_else(|| {
        pronoun(tokens).filter(|&at| has("it them him her they this that", &tokens[at].lower))
    })
}

/// The look or the thing that a clause proposes and nothing else: `try beige`, `brown`, `blue would be more inviting`.
fn look(tokens: &[Token], instead: bool) -> Option<&[Token]> {
    const PROPOSED: &[&str] = &[
        "try/use/pick/choose/take/go",
        "try/go with/for",
        "opt/settle for",
        "with/for",
        "how/what about",
        "maybe/perhaps/rather/preferably",
        "i'd/i/we/we'd would? go/choose/pick/use/try/take/suggest/prefer/like/want/say/need with/for?",
        "let 's go/try/use with/for?",
        "lets go/try/use with/for?",
        "should/must be",
        "to",
    ];
    const PRAISED: &[&str] = &[
        "would/might/will/could/should be/look/suit/work/fit/do",
        "is/looks/suits/fits better/nicer/best",
        "please/instead",
        "it is",
    ];
    let lead = longest(tokens, PROPOSED).unwrap_or(0);
    let rest = bare(&tokens[lead..]);
    let praised = |at: &usize| longest(&rest[*at..], PRAISED).is_some();
    let rest = &rest[..(1..rest.len()).find(praised).unwrap_or(rest.len())];
    let new =
        (instead || lead > 0) && starts_indefinite(rest) && noun_phrase_len(rest) == rest.len();
    let plain = rest.iter().all(|it| is_adjective(&it.lower)) && !rest.is_empty();
    (is_finish(rest) || new || plain && lead > 0).then_some(rest)
}

/// Whether a second clause begins behind a joint: one that follows from what is spoken of before it, or one for which
/// that is a reason.
pub(super) fn follows(before: &[Token], joint: &Token, rest: &[Token]) -> bool {
    if before.len() > LONGEST {
        return false;
    }
    let rest = &rest[..rest.len().min(LONGEST)];
    let left = bare(before);
    let Some(first) = left.first() else { return false };
    let commands = imperative::is_command(left) && !has("does is are", &first.lower);
    let asked = bare(rest);
    let command = imperative::is_command(asked)
        && asked.get(1).is_some_and(|it| {
            has(DETERMINERS, &it.lower)
                || has("it them him her", &it.lower)
                || has("out off away up", &it.lower)
        });
    let modal = asked.iter().skip(1).take(9).any(|it| has("should must", &it.lower));
    let wished =
        matched(asked, "i/we/i'd/we'd would? want/like/need/prefer/love/rather/request").is_some();
    let hers = matched(asked, "wants/requests/prefers/needs/demands it/them").is_some();
    let opens = asked.first().is_some_and(|it| has(DETERMINERS, &it.lower));
    let tells = !is_edit(left);
    if joint.is("so") {
        let reason = has("as since because given considering", &first.lower) || tells;
        return !commands
            && reason
            && !before.last().is_some_and(|it| has("do make", &it.lower))
            && (command || wished || modal && opens);
    }
    let topic = spoken_of(left).is_some() && !commands;
    if topic && (hers || referring(asked).is_some() && tells) {
        return true;
    }
    // `the sky, orange`: no verb stands before it.
    let named = topic && !(1..before.len()).any(|at| says(before, at));
    let short = named && joint.is(",") && look(asked, false).is_some();
    let told = topic && has(", but", &joint.lower) && tells;
    short || told && !named && (command || look(asked, false).is_some())
}

/// Whether a clause asks for an edit.
fn is_edit(clause: &[Token]) -> bool {
    let told = |first: &Token| {
        has("does do did is are isn't aren't doesn't was were i'm we're", &first.lower)
    };
    let disliked = clause.first().is_some_and(|it| has("i we i'm we're", &it.lower) || told(it))
        && longest(clause, UNWANTED).is_some();
    let asks = !clause.is_empty() && grammar::asks(clause);
    asks && !is_denied(clause)
        && !disliked
        && !told(&clause[0])
        && matched(clause, "no more").is_none()
}

/// `the pumpkins shouldn't be orange`.
fn is_denied(clause: &[Token]) -> bool {
    let at = clause.iter().position(|it| has("shouldn't mustn't needn't oughtn't", &it.lower));
    at.is_some_and(|at| clause.get(at + 1).is_some_and(|it| it.is("be")))
        && clause.last().is_some_and(|it| is_adjective(&it.lower))
}

/// Whether a clause only tells of a thing.
pub(super) fn is_told(clause: &[Token]) -> bool {
    let asked = clause.first().is_some_and(|it| has("does do did", &it.lower));
    !is_edit(clause) && (asked || !imperative::is_command(clause))
}

/// A look that is proposed for a thing in one breath: `for the roof I'd go with red`, `go with red for the roof`.
pub(super) fn proposed(clause: &[Token]) -> Option<Reading> {
    const SUITS: &[&str] = &[
        "would/might/could suit/fit",
        "suits/fits",
        "would/might/could look better/nicer/good/great/nice on/for",
        "would/might be better/nicer/good/great/nice on/for",
    ];
    let change =
        |thing: &[Token], look: &[Token]| Reading::of(Action::Change, phrases(thing), look);
    if matched(clause, "for/on").is_some() && starts_definite(&clause[1..]) {
        let end = 1 + noun_phrase_len(&clause[1..]);
        let rest = &clause[end..];
        let rest = &rest[usize::from(rest.first().is_some_and(|it| it.is(",")))..];
        return change(&clause[1..end], look(bare(rest), false)?);
    }
    // `brown would suit the jacket`.
    let suits = |at: usize| longest(&clause[at..], SUITS);
    let suited = (1..clause.len().min(4)).find_map(|at| Some((at, suits(at)?)));
    if let Some((at, n)) = suited.filter(|it| is_finish(&clause[..it.0])) {
        let thing = &clause[at + n..];
        let known = starts_definite(thing);
        return known.then(|| change(&thing[..noun_phrase_len(thing)], &clause[..at])).flatten();
    }
    let mark = (1..clause.len())
        .find(|&at| has("for on", &clause[at].lower) && starts_definite(&clause[at + 1..]))?;
    let chosen = matched(clause, "go/try/opt/use/pick/choose/settle with/for?").or_else(|| {
        matched(clause, "i'd/i/we/we'd would? go/choose/pick/use/try/take/prefer/like with/for?")
            .or_else(|| matched(clause, "with"))
            .or_else(|| matched(clause, "i'm/we're thinking/imagining/picturing of?"))
    })?;
    let look = clause.get(chosen..mark).filter(|it| is_finish(it))?;
    change(&clause[mark + 1..], look)
}

/// What a clause that asks for nothing speaks of.
pub(super) fn spoken_of(clause: &[Token]) -> Option<&[Token]> {
    const ASKED: &[&str] = &[
        "why/how/since is/are/was/were/does/do/did/isn't/aren't come? so?",
        "why/how come is/are/does/do/did?",
        "what 's/is/are up/wrong with",
        "what is/'s",
        "who/what put/left/needs/wants/drives/has/owns/uses/wears/likes/placed",
        "who/what ordered/asked/invited for?",
        "is/are/isn't/aren't/does/do/did/doesn't/don't/wasn't",
        "you/u know/see/remember",
        "do/can you/u know/see/remember",
        "no more",
        "a/the/some? new/different/fresh/another paint/color/colour/shade/look/finish job/scheme? for/of",
        "as/since/because/given/considering that?",
        "remember/see/notice/look/consider/take at?",
        "as/speaking/talking/about/regarding/concerning/on for/of/about?",
    ];
    let lead = longest(clause, ASKED).unwrap_or(0);
    let told = &clause[lead..];
    told.first()?;
    let verb = (1..told.len()).find(|&at| says(told, at));
    let subject = &told[..verb.unwrap_or(told.len())];
    if let Some(thing) = told_by(told) {
        return Some(thing);
    }
    let possessed = verb
        .is_some_and(|at| has("need needs have has want wants require", &told[at].lower))
        && lead > 0;
    if possessed {
        return object(told, verb.unwrap_or(0));
    }
    let subject = without_look(without_adverbs(subject));
    let names = starts_definite(subject)
        || starts_indefinite(subject)
        || verb.is_none() && noun_phrase_len(subject) == subject.len() && subject.len() < 5;
    (names && thing(subject)).then_some(subject)
}

/// What somebody speaks of who is not in the picture: `the roses` in `I'm not into the roses`, `the bag` in `the client
/// isn't happy with the bag`.
pub(super) fn told_by(told: &[Token]) -> Option<&[Token]> {
    const SOMEBODY: &str =
        "i we i'm we're i've i'd you nobody noone somebody someone people everyone everybody who";
    let verb = (1..told.len()).find(|&at| says(told, at));
    let speaker = verb.and_then(|at| phrase(&told[..at])).is_some_and(|it| has(SPEAKERS, &it.noun));
    let speaks = has(SOMEBODY, &told.first()?.lower) || speaker;
    speaks.then(|| object(told, verb.unwrap_or(0))).flatten()
}

/// Whether a verb stands at a token that says something of what is before it.
fn says(tokens: &[Token], at: usize) -> bool {
    let word = tokens[at].lower.as_str();
    let before = &tokens[at - 1];
    let noun =
        before.is_word() && !has(DETERMINERS, &before.lower) && !has(PREPOSITIONS, &before.lower);
    let relative = has(RELATIVES, &before.lower);
    let acts = tokens
        .get(at + 1)
        .is_some_and(|it| has("the my our his her this that me us a an", &it.lower))
        && (word.ends_with('s') && word.len() > 3 || word.ends_with("ed"))
        && !has(PREPOSITIONS, word);
    let short = tokens[at].is("'s")
        && tokens.get(at + 1).is_some_and(|it| it.is("too") || it.is("so") || it.is("not"));
    let known = [BEING, MODALS, NEGATED, TELLING].iter().any(|it| has(it, word));
    noun && !relative
        && (short || acts || known || has("too so", word) && at + 2 >= tokens.len().min(at + 3))
}

/// The thing that somebody speaks of: `the pink packaging` in `the client isn't happy with the pink packaging`.
fn object(told: &[Token], verb: usize) -> Option<&[Token]> {
    let starts = (verb + 1..told.len()).find(|&at| {
        has(DETERMINERS, &told[at].lower) && !has("all no any just only", &told[at].lower)
            || has(PREPOSITIONS, &told[at - 1].lower) && told[at].is_word()
    })?;
    let rest = &told[starts..];
    let end = (1..rest.len()).find(|&at| says(rest, at)).unwrap_or(rest.len());
    let rest = &rest[..end];
    let rest = without_look(rest);
    thing(rest).then_some(rest)
}

/// Words for a thing without the look behind them: `the glaze on the donut` of `the glaze on the donut brown`.
pub(super) fn without_look(rest: &[Token]) -> &[Token] {
    let noun = rest.iter().rposition(|it| !is_adjective(&it.lower)).map_or(0, |it| it + 1);
    let named = noun > 1 && !has(DETERMINERS, &rest[noun - 1].lower);
    if named { &rest[..noun] } else { rest }
}

/// A subject without adverbs before its verb.
fn without_adverbs(mut subject: &[Token]) -> &[Token] {
    while let [rest @ .., last] = subject
        && has(
            "really just still always kind also now actually , currently simply so too",
            &last.lower,
        )
        && !rest.is_empty()
    {
        subject = rest;
    }
    subject
}

/// Whether words name something that stands in a picture.
fn thing(tokens: &[Token]) -> bool {
    let pronoun = |it: &Token| has(THINGS, &it.lower) || has(PERSONS, &it.lower);
    let alone = matches!(tokens, [only] if pronoun(only));
    !alone && phrase(tokens).is_some_and(|it| !it.is_whole() && !has("one thing rest", &it.noun))
}

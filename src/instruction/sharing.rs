//! Parts a clause whose verb serves several edits: `paint the car red and the house blue`.

use super::Action;
use super::clause::Clause;
use super::grammar::{self, Reading};
use super::lexicon::{PERSONS, PREPOSITIONS, has, is_adjective};
use super::phrase::{starts_definite, starts_indefinite};
use super::words::Token;

/// The longest clause that is looked at: each joint costs a reading of its own.
const LONGEST: usize = 60;

/// The edits of a clause, each with all of its words; the clause itself if it has but one.
pub(super) fn parts(clause: Clause) -> Vec<Clause> {
    let tokens = &clause.tokens;
    if clause.exception.is_some() {
        return vec![clause];
    }
    let joints: Vec<usize> =
        (1..tokens.len().saturating_sub(1)).filter(|&at| is_joint(&tokens[at])).collect();
    if joints.is_empty() || tokens.len() > LONGEST {
        return vec![clause];
    }
    let mut found: Vec<Vec<Token>> = Vec::new();
    let mut prefix: Vec<Token> = Vec::new();
    let mut start = 0;
    for &joint in &joints {
        let next =
            joint + tokens[joint..].iter().take_while(|it| is_joint(it) || it.is("then")).count();
        if joint < start || next >= tokens.len() || !opens(&tokens[next..]) {
            continue;
        }
        let left = joined(&prefix, &tokens[start..joint]);
        let Some(reading) = grammar::read(&left).filter(|it| is_complete(it, &left)) else {
            continue;
        };
        if reading.action == Action::Add && !starts_definite(&tokens[next..]) && !is_received(&left)
        {
            continue;
        }
        if start == 0 {
            prefix = shared(&left, &reading).to_vec();
        }
        let ends = joints.iter().copied().filter(|&it| it > next).chain([tokens.len()]);
        let stands = |end: usize| {
            let right = joined(&prefix, &tokens[next..end]);
            grammar::read(&right).is_some_and(|it| {
                let wished = reading.action == Action::Remove && it.action == Action::Change;
                let alike = (wished || it.action == reading.action) && is_complete(&it, &right);
                (alike || it.action == Action::Remove && prefix.len() > 1)
                    && is_first(&it, &tokens[next])
            })
        };
        if ends.into_iter().any(stands) {
            found.push(left);
            start = next;
        }
    }
    if found.is_empty() {
        return vec![clause];
    }
    found.push(joined(&prefix, &tokens[start..]));
    let Clause { place, instead, .. } = clause;
    let clause = |tokens| Clause { tokens, place: place.clone(), instead, exception: None };
    found.into_iter().map(clause).collect()
}

fn is_joint(token: &Token) -> bool {
    has("and , but while whereas", &token.lower)
}

fn joined(prefix: &[Token], tokens: &[Token]) -> Vec<Token> {
    [prefix, tokens].concat()
}

/// Whether a stretch may begin with an object of its own.
fn opens(tokens: &[Token]) -> bool {
    let aside = has("also a", &tokens[0].lower)
        && tokens.get(1).is_none_or(|it| has("bit little touch to on in", &it.lower));
    if aside || has(PREPOSITIONS, &tokens[0].lower) {
        return false;
    }
    let moves_on = || tokens.iter().any(|it| has("to into with for on in to by ->", &it.lower));
    let stretch = tokens.iter().position(is_joint).unwrap_or(tokens.len());
    let terse = stretch > 1
        && !is_adjective(&tokens[0].lower)
        && is_adjective(&tokens[stretch - 1].lower)
        && tokens[0].is_word();
    starts_definite(tokens)
        || terse
        || has(PERSONS, &tokens[0].lower)
        || (starts_indefinite(tokens) || tokens[0].is_word()) && moves_on()
}

/// Whether something comes to a thing that is there: in `a hat to a man and a woman on the left` both receive.
fn is_received(left: &[Token]) -> bool {
    let place = left.iter().rposition(|it| has(PREPOSITIONS, &it.lower));
    place.is_some_and(|at| {
        let receiver = &left[at + 1..];
        starts_definite(receiver)
            || receiver
                .first()
                .is_none_or(|it| has(PERSONS, &it.lower) || !starts_indefinite(receiver))
    })
}

/// Whether a reading says all that an edit needs, so that a joint behind it may begin another one.
fn is_complete(reading: &Reading, tokens: &[Token]) -> bool {
    match reading.action {
        Action::Change => reading.replacement.is_some(),
        Action::Add => reading.implied.is_some() || reading.placed,
        // `I want the star gone and the heart blue`.
        Action::Remove => has("i we i'd we'd", &tokens[0].lower),
        Action::Global => false,
    }
}

/// The words before the first thing that an edit speaks of: `change the color of`.
fn shared<'a>(tokens: &'a [Token], reading: &Reading) -> &'a [Token] {
    let spans = reading.objects.iter().map(|it| it.all.start);
    let others = reading.replacement.iter().map(|it| it.start);
    let implied = reading.implied.iter().map(|it| it.1.all.start);
    let start = spans.chain(others).chain(implied).min().unwrap_or(0);
    let len = tokens.iter().take_while(|it| it.span.end <= start).count();
    &tokens[..len]
}

/// Whether a reading's first thing stands where its own words begin.
fn is_first(reading: &Reading, token: &Token) -> bool {
    let starts = reading.objects.iter().map(|it| it.all.start);
    let implied = reading.implied.iter().map(|it| it.1.all.start);
    let others = reading.replacement.iter().map(|it| it.start);
    starts.chain(implied).chain(others).min() == Some(token.span.start)
}

//! Parts a clause whose verb serves several edits: `paint the car red and the house blue`.

use super::Action;
use super::becoming;
use super::clause::Clause;
use super::grammar::{self, Reading};
use super::lexicon::{PERSONS, PREPOSITIONS, is_adjective};
use super::lists::has;
use super::phrase::{starts_definite, starts_indefinite};
use super::words::Token;

/// The longest clause that is looked at: each joint costs a reading of its own.
const LONGEST: usize = 60;

/// How many joints ahead an edit may end.
const NEAR: usize = 4;

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
    let mut first: Option<Shared> = None;
    let mut start = 0;
    for &joint in &joints {
        let next = joint + tokens[joint..].iter().take_while(|it| is_joint(it)).count();
        if joint < start || next >= tokens.len() {
            continue;
        }
        let follows = tokens[joint..next].iter().any(|it| it.is("then"));
        if !(opens(&tokens[next..]) || follows && starts_indefinite(&tokens[next..])) {
            continue;
        }
        let own = &tokens[start..joint];
        let left = first.as_ref().map_or_else(|| own.to_vec(), |it| it.whole_or_bare(own));
        let Some(reading) = grammar::read(&left)
            .filter(|it| follows && !it.objects.is_empty() || is_complete(it, &left))
        else {
            continue;
        };
        let receives = starts_definite(&tokens[next..]) || is_received(&left);
        if reading.action == Action::Add && !follows && !receives {
            continue;
        }
        let shared = first.clone().unwrap_or_else(|| Shared::of(&left, reading.clone(), follows));
        let ends = joints.iter().copied().filter(|&it| it > next).chain([tokens.len()]);
        if ends.take(NEAR).any(|end| shared.whole(&tokens[next..end]).is_some()) {
            found.push(left);
            first = Some(shared);
            start = next;
        }
    }
    let Some(shared) = first else { return vec![clause] };
    found.push(shared.whole_or_bare(&tokens[start..]));
    let Clause { place, instead, .. } = clause;
    let clause =
        |tokens| Clause { tokens, place: place.clone(), instead, exception: None, spoken: None };
    found.into_iter().map(clause).collect()
}

/// What the first of several edits has that the others go without.
#[derive(Debug, Clone)]
struct Shared {
    reading: Reading,
    /// Whether the others are said to come later: `then`.
    follows: bool,
    /// The words before the first thing that it speaks of: `change the color of`.
    prefix: Vec<Token>,
    /// What is said of the subject of a statement: `should be`.
    verb: Vec<Token>,
    /// The words behind its objects, where the others may go without: `blue` of `paint the chair blue, then the table`.
    suffix: Vec<Token>,
}

impl Shared {
    fn of(left: &[Token], reading: Reading, follows: bool) -> Self {
        let prefix = shared(left, &reading).to_vec();
        let becomes = reading.replacement.as_ref().map_or(usize::MAX, |it| it.start);
        let verb =
            grammar::statement_verb(left).filter(|_| prefix.is_empty()).unwrap_or(left.len());
        let verb = left[verb..].iter().take_while(|it| it.span.end <= becomes).cloned().collect();
        let objects = reading.objects.iter().map(|it| it.all.end).max().unwrap_or(usize::MAX);
        let behind = |it: &&Token| follows && it.span.start >= objects;
        let suffix = left.iter().filter(behind).cloned().collect();
        Self { reading, follows, prefix, verb, suffix }
    }

    fn whole_or_bare(&self, stretch: &[Token]) -> Vec<Token> {
        self.whole(stretch).unwrap_or_else(|| [&self.prefix[..], stretch].concat())
    }

    /// A stretch with what it goes without; `None` if that is no edit like the first.
    fn whole(&self, stretch: &[Token]) -> Option<Vec<Token>> {
        let verb = becoming::start(stretch).filter(|_| !self.verb.is_empty());
        let stated = verb.map(|at| [&stretch[..at], &self.verb[..], &stretch[at..]].concat());
        let commanded = [&self.prefix[..], stretch].concat();
        let ended = (!self.suffix.is_empty()).then(|| [&commanded[..], &self.suffix[..]].concat());
        let whole = [stated, Some(commanded), ended].into_iter().flatten();
        whole.into_iter().find(|it| self.is_like(it, &stretch[0]))
    }

    fn is_like(&self, right: &[Token], first: &Token) -> bool {
        grammar::read(right).is_some_and(|it| {
            let own = &self.reading;
            let wished = own.action == Action::Remove && it.action == Action::Change;
            let whole = is_complete(&it, right)
                || self.follows && it.replacement.is_some() == own.replacement.is_some();
            let alike = (wished || it.action == own.action) && whole;
            (alike || it.action == Action::Remove && self.prefix.len() > 1)
                && is_first(&it, first, self.follows)
        })
    }
}

fn is_joint(token: &Token) -> bool {
    has("and , but while whereas then", &token.lower)
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
fn is_first(reading: &Reading, token: &Token, follows: bool) -> bool {
    let starts = reading.objects.iter().map(|it| it.all.start);
    let implied = reading.implied.iter().map(|it| it.1.all.start);
    let others = reading.replacement.iter().map(|it| it.start);
    // What is shared with the edit before stands there.
    let others = others.filter(|&it| !follows || it > token.span.start);
    starts.chain(implied).chain(others).min() == Some(token.span.start)
}

//! What a subject is said to undergo or to be good for: `should be taken out`, `takes the place of …`, `would look
//! better without …`.

use super::Action;
use super::change::is_finish;
use super::grammar::Reading;
use super::imperative;
use super::lexicon::{
    CHANGING, COLORING, REMOVING, REPLACING, THINGS, is_adjective, is_comparative, verb_in,
};
use super::listing::phrases;
use super::lists::has;
use super::phrase::{phrase, starts_indefinite};
use super::predicate::change;
use super::words::{Token, matched};

/// What a writing is to say: `the sign should read "open"`.
pub(super) fn worded<'a>(subject: &[Token], said: &'a [Token]) -> Option<&'a [Token]> {
    let new = matched(said, "read/say/spell/state").map(|n| &said[n..])?;
    let writing = phrase(subject).is_some_and(|it| has(WRITINGS, &it.noun));
    (writing && new.first()?.quoted).then_some(new)
}

/// Nouns for what is written.
const WRITINGS: &str =
    "text words word writing letters lettering caption title headline inscription slogan message";

/// The finish in which something is to be seen: red in `appear in red`, `be shown in red`.
pub(super) fn finished(said: &[Token]) -> Option<&[Token]> {
    let n = matched(
        said,
        "be? appear/come/shown/displayed/rendered/done/finished/seen/made/drawn/presented/show in",
    )?;
    is_finish(&said[n..]).then(|| &said[n..])
}

/// Whether a participle with a particle says that something goes: `left out`, `smoothed away`.
fn is_taken_away(said: &[Token]) -> bool {
    const STAYS: &str = "blurred blacked greyed grayed whited faded turned spread carved";
    let [participle, particle] = said else { return false };
    let past = participle.lower.ends_with("ed")
        || has("left taken cut torn thrown worn swept driven", &participle.lower);
    past && has("away out off", &particle.lower) && !has(STAYS, &participle.lower)
}

/// One thing in another's place: `a dog should replace the cat`, `a dog takes the place of the cat`.
pub(super) fn displaced(subject: &[Token], said: &[Token]) -> Option<Reading> {
    let rest = |pattern: &str| matched(said, pattern).map(|n| &said[n..]);
    if let Some(new) = rest("make/makes way/room for") {
        return change(subject, new);
    }
    if rest("need/needs removing/deleting/erasing") == Some(&[]) {
        return Reading::of(Action::Remove, phrases(subject), &[]);
    }
    let old = rest("take/takes the place of").or_else(|| {
        let owned = rest("take/takes")?;
        let n = owned.len().checked_sub(2)?;
        (owned[n].is("'s") && has("place spot", &owned[n + 1].lower)).then(|| &owned[..n])
    });
    let old = old.or_else(|| rest("replace/replaces").filter(|_| starts_indefinite(subject)))?;
    Reading::of(Action::Change, phrases(old), subject)
}

/// What is said of things that would do a picture good.
pub(super) const APPROVED: &str = "really/very/so? nice/cute/sweet/funny/neat/pretty/great/good/cool/lovely/awesome/perfect/fun/better/wonderful/\
  amazing \
    there?";

/// What a picture would look better with or without, or lacks: `… would look better without the sign`.
pub(super) fn missed(subject: &[Token], said: &[Token]) -> Option<Reading> {
    const BETTER: &str = "better/nicer/prettier/cleaner/cooler/good/great/perfect/complete/nice";
    let better = |with: &str| {
        let pattern = format!("{BETTER} {with}");
        let compared = |at: usize| {
            let more = is_comparative(&said[at].lower) || at > 0 && said[at - 1].is("more");
            matched(&said[at + 1..], with).filter(|_| more).map(|n| n + 1)
        };
        (0..said.len().min(6))
            .find_map(|at| matched(&said[at..], &pattern).or_else(|| compared(at)).map(|n| at + n))
    };
    if let Some(n) = better("in").filter(|&n| is_finish(&said[n..])) {
        return change(subject, &said[n..]);
    }
    if let Some(n) = better("as").filter(|&n| n < said.len()) {
        return change(subject, &said[n..]);
    }
    let fewer = |n: &usize| said.get(*n).is_some_and(|it| has("no fewer less", &it.lower));
    if let Some(n) = better("with").filter(fewer) {
        return Reading::of(Action::Remove, phrases(&said[n + 1..]), &[]);
    }
    let add = |n: usize| Reading::of(Action::Add, phrases(&said[n..]), &[]);
    if let Some(n) = better("without/minus").filter(|&n| n < said.len()) {
        return Reading::of(Action::Remove, phrases(&said[n..]), &[]);
    }
    if let Some(n) = better("with")
        .or_else(|| matched(said, "do/be/go well/nicely? with"))
        .or_else(|| matched(said, "look like? with"))
    {
        return add(n).map(|it| it.at("to", subject));
    }
    let whole = || phrase(subject).is_some_and(|it| it.is_whole());
    matched(said, "is? missing/lacking/lacks/misses").filter(|_| whole()).and_then(add)
}

/// What is to be done to a subject, as the command for it: `painted white`, `replaced with a sofa`, `taken out`.
pub(super) fn passive(subject: &[Token], said: &[Token]) -> Option<Reading> {
    let participle = said.first()?;
    if subject.len() == 1 && has(THINGS, &subject[0].lower) {
        return None;
    }
    if is_taken_away(said) {
        return Reading::of(Action::Remove, phrases(subject), &[]);
    }
    let verb = verb_in(&[CHANGING, REPLACING, REMOVING, COLORING, "take cut"], &participle.lower)?;
    if verb == participle.lower && !has("cut", verb)
        || participle.lower.ends_with("ing")
        || participle.lower.ends_with('s')
        || is_adjective(&participle.lower)
    {
        return None;
    }
    let verb = Token { lower: verb.to_owned(), ..participle.clone() };
    imperative::read(&[&[verb], subject, &said[1..]].concat())
}

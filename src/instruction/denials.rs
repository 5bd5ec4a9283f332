//! Leaves out what is only named to be denied: `not the bus` of `not the bus, the tram should be green`.

use super::becoming;
use super::lexicon::{COMMANDS, REMOVING, TAKING, is_adjective, verb_in};
use super::lists::has;
use super::phrase::{noun_phrase_len, starts_definite};
use super::words::{Token, matched};

/// The words without looks and things that are only named to be denied: `not red but` of `not red but yellow`.
pub(super) fn without_denials(tokens: &[Token]) -> Vec<Token> {
    let denied = || {
        let not = (1..tokens.len()).find(|&at| tokens[at].is("not"))?;
        let look = |it: &&Token| is_adjective(&it.lower) || has(", on off", &it.lower);
        let looks = tokens[not + 1..].iter().take_while(look);
        let but = not + 1 + looks.count();
        let closes = tokens.get(but).is_none_or(|it| it.is("but"));
        let pause = usize::from(closes && tokens[not - 1].is(","));
        (but > not + 1 && closes && not > pause).then(|| not - pause..(but + 1).min(tokens.len()))
    };
    let other = || {
        let other = |at: usize| {
            tokens[at].is("not") || matched(&tokens[at..], "and? nothing else").is_some()
        };
        let comma = (1..tokens.len()).find(|&at| tokens[at - 1].is(",") && other(at))?;
        let end = comma + tokens[comma..].iter().take(7).position(|it| it.is(","))?;
        Some(comma - 1..end + 1)
    };
    // `not the bus, the tram should be green`.
    let ahead = || {
        let not = tokens.first().is_some_and(|it| it.is("not")) && starts_definite(&tokens[1..]);
        let comma = tokens.iter().position(|it| it.is(",")).filter(|_| not)?;
        let next = tokens.get(comma + 1).is_some_and(|it| !it.is("but"));
        (next && starts_definite(&tokens[comma + 1..])).then_some(0..comma + 1)
    };
    let denied =
        denied().or_else(ahead).or_else(other).or_else(|| other_thing(tokens)).unwrap_or(0..0);
    let kept: Vec<Token> = tokens
        .iter()
        .enumerate()
        .filter(|it| !denied.contains(&it.0))
        .map(|it| it.1.clone())
        .collect();
    but_this(&kept).unwrap_or(kept)
}

/// A thing that is named to be left as it is, behind a command of another: `remove the pears, not the apples`.
fn other_thing(tokens: &[Token]) -> Option<std::ops::Range<usize>> {
    let verb = tokens.first().filter(|it| verb_in(&COMMANDS, &it.lower).is_some())?;
    let removes = verb_in(&[REMOVING, TAKING], &verb.lower).is_some();
    let denies =
        |at: &usize| tokens[*at].is("not") && (starts_definite(&tokens[at + 1..]) || removes);
    let not = (2..tokens.len()).find(denies)?;
    let start = not - usize::from(has(", but", &tokens[not - 1].lower));
    // `paint the door but not the frame green`.
    let rest = &tokens[not + 1..];
    let end = not + 1 + becoming::start(rest).unwrap_or_else(|| noun_phrase_len(rest));
    if tokens[not - 1].is("but") && end < tokens.len() && starts_definite(&tokens[1..]) {
        return Some(start..end);
    }
    let own = &tokens[1..start];
    let whole = removes || own.last().is_some_and(|it| is_adjective(&it.lower));
    (whole && starts_definite(own) && !has("is are", &tokens[not - 1].lower))
        .then_some(start..tokens.len())
}

/// `remove the mouse` for `don't remove the cat but the mouse`, `the right door …` for `not the left but the right
/// door …`.
fn but_this(tokens: &[Token]) -> Option<Vec<Token>> {
    if matched(tokens, "not a/an").is_some()
        && let Some(comma) = tokens.iter().position(|it| it.is(","))
        && matched(&tokens[comma + 1..], "but? a/an").is_some()
    {
        let but = Token { lower: "but".to_owned(), ..tokens[comma].clone() };
        return Some([&tokens[..comma], &[but], &tokens[comma + 1..]].concat());
    }
    let n = matched(tokens, "don't/dont").or_else(|| matched(tokens, "do not")).unwrap_or(0);
    let verb = tokens.get(n).filter(|it| verb_in(&COMMANDS, &it.lower) == Some(&it.lower));
    let denied = if n > 0 { verb.map(|_| n + 1) } else { matched(tokens, "not") }?;
    if !starts_definite(&tokens[denied..]) {
        return None;
    }
    let but = (denied..tokens.len()).find(|&at| tokens[at].is("but"))?;
    let rest = &tokens[but + 1..];
    let kept = if n > 0 { &tokens[n..=n] } else { &[] };
    starts_definite(rest).then(|| [kept, rest].concat())
}

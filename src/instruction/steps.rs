//! Parts an instruction that asks for several edits into steps, each with a text that says the whole of it.

use std::ops::Range;

use super::change::{self, Change};
use super::lexicon::COLORS;
use super::lists::has;
use super::phrase::{self, Found};
use super::place;
use super::reading::{Edit, Link, changes, edits, joined, joined_of, link, pronoun};
use super::spelling::Correction;
use super::words::{self, Token};
use super::{Action, Instruction, ParseError};

/// One edit of an instruction that asks for several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The edit, with a text of its own that says the whole of it.
    pub instruction: Instruction,
    /// Bytes of the whole instruction, cleaned and corrected, that it comes from.
    pub span: Range<usize>,
}

// === steps ===

/// Reads the edits as steps.
pub(super) fn steps(text: &str, corrections: &[Correction]) -> Result<Vec<Step>, ParseError> {
    let edits = edits(text)?;
    let whole = joined_of(text, &edits)?;
    let mut found: Vec<(String, Range<usize>)> = Vec::new();
    for (at, edit) in edits.iter().enumerate() {
        let span = span_of(&edit.clause.tokens);
        let before = at.checked_sub(1).map(|it| &edits[it]);
        let link = before.map_or(Link::Apart, |before| link(before, edit));
        let merged = match (link, before) {
            (Link::InItsPlace, Some(before)) => replaced(text, before, edit),
            (Link::Pronoun | Link::Remedy, Some(before)) => Some(named(text, before, edit)),
            (Link::Apart, Some(before)) if !before.reading.objects.is_empty() => {
                Some(placed_by(text, before, edit))
            }
            _ => Some(own_text(text, edit)),
        };
        let Some(step) = merged else { continue };
        match found.last_mut() {
            Some(last) if matches!(link, Link::InItsPlace | Link::Remedy) => {
                *last = (step, last.1.start.min(span.start)..last.1.end.max(span.end));
            }
            _ => found.push((step, span)),
        }
    }
    let corrected = |it: Instruction| Instruction { corrections: corrections.to_vec(), ..it };
    if found.len() < 2 {
        return Ok(vec![Step { instruction: corrected(whole), span: 0..text.len() }]);
    }
    let read = |(text, span): (String, Range<usize>)| {
        let own = corrections.iter().filter(|it| span.contains(&it.span.start));
        let instruction = joined(&text).ok()?;
        Some(Step {
            instruction: Instruction { corrections: standing(&text, own), ..instruction },
            span,
        })
    };
    let steps: Vec<Step> = found.into_iter().filter_map(read).collect();
    if steps.is_empty() {
        return Ok(vec![Step { instruction: corrected(whole), span: 0..text.len() }]);
    }
    Ok(steps)
}

/// Corrections as they stand in the text of a step; without those of words that it does not say.
fn standing<'a>(text: &str, corrections: impl Iterator<Item = &'a Correction>) -> Vec<Correction> {
    let tokens = words::tokens(text);
    let mut from = 0;
    let stands = |it: &Correction| {
        let said = tokens[from..].iter().position(|token| text[token.span.clone()] == it.read)?;
        from += said + 1;
        Some(Correction { span: tokens[from - 1].span.clone(), ..it.clone() })
    };
    corrections.filter_map(stands).collect()
}

/// The text of an edit alone.
fn own_text(text: &str, edit: &Edit) -> String {
    if let Some(exception) = &edit.clause.exception {
        let own = span_of(&edit.clause.tokens);
        let own = &text[own.start.min(exception.span.start)..own.end.max(exception.span.end)];
        return own.trim_end_matches([',', ' ']).to_owned();
    }
    if let Some(spoken) = &edit.clause.spoken {
        return text[spoken.clone()].to_owned();
    }
    let own = written(text, &edit.clause.tokens);
    let place = written(text, &edit.clause.place);
    if place.is_empty() { own } else { format!("{place}, {own}") }
}

/// The text of an edit with the object before it in the place of its pronoun.
fn named(text: &str, before: &Edit, edit: &Edit) -> String {
    let tokens = &edit.clause.tokens;
    let object = definite(text, before);
    let Some(at) = pronoun(tokens) else { return own_text(text, edit) };
    let (head, tail) = (written(text, &tokens[..at]), written(text, &tokens[at..]));
    let tail = if has("with by into to", &tokens[at].lower) {
        tail
    } else {
        written(text, &tokens[at + 1..])
    };
    [head, object, tail].into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The text of an edit with the object before it where a pronoun says where: `… and put a cushion on it`.
fn placed_by(text: &str, before: &Edit, edit: &Edit) -> String {
    let tokens = &edit.clause.tokens;
    let placed = (2..tokens.len()).find(|&at| {
        (tokens[at].is("it") || tokens[at].is("them")) && place::opens_place(&tokens[at - 1].lower)
    });
    let Some(at) = placed else {
        return with_noun(text, before, edit).unwrap_or_else(|| own_text(text, edit));
    };
    let own =
        [written(text, &tokens[..at]), definite(text, before), written(text, &tokens[at + 1..])];
    own.join(" ").trim_end().to_owned()
}

/// The text of an edit with the noun before it where `one` stands for it: `paint the left door red and the other one
/// green`.
fn with_noun(text: &str, before: &Edit, edit: &Edit) -> Option<String> {
    let [object] = &edit.reading.objects[..] else { return None };
    let noun = &text[before.reading.objects.first()?.head.clone()];
    let tokens = &edit.clause.tokens;
    let one = |it: &Token| has("one ones", &it.lower) && it.span == object.head;
    let at = tokens.iter().position(one).filter(|&it| it > 0)?;
    let (head, tail) = (written(text, &tokens[..at]), written(text, &tokens[at + 1..]));
    Some(format!("{head} {noun} {tail}").trim_end().to_owned())
}

/// A removal and an addition in the same place as one change.
fn replaced(text: &str, before: &Edit, edit: &Edit) -> Option<String> {
    let objects = edit.reading.objects.iter().map(|it| &it.noun_phrase);
    let new = edit.reading.replacement.clone().or_else(|| words::cover(objects))?;
    Some(format!("replace {} with {}", definite(text, before), &text[new]))
}

/// The objects of an edit, as a later one names them: `the red hat` for `a red hat`, and what they have become: `the
/// cat` after `change the dog to a cat`, `the blue star` after `make the red star blue`.
fn definite(text: &str, edit: &Edit) -> String {
    let becomes = edit.reading.replacement.as_ref().map(|it| &text[it.clone()]);
    match (changes(&edit.clause.tokens, &edit.reading), becomes, &edit.reading.objects[..]) {
        (Some(Change::Replace), Some(becomes), _) => return pointed(becomes),
        (Some(Change::Recolor), Some(color), [object]) => {
            if let Some(named) = recolored(text, object, color) {
                return named;
            }
        }
        _ => {}
    }
    let one = |it: &Found| {
        let new = edit.reading.action == Action::Add;
        let all = &text[if new { it.name.clone() } else { it.all.clone() }];
        if new || phrase::starts_bare(&words::tokens(all)) {
            format!("the {all}")
        } else {
            all.to_owned()
        }
    };
    edit.reading.objects.iter().map(one).collect::<Vec<_>>().join(" and ")
}

/// A thing that has come, as a later edit points at it: `the cat` for `a cat`.
fn pointed(thing: &str) -> String {
    let tokens = words::tokens(thing);
    match phrase::phrase(&tokens) {
        Some(found) if !phrase::starts_definite(&tokens) => {
            format!("the {}", &thing[found.name.start..])
        }
        _ => thing.to_owned(),
    }
}

/// An object that is named by a color, by its new one; `None` for one that is not, or takes one by comparison.
fn recolored(text: &str, object: &Found, color: &str) -> Option<String> {
    let name = &text[object.name.clone()];
    let is_color = |it: &&str| has(COLORS, &it.to_lowercase());
    let rest: Vec<&str> = name.split(' ').filter(|it| !is_color(it)).collect();
    let is_named = rest.len() < name.split(' ').count() && !rest.is_empty();
    let opening = text[object.all.start..object.name.start].trim_end();
    let opening = if opening.is_empty() { "the" } else { opening };
    let behind = &text[object.name.end..object.all.end];
    (is_named && !change::is_comparison(&words::tokens(color)))
        .then(|| format!("{opening} {color} {}{behind}", rest.join(" ")))
}

/// Words as they are written, those that do not stand side by side parted by a space.
fn written(text: &str, tokens: &[Token]) -> String {
    let mut out = String::new();
    for (at, token) in tokens.iter().enumerate() {
        let gap = at.checked_sub(1).map(|it| tokens[it].span.end).map(|end| {
            let between = (end <= token.span.start).then(|| &text[end..token.span.start]);
            between.filter(|it| !it.contains(char::is_alphanumeric)).unwrap_or(" ")
        });
        out.push_str(gap.unwrap_or_default());
        out.push_str(&text[token.span.clone()]);
    }
    out.trim_matches(|c: char| c.is_whitespace() || ",;.".contains(c)).to_owned()
}

fn span_of(tokens: &[Token]) -> Range<usize> {
    words::cover(tokens.iter().map(|it| &it.span)).unwrap_or(0..0)
}

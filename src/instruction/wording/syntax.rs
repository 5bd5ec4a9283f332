//! The syntax of prompts: weights, networks and embeddings by name, alternatives, breaks, flags.
//!
//! Source: the manuals of AUTOMATIC1111 (`(word)`, `[word]`, `(word:1.3)`, `[from:to:0.5]`, `[a|b]`, `BREAK`, `AND`,
//! `<lora:name:1>`, escapes), `ComfyUI` (`embedding:name`, `{a|b}`), `InvokeAI` (`word++`, `(words)1.3`, `.blend()`,
//! `.swap()`, `<name>`), `NovelAI` (`{word}`, `1.3::word::`) and Midjourney (`word::2`, `--ar 3:2`).

use std::{ops::Range, sync::LazyLock};

use regex::{Captures, Regex};

use super::{has_words, pattern, quotes::is_holder};
use crate::instruction::lexicon::{
    ADDING, CHANGING, COLORING, DETERMINERS, GIVING, MAKING, PERSONS, PREPOSITIONS, RELATIVES,
    REMOVING, REPLACING, WORKING, is_adjective, verb_in,
};
use crate::instruction::lists::has;

/// What is left out of the words that it gives weight to.
const WEIGHTS: &str = "prompt weights";

/// Determiners behind which no remark in brackets can stand, since their noun is still to come.
const OPEN_DETERMINERS: &str = "the a an my your his her its our their every each another some no";

/// Syntax that is left out with its content, as it stands.
static CALLS: LazyLock<[Regex; 5]> = LazyLock::new(|| {
    [
        // Networks by name; embeddings whose names are no plain words.
        pattern(r"<[A-Za-z_]+:[^<>]*>"),
        pattern(r"<[^<>\s]*[-_\d][^<>\s=]*>"),
        pattern(r"(?i)\bembedding:[\w.\-]+(?::[\d.]+)?"),
        pattern(
            r"(?i)\b(?:easynegative(?:v2)?|bad[-_]?hands?[-_]?v?\d+|bad_prompt(?:_version\d)?|bad[-_]artist(?:-anime)?|\w*deepnegative\w*|verybadimagenegative_v[\d.]+|(?:unaesthetic|negative)xl\w*|fastnegativev2)\b",
        ),
        pattern(
            r"(?:^|\s)--(?:no\s[^-]*|(?:ar|aspect|v|version|niji|stylize|s|q|quality|chaos|c|seed|style|iw|weird|w|stop|repeat|r|tile|hd|raw|fast|relax|turbo)\b(?:\s+[\d.:]+|\s+raw\b)?)",
        ),
    ]
});

/// What `InvokeAI` calls on prompts.
static METHODS: LazyLock<Regex> = LazyLock::new(|| pattern(r"\.(?:swap|blend|and)\s*\([^()]*\)"));

/// Angle brackets around words.
static ANGLES: LazyLock<Regex> = LazyLock::new(|| pattern(r"<(\p{L}[^<>=]*[\p{L}\d]|\p{L})>"));

/// Weights that stand without brackets, with what is put in their place.
static BARE_WEIGHTS: LazyLock<[(Regex, &str); 5]> = LazyLock::new(|| {
    [
        (pattern(r"(\p{L}[\p{L}\p{M}'’]*\p{L})(?:\++|--+)(\s|$|[,.;!?)\]])"), "$1$2"),
        (pattern(r"(^|\s)-?\d+(?:\.\d+)?::(\S)"), "$1$2"),
        (pattern(r"([\p{L}\d])::(?:-?\d*\.?\d+)?(\s|$|,)"), "$1$2"),
        (pattern(r"\s+:\s*\d+(?:\.\d+)?(\s|$)"), "$1"),
        (pattern(r"(\p{L}):\d*\.\d+(\s|$|[,)\]])"), "$1$2"),
    ]
});

/// `words:1.3`, inside brackets; a number before the colon makes it a time or a ratio.
static WEIGHTED: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?s)^(.*[^\d\s:]|)\s*:\s*[+-]?(?:\d+\.?\d*|\.\d+)?\s*$"));

/// A weight behind a bracket.
static SUFFIX: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^(\++|-+|\d+(?:\.\d+)?)(?:\s|$|[,.;:!?)\]])"));

/// `from:to:when` and `to:when`, inside square brackets.
static SCHEDULED: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?s)^([^:]*):(?:([^:]*):)?\s*\d*\.?\d+\s*$"));

/// Parts of a prompt that are read apart.
static BREAK: LazyLock<Regex> = LazyLock::new(|| pattern(r"\s*\bBREAK\b\s*"));

/// A bracket that is open.
struct Open {
    bracket: char,
    /// Where its content begins in what is written.
    at: usize,
    /// The last group within it.
    inner: Range<usize>,
}

/// Leaves out the syntax of prompts, and keeps the words that it is about.
pub(super) fn without_syntax(text: &str, left_out: &mut Vec<String>) -> String {
    let mut text = text.to_owned();
    for call in CALLS.iter() {
        let without = call.replace_all(&text, |found: &Captures<'_>| {
            left_out.push(format!("`{}`", found[0].trim()));
            " "
        });
        text = without.into_owned();
    }
    let note = |left_out: &mut Vec<String>, what: &str| {
        if !left_out.iter().any(|it| it == what) {
            left_out.push(what.to_owned());
        }
    };
    if METHODS.is_match(&text) {
        note(left_out, "functions of prompts");
        text = METHODS.replace_all(&text, "").into_owned();
    }
    if ANGLES.is_match(&text) {
        note(left_out, "angle brackets");
        text = ANGLES.replace_all(&text, "$1").into_owned();
    }
    text = without_brackets(&text, &mut |what| note(left_out, what));
    for (weight, words) in BARE_WEIGHTS.iter() {
        if weight.is_match(&text) {
            note(left_out, WEIGHTS);
            text = weight.replace_all(&text, *words).into_owned();
        }
    }
    // In a text of capitals it is a word.
    if text.contains(char::is_lowercase) && BREAK.is_match(&text) {
        note(left_out, "`BREAK`");
        text = BREAK.replace_all(&text, ", ").into_owned();
    }
    text
}

/// Leaves out the brackets that give weight; escaped ones become plain.
fn without_brackets(text: &str, note: &mut dyn FnMut(&'static str)) -> String {
    let mut out = String::with_capacity(text.len());
    let mut open: Vec<Open> = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\\' if rest.starts_with(['(', ')', '[', ']', '{', '}']) => {
                out.push_str(&rest[..1]);
                rest = &rest[1..];
            }
            '(' | '[' | '{' => open.push(Open { bracket: c, at: out.len(), inner: 0..0 }),
            ')' | ']' | '}' if open.last().is_some_and(|it| closing(it.bracket) == c) => {
                let Some(group) = open.pop() else { continue };
                let inner = out.split_off(group.at);
                let is_double = group.inner == (group.at..group.at + inner.len());
                let suffix =
                    if c == ')' { SUFFIX.captures(rest).map_or(0, |it| it[1].len()) } else { 0 };
                if let Some(words) =
                    words_of(group.bracket, &out, &inner, rest, is_double || suffix > 0, note)
                {
                    out.push_str(&words);
                    rest = &rest[suffix..];
                } else {
                    out.push(group.bracket);
                    out.push_str(&inner);
                    out.push(c);
                }
                if let Some(outer) = open.last_mut() {
                    outer.inner = group.at..out.len();
                }
            }
            c => out.push(c),
        }
    }
    for unclosed in open.into_iter().rev() {
        out.insert(unclosed.at, unclosed.bracket);
    }
    out
}

fn closing(bracket: char) -> char {
    match bracket {
        '(' => ')',
        '[' => ']',
        _ => '}',
    }
}

/// The words that brackets give weight to; `None` where they are brackets of plain English.
fn words_of(
    bracket: char,
    before: &str,
    inner: &str,
    behind: &str,
    is_weighted: bool,
    note: &mut dyn FnMut(&'static str),
) -> Option<String> {
    if let Some(weighted) = WEIGHTED.captures(inner).filter(|_| bracket == '(') {
        note(WEIGHTS);
        return Some(weighted[1].to_owned());
    }
    if inner.trim().is_empty() {
        note(WEIGHTS);
        return Some(String::new());
    }
    if !has_words(inner) && !inner.contains(is_holder) {
        return None;
    }
    if bracket != '(' {
        let first = inner.split('|').map(str::trim).find(|it| !it.is_empty());
        if let Some(first) = first.filter(|_| inner.contains('|')) {
            note("alternatives of a prompt, but for the first");
            return Some(first.to_owned());
        }
        if let Some(scheduled) = SCHEDULED.captures(inner).filter(|_| bracket == '[') {
            note("steps of a prompt");
            let second = || scheduled.get(2).map_or("", |it| it.as_str());
            return Some(if scheduled[1].trim().is_empty() {
                second().to_owned()
            } else {
                scheduled[1].to_owned()
            });
        }
    }
    let gives_weight =
        is_weighted || needs_words(before, inner, behind) || bracket != '(' && !opens_remark(inner);
    gives_weight.then(|| {
        note(WEIGHTS);
        // The inner pair of two was taken for plain English.
        let nested = is_weighted && inner.starts_with(bracket) && inner.ends_with(closing(bracket));
        if nested { inner[1..inner.len() - 1].to_owned() } else { inner.to_owned() }
    })
}

/// Whether a sentence goes on with what stands in brackets, so that they hold no remark: `make the (star) red`.
fn needs_words(before: &str, inner: &str, behind: &str) -> bool {
    let before = before.trim_end();
    if before.is_empty() {
        return true;
    }
    let Some(word) = last_word(before) else { return !opens_remark(inner) };
    let commands = [ADDING, CHANGING, REPLACING, REMOVING, GIVING, COLORING, MAKING, WORKING];
    has(OPEN_DETERMINERS, &word)
        || has(PREPOSITIONS, &word)
        || has("and or please", &word)
        || before.split_whitespace().count() <= 2 && verb_in(&commands, &word).is_some()
        || is_adjective(&word)
            && !opens_remark(inner)
            && behind.trim_start().starts_with(char::is_alphanumeric)
}

/// The word at the end of a text, in lower case; `None` if it ends with a mark.
fn last_word(text: &str) -> Option<String> {
    let word = text.rsplit(|c: char| !c.is_alphanumeric()).next().filter(|it| !it.is_empty());
    word.map(str::to_lowercase)
}

/// Whether a text begins as a remark on what stands before it does: `the red one`, `on the left`, `not the blue one`.
fn opens_remark(inner: &str) -> bool {
    let first: String = inner.trim_start().chars().take_while(|c| c.is_alphanumeric()).collect();
    let first = first.to_lowercase();
    [DETERMINERS, PREPOSITIONS, RELATIVES, PERSONS, "not it and or but please i e aka also"]
        .iter()
        .any(|it| has(it, &first))
}

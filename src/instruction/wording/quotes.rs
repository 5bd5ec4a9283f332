//! Quotation marks of every language, told from apostrophes, inches and feet.

use std::ops::Range;

use super::Use;
use crate::instruction::{lists::has, words};

/// Marks that are nothing but quotation marks, by the kinds that pair.
const DOUBLE: [&str; 5] = ["\"＂", "“”„‟❝❞〝〞〟", "«»", "‹›", "「」『』《》〈〉﹁﹂﹃﹄"];

/// Marks that may also be apostrophes, feet or accents.
const SINGLE: &str = "'‘’‚‛`´＇❛❜";

/// Words that are said of writing, whose quotation marks hold what is written.
const WRITING: &str = "text texts word words letter letters lettering caption captions title titled label labels labeled labelled say \
    says saying said read reads reading write writes writing written wrote spell spells spelling spelled inscription inscribe \
    inscribed engrave engraved slogan headline font named";

/// Beginnings of words with an apostrophe before them.
const ELISIONS: &str =
    "em tis twas til till cause bout n round cuz 20s 30s 40s 50s 60s 70s 80s 90s";

/// A text whose quotation marks are left out, or kept with what stands inside them.
#[derive(Debug)]
pub(super) struct Quoted {
    /// The text; what is kept stands in it as one private character each.
    pub(super) text: String,
    /// What is kept, marks included.
    kept: Vec<String>,
}

/// The first private character, of those that [`super::characters`] has left out of the text.
const HOLDER: u32 = 0x0010_0000;

impl Quoted {
    /// A text with what was kept back in its place.
    pub(super) fn restored(&self, text: &str) -> String {
        let kept = self.kept.iter().enumerate();
        kept.fold(text.to_owned(), |text, (index, kept)| text.replace(holder(index), kept))
    }
}

/// Leaves out the quotation marks of a text; keeps quotations where it speaks of writing.
pub(super) fn without_marks(text: &str, for_use: Use, left_out: &mut Vec<String>) -> Quoted {
    let is_quoting = |c: char| SINGLE.contains(c) || DOUBLE.iter().any(|it| it.contains(c));
    if !text.contains(is_quoting) {
        return Quoted { text: text.to_owned(), kept: Vec::new() };
    }
    let pairs = pairs(text);
    let mut drop: Vec<Range<usize>> = Vec::new();
    let mut kept = Vec::new();
    // Marks around all of the text say nothing of writing.
    let whole = pairs.iter().find(|(open, close)| {
        text[..open.start].trim().is_empty()
            && text[close.end..]
                .trim_matches(|c: char| c.is_whitespace() || ".!,;".contains(c))
                .is_empty()
    });
    let writes = for_use != Use::NegativePrompt
        && words::tokens(text).iter().any(|it| has(WRITING, &it.lower));
    if writes {
        drop.extend(whole.into_iter().flat_map(|(open, close)| [open.clone(), close.clone()]));
        if whole.is_none() {
            for (open, close) in &pairs {
                if kept.last().is_none_or(|last: &Range<usize>| last.end <= open.start) {
                    kept.push(open.start..close.end);
                }
            }
        }
    } else {
        drop.extend(pairs.iter().flat_map(|(open, close)| [open.clone(), close.clone()]));
        // Without its other half, a mark of this kind is a quotation mark still.
        drop.extend(
            marks(text)
                .filter(|(_, c)| is_double(*c) && *c != '"')
                .map(|(at, c)| at..at + c.len_utf8()),
        );
    }
    drop.sort_by_key(|it| it.start);
    drop.dedup();
    if !drop.is_empty() {
        left_out.push("quotation marks".to_owned());
    }
    let mut held = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match kept.iter().position(|it| it.contains(&at)) {
            Some(index) if kept[index].start == at => held.push(holder(index)),
            Some(_) => {}
            None if drop.iter().any(|it| it.contains(&at)) => {}
            None => held.push(c),
        }
    }
    Quoted { text: held, kept: kept.into_iter().map(|it| text[it].to_owned()).collect() }
}

fn holder(index: usize) -> char {
    char::from_u32(HOLDER + index as u32)
        .expect("a plane has more characters than a text has quotations")
}

/// Whether a character stands for a quotation that is kept.
pub(super) fn is_holder(c: char) -> bool {
    u32::from(c) >= HOLDER
}

fn is_double(c: char) -> bool {
    DOUBLE.iter().any(|it| it.contains(c))
}

/// The double marks, with the places where they stand.
fn marks(text: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    text.char_indices().filter(|(_, c)| is_double(*c))
}

/// Opening and closing marks, in order of the opening ones.
fn pairs(text: &str) -> Vec<(Range<usize>, Range<usize>)> {
    let mut pairs = Vec::new();
    for kind in DOUBLE {
        let mut open: Option<Range<usize>> = None;
        let of_kind: Vec<(usize, char)> = marks(text).filter(|(_, c)| kind.contains(*c)).collect();
        for (index, &(at, c)) in of_kind.iter().enumerate() {
            let mark = at..at + c.len_utf8();
            let after_digit = c == '"' && text[..at].ends_with(|c: char| c.is_numeric());
            // `a 5" nail`: inches, unless they close a quotation that nothing else closes.
            let closers = of_kind[index + 1..].iter().filter(|(at, _)| closes(text, *at)).count();
            if after_digit && (open.is_none() || closers % 2 == 1) {
                continue;
            }
            match open.take() {
                Some(open) => pairs.push((open, mark)),
                None => open = Some(mark),
            }
        }
    }
    // LaTeX's ``…''.
    pairs.extend(doubled(text));
    let taken: Vec<Range<usize>> = pairs
        .iter()
        .flat_map(|(open, close): &(Range<usize>, Range<usize>)| [open.clone(), close.clone()])
        .collect();
    let mut open: Option<Range<usize>> = None;
    for (at, c) in text
        .char_indices()
        .filter(|(at, c)| SINGLE.contains(*c) && !taken.iter().any(|it| it.contains(at)))
    {
        let mark = at..at + c.len_utf8();
        if opens(text, &mark) {
            open = Some(mark);
        } else if closes(text, at)
            && let Some(open) = open.take()
        {
            pairs.push((open, mark));
        }
    }
    pairs.sort_by_key(|(open, _)| open.start);
    pairs
}

/// Pairs of two backticks and two apostrophes.
fn doubled(text: &str) -> Vec<(Range<usize>, Range<usize>)> {
    let mut pairs = Vec::new();
    let mut from = 0;
    while let Some(open) = text[from..].find("``").map(|it| it + from) {
        let Some(close) = text[open + 2..].find("''").map(|it| it + open + 2) else { break };
        pairs.push((open..open + 2, close..close + 2));
        from = close + 2;
    }
    pairs
}

/// Whether a single mark can open a quotation: nothing before it, a word behind it, and no word that begins with an
/// apostrophe.
fn opens(text: &str, mark: &Range<usize>) -> bool {
    let before = text[..mark.start].chars().next_back();
    let behind = &text[mark.end..];
    let begins =
        behind.starts_with(|c: char| c.is_alphanumeric() || "([{<".contains(c) || is_double(c));
    let word: String = behind.chars().take_while(|c| c.is_alphanumeric()).collect();
    before.is_none_or(|c| c.is_whitespace() || "([{<-–—,:;=".contains(c) || is_double(c))
        && begins
        && !has(ELISIONS, &word.to_lowercase())
}

/// Whether a mark can close a quotation: something before it, and no word behind it.
fn closes(text: &str, at: usize) -> bool {
    let behind = text[at..].chars().nth(1);
    text[..at].ends_with(|c: char| !c.is_whitespace())
        && behind.is_none_or(|c| !c.is_alphanumeric())
}

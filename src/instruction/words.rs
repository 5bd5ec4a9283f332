//! Cuts an instruction into words and marks, each with its place in the text.

use std::ops::Range;

/// A word or a mark of an instruction.
///
/// Marks are few: `,` and `;` (a pause, a stop), `->` (any arrow) and `'s` (a possessive, cut from its word).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// Bytes of the instruction, on character boundaries.
    pub(super) span: Range<usize>,
    /// The word in lower case, with straight apostrophes.
    pub(super) lower: String,
    /// Whether it stood inside quotation marks.
    pub(super) quoted: bool,
}

impl Token {
    /// Whether the token is exactly this word or mark.
    pub(super) fn is(&self, word: &str) -> bool {
        self.lower == word
    }

    /// Whether the token is a word, not a mark.
    pub(super) fn is_word(&self) -> bool {
        self.lower.starts_with(char::is_alphanumeric)
    }
}

/// Cuts a text into its words and marks.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    // Double and single quotation marks may nest.
    let (mut double, mut single) = (false, false);
    let mut chars = text.char_indices().peekable();
    while let Some((start, c)) = chars.next() {
        let mut end = start + c.len_utf8();
        if c.is_alphanumeric() {
            while let Some(&(at, next)) = chars.peek() {
                if !next.is_alphanumeric() && !joins(text, at, next) {
                    break;
                }
                end = at + next.len_utf8();
                chars.next();
            }
            push_word(&mut found, text, start..end, double || single);
            continue;
        }
        let mark = match c {
            ',' | ':' | '(' | ')' | '[' | ']' | '\u{2013}' | '\u{2014}' | '\u{2026}' => ",",
            '.' | ';' | '!' | '?' => ";",
            // The shafts of `->` and `=>` fall through as characters of no account.
            '>' | '\u{2190}'..='\u{21ff}' | '\u{27f0}'..='\u{27ff}' => "->",
            '=' if !text[end..].starts_with(['>', '=']) => "->",
            '&' | '+' => "and",
            '"' | '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{ab}' | '\u{bb}' => {
                double = !double;
                continue;
            }
            '\'' | '\u{2018}' | '\u{2019}' => {
                let plural_owner = !single
                    && c != '\u{2018}'
                    && found
                        .last()
                        .is_some_and(|it| it.span.end == start && it.lower.ends_with('s'));
                if !plural_owner {
                    single = !single;
                    continue;
                }
                "'s"
            }
            _ => continue,
        };
        found.push(Token { span: start..end, lower: mark.to_owned(), quoted: double || single });
    }
    found
}

/// Adds a word, its possessive ending as a token of its own.
fn push_word(found: &mut Vec<Token>, text: &str, span: Range<usize>, quoted: bool) {
    let lower = text[span.clone()].to_lowercase().replace(['\u{2018}', '\u{2019}'], "'");
    let Some(owner) = lower.strip_suffix("'s") else {
        found.push(Token { span, lower, quoted });
        return;
    };
    let mark =
        text[span.clone()].char_indices().rev().nth(1).map_or(span.end, |(at, _)| span.start + at);
    found.push(Token { span: span.start..mark, lower: owner.to_owned(), quoted });
    found.push(Token { span: mark..span.end, lower: "'s".to_owned(), quoted });
}

/// Whether the character at byte `at` stands inside a word: an apostrophe, a hyphen, a decimal point.
fn joins(text: &str, at: usize, c: char) -> bool {
    let after = text[at + c.len_utf8()..].chars().next();
    match c {
        '\'' | '\u{2018}' | '\u{2019}' | '-' | '\u{2010}' | '\u{2011}' => {
            after.is_some_and(char::is_alphanumeric)
        }
        '.' => text[..at].ends_with(char::is_numeric) && after.is_some_and(char::is_numeric),
        _ => false,
    }
}

// === runs of tokens ===

/// Whether the tokens begin with these words.
pub(super) fn starts_with(tokens: &[Token], words: &str) -> bool {
    prefix_len(tokens, words).is_some()
}

/// The number of words, if the tokens begin with them.
pub(super) fn prefix_len(tokens: &[Token], words: &str) -> Option<usize> {
    let mut n = 0;
    for word in words.split(' ') {
        if !tokens.get(n)?.is(word) {
            return None;
        }
        n += 1;
    }
    Some(n)
}

/// The number of tokens at the start that a pattern takes: words parted by spaces, `a/b` for one of several, `?` at the
/// end of a word that may be missing, `_` for any word.
pub(super) fn matched(tokens: &[Token], pattern: &str) -> Option<usize> {
    let mut n = 0;
    for part in pattern.split(' ') {
        let (choices, optional) =
            part.strip_suffix('?').map_or((part, false), |choices| (choices, true));
        let fits = tokens.get(n).is_some_and(|token| {
            choices == "_" && token.is_word() || choices.split('/').any(|word| token.is(word))
        });
        match (fits, optional) {
            (true, _) => n += 1,
            (false, true) => {}
            (false, false) => return None,
        }
    }
    Some(n)
}

/// Where these words first stand, as a range of tokens.
pub(super) fn find(tokens: &[Token], words: &str) -> Option<Range<usize>> {
    (0..tokens.len()).find_map(|i| prefix_len(&tokens[i..], words).map(|n| i..i + n))
}

/// The bytes from the first word to the last, without pauses around them; `None` if there are none, or if the words do
/// not stand in this order in the text.
pub(super) fn bytes(tokens: &[Token]) -> Option<Range<usize>> {
    let first = tokens.iter().find(|it| !it.is(","))?;
    let last = tokens.iter().rfind(|it| !it.is(","))?;
    let ordered = tokens.is_sorted_by(|one, other| one.span.end <= other.span.start);
    ordered.then_some(first.span.start..last.span.end)
}

/// The bytes from the first of some spans to the end of the last, in whatever order they come.
///
/// Words of a clause need not stand side by side, nor in its order, so two spans are joined by this alone.
pub(super) fn cover<'a>(spans: impl IntoIterator<Item = &'a Range<usize>>) -> Option<Range<usize>> {
    spans
        .into_iter()
        .cloned()
        .reduce(|one, other| one.start.min(other.start)..one.end.max(other.end))
}

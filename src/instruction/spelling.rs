//! Corrects misspelled words that the grammar turns on: verbs, colors, small words, and nouns that are often edited.
//!
//! A word is corrected only if no dictionary has it. A dictionary is large, and only its words near those known here
//! matter, so `assets/words/english.txt` holds these: each English word (SCOWL's large American and British lists) that
//! a typo could be taken for. A word that is neither there nor near a known one stays as it is, and so does a name.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

use super::lexicon::{
    ADJECTIVES, ATTRIBUTES, COLORS, COMMANDS, COMMON_NOUNS, DETERMINERS, PERSONS, PREPOSITIONS,
    SHADES, SIZES, SMALL_WORDS, verb_in,
};
use super::nouns::plural_of;
use super::words::{Token, tokens};

/// Nouns that are often edited.
const NOUNS: &str = include_str!("../../assets/nouns.txt");

/// More of those, by what pictures show.
const MORE_NOUNS: &str = include_str!("../../assets/words/nouns.txt");

/// English words near the known ones, sorted: no typos of these.
const REAL_WORDS: &str = include_str!("../../assets/words/english.txt");

/// A misspelled word and what it was read as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// The word as it was written.
    pub written: String,
    /// The word that it was read as.
    pub read: String,
    /// Bytes of the corrected text at which it stands.
    pub span: Range<usize>,
}

/// The words that a misspelled one may be read as.
struct Known {
    /// Those that a command is made of before nouns, since they decide more; with their letters and their sound.
    words: Vec<(String, u32, String)>,
    set: HashSet<String>,
    real: HashSet<&'static str>,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let closed = [
        SMALL_WORDS,
        DETERMINERS,
        PREPOSITIONS,
        PERSONS,
        COLORS,
        SHADES,
        SIZES,
        ADJECTIVES,
        ATTRIBUTES,
    ];
    let lists = COMMANDS.iter().chain(&closed).copied();
    let mut words: Vec<String> =
        lists.flat_map(str::split_ascii_whitespace).map(str::to_owned).collect();
    for noun in [NOUNS, COMMON_NOUNS, MORE_NOUNS].into_iter().flat_map(str::split_ascii_whitespace)
    {
        words.push(noun.to_owned());
        words.push(plural_of(noun));
    }
    let mut set = HashSet::new();
    words.retain(|it| it.len() > 2 && !it.contains('-') && set.insert(it.clone()));
    let words = words
        .into_iter()
        .map(|it| {
            let (bits, sound) = (letters(&it), heard(&it));
            (it, bits, sound)
        })
        .collect();
    Known { words, set, real: REAL_WORDS.split_ascii_whitespace().collect() }
});

/// The letters of a word, a bit each.
fn letters(word: &str) -> u32 {
    word.bytes().filter(u8::is_ascii_lowercase).fold(0, |all, it| all | 1 << (it - b'a'))
}

/// A text with its misspelled words corrected, and what was corrected.
pub(super) fn corrected(text: &str) -> (String, Vec<Correction>) {
    let tokens = tokens(text);
    let shouted = !text.contains(char::is_lowercase);
    let mut out = String::with_capacity(text.len());
    let mut corrections = Vec::new();
    let mut copied = 0;
    for (at, token) in tokens.iter().enumerate() {
        let first = at == 0 || tokens[at - 1].is(";");
        let Some(read) = meant(text, token, first, shouted) else { continue };
        // `Plase paint …`: before a verb stands no other one.
        let commands = |it: &Token| verb_in(&COMMANDS, &it.lower).is_some();
        let polite = first
            && tokens.get(at + 1).is_some_and(commands)
            && distance(&token.lower, "please", false).is_some();
        let read = if polite { "please" } else { read };
        let written = &text[token.span.clone()];
        let read = cased(written, read, shouted);
        out.push_str(&text[copied..token.span.start]);
        let span = out.len()..out.len() + read.len();
        out.push_str(&read);
        copied = token.span.end;
        corrections.push(Correction { written: written.to_owned(), read, span });
    }
    out.push_str(&text[copied..]);
    (out, corrections)
}

/// Words with a hyphen that may be misspelled.
const HYPHENATED: &str =
    "t-shirt t-shirts flip-flop flip-flops teddy-bear off-white polka-dot polka-dots";

/// The known word that a misspelled one stands for; `None` if it is right, a name, or could be several.
fn meant(text: &str, token: &Token, first: bool, shouted: bool) -> Option<&'static str> {
    let word = token.lower.as_str();
    let name = text[token.span.clone()].chars().any(char::is_uppercase) && !first && !shouted;
    if token.quoted || name || word.len() < 3 {
        return None;
    }
    let hyphenated = || HYPHENATED.split(' ').find(|it| strsim::osa_distance(word, it) == 1);
    if word.contains('-') && word.len() > 5 && !HYPHENATED.split(' ').any(|it| it == word) {
        return hyphenated();
    }
    if !word.bytes().all(|it| it.is_ascii_lowercase()) {
        return None;
    }
    let known = &*KNOWN;
    if known.set.contains(word) || known.real.contains(word) || is_form(known, word) {
        return None;
    }
    let (letters, sound) = (letters(word), heard(word));
    // Two slips change four letters at most; the first of equals counts, which are the words that decide more.
    let near = known
        .words
        .iter()
        .filter(|it| it.0.len().abs_diff(word.len()) < 3 && (it.1 ^ letters).count_ones() <= 4);
    near.filter_map(|it| Some((distance(word, &it.0, sound == it.2)?, it.0.as_str())))
        .min_by_key(|it| it.0)
        .map(|it| it.1)
}

/// Whether a word is a form of a known one: `painting`, `deleted`, `cats`.
fn is_form(known: &Known, word: &str) -> bool {
    ["ing", "ed", "s", "es", "er", "ly", "y"].iter().any(|ending| {
        word.strip_suffix(ending).is_some_and(|stem| {
            let undoubled = stem.get(..stem.len().saturating_sub(1)).unwrap_or_default();
            known.set.contains(stem)
                || known.set.contains(&format!("{stem}e"))
                || stem.ends_with(&undoubled.chars().last().map_or_else(String::new, String::from))
                    && known.set.contains(undoubled)
        })
    })
}

/// How far a word is from a known one, by slips and then by where they are; `None` if too far for its length. Words
/// that sound `alike` have no slips.
fn distance(word: &str, known: &str, alike: bool) -> Option<(usize, bool, bool, bool)> {
    let same_start = word.as_bytes().first() == known.as_bytes().first();
    let slips = if alike { 0 } else { strsim::osa_distance(word, known) };
    let swapped = slips == 1 && {
        let (mut one, mut other) = (word.as_bytes().to_vec(), known.as_bytes().to_vec());
        one.sort_unstable();
        other.sort_unstable();
        one == other
    };
    let near = match word.len() {
        ..=3 => swapped,
        4 => swapped || slips < 2 && same_start,
        5..=6 => slips < 2,
        _ => slips < 2 || slips == 2 && same_start,
    };
    near.then_some((slips, !same_start, !swapped, !word.starts_with(known)))
}

/// A word as it sounds: `elefant` for `elephant`.
fn heard(word: &str) -> String {
    word.replace("ph", "f").replace("ck", "k")
}

/// A word in the case of the one that it stands for.
fn cased(written: &str, read: &str, shouted: bool) -> String {
    if shouted {
        return read.to_uppercase();
    }
    let mut chars = read.chars();
    match chars.next() {
        Some(first) if written.starts_with(char::is_uppercase) => {
            first.to_uppercase().chain(chars).collect()
        }
        _ => read.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn known_words_are_no_typos() {
        for (word, ..) in &super::KNOWN.words {
            assert_eq!(super::corrected(word).0, *word);
        }
    }

    /// Where Debian's packages wamerican-large and wbritish-large put SCOWL's lists.
    const LISTS: [&str; 2] =
        ["/usr/share/dict/american-english-large", "/usr/share/dict/british-english-large"];

    /// Makes `assets/words/english.txt` anew when words have become known.
    #[test]
    #[ignore = "writes a source file, from word lists that are not here"]
    fn write_real_words() {
        let mut near: BTreeSet<String> =
            super::REAL_WORDS.split_ascii_whitespace().map(str::to_owned).collect();
        for list in LISTS {
            let words = std::fs::read_to_string(list).expect("the list can be read");
            let plain = words.lines().map(str::to_lowercase);
            near.extend(plain.filter(|it| !super::corrected(it).1.is_empty()));
        }
        let lines: Vec<String> = near.into_iter().collect();
        std::fs::write(
            concat!(env!("CARGO_MANIFEST_DIR"), "/assets/words/english.txt"),
            lines.join("\n") + "\n",
        )
        .expect("the file can be written");
    }
}

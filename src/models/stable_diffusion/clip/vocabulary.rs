//! CLIP's own vocabulary (`assets/clip/`), for models that come without one.

use serde_json::{Map, Value};

/// CLIP's merges, in the form of `merges.txt`: the first 48,894 of `bpe_simple_vocab_16e6.txt` (MIT, openai/CLIP), the
/// others not being in use.
pub(super) const MERGES: &str = include_str!("../../../../assets/clip/merges.txt");

/// Marks the end of a word.
pub(super) const END_OF_WORD: &str = "</w>";

/// Begins every prompt.
pub(super) const BOS: &str = "<|startoftext|>";

/// Ends every prompt, and pads it where nothing else is said.
pub(super) const EOS: &str = "<|endoftext|>";

/// The pairs of a `merges.txt`, in order of rank; `None` for a line that is no pair.
pub(super) fn merges(text: &str) -> Option<Vec<(&str, &str)>> {
    let lines = text.lines().filter(|it| !it.starts_with("#version") && !it.is_empty());
    lines.map(|it| it.split_once(' ').filter(|(_, second)| !second.contains(' '))).collect()
}

/// The vocabulary that merges imply, numbered as CLIP numbers it: bytes, bytes that end a word, merged pairs, and the two
/// special tokens.
pub(super) fn vocabulary(merges: &[(&str, &str)]) -> Map<String, Value> {
    let bytes: Vec<String> = byte_symbols().map(String::from).collect();
    let ends = bytes.iter().map(|it| format!("{it}{END_OF_WORD}"));
    let pairs = merges.iter().map(|(first, second)| format!("{first}{second}"));
    let specials = [BOS, EOS].map(str::to_owned);
    let tokens = bytes.iter().cloned().chain(ends).chain(pairs).chain(specials);
    tokens.enumerate().map(|(id, token)| (token, id.into())).collect()
}

/// The character that stands for each byte: printable ones for themselves, first, and the others from U+0100 on.
fn byte_symbols() -> impl Iterator<Item = char> {
    let printable = (b'!'..=b'~').chain(0xA1..=0xAC).chain(0xAE..=0xFF).map(char::from);
    printable.chain(('\u{100}'..).take(68))
}

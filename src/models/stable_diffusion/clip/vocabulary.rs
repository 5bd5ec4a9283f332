//! CLIP's vocabulary (`assets/clip/`), for models that do not include one.

use serde_json::{Map, Value};

/// CLIP's merges, in the form of `merges.txt`: the first 48,894 of `bpe_simple_vocab_16e6.txt` (MIT, openai/CLIP); the
/// others are unused.
pub(super) const MERGES: &str = include_str!("../../../../assets/clip/merges.txt");

/// End-of-word marker.
pub(super) const END_OF_WORD: &str = "</w>";

/// Start token.
pub(super) const BOS: &str = "<|startoftext|>";

/// End token, also used for padding by default.
pub(super) const EOS: &str = "<|endoftext|>";

/// The vocabulary that follows from the merges, numbered as in CLIP: bytes, bytes at a word's end, merged pairs, and
/// the two special tokens.
pub(super) fn vocabulary(merges: &[(&str, &str)]) -> Map<String, Value> {
    let bytes: Vec<String> = byte_symbols().map(String::from).collect();
    let ends = bytes.iter().map(|it| format!("{it}{END_OF_WORD}"));
    let pairs = merges.iter().map(|(first, second)| format!("{first}{second}"));
    let specials = [BOS, EOS].map(str::to_owned);
    let tokens = bytes.iter().cloned().chain(ends).chain(pairs).chain(specials);
    tokens.enumerate().map(|(id, token)| (token, id.into())).collect()
}

/// The character that represents each byte: printable bytes stand for themselves and come first, the others are mapped
/// from U+0100 on.
fn byte_symbols() -> impl Iterator<Item = char> {
    let printable = (b'!'..=b'~').chain(0xA1..=0xAC).chain(0xAE..=0xFF).map(char::from);
    printable.chain(('\u{100}'..).take(68))
}

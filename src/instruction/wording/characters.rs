//! Characters that nobody sees, and letters that are drawn otherwise.

use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::pattern;

/// Characters without a shape of their own: byte order marks, zero-width spaces, soft hyphens, marks of direction,
/// variation selectors, tags, controls, and the private characters of the last two planes. Joiners are looked at apart.
static INVISIBLE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^[[\p{Default_Ignorable_Code_Point}\p{Cf}\p{Cc}\x{FFFC}\x{F0000}-\x{10FFFF}]--[\t\n\r\x{200C}\x{200D}\p{Prepended_Concatenation_Mark}]]$",
    )
});

/// Zero-width joiners.
const JOINERS: [char; 2] = ['\u{200c}', '\u{200d}'];

/// A text without invisible characters, its spaces plain, its letters composed (NFC) and in their usual form.
pub(super) fn readable(text: &str, left_out: &mut Vec<String>) -> String {
    if text.chars().all(|c| c.is_ascii() && (!c.is_ascii_control() || is_plain_space(c))) {
        return text.to_owned();
    }
    let mut buffer = [0; 4];
    let mut is_invisible = |c: char| INVISIBLE.is_match(c.encode_utf8(&mut buffer));
    let visible: Vec<char> = text.chars().filter(|&c| !is_invisible(c)).collect();
    let mut shown = String::with_capacity(text.len());
    for (at, &c) in visible.iter().enumerate() {
        // Joiners shape words of some scripts, and emoji; between other characters they do nothing.
        let joined =
            |at: Option<usize>| at.and_then(|at| visible.get(at)).is_some_and(|&c| c > '\u{24f}');
        if !JOINERS.contains(&c) || joined(at.checked_sub(1)) && joined(Some(at + 1)) {
            shown.push(c);
        }
    }
    if shown.chars().count() < text.chars().count() {
        left_out.push("invisible characters".to_owned());
    }
    let plain: String = shown.chars().flat_map(usual).collect();
    if is_nfc(&plain) { plain } else { plain.nfc().collect() }
}

fn is_plain_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// A character in its usual form: any space as a space; letters and digits of full width, mathematical letters and
/// ligatures as the Latin letters that they stand for.
fn usual(c: char) -> Vec<char> {
    if c.is_whitespace() && !is_plain_space(c) {
        return vec![' '];
    }
    let full_width_digit = ('\u{ff10}'..='\u{ff19}').contains(&c);
    if c.is_ascii() || !(c.is_alphabetic() || full_width_digit) {
        return vec![c];
    }
    let form: Vec<char> = std::iter::once(c).nfkc().collect();
    if form.iter().all(char::is_ascii_alphanumeric) { form } else { vec![c] }
}

//! Sanitizes untrusted text for a terminal, such as file names and instructions.

use std::borrow::Cow;

/// A text on one line, with control characters escaped, such as `\u{1b}` and `\n`.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    let spelled =
        |it: char| if steers(it) { it.escape_default().to_string() } else { it.to_string() };
    Cow::Owned(text.chars().map(spelled).collect())
}

/// Control characters, line and paragraph separators, and invisible or bidirectional formatting characters.
fn steers(it: char) -> bool {
    it.is_control()
        || matches!(it,
            '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_spelled_out() {
        for (text, expected) in [
            ("a\u{1b}[2Jb", r"a\u{1b}[2Jb"),
            ("a\nb\r\tc", r"a\nb\r\tc"),
            ("a\u{7}\u{8}\u{7f}\u{9b}", r"a\u{7}\u{8}\u{7f}\u{9b}"),
            ("gnp.\u{202e}exe", r"gnp.\u{202e}exe"),
            ("a\u{2028}b\u{feff}", r"a\u{2028}b\u{feff}"),
        ] {
            assert_eq!(printable(text), expected);
        }
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        for text in ["bee.png", "Bienenkönigin 蜂 🐝 👩‍🚀", r"C:\bees", "ثلج"] {
            assert!(matches!(printable(text), Cow::Borrowed(it) if it == text));
        }
    }
}

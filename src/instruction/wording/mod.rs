//! Cleans a text that a caller typed, before it is parsed and given to the model.
//!
//! Prompts are often pasted from web pages and from interfaces of text-to-image models. What has no meaning for an
//! editing model is removed and reported: invisible characters, quotation marks, the prompt syntax of AUTOMATIC1111,
//! `ComfyUI`, `InvokeAI`, `NovelAI` and Midjourney, and quality tags. A text without any of these is unchanged, byte
//! for byte.
//!
//! # What is kept
//! - Apostrophes (`the man's hat`, `the dogs' bowls`, `don't`), inches and feet (`a 5" nail`, `6'2"`).
//! - Quotation marks in instructions about writing (`the text "OPEN"`, `a sign that says "closed"`), with the content.
//! - Parenthesized remarks on a noun, without a weight: `the star (the red one)`. Escaped brackets (`\(`) become plain.
//! - Quality tags in a negative prompt, where they name what to avoid, and texts that consist of such tags only.

mod characters;
mod quotes;
mod syntax;
mod tags;

use std::sync::LazyLock;

use regex::Regex;

/// A cleaned text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wording {
    /// The text.
    pub text: String,
    /// Descriptions of what was removed, each once.
    pub left_out: Vec<String>,
}

/// The role of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// The instruction.
    Instruction,
    /// The object, if the caller names it.
    Object,
    /// The negative prompt.
    NegativePrompt,
}

impl Wording {
    /// Cleans a text.
    ///
    /// ```
    /// use retouch::instruction::wording::{Use, Wording};
    ///
    /// let wording = Wording::of("make the (red star:1.3) blue, masterpiece, 8k", Use::Instruction);
    /// assert_eq!(wording.text, "make the red star blue");
    /// assert_eq!(wording.left_out, ["prompt weights", "quality tags (`masterpiece`, `8k`)"]);
    /// ```
    pub fn of(text: &str, for_use: Use) -> Self {
        let mut left_out = Vec::new();
        let readable = characters::readable(text, &mut left_out);
        let quoted = quotes::without_marks(&readable, for_use, &mut left_out);
        let plain = syntax::without_syntax(&quoted.text, &mut left_out);
        let plain = match for_use {
            Use::NegativePrompt => plain,
            Use::Instruction | Use::Object => tags::without_tags(&plain, &mut left_out),
        };
        let mut text = quoted.restored(&plain);
        if text != readable {
            text = quoted.restored(&tidy(&plain));
        }
        if for_use == Use::NegativePrompt && !text.is_empty() && !has_words(&text) {
            left_out.push(format!("`{}`, which has no word in it", text.trim()));
            text.clear();
        }
        Self { text, left_out }
    }

    /// A message of one line about what was removed; `None` if nothing was.
    pub fn note(&self, of: &str) -> Option<String> {
        (!self.left_out.is_empty()).then(|| {
            let (left_out, text) = (self.left_out.join(", "), &self.text);
            format!("left out of the {of}: {left_out}; the model reads `{text}`")
        })
    }
}

/// Whether a text has a letter of any script. Digits, punctuation and emoji alone are not words.
pub fn has_words(text: &str) -> bool {
    text.chars().any(char::is_alphabetic)
}

/// Messages about the texts of a request, one line each.
pub fn notes(instruction: &str, object: Option<&str>, negative_prompt: &str) -> Vec<String> {
    let texts = [
        (instruction, Use::Instruction, "instruction"),
        (object.unwrap_or_default(), Use::Object, "object"),
        (negative_prompt, Use::NegativePrompt, "negative prompt"),
    ];
    texts.into_iter().filter_map(|(text, of, name)| Wording::of(text, of).note(name)).collect()
}

/// Why a text can't be an instruction, if so: `is empty; …`.
pub fn fault(instruction: &str) -> Option<&'static str> {
    if instruction.trim().is_empty() {
        return Some("is empty; say what to change");
    }
    if !has_words(instruction) {
        return Some("has no word in it; say what to change");
    }
    let left = Wording::of(instruction, Use::Instruction).text;
    (!has_words(&left)).then_some("has prompt syntax and no word in it; say what to change")
}

/// Collapses the gaps that removals leave.
fn tidy(text: &str) -> String {
    static RULES: LazyLock<[(Regex, &str); 5]> = LazyLock::new(|| {
        [
            (pattern(r"\s+"), " "),
            (pattern(r" ([,.;:!?)\]])"), "$1"),
            (pattern(r"([(\[]) "), "$1"),
            (pattern(r",(?:\s*,)+"), ","),
            (pattern(r"^[\s,]+|[\s,]+$"), ""),
        ]
    });
    let mut text = text.to_owned();
    for (pattern, with) in RULES.iter() {
        text = pattern.replace_all(&text, *with).into_owned();
    }
    text
}

/// Compiles a built-in pattern.
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is well-formed")
}

//! Cleans a text that a caller typed, before it is parsed and before a model reads it.
//!
//! Prompts are often pasted from web pages and from the user interfaces of text-to-image models. What means nothing to
//! an editing model is left out, and told: invisible characters, quotation marks, the prompt syntax of AUTOMATIC1111,
//! `ComfyUI`, `InvokeAI`, `NovelAI` and Midjourney, and tags that ask for quality. A text with nothing of the kind
//! stays as it is, byte for byte.
//!
//! # What stays
//! - Apostrophes (`the man's hat`, `the dogs' bowls`, `don't`), inches and feet (`a 5" nail`, `6'2"`).
//! - Quotation marks where the instruction speaks of writing (`the text "OPEN"`, `a sign that says "closed"`), and what
//!   stands inside them.
//! - Parentheses that say more of a noun, without a weight: `the star (the red one)`. Escaped brackets (`\(`) stand for
//!   themselves.
//! - Quality tags in a negative prompt, where they say what to avoid, and a text that is nothing but such tags.

mod characters;
mod quotes;
mod syntax;
mod tags;

use std::sync::LazyLock;

use regex::Regex;

/// A text as the model reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wording {
    /// The text.
    pub text: String,
    /// What was left out, in words, each once.
    pub left_out: Vec<String>,
}

/// What a text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// What to do.
    Instruction,
    /// The object, where the caller names it.
    Object,
    /// What to avoid.
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
            left_out.push(format!("`{}`, which has no words", text.trim()));
            text.clear();
        }
        Self { text, left_out }
    }

    /// What was left out, in a line for people; `None` if nothing was.
    pub fn note(&self, of: &str) -> Option<String> {
        (!self.left_out.is_empty()).then(|| {
            let (left_out, text) = (self.left_out.join(", "), &self.text);
            format!("left out of the {of}: {left_out}; the model reads `{text}`")
        })
    }
}

/// Whether a text says anything: it has a letter of any script. Digits, marks and emoji are no words.
pub fn has_words(text: &str) -> bool {
    text.chars().any(char::is_alphabetic)
}

/// Notes on the texts of a request, each a line for people.
pub fn notes(instruction: &str, object: Option<&str>, negative_prompt: &str) -> Vec<String> {
    let texts = [
        (instruction, Use::Instruction, "instruction"),
        (object.unwrap_or_default(), Use::Object, "object"),
        (negative_prompt, Use::NegativePrompt, "negative prompt"),
    ];
    texts.into_iter().filter_map(|(text, of, name)| Wording::of(text, of).note(name)).collect()
}

/// Why a text can't be an instruction, if it can't: `is empty; …`.
pub fn fault(instruction: &str) -> Option<&'static str> {
    if instruction.trim().is_empty() {
        return Some("is empty; say what to change");
    }
    if !has_words(instruction) {
        return Some("has no words; say what to change");
    }
    let left = Wording::of(instruction, Use::Instruction).text;
    (!has_words(&left)).then_some("has prompt syntax and no words; say what to change")
}

/// Closes the gaps that were left.
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

/// A pattern of ours.
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is well-formed")
}

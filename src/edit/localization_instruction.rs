//! The localization instruction `c_L` of IAM-Edit: its template, the pool of nouns, and the choice of the unrelated
//! noun.
//!
//! The paper (section "Localization instruction") turns an instruction that changes or removes an object into one that
//! changes it to something unrelated, since this focuses the attention of the object's words on it: "Change the bee to
//! granada", "Change her clothes to a car". An instruction that adds is its own localization instruction. The unrelated
//! noun is the candidate of a pool that is least similar by text embedding.

use std::cmp::Ordering;
use std::ops::Range;

use serde::Deserialize;
use thiserror::Error;

use crate::edit::said::Said;
use crate::instruction::{
    Action, Instruction, Phrase,
    nouns::{self, oblique},
    told::Told,
};

/// The default pool: concrete nouns of many kinds, no people, each a single token of CLIP's vocabulary.
const NOUNS: &str = include_str!("../../assets/nouns.txt");

/// Placeholder of the objects in a template.
const OBJECT: &str = "{object}";

/// Placeholder of the unrelated noun in a template.
const WORD: &str = "{word}";

/// Template of a localization instruction.
///
/// `{object}` stands for the objects, each with its determiner; objects without one get `the `. `{word}` stands for the
/// unrelated noun; an `a ` before it is adapted to the noun (`an apple`, `cars`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Template(String);

/// A placeholder is missing or occurs twice.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "template `{template}` must contain `{place}` once, as in `change the {{object}} to a {{word}}`"
)]
pub struct TemplateError {
    /// The template.
    pub template: String,
    /// The placeholder.
    pub place: &'static str,
}

/// The prompt of pass 1, and the byte ranges of its objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalizationInstruction {
    /// The instruction, `c_L`.
    pub text: String,
    /// Byte range in `text` of each object's name without its determiner, in the order of the instruction's objects.
    pub object_spans: Vec<Range<usize>>,
    /// What the instruction says of each of them beyond its noun.
    pub said: Vec<Said>,
    /// Whether the objects are in the picture; an object to be added is not, yet.
    pub stands: bool,
}

impl Default for Template {
    /// The paper's template.
    fn default() -> Self {
        Self(format!("Change {OBJECT} to a {WORD}"))
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;

    fn try_from(template: String) -> Result<Self, TemplateError> {
        match [OBJECT, WORD].into_iter().find(|it| template.matches(it).count() != 1) {
            Some(place) => Err(TemplateError { template, place }),
            None => Ok(Self(template)),
        }
    }
}

/// Whether the localization instruction needs an unrelated noun.
pub fn needs_unrelated_word(instruction: &Instruction) -> bool {
    matches!(instruction.action(), Action::Change | Action::Remove)
}

/// Builds the localization instruction, with a noun that is unrelated to its objects.
///
/// ```
/// use retouch::edit::localization_instruction::{Template, localization_instruction};
/// use retouch::instruction::Instruction;
///
/// let instruction = Instruction::parse("Remove the bee.")?;
/// let told = instruction.as_written();
/// let localization = localization_instruction(&instruction, &told, "car", &Template::default()).unwrap();
/// assert_eq!(localization.text, "Change the bee to a car");
/// assert_eq!(&localization.text[localization.object_spans[0].clone()], "bee");
/// # Ok::<(), retouch::instruction::ParseError>(())
/// ```
///
/// For an instruction that adds it is what the model is told, and the noun is not used. `None` for a global edit, which
/// has nothing to localize. Differs: the paper shows `granada` without an article; common nouns get one, as in its `a
/// car`. Plural objects (`the bees`) get the noun's plural.
pub fn localization_instruction(
    instruction: &Instruction,
    told: &Told,
    unrelated: &str,
    template: &Template,
) -> Option<LocalizationInstruction> {
    let found = match instruction.action() {
        Action::Global => return None,
        Action::Add => added(instruction, told),
        Action::Change | Action::Remove => changed(instruction.objects(), unrelated, &template.0),
    };
    let said = Said::of(instruction, &found.text);
    Some(LocalizationInstruction { said, ..found })
}

/// What the model is told, or `Add` with the objects if the caller named one that does not occur in it.
fn added(instruction: &Instruction, told: &Told) -> LocalizationInstruction {
    if let Told { text, object_spans: Some(spans) } = told {
        let (text, object_spans) = (text.clone(), spans.clone());
        return LocalizationInstruction { text, object_spans, said: vec![], stands: false };
    }
    let mut writer = Writer::new("Add ");
    writer.objects(instruction.objects(), |phrase| match phrase.determiner() {
        "" if phrase.is_plural() => String::new(),
        "" => format!("{} ", nouns::article(phrase.name())),
        determiner => format!("{determiner} "),
    });
    LocalizationInstruction { stands: false, ..writer.finish("") }
}

/// A change of the objects to the unrelated noun.
fn changed(objects: &[Phrase], unrelated: &str, template: &str) -> LocalizationInstruction {
    let several = objects.iter().all(Phrase::is_plural);
    let word = if several { nouns::plural_of(unrelated) } else { unrelated.to_owned() };
    let worded = template.replace(
        &format!("a {WORD}"),
        &if several { word.clone() } else { format!("{} {word}", nouns::article(&word)) },
    );
    let worded = worded.replace(WORD, &word);
    let (before, after) =
        worded.split_once(OBJECT).expect("a template holds the place of the objects");
    let bare = before.trim_end().to_lowercase().ends_with("the");
    let mut first = true;
    let mut writer = Writer::new(before);
    writer.objects(objects, |phrase| {
        let written = bare && std::mem::replace(&mut first, false);
        match phrase.determiner() {
            _ if written => String::new(),
            _ if bare => "the ".to_owned(),
            "" if takes_no_article(phrase) => String::new(),
            "" => "the ".to_owned(),
            determiner => format!("{determiner} "),
        }
    });
    writer.finish(after)
}

/// Whether a phrase needs no article: a pronoun or a name.
fn takes_no_article(phrase: &Phrase) -> bool {
    oblique(phrase.name()).is_some()
        || phrase.head().starts_with(char::is_uppercase)
            && phrase.span().is_none_or(|it| it.start > 0)
}

/// Builds an instruction and records the byte ranges of its objects.
struct Writer {
    text: String,
    spans: Vec<Range<usize>>,
}

impl Writer {
    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), spans: Vec::new() }
    }

    /// Writes phrases joined by `and`, each after its determiner, with its modifiers.
    fn objects(&mut self, objects: &[Phrase], mut determiner: impl FnMut(&Phrase) -> String) {
        for (index, phrase) in objects.iter().enumerate() {
            if index > 0 {
                self.text.push_str(" and ");
            }
            self.text.push_str(&determiner(phrase));
            let start = self.text.len();
            self.text.push_str(oblique(phrase.name()).unwrap_or(phrase.name()));
            self.spans.push(start..self.text.len());
            self.text.push_str(&phrase.text()[phrase.name_in_text().end..]);
        }
    }

    fn finish(mut self, rest: &str) -> LocalizationInstruction {
        self.text.push_str(rest);
        let (text, object_spans) = (self.text, self.spans);
        LocalizationInstruction { text, object_spans, said: vec![], stands: true }
    }
}

// === the unrelated word ===

/// The default pool of nouns, in alphabetical order.
pub fn shipped_nouns() -> Vec<String> {
    NOUNS.lines().map(str::to_owned).collect()
}

/// The nouns of a pool that do not occur in the instruction or in an object's phrase, singular or plural.
pub fn candidate_nouns<'a>(pool: &'a [String], instruction: &Instruction) -> Vec<&'a str> {
    let objects = instruction.objects().iter().map(Phrase::text);
    let said: Vec<String> = std::iter::once(instruction.text())
        .chain(objects)
        .flat_map(|it| it.split(|c: char| !c.is_alphanumeric()))
        .map(str::to_lowercase)
        .collect();
    let names = |word: &str| {
        said.iter()
            .any(|it| it == word || *it == nouns::plural_of(word) || nouns::plural_of(it) == word)
    };
    pool.iter().map(String::as_str).filter(|it| !names(&it.to_lowercase())).collect()
}

/// The candidate that is least similar to the objects.
///
/// `embeddings` are those of the whole pool, `objects` those of the objects' names, all of one length. The pool's mean
/// is subtracted from each before the cosine, since raw cosines of a CLIP text encoder lie close together. Of several
/// objects the highest similarity counts. Ties go to the first noun in alphabetical order; `None` without a candidate.
///
/// Source: paper, "Candidate filtering. Embedding and similarity. Unrelated replacement"; embedding as in
/// local-prompt-mixing 4bc225d, `src/prompt_utils.py:7-46`, which takes the *most* similar. Differs: centered.
pub fn least_related<'a>(
    embeddings: &'a [(String, Vec<f32>)],
    candidates: &[&str],
    objects: &[Vec<f32>],
) -> Option<&'a str> {
    let mean = mean(embeddings)?;
    let objects: Vec<Vec<f64>> = objects.iter().map(|it| centered(it, &mean)).collect();
    let similarity = |word: &[f32]| {
        let word = centered(word, &mean);
        objects.iter().map(|it| cosine(&word, it)).fold(f64::NEG_INFINITY, f64::max)
    };
    embeddings
        .iter()
        .filter(|(word, _)| candidates.contains(&word.as_str()))
        .map(|(word, embedding)| (similarity(embedding), word.as_str()))
        .min_by(|one, other| match one.0.total_cmp(&other.0) {
            Ordering::Equal => one.1.cmp(other.1),
            order => order,
        })
        .map(|(_, word)| word)
}

/// The mean embedding; `None` for an empty pool.
fn mean(embeddings: &[(String, Vec<f32>)]) -> Option<Vec<f64>> {
    let mut sum = vec![0.0; embeddings.first()?.1.len()];
    for (_, embedding) in embeddings {
        for (sum, value) in sum.iter_mut().zip(embedding) {
            *sum += f64::from(*value);
        }
    }
    let count = embeddings.len() as f64;
    Some(sum.into_iter().map(|it| it / count).collect())
}

fn centered(embedding: &[f32], mean: &[f64]) -> Vec<f64> {
    embedding.iter().zip(mean).map(|(value, mean)| f64::from(*value) - mean).collect()
}

/// Cosine similarity; 0 if either vector is zero.
fn cosine(one: &[f64], other: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let norm = (dot(one, one) * dot(other, other)).sqrt();
    if norm > 0.0 { dot(one, other) / norm } else { 0.0 }
}

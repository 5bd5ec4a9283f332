//! The localization instruction `c_L` of IAM-Edit, text side: its wording, the pool of unrelated words, the choice.
//!
//! The paper (section "Localization instruction") makes an instruction that changes or removes an object into one that
//! changes it to something unrelated, since then the attention of the object's words is focused on it: "Change the bee
//! to granada", "Change her clothes to a car". An instruction that adds is its own localization instruction. The
//! unrelated word is the least similar candidate of a pool, by text embeddings.

use std::cmp::Ordering;
use std::ops::Range;

use thiserror::Error;

use crate::instruction::{Action, Instruction, Phrase, nouns};

/// The shipped pool: concrete nouns of many kinds, no people, each one token of CLIP's vocabulary.
const NOUNS: &str = include_str!("../../assets/nouns.txt");

/// Marks the place of the objects in a template.
const OBJECT: &str = "{object}";

/// Marks the place of the unrelated word in a template.
const WORD: &str = "{word}";

/// The wording of a localization instruction.
///
/// `{object}` stands for the objects, each with its determiner; after `the ` for the objects without. `{word}` stands
/// for the unrelated word; an `a ` before it agrees with the word (`an apple`, `cars`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(String);

/// A template without a place for the objects or for the word, or with two.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "template `{template}` must hold `{place}` once, as in `change the {{object}} to a {{word}}`"
)]
pub struct TemplateError {
    /// The template.
    pub template: String,
    /// The place that is missing or doubled.
    pub place: &'static str,
}

/// What pass 1 is told, and which of its words name the objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalizationInstruction {
    /// The instruction, `c_L`.
    pub text: String,
    /// Bytes of `text` of each object's name without its determiner, in order of the instruction's objects.
    pub object_spans: Vec<Range<usize>>,
    /// Whether the objects stand in the picture; what is to be added does not, yet.
    pub stands: bool,
}

impl Default for Template {
    /// The paper's wording.
    fn default() -> Self {
        Self(format!("Change {OBJECT} to a {WORD}"))
    }
}

impl TryFrom<&str> for Template {
    type Error = TemplateError;

    fn try_from(template: &str) -> Result<Self, TemplateError> {
        match [OBJECT, WORD].into_iter().find(|it| template.matches(it).count() != 1) {
            Some(place) => Err(TemplateError { template: template.to_owned(), place }),
            None => Ok(Self(template.to_owned())),
        }
    }
}

/// Whether an instruction needs an unrelated word to be localized.
pub fn needs_unrelated_word(instruction: &Instruction) -> bool {
    matches!(instruction.action(), Action::Change | Action::Remove)
}

/// Words the localization instruction of an instruction, with a word that is unrelated to its objects.
///
/// ```
/// use retouch::edit::localization_instruction::{Template, localization_instruction};
/// use retouch::instruction::Instruction;
///
/// let instruction = Instruction::parse("Remove the bee.")?;
/// let localization = localization_instruction(&instruction, "car", &Template::default()).unwrap();
/// assert_eq!(localization.text, "Change the bee to a car");
/// assert_eq!(&localization.text[localization.object_spans[0].clone()], "bee");
/// # Ok::<(), retouch::instruction::ParseError>(())
/// ```
///
/// The word of an instruction that adds is not used. `None` for a global edit: there is nothing to localize, the mask is
/// everywhere 1. Differs: the paper shows `granada` without an article; a common noun reads better with one, as its
/// `a car` does. Objects that are several (`the bees`) take the word's plural.
pub fn localization_instruction(
    instruction: &Instruction,
    unrelated: &str,
    template: &Template,
) -> Option<LocalizationInstruction> {
    match instruction.action() {
        Action::Global => None,
        Action::Add => Some(added(instruction)),
        Action::Change | Action::Remove => {
            Some(changed(instruction.objects(), unrelated, &template.0))
        }
    }
}

/// The instruction itself; or `Add` with the objects, if one was named that does not stand in it.
fn added(instruction: &Instruction) -> LocalizationInstruction {
    let spans: Option<Vec<_>> = instruction.objects().iter().map(Phrase::name_span).collect();
    if let Some(object_spans) = spans {
        let text = instruction.text().to_owned();
        return LocalizationInstruction { text, object_spans, stands: false };
    }
    let mut writer = Writer::new("Add ");
    writer.objects(instruction.objects(), |phrase| match phrase.determiner() {
        "" if phrase.is_plural() => String::new(),
        "" => format!("{} ", nouns::article(phrase.name())),
        determiner => format!("{determiner} "),
    });
    LocalizationInstruction { stands: false, ..writer.finish("") }
}

/// A change of the objects to the unrelated word.
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

/// Whether a phrase without a determiner is complete: a pronoun or a name.
fn takes_no_article(phrase: &Phrase) -> bool {
    oblique(phrase.name()).is_some()
        || phrase.head().starts_with(char::is_uppercase)
            && phrase.span().is_none_or(|it| it.start > 0)
}

/// A personal pronoun as an object: `him` for `he`.
fn oblique(pronoun: &str) -> Option<&'static str> {
    Some(match pronoun.to_lowercase().as_str() {
        "he" | "him" => "him",
        "she" | "her" => "her",
        "they" | "them" => "them",
        "everyone" | "everybody" => "everyone",
        "someone" | "somebody" => "someone",
        "me" => "me",
        "us" => "us",
        _ => return None,
    })
}

/// Writes an instruction and notes where its objects stand.
struct Writer {
    text: String,
    spans: Vec<Range<usize>>,
}

impl Writer {
    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), spans: Vec::new() }
    }

    /// Writes phrases joined by `and`, each behind its determiner, with what singles it out.
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
        LocalizationInstruction { text: self.text, object_spans: self.spans, stands: true }
    }
}

// === the unrelated word ===

/// The shipped pool of nouns, in alphabetical order.
pub fn shipped_nouns() -> Vec<String> {
    NOUNS.lines().map(str::to_owned).collect()
}

/// The words of a pool that an instruction does not name, in any number.
///
/// Drops each word that stands in the instruction or in an object's phrase; plurals count as their singular.
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

/// The candidate least similar to the objects.
///
/// `embeddings` are those of the whole pool, `objects` those of the objects' names, all of one length. Each is centered
/// by the pool's mean before the cosine, since the raw cosines of a CLIP text encoder all lie close together. Of several
/// objects the most similar counts. Ties go to the word that comes first in the alphabet; `None` without a candidate.
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

/// The mean embedding; `None` of none.
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

/// The cosine of two vectors; 0 if one of them is zero.
fn cosine(one: &[f64], other: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let norm = (dot(one, one) * dot(other, other)).sqrt();
    if norm > 0.0 { dot(one, other) / norm } else { 0.0 }
}

//! Words an edit in a model's own phrasing, from what the parser read of an instruction.
//!
//! A model that was taught `make the star blue` need not know `could you please paint that star in blue?`. Its
//! templates say how it was taught to be told: one for each kind of edit that it knows.

use std::ops::Range;

use serde::{Deserialize, Deserializer};
use thiserror::Error;

use super::area::Area;
use super::change::Change;
use super::lexicon::{COLORS, DETERMINERS};
use super::lists::has;
use super::nouns::{article, oblique};
use super::place::{CountedFrom, Place, PlaceKind};
use super::told::Told;
use super::{Action, Instruction, Phrase};

/// The templates of a model as they are written, by the kind of edit that they word; of a kind that the model does not
/// know there are none.
///
/// The first of a kind is what the model is told; the others are phrasings that it knows as well, so that a text in one
/// of them is told as it is. `{object}` stands for the objects, each with its determiner, `{replacement}` for what they
/// become, `{color}` for their new color, `{place}` for where the edit is. A place that is not said drops out with the
/// space before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object of templates by kind of edit")]
pub struct TemplateTexts {
    /// Another thing in the object's place: `change {object} to {replacement}`.
    #[serde(deserialize_with = "one_or_several")]
    pub change: Vec<String>,
    /// Another color: `make {object} {color}`.
    #[serde(deserialize_with = "one_or_several")]
    pub recolor: Vec<String>,
    /// Something new: `add {object} {place}`.
    #[serde(deserialize_with = "one_or_several")]
    pub add: Vec<String>,
    /// Something goes: `remove {object}`.
    #[serde(deserialize_with = "one_or_several")]
    pub remove: Vec<String>,
}

/// How a model was taught to be told of edits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "TemplateTexts")]
pub struct EditTemplates {
    change: Vec<Vec<Piece>>,
    recolor: Vec<Vec<Piece>>,
    add: Vec<Vec<Piece>>,
    remove: Vec<Vec<Piece>>,
}

/// A template that cannot word an edit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EditTemplateError {
    /// It has braces around something that no edit has.
    #[error(
        "template `{template}` holds `{{{part}}}`; an edit has {{object}}, {{replacement}}, {{color}} and {{place}}"
    )]
    UnknownPart {
        /// The template.
        template: String,
        /// What stands between the braces.
        part: String,
    },
    /// It lacks a part without which the edit is not said.
    #[error("template `{template}` for {kind} must contain `{{{part}}}`")]
    MissingPart {
        /// The template.
        template: String,
        /// The kind of edit.
        kind: &'static str,
        /// The part.
        part: &'static str,
    },
    /// It has a brace without its fellow.
    #[error("template `{template}` has a brace without its fellow")]
    LoneBrace {
        /// The template.
        template: String,
    },
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Words(String),
    Object,
    Replacement,
    Color,
    Place,
}

impl TryFrom<TemplateTexts> for EditTemplates {
    type Error = EditTemplateError;

    fn try_from(texts: TemplateTexts) -> Result<Self, EditTemplateError> {
        use Piece::{Color, Object, Replacement};
        let read = |texts: &[String], kind, needed: &[(Piece, &'static str)]| {
            texts.iter().map(|it| pieces(it, kind, needed)).collect::<Result<Vec<_>, _>>()
        };
        let object = || (Object, "object");
        Ok(Self {
            change: read(&texts.change, "change", &[object(), (Replacement, "replacement")])?,
            recolor: read(&texts.recolor, "recolor", &[object(), (Color, "color")])?,
            add: read(&texts.add, "add", &[object()])?,
            remove: read(&texts.remove, "remove", &[object()])?,
        })
    }
}

/// A template, or a list of them.
fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a template or a list of templates")]
    enum Written {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::One(template) => vec![template],
        Written::Several(templates) => templates,
    })
}

/// The parts of a template, with those that its kind needs.
fn pieces(
    template: &str,
    kind: &'static str,
    needed: &[(Piece, &'static str)],
) -> Result<Vec<Piece>, EditTemplateError> {
    let lone = || EditTemplateError::LoneBrace { template: template.to_owned() };
    let mut found = Vec::new();
    let mut rest = template;
    while let Some((words, behind)) = rest.split_once('{') {
        let (part, after) = behind.split_once('}').ok_or_else(lone)?;
        if words.contains('}') || part.contains('{') {
            return Err(lone());
        }
        found.push(Piece::Words(words.to_owned()));
        found.push(match part {
            "object" => Piece::Object,
            "replacement" => Piece::Replacement,
            "color" => Piece::Color,
            "place" => Piece::Place,
            _ => {
                let (template, part) = (template.to_owned(), part.to_owned());
                return Err(EditTemplateError::UnknownPart { template, part });
            }
        });
        rest = after;
    }
    if rest.contains('}') {
        return Err(lone());
    }
    found.push(Piece::Words(rest.to_owned()));
    match needed.iter().find(|it| !found.contains(&it.0)) {
        Some(&(_, part)) => {
            Err(EditTemplateError::MissingPart { template: template.to_owned(), kind, part })
        }
        None => Ok(found),
    }
}

/// Words an edit as a model was taught to be told; `None` if it knows no such edit, or the instruction lacks a part.
///
/// ```
/// use retouch::instruction::Instruction;
/// use retouch::instruction::templates::{EditTemplates, TemplateTexts, edit_instruction};
///
/// let recolor = vec!["make {object} {color}".to_owned()];
/// let templates = EditTemplates::try_from(TemplateTexts { recolor, ..TemplateTexts::default() })?;
/// let read = Instruction::parse("Could you please paint that star which is red in blue?")?;
/// assert_eq!(edit_instruction(&read, &templates).unwrap().text, "make the red star blue");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A text in a phrasing that the model knows stays as it is. A place that the template has no room for stays with the
/// object, which may be one of several alike: `remove the house on the left`.
pub fn edit_instruction(instruction: &Instruction, templates: &EditTemplates) -> Option<Told> {
    let templates = match (instruction.action(), instruction.change()) {
        (Action::Change, Some(Change::Recolor)) => &templates.recolor,
        (Action::Change, Some(Change::Replace)) => &templates.change,
        (Action::Add, _) => &templates.add,
        (Action::Remove, _) => &templates.remove,
        (Action::Change | Action::Global, _) => return None,
    };
    if instruction.spares_objects() {
        return None;
    }
    let written = instruction.text().trim_end_matches('.');
    let mut worded = templates.iter().filter_map(|it| filled(instruction, it));
    let first = worded.next()?;
    let known = first.text.eq_ignore_ascii_case(written)
        || worded.any(|it| it.text.eq_ignore_ascii_case(written));
    Some(if known { instruction.told_in(0..instruction.text().len()) } else { first })
}

/// A template with the parts of an edit in their places; `None` if the instruction lacks one.
fn filled(instruction: &Instruction, template: &[Piece]) -> Option<Told> {
    let apart = template.contains(&Piece::Place);
    let (mut text, mut spans) = (String::new(), Vec::new());
    for piece in template {
        match piece {
            Piece::Words(words) => text.push_str(words),
            Piece::Object => write_objects(instruction, apart, &mut text, &mut spans)?,
            Piece::Replacement => text.push_str(instruction.replacement()?),
            Piece::Color => text.push_str(plain_color(instruction)?),
            Piece::Place => match instruction.place().and_then(placed) {
                Some(place) => text.push_str(&place),
                None => text.truncate(text.trim_end().len()),
            },
        }
    }
    Some(Told { text, object_spans: Some(spans) })
}

/// The new color; of a comparison the color that it names, `red` of `the same color as the red star`, or `None`.
fn plain_color(instruction: &Instruction) -> Option<&str> {
    let color = instruction.color()?;
    let compares = color.split(' ').any(|word| has("same as of match matching", word));
    if !compares || color.contains("shade of") {
        return Some(color);
    }
    color.split(' ').find(|word| has(COLORS, &word.to_lowercase()))
}

/// Writes the objects as a list, each with its place unless that stands apart; `None` if there are none.
fn write_objects(
    instruction: &Instruction,
    apart: bool,
    text: &mut String,
    spans: &mut Vec<Range<usize>>,
) -> Option<()> {
    let objects = instruction.objects();
    let shared = instruction.place().filter(|_| objects.iter().all(|it| it.place().is_none()));
    let new = instruction.action() == Action::Add;
    for (at, object) in objects.iter().enumerate() {
        text.push_str(if at > 0 { " and " } else { "" });
        let (named, name) = named(object, new);
        spans.push(text.len() + name.start..text.len() + name.end);
        text.push_str(&named);
        if let Some(place) = object.place().filter(|_| !apart).and_then(placed) {
            *text = format!("{text} {place}");
        }
    }
    if let Some(place) = shared.filter(|_| !apart).and_then(placed) {
        *text = format!("{text} {place}");
    }
    (!objects.is_empty()).then_some(())
}

/// An object with its determiner and what describes it, `the red star` for `that star which is red`, and the bytes of
/// its name, `red star`.
fn named(object: &Phrase, new: bool) -> (String, Range<usize>) {
    if let Some(pronoun) = oblique(object.name()) {
        return (pronoun.to_owned(), 0..pronoun.len());
    }
    let described = object.qualifier().map_or_else(String::new, |it| format!("{it} "));
    let bare = format!("{described}{}", object.name());
    let name = match object.place().map(Place::kind) {
        Some(PlaceKind::Nth { .. }) => {
            format!("{} {bare}", object.place().map_or("", Place::opening_text))
        }
        _ => bare.clone(),
    };
    let determiner = object.plain_determiner();
    let pointing = has("this that these those", &determiner.to_lowercase())
        || !new && has("a an some any one", &determiner.to_lowercase());
    let text = match determiner {
        "" if new && object.is_plural() => name,
        "" if new => format!("{} {name}", article(&name)),
        "" if object.head().starts_with(char::is_uppercase) => name,
        "" => format!("the {name}"),
        _ if pointing => format!("the {name}"),
        determiner => format!("{} {name}", lowered(determiner)),
    };
    let span = text.len() - bare.len()..text.len();
    (text, span)
}

/// Words that began a sentence, as they stand inside one: `the house` for `The house`, but `Anna's house`.
fn lowered(words: &str) -> String {
    let (first, rest) = words.split_once(' ').unwrap_or((words, ""));
    let first = first.to_lowercase();
    if !has(DETERMINERS, &first) {
        return words.to_owned();
    }
    [&first, rest].join(" ").trim_end().to_owned()
}

/// A place as it stands behind a noun: `on the left`, `next to the star`.
fn placed(place: &Place) -> Option<String> {
    let area = |it: Area| match it {
        Area::Left | Area::Right => format!("on the {it}"),
        Area::Top | Area::Bottom => format!("at the {it}"),
        Area::TopLeft | Area::TopRight | Area::BottomLeft | Area::BottomRight => {
            format!("in the {it} corner")
        }
        Area::Middle | Area::Corner | Area::Background | Area::Foreground => format!("in the {it}"),
    };
    match place.kind() {
        PlaceKind::Area(it) => Some(area(*it)),
        PlaceKind::Landmark { landmark, .. } => {
            Some(format!("{} {}", place.relation_words(), lowered(landmark.text())))
        }
        PlaceKind::Nth { from: CountedFrom::Side(side), .. } => Some(format!("from the {side}")),
        PlaceKind::Nth { .. } => None,
    }
}

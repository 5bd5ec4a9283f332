//! Checks whether an earlier localization is about the object of an edit.

use crate::edit::{
    choices::Unparsed,
    event::{Warning, WarningReason},
    localization::Localization,
};
use crate::instruction::{Action, Instruction, Overrides, ParseError, Phrase};

/// An edit's statement of its object.
#[derive(Debug, Clone, Copy)]
pub struct Meant<'a> {
    /// The instruction.
    pub instruction: &'a str,
    /// What the caller specifies instead of the parser.
    pub overrides: Overrides<'a>,
    /// What to do if neither names an object.
    pub unparsed: Unparsed,
}

/// Why a localization can't be used for an edit.
#[derive(Debug, thiserror::Error)]
pub enum ReuseError {
    /// The instruction could not be parsed, and the caller does not want a plain edit.
    #[error(transparent)]
    NotParsed(ParseError),
    /// It is about something else.
    #[error("the localization is for `{found}`, but the instruction edits `{wanted}`")]
    OtherObject {
        /// The object of the localization.
        found: String,
        /// The object of the edit.
        wanted: String,
    },
}

/// Checks that a localization is about the edit's object; returns a warning if its wording differs.
///
/// `asked` is the instruction of the edit that the localization was made for, if known. Objects are the same if their
/// names have the same words, ignoring case, articles and order: `the red star` and `a Red Star`.
///
/// # Errors
/// [`ReuseError::OtherObject`]; [`ReuseError::NotParsed`] if the instruction can't be parsed and the caller wants no
/// plain edit.
pub fn check(
    found: &Localization,
    asked: Option<&str>,
    meant: Meant<'_>,
) -> Result<Option<Warning>, ReuseError> {
    let warn = |message: String| {
        Ok(Some(Warning { reason: WarningReason::OtherWording, message, remedy: None }))
    };
    let about = objects(found);
    let instruction = match Instruction::parse_with(meant.instruction, meant.overrides) {
        Ok(instruction) => instruction,
        Err(error) if meant.unparsed == Unparsed::Refuse => {
            return Err(ReuseError::NotParsed(error));
        }
        Err(error) => {
            let about = about.join(" ");
            return warn(format!("{error}; only the localization's `{about}` is edited"));
        }
    };
    if instruction.action() == Action::Global {
        let about = about.join(" ");
        let message = "the instruction edits the whole picture, but the reused localization limits the edit to";
        return warn(format!("{message} `{about}`"));
    }
    let wanted = words(instruction.objects().iter().map(Phrase::name));
    if sorted(&about) != sorted(&wanted) {
        return Err(ReuseError::OtherObject { found: about.join(" "), wanted: wanted.join(" ") });
    }
    // The attention to an object that stands in the picture is the same however it is edited.
    let of_wording = !found.stands || found.scored_by.is_of_instruction();
    let stands = instruction.action() != Action::Add;
    let other = asked.map_or(stands != found.stands, |it| it != meant.instruction);
    if of_wording && other || stands != found.stands {
        let asked = asked.unwrap_or(&found.instruction);
        return warn(format!(
            "the reused localization was made for another instruction, `{asked}`"
        ));
    }
    Ok(None)
}

/// The words of a localization's objects.
fn objects(found: &Localization) -> Vec<String> {
    let named = found.words.iter().filter(|it| it.is_object).map(|it| it.word.as_str());
    let named = words(named);
    if !named.is_empty() {
        return named;
    }
    // Localizers without attention have the edit's own instruction, and no words.
    let instruction = Instruction::parse(&found.instruction);
    instruction.map_or(vec![], |it| words(it.objects().iter().map(Phrase::name)))
}

/// Normalized words: lower case, without separators.
fn words<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let in_word = |c: char| c.is_alphanumeric() || matches!(c, '\'' | '’' | '-');
    let split = names.flat_map(|it| it.split(move |c: char| !in_word(c)));
    split.filter(|it| !it.is_empty()).map(str::to_lowercase).collect()
}

fn sorted(words: &[String]) -> Vec<&str> {
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.sort_unstable();
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::{grid::Grid, localization::WordMap, localizer::ScoreSource};

    /// A localization with this instruction, its objects' words in capitals.
    fn found(instruction: &str, stands: bool, scored_by: ScoreSource) -> Localization {
        let grid = Grid { height: 1, width: 1 };
        let word = |word: &str| WordMap {
            word: word.to_lowercase(),
            is_object: word == word.to_uppercase(),
            grid,
            values: vec![0.5],
        };
        Localization {
            instruction: instruction.to_lowercase(),
            grid,
            resolution: grid,
            labels: vec![1],
            clusters: vec![],
            words: instruction.split(' ').filter(|it| it.len() > 1).map(word).collect(),
            scored_by,
            contrast: None,
            fallback: None,
            stands,
            covers: None,
            confidence: None,
            evidence: None,
        }
    }

    fn checked(found: &Localization, asked: Option<&str>, instruction: &str) -> &'static str {
        let overrides = Overrides { object: None, action: None };
        let meant = Meant { instruction, overrides, unparsed: Unparsed::PlainEdit };
        match check(found, asked, meant) {
            Ok(None) => "same",
            Ok(Some(_)) => "warned",
            Err(ReuseError::OtherObject { .. }) => "other",
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn an_object_is_known_by_its_words_however_it_is_edited() {
        let star = found("change the RED STAR to a car", true, ScoreSource::Attention);
        for (instruction, expected) in [
            ("make the red star blue", "same"),
            ("remove the Red Star.", "same"),
            ("turn the red star into a red square", "same"),
            ("remove the star", "other"),
            ("make the blue square green", "other"),
            ("make the red star and the blue square green", "other"),
            ("add a red star", "warned"),
            ("make it snow", "warned"),
            ("colorless green ideas", "warned"),
        ] {
            assert_eq!(checked(&star, None, instruction), expected, "{instruction}");
        }
    }

    #[test]
    fn where_the_wording_counts_another_one_is_warned_of() {
        let first = "make the red star blue";
        let by_noise = found(first, true, ScoreSource::NoiseDifference);
        let by_noise = Localization { words: vec![], ..by_noise };
        assert_eq!(checked(&by_noise, Some(first), first), "same");
        assert_eq!(checked(&by_noise, Some(first), "remove the red star"), "warned");
        assert_eq!(checked(&by_noise, Some(first), "remove the blue star"), "other");
        let added = found("add a HAT to the man", false, ScoreSource::Attention);
        assert_eq!(checked(&added, Some("add a hat to the man"), "add a hat to the man"), "same");
        assert_eq!(checked(&added, Some("add a hat to the man"), "add a hat to the dog"), "warned");
        assert_eq!(checked(&added, None, "remove the hat"), "warned");
    }

    #[test]
    fn a_caller_may_name_the_object_or_want_no_guess() {
        let star = found("change the RED STAR to a car", true, ScoreSource::Attention);
        let overrides = Overrides { object: Some("the red star"), action: Some(Action::Change) };
        let instruction = "colorless green ideas";
        let meant = Meant { instruction, overrides, unparsed: Unparsed::Refuse };
        assert_eq!(check(&star, None, meant).unwrap(), None);
        let overrides = Overrides { object: None, action: None };
        let refused = check(&star, None, Meant { overrides, ..meant });
        assert!(matches!(refused, Err(ReuseError::NotParsed(_))));
    }
}

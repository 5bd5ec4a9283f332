//! A LoRA file and the weight that it is applied with, as the command line and configurations write them.

use std::{
    fmt::{self, Display, Formatter},
    path::PathBuf,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::sampling::{OutOfRange, bounded};

bounded! {
    /// How strongly a LoRA is applied; 1 is as it was trained, and 0 not at all.
    pub struct LoraWeight(f64), "the weight of a LoRA", -10 to 10
}

/// How the names of LoRA files end.
const ENDING: &str = ".safetensors";

/// The weight is never NaN.
impl Eq for LoraWeight {}

/// A LoRA to be applied: `FILE` or `FILE:WEIGHT`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LoraChoice {
    /// The file.
    pub path: PathBuf,
    /// How strongly it is applied.
    pub weight: LoraWeight,
}

/// The text names no LoRA.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NoLora {
    /// No file stands before the weight.
    #[error("`{0}` names no file; expected FILE or FILE:WEIGHT")]
    NoFile(String),
    /// What stands behind a file's name is no number.
    #[error(
        "`{weight}` behind `{file}:` is no weight; expected a number from -10 to 10, such as 0.8"
    )]
    NoWeight {
        /// The file.
        file: String,
        /// What stands behind it.
        weight: String,
    },
    /// The weight is out of its range.
    #[error(transparent)]
    Weight(#[from] OutOfRange),
}

impl FromStr for LoraChoice {
    type Err = NoLora;

    fn from_str(text: &str) -> Result<Self, NoLora> {
        // What follows the last colon is a weight if it is a number, else a part of the name.
        let (path, weight) = match text.rsplit_once(':') {
            Some((path, it)) => match it.trim().parse() {
                Ok(weight) => (path, weight),
                // Of a file of the common kind it is meant as a weight.
                Err(_) if path.ends_with(ENDING) => {
                    return Err(NoLora::NoWeight { file: path.to_owned(), weight: it.to_owned() });
                }
                Err(_) => (text, 1.0),
            },
            None => (text, 1.0),
        };
        if path.is_empty() {
            return Err(NoLora::NoFile(text.to_owned()));
        }
        Ok(Self { path: PathBuf::from(path), weight: weight.try_into()? })
    }
}

impl TryFrom<String> for LoraChoice {
    type Error = NoLora;

    fn try_from(text: String) -> Result<Self, NoLora> {
        text.parse()
    }
}

impl Display for LoraChoice {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.weight.get())
    }
}

impl From<LoraChoice> for String {
    fn from(choice: LoraChoice) -> Self {
        choice.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_stands_behind_the_last_colon() {
        for (text, path, weight) in [
            ("style.safetensors", "style.safetensors", 1.0),
            ("a/style.safetensors:0.8", "a/style.safetensors", 0.8),
            ("style.safetensors:-1", "style.safetensors", -1.0),
            ("odd:name.safetensors", "odd:name.safetensors", 1.0),
            ("odd:name.safetensors:2e-1", "odd:name.safetensors", 0.2),
            (r"C:\loras\style.safetensors", r"C:\loras\style.safetensors", 1.0),
            (r"C:\loras\style.safetensors:0", r"C:\loras\style.safetensors", 0.0),
            ("folder:of/style:+0.5", "folder:of/style", 0.5),
        ] {
            let choice: LoraChoice = text.parse().unwrap();
            assert_eq!((choice.path, choice.weight.get()), (PathBuf::from(path), weight), "{text}");
        }
        for text in ["", ":0.5", "a:11", "a:nan", "a:inf"] {
            assert!(text.parse::<LoraChoice>().is_err(), "{text}");
        }
        for text in ["a.safetensors:0,8", "a.safetensors:", "a.safetensors:strong"] {
            let said = text.parse::<LoraChoice>().unwrap_err().to_string();
            assert!(said.contains("behind `a.safetensors:` is no weight"), "{said}");
        }
        let choice: LoraChoice = "a.safetensors:0.8".parse().unwrap();
        assert_eq!(LoraChoice::try_from(String::from(choice.clone())), Ok(choice));
    }
}

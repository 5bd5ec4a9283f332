//! A model's JSON configuration, read key by key, so that every error names the file, the key and its value.
//!
//! An absent key takes the default of the library's class (diffusers, transformers); keys that only other architectures
//! use are ignored.

use serde_json::{Map, Value};

/// Why a configuration is invalid.
#[derive(Debug, thiserror::Error)]
pub enum ConfigJsonError {
    /// Not valid JSON.
    #[error("{file} is not readable as JSON")]
    Json {
        /// The file's name.
        file: &'static str,
        /// The underlying error.
        source: serde_json::Error,
    },
    /// JSON, but not an object.
    #[error("{file} holds {found}, expected an object")]
    NotAnObject {
        /// The file's name.
        file: &'static str,
        /// The JSON value found.
        found: String,
    },
    /// A value that only architectures and samplers have which are not supported.
    #[error("`{key}` is {found} in {file}, only {supported} is supported")]
    Unsupported {
        /// The file's name.
        file: &'static str,
        /// The key.
        key: &'static str,
        /// Its value, as JSON.
        found: String,
        /// The accepted value.
        supported: String,
    },
    /// An invalid value.
    #[error("`{key}` is {found} in {file}, expected {expected}")]
    Invalid {
        /// The file's name.
        file: &'static str,
        /// The key.
        key: &'static str,
        /// Its value, as JSON.
        found: String,
        /// The accepted values, as text.
        expected: String,
    },
}

/// The keys and values of a configuration.
///
/// Every method that reads a key fails with [`ConfigJsonError::Invalid`] if it has another type or value.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigJson {
    file: &'static str,
    values: Map<String, Value>,
}

// === impl ConfigJson ===

#[expect(clippy::missing_errors_doc, reason = "told once, above")]
impl ConfigJson {
    /// Parses the text of a file of this name.
    ///
    /// # Errors
    /// [`ConfigJsonError`] if it is not a JSON object.
    pub fn parse(file: &'static str, text: &str) -> Result<Self, ConfigJsonError> {
        match serde_json::from_str(text).map_err(|source| ConfigJsonError::Json { file, source })? {
            Value::Object(values) => Ok(Self { file, values }),
            other => Err(ConfigJsonError::NotAnObject { file, found: other.to_string() }),
        }
    }

    /// Parses a `config.json` of the class `class_name`.
    ///
    /// # Errors
    /// [`ConfigJsonError`] if it is not a JSON object, or belongs to another class.
    pub fn of_class(class_name: &str, text: &str) -> Result<Self, ConfigJsonError> {
        let config = Self::parse("config.json", text)?;
        config.only("_class_name", &format!("\"{class_name}\""))?;
        Ok(config)
    }

    /// The same, where a key whose value is null counts as absent.
    #[must_use]
    pub fn without_nulls(mut self) -> Self {
        self.values.retain(|_, value| !value.is_null());
        self
    }

    /// The same, where absent keys have these values.
    #[must_use]
    pub fn with_defaults(
        mut self,
        defaults: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> Self {
        for (key, value) in defaults {
            self.values.entry(key).or_insert(value);
        }
        self
    }

    /// Refuses any value other than `supported`, given as JSON; an absent key is accepted.
    ///
    /// # Errors
    /// [`ConfigJsonError::Unsupported`].
    pub fn only(&self, key: &'static str, supported: &str) -> Result<(), ConfigJsonError> {
        let Some(found) = self.values.get(key) else { return Ok(()) };
        // 1 and 1.0 are one number, but two values of JSON.
        let same_number = found.as_f64().is_some_and(|found| supported.parse() == Ok(found));
        if same_number || serde_json::from_str(supported).is_ok_and(|it: Value| it == *found) {
            return Ok(());
        }
        let (found, supported) = (found.to_string(), supported.to_owned());
        Err(ConfigJsonError::Unsupported { file: self.file, key, found, supported })
    }

    /// Reads a key by `accept`, which refuses a value by `None`; `None` if the key is absent.
    pub fn read<T>(
        &self,
        key: &'static str,
        expected: &str,
        accept: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigJsonError> {
        let Some(found) = self.values.get(key) else { return Ok(None) };
        accept(found).map(Some).ok_or_else(|| self.fault(key, expected))
    }

    /// An integer of at least `min`.
    pub fn int(&self, key: &'static str, default: i64, min: i64) -> Result<i64, ConfigJsonError> {
        let expected = format!("a whole number from {min}");
        let found = self.read(key, &expected, |it| it.as_i64().filter(|it| *it >= min))?;
        Ok(found.unwrap_or(default))
    }

    /// A finite number.
    pub fn number(&self, key: &'static str, default: f64) -> Result<f64, ConfigJsonError> {
        self.number_in(key, default, "a number", |_| true)
    }

    /// A finite number of a range; `expected` describes it in the error.
    pub fn number_in(
        &self,
        key: &'static str,
        default: f64,
        expected: &str,
        range: impl Fn(f64) -> bool,
    ) -> Result<f64, ConfigJsonError> {
        let found = self.read(key, expected, |it| it.as_f64().filter(|it| range(*it)))?;
        Ok(found.unwrap_or(default))
    }

    /// A boolean.
    pub fn flag(&self, key: &'static str, default: bool) -> Result<bool, ConfigJsonError> {
        Ok(self.read(key, "true or false", Value::as_bool)?.unwrap_or(default))
    }

    /// A string.
    pub fn text(&self, key: &'static str, default: &str) -> Result<String, ConfigJsonError> {
        let found = self.read(key, "a text", |it| it.as_str().map(str::to_owned))?;
        Ok(found.unwrap_or_else(|| default.to_owned()))
    }

    /// One of a few strings.
    pub fn choice<T: Copy>(
        &self,
        key: &'static str,
        default: T,
        choices: &[(&str, T)],
    ) -> Result<T, ConfigJsonError> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let found = self.read(key, &names.join(", "), |found| {
            choices.iter().find(|(name, _)| found.as_str() == Some(name)).map(|(_, it)| *it)
        })?;
        Ok(found.unwrap_or(default))
    }

    /// A non-empty list of strings.
    pub fn texts(
        &self,
        key: &'static str,
        default: &[&str],
    ) -> Result<Vec<String>, ConfigJsonError> {
        let found = self.read(key, "a list of texts", |found| {
            let texts = found.as_array()?.iter().map(|it| it.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().filter(|texts| !texts.is_empty())
        })?;
        Ok(found.unwrap_or_else(|| default.iter().map(|&text| text.to_owned()).collect()))
    }

    /// A non-empty list of integers, each at least 1.
    pub fn ints(&self, key: &'static str, default: &[i64]) -> Result<Vec<i64>, ConfigJsonError> {
        let found = self.read(key, "a list of whole numbers from 1", positive_ints)?;
        Ok(found.unwrap_or_else(|| default.to_vec()))
    }

    /// One integer for all blocks, or a list with one for each of the `blocks`; each at least 1.
    pub fn per_block(
        &self,
        key: &'static str,
        default: i64,
        blocks: usize,
    ) -> Result<Vec<i64>, ConfigJsonError> {
        let expected =
            format!("a whole number from 1, or a list of {blocks} of them, one for each block");
        let found = self.read(key, &expected, |found| match found.as_i64() {
            Some(value) => (value >= 1).then(|| vec![value; blocks]),
            None => positive_ints(found).filter(|values| values.len() == blocks),
        })?;
        Ok(found.unwrap_or_else(|| vec![default; blocks]))
    }

    /// Refuses an activation other than `SiLU`, under either of its names.
    ///
    /// # Errors
    /// [`ConfigJsonError::Unsupported`].
    pub fn silu(&self, key: &'static str) -> Result<(), ConfigJsonError> {
        match self.text(key, "silu")?.to_lowercase().as_str() {
            "silu" | "swish" => Ok(()),
            _ => self.only(key, "\"silu\""),
        }
    }

    /// Height and width, from one side, a pair, or null.
    pub fn size(
        &self,
        key: &'static str,
        default: Option<(i64, i64)>,
    ) -> Result<Option<(i64, i64)>, ConfigJsonError> {
        let expected = "one side, or height and width, from 1";
        let found = self.read(key, expected, |found| {
            match (found.as_i64(), positive_ints(found).as_deref()) {
                _ if found.is_null() => Some(None),
                (Some(side), _) if side >= 1 => Some(Some((side, side))),
                (_, Some(&[height, width])) => Some(Some((height, width))),
                _ => None,
            }
        })?;
        Ok(found.unwrap_or(default))
    }

    /// The error that `key` is not `expected`, for checks across keys.
    pub fn fault(&self, key: &'static str, expected: impl Into<String>) -> ConfigJsonError {
        /// Most elements of a list that are told.
        const TOLD: usize = 16;
        let found = match self.values.get(key) {
            Some(Value::Array(list)) if list.len() > TOLD => format!("a list of {}", list.len()),
            found => found.unwrap_or(&Value::Null).to_string(),
        };
        ConfigJsonError::Invalid { file: self.file, key, found, expected: expected.into() }
    }
}

fn positive_ints(value: &Value) -> Option<Vec<i64>> {
    let ints = value.as_array()?.iter().map(|item| item.as_i64().filter(|&it| it >= 1));
    ints.collect::<Option<Vec<_>>>().filter(|ints| !ints.is_empty())
}

//! A model's `config.json`, read key by key, so that every error names its key and value.
//!
//! An absent key takes the default of diffusers' class; keys that only other architectures use are ignored.

use serde_json::{Map, Value};

/// Why a `config.json` is invalid.
#[derive(Debug, thiserror::Error)]
pub enum ConfigJsonError {
    /// Not valid JSON.
    #[error("config.json is not readable as JSON")]
    Json(#[source] serde_json::Error),
    /// JSON, but not an object.
    #[error("config.json holds {found}, expected an object")]
    NotAnObject {
        /// The kind of JSON value found.
        found: String,
    },
    /// A value of an architecture other than Stable Diffusion 1.x and 2.x.
    #[error("`{key}` is {found} in config.json, only {supported} is supported")]
    Unsupported {
        /// The key.
        key: &'static str,
        /// Its value, as JSON.
        found: String,
        /// The accepted value.
        supported: String,
    },
    /// An invalid value.
    #[error("`{key}` is {found} in config.json, expected {expected}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// Its value, as JSON.
        found: String,
        /// The accepted values, as text.
        expected: String,
    },
}

/// The keys and values of a `config.json`.
#[derive(Debug, Clone)]
pub struct ConfigJson(Map<String, Value>);

// === impl ConfigJson ===

impl ConfigJson {
    /// Parses a `config.json` of the class `class_name`.
    ///
    /// # Errors
    /// [`ConfigJsonError`] if it is not a JSON object, or belongs to another class.
    pub fn parse(text: &str, class_name: &str) -> Result<Self, ConfigJsonError> {
        match serde_json::from_str(text).map_err(ConfigJsonError::Json)? {
            Value::Object(values) => {
                let config = Self(values);
                config.only("_class_name", &format!("\"{class_name}\""))?;
                Ok(config)
            }
            other => Err(ConfigJsonError::NotAnObject { found: other.to_string() }),
        }
    }

    /// Refuses any value other than `supported`, given as JSON; an absent key is accepted.
    ///
    /// # Errors
    /// [`ConfigJsonError::Unsupported`].
    pub fn only(&self, key: &'static str, supported: &str) -> Result<(), ConfigJsonError> {
        let Some(found) = self.0.get(key) else { return Ok(()) };
        // 1 and 1.0 are one number, but two values of JSON.
        let same_number = found.as_f64().is_some_and(|found| supported.parse() == Ok(found));
        if same_number || serde_json::from_str(supported).is_ok_and(|it: Value| it == *found) {
            return Ok(());
        }
        Err(ConfigJsonError::Unsupported {
            key,
            found: found.to_string(),
            supported: supported.to_owned(),
        })
    }

    /// An integer of at least `min`.
    ///
    /// # Errors
    /// [`ConfigJsonError::Invalid`].
    pub fn int(&self, key: &'static str, default: i64, min: i64) -> Result<i64, ConfigJsonError> {
        let Some(found) = self.0.get(key) else { return Ok(default) };
        match found.as_i64() {
            Some(value) if value >= min => Ok(value),
            _ => Err(invalid(key, found, format!("a whole number from {min}"))),
        }
    }

    /// A finite number.
    ///
    /// # Errors
    /// [`ConfigJsonError::Invalid`].
    pub fn number(&self, key: &'static str, default: f64) -> Result<f64, ConfigJsonError> {
        let Some(found) = self.0.get(key) else { return Ok(default) };
        found.as_f64().ok_or_else(|| invalid(key, found, "a number"))
    }

    /// A boolean.
    ///
    /// # Errors
    /// [`ConfigJsonError::Invalid`].
    pub fn flag(&self, key: &'static str, default: bool) -> Result<bool, ConfigJsonError> {
        let Some(found) = self.0.get(key) else { return Ok(default) };
        found.as_bool().ok_or_else(|| invalid(key, found, "true or false"))
    }

    /// A string.
    ///
    /// # Errors
    /// [`ConfigJsonError::Invalid`].
    pub fn text(&self, key: &'static str, default: &str) -> Result<String, ConfigJsonError> {
        let Some(found) = self.0.get(key) else { return Ok(default.to_owned()) };
        found.as_str().map(str::to_owned).ok_or_else(|| invalid(key, found, "a text"))
    }

    /// A non-empty list of strings.
    ///
    /// # Errors
    /// [`ConfigJsonError::Invalid`].
    pub fn texts(
        &self,
        key: &'static str,
        default: &[&str],
    ) -> Result<Vec<String>, ConfigJsonError> {
        let Some(found) = self.0.get(key) else {
            return Ok(default.iter().map(|&text| text.to_owned()).collect());
        };
        let texts = found.as_array().and_then(|items| {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        texts
            .filter(|texts| !texts.is_empty())
            .ok_or_else(|| invalid(key, found, "a list of texts"))
    }

    /// A non-empty list of integers, each at least 1.
    ///
    /// # Errors
    /// [`ConfigJsonError::Invalid`].
    pub fn ints(&self, key: &'static str, default: &[i64]) -> Result<Vec<i64>, ConfigJsonError> {
        let Some(found) = self.0.get(key) else { return Ok(default.to_vec()) };
        positive_ints(found).ok_or_else(|| invalid(key, found, "a list of whole numbers from 1"))
    }

    /// One integer for all blocks, or a list with one for each of the `blocks`; each at least 1.
    ///
    /// # Errors
    /// [`ConfigJsonError::Invalid`].
    pub fn per_block(
        &self,
        key: &'static str,
        default: i64,
        blocks: usize,
    ) -> Result<Vec<i64>, ConfigJsonError> {
        let Some(found) = self.0.get(key) else { return Ok(vec![default; blocks]) };
        let values = match found.as_i64() {
            Some(value) if value >= 1 => Some(vec![value; blocks]),
            Some(_) => None,
            None => positive_ints(found).filter(|values| values.len() == blocks),
        };
        let expected =
            || format!("a whole number from 1, or a list of {blocks} of them, one for each block");
        values.ok_or_else(|| invalid(key, found, expected()))
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
    ///
    /// # Errors
    /// [`ConfigJsonError::Invalid`].
    pub fn size(
        &self,
        key: &'static str,
        default: Option<(i64, i64)>,
    ) -> Result<Option<(i64, i64)>, ConfigJsonError> {
        let Some(found) = self.0.get(key) else { return Ok(default) };
        match (found.as_i64(), positive_ints(found).as_deref()) {
            _ if found.is_null() => Ok(None),
            (Some(side), _) if side >= 1 => Ok(Some((side, side))),
            (_, Some(&[height, width])) => Ok(Some((height, width))),
            _ => Err(invalid(key, found, "one side, or height and width, from 1")),
        }
    }

    /// The error that `key` is not `expected`, for checks across keys.
    pub fn fault(&self, key: &'static str, expected: impl Into<String>) -> ConfigJsonError {
        invalid(key, self.0.get(key).unwrap_or(&Value::Null), expected)
    }
}

fn invalid(key: &'static str, found: &Value, expected: impl Into<String>) -> ConfigJsonError {
    ConfigJsonError::Invalid { key, found: found.to_string(), expected: expected.into() }
}

fn positive_ints(value: &Value) -> Option<Vec<i64>> {
    let ints = value
        .as_array()?
        .iter()
        .map(|item| item.as_i64().filter(|&it| it >= 1))
        .collect::<Option<Vec<_>>>()?;
    (!ints.is_empty()).then_some(ints)
}

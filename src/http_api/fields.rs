//! Fields of a request by name, taken out one by one; what is left is unknown.

use serde_json::{Map, Value};

use crate::http_api::said::wrong;
use crate::server::refusal::Refusal;

/// Fields of a request, or of the object of one of its fields.
#[derive(Debug)]
pub(super) struct Fields {
    values: Map<String, Value>,
    /// Name of the object that they are of, with a dot; empty for those of the request itself.
    of: &'static str,
    /// Whether they come from a form, in which every value is a text, and an empty one or `null` stands for none.
    is_form: bool,
}

impl Fields {
    /// Fields of JSON.
    pub(super) fn of_json(values: Map<String, Value>) -> Self {
        Self { values, of: "", is_form: false }
    }

    /// Fields of a form.
    pub(super) fn of_form(values: Map<String, Value>) -> Self {
        Self { values, of: "", is_form: true }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let value = self.values.remove(name)?;
        let is_none = value.is_null() || (self.is_form && (value == "" || value == "null"));
        (!is_none).then_some(value)
    }

    fn wrong(&self, name: &str, why: impl std::fmt::Display) -> Refusal {
        wrong(&format!("{}{name}", self.of), why)
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "is no text")),
        }
    }

    /// A whole number of a range.
    pub(super) fn number(
        &mut self,
        name: &str,
        (least, most): (u64, u64),
    ) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let number = match &value {
            Value::String(text) if self.is_form => text.parse().ok(),
            // 3.0 is a whole number in JSON.
            value => value.as_u64().or_else(|| whole(value.as_f64()?)),
        };
        let number = number.filter(|it| (least..=most).contains(it));
        let why = || format!("is {value}, expected a whole number from {least} to {most}");
        number.map(Some).ok_or_else(|| self.wrong(name, why()))
    }

    /// True or false.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, Refusal> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let flag = match &value {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) if self.is_form => text.to_ascii_lowercase().parse().ok(),
            _ => None,
        };
        flag.map(Some)
            .ok_or_else(|| self.wrong(name, format!("is {value}, expected true or false")))
    }

    /// One of some texts, as what it stands for.
    pub(super) fn one_of<T: Copy>(
        &mut self,
        name: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, Refusal> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let chosen = choices.iter().find(|(text, _)| value == *text);
        let names = || choices.iter().map(|(text, _)| *text).collect::<Vec<_>>().join(", ");
        let why = || format!("is {value}, expected {}", names());
        chosen.map(|(_, it)| Some(*it)).ok_or_else(|| self.wrong(name, why()))
    }

    /// The fields of an object; in a form it is JSON.
    pub(super) fn object(&mut self, name: &str, of: &'static str) -> Result<Self, Refusal> {
        let (value, is_form) = match self.take(name) {
            Some(Value::String(text)) if self.is_form => {
                let value = serde_json::from_str(&text);
                (value.map_err(|error| self.wrong(name, format!("is no JSON: {error}")))?, false)
            }
            Some(value) => (value, self.is_form),
            None => (Value::Object(Map::new()), false),
        };
        match value {
            Value::Object(values) => Ok(Self { values, of, is_form }),
            _ => Err(self.wrong(name, "is no object")),
        }
    }

    /// Checks that nothing is left.
    pub(super) fn end(self) -> Result<(), Refusal> {
        match self.values.keys().next() {
            Some(name) => Err(self.wrong(name, "is unknown here")),
            None => Ok(()),
        }
    }
}

/// A number without a fraction, within those that are exact.
fn whole(number: f64) -> Option<u64> {
    let is_whole = number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number);
    is_whole.then_some(number as u64)
}

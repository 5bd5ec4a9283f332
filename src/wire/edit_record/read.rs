//! A record's text, read back or refused, and how two records differ.

use serde_json::{Map, Value};

use crate::wire::edit_record::{EditRecord, LAYOUT, MAX_BYTES, digests::shown};

/// What is wrong with a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// More than is written.
    #[error("its record has {0} bytes, at most {MAX_BYTES} are read")]
    TooLong(usize),
    /// No JSON of this layout.
    #[error("its record can't be read: {0}")]
    Malformed(String),
    /// Of a retouch whose records do not say all.
    #[error(
        "its record is of an older retouch, which did not keep masks and localizations in it; \
         give the instruction and the flags themselves"
    )]
    Older,
    /// Of a later retouch.
    #[error(
        "its record has layout {0}, and this retouch reads {LAYOUT}; use the retouch that wrote it"
    )]
    Newer(u64),
    /// What this retouch does not load.
    #[error("it was made with {0} LoRAs, and this retouch loads none")]
    Loras(usize),
}

impl EditRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// [`RecordError`] if it is none of this layout; values are not checked against their ranges.
    pub fn from_json(text: &str) -> Result<Self, RecordError> {
        if text.len() > MAX_BYTES {
            return Err(RecordError::TooLong(text.len()));
        }
        let malformed =
            |error: serde_json::Error| RecordError::Malformed(shown(&error.to_string()));
        let value: Value = serde_json::from_str(text).map_err(malformed)?;
        match value.get("record").map(Value::as_u64) {
            Some(Some(layout)) if layout == u64::from(LAYOUT) => {}
            Some(Some(layout)) if layout > u64::from(LAYOUT) => {
                return Err(RecordError::Newer(layout));
            }
            None if value.get("retouch").is_some() => return Err(RecordError::Older),
            _ => {
                return Err(RecordError::Malformed(
                    "it has no layout that was ever written".to_owned(),
                ));
            }
        }
        if let Some(loras @ 1..) = value.get("loras").and_then(Value::as_array).map(Vec::len) {
            return Err(RecordError::Loras(loras));
        }
        let record: Self = serde_json::from_value(value.clone()).map_err(malformed)?;
        match record.unknown_key(&value) {
            Some(key) => {
                Err(RecordError::Malformed(format!("unknown or misplaced key `{}`", shown(&key))))
            }
            None => Ok(record),
        }
    }

    /// How another record of the same edit differs, as `key: this, that`; what is left out here does not count.
    pub fn differences(&self, other: &Self, but_for: &[&str]) -> Vec<String> {
        let (mine, theirs) = (self.object(), other.object());
        let keys = mine.keys().chain(theirs.keys().filter(|it| !mine.contains_key(*it)));
        let keys =
            keys.filter(|it| !but_for.contains(&it.as_str()) && mine.get(*it) != theirs.get(*it));
        let value = |of: &Map<String, Value>, key: &str| {
            of.get(key).map_or("nothing".to_owned(), |it| shown(&it.to_string()))
        };
        keys.map(|it| format!("{it} {} instead of {}", value(&theirs, it), value(&mine, it)))
            .collect()
    }

    /// A key of the text that the record does not have: one of a localization that is not complete is none, too.
    fn unknown_key(&self, value: &Value) -> Option<String> {
        let known = self.object();
        let keys = value.as_object().into_iter().flatten();
        let strange =
            |(key, value): &(&String, &Value)| !value.is_null() && !known.contains_key(*key);
        keys.filter(strange).map(|(key, _)| key.clone()).next()
    }

    fn object(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            _ => unreachable!("a record is an object"),
        }
    }
}

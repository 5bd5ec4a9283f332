//! Parsing of edit records, and comparison of two records.

use serde_json::{Map, Value};

use crate::edit::choices::Preserve;
use crate::wire::edit_record::{EditRecord, LAYOUT, MAX_BYTES, OF_MASK, digests::shown, earlier};

/// Why a record is refused.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Longer than [`MAX_BYTES`].
    #[error("its record has {0} bytes, at most {MAX_BYTES} are read")]
    TooLong(usize),
    /// Not JSON of this layout.
    #[error("its record can't be read: {0}")]
    Malformed(String),
    /// Written by an older version, whose records are incomplete.
    #[error(
        "its record was written by an older version, which did not record masks and localizations; \
         give the instruction and the flags themselves"
    )]
    Older,
    /// Written by a later version, with another layout.
    #[error(
        "its record has layout {0}, and this retouch reads {LAYOUT}; use the retouch that wrote it"
    )]
    Newer(u64),
}

impl EditRecord {
    /// Parses a record.
    ///
    /// # Errors
    /// [`RecordError`] if it doesn't have this layout; values are not checked against their ranges.
    pub fn from_json(text: &str) -> Result<Self, RecordError> {
        if text.len() > MAX_BYTES {
            return Err(RecordError::TooLong(text.len()));
        }
        let malformed =
            |error: serde_json::Error| RecordError::Malformed(shown(&error.to_string()));
        let value: Value = serde_json::from_str(text).map_err(malformed)?;
        let is_earlier = value.get("record").is_none() && value.get("retouch").is_some();
        let value = match value.get("record").and_then(Value::as_u64) {
            _ if is_earlier => earlier::upgraded(value),
            Some(layout) if layout == u64::from(LAYOUT) => value,
            Some(layout) if layout > u64::from(LAYOUT) => return Err(RecordError::Newer(layout)),
            _ => {
                return Err(RecordError::Malformed("unknown record layout".to_owned()));
            }
        };
        let mut record: Self = serde_json::from_value(value.clone())
            .map_err(|error| if is_earlier { RecordError::Older } else { malformed(error) })?;
        if record.compositing.is_none() && record.preserve == Preserve::Pixel.name() {
            record.compositing = Some(OF_MASK.to_owned());
        }
        match record.unknown_key(&value) {
            Some(key) => {
                Err(RecordError::Malformed(format!("unknown or misplaced key `{}`", shown(&key))))
            }
            None => Ok(record),
        }
    }

    /// Differences to another record, each as `key: this, that`; the keys `but_for` are ignored.
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

    /// First key of the text that this layout doesn't have, or that belongs to an incomplete group of pass 1 settings.
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

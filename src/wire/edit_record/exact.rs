//! Floating-point numbers that survive JSON bit for bit.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A number that is read back from JSON bit for bit.
///
/// `serde_json` without its feature `float_roundtrip` may read a number of 16 or 17 digits as an adjacent one; such a
/// number is written as a string, which Rust parses exactly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exact(pub f64);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Text(String),
}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = serde_json::to_string(&self.0).unwrap_or_default();
        match serde_json::from_str::<f64>(&text) {
            Ok(read) if read.to_bits() == self.0.to_bits() => serializer.serialize_f64(self.0),
            _ => serializer.collect_str(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Number(value) => Ok(Self(value)),
            Written::Text(text) => text.parse().map(Self).map_err(D::Error::custom),
        }
    }
}

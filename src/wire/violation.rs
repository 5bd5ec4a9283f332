//! Invalid fields of a request.

use crate::sampling::OutOfRange;

/// An invalid field of a request (`google.rpc.BadRequest.FieldViolation`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {description}")]
pub struct Violation {
    /// Path of the field, such as `spec.steps`.
    pub field: String,
    /// Its value and what is expected.
    pub description: String,
}

impl Violation {
    /// A violation of the field `spec.FIELD`.
    pub fn new(field: &str, description: impl Into<String>) -> Self {
        Self { field: format!("spec.{field}"), description: description.into() }
    }

    pub(super) fn out_of_range(field: &str, error: &OutOfRange) -> Self {
        Self::new(field, format!("is {}, expected {}", error.value, error.range))
    }
}

//! The error of a JPEG file of which a part is missing or damaged.

/// Something is missing, or is no such data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::picture) struct Incomplete;

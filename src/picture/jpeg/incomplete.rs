//! The error of a JPEG file of which a part is missing or damaged.

/// Image data is missing or corrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::picture) struct Incomplete;

//! Limits on the disk space of a journal.

/// Limits on disk space.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    /// Most bytes of records, events and artifacts together.
    pub quota: u64,
    /// Bytes that new data must leave free on the disk; existing jobs use them to change state, end and be deleted.
    pub min_free: u64,
}

//! Execution of model calls: several jobs' as one batch, as large as memory allows, and replayed from recordings.

pub mod batcher;
pub mod captured;
pub(crate) mod memory_probe;
pub mod recorder;

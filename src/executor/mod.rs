//! How calls of a model run: several jobs' as one batch, as large as memory allows, and played from recordings of them.

pub mod batcher;
pub mod captured;
pub(crate) mod memory_probe;

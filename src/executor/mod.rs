//! How calls of a model run: several jobs' as one batch, as large as memory allows.

pub mod batcher;
pub(crate) mod memory_probe;

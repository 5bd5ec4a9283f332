//! LoRAs (Hu et al., arXiv 2106.09685) and LoKrs (arXiv 2309.14859): small changes to a model's matrices, in the
//! layouts of kohya's trainer, of diffusers and PEFT, and of Black Forest Labs and ai-toolkit.
//!
//! They are merged into the weights in fp32 while those are read, so that a model with LoRAs is as large and as fast
//! as without, and every job that shares its calls has the same weights.

pub mod apply;
mod change;
pub mod error;
mod family;
pub mod file;
mod flux2;
mod keys;
pub(in crate::models) mod merge;
pub mod names;
pub mod summary;
